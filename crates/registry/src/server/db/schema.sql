-- Times are milliseconds since the Unix epoch. Digests are raw bytes: 32 are a SHA-256, 64 a SHA-512.
CREATE TABLE repository (
    id    INTEGER PRIMARY KEY,
    name  TEXT NOT NULL UNIQUE,
    -- Kept by the triggers below, so that a quota costs no sum over the rows.
    bytes INTEGER NOT NULL DEFAULT 0,
    tags  INTEGER NOT NULL DEFAULT 0
) STRICT;

-- A blob may be pulled from a repository when it is linked into it.
CREATE TABLE blob (
    repository INTEGER NOT NULL REFERENCES repository,
    digest     BLOB    NOT NULL,
    size       INTEGER NOT NULL,
    linked     INTEGER NOT NULL,
    PRIMARY KEY (repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_by_digest ON blob (digest);

CREATE TABLE manifest (
    repository    INTEGER NOT NULL REFERENCES repository,
    digest        BLOB    NOT NULL,
    media_type    TEXT    NOT NULL,
    size          INTEGER NOT NULL,
    subject       BLOB,
    artifact_type TEXT,
    annotations   TEXT,
    -- When it was pushed or last lost a tag.
    touched       INTEGER NOT NULL,
    PRIMARY KEY (repository, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX manifest_by_digest ON manifest (digest);
CREATE INDEX manifest_by_subject ON manifest (repository, subject, digest) WHERE subject IS NOT NULL;

-- What a manifest names: blobs, and the manifests of an index.
CREATE TABLE edge (
    repository INTEGER NOT NULL REFERENCES repository,
    parent     BLOB    NOT NULL,
    child      BLOB    NOT NULL,
    PRIMARY KEY (repository, parent, child)
) STRICT, WITHOUT ROWID;
CREATE INDEX edge_by_child ON edge (repository, child);

CREATE TABLE tag (
    repository INTEGER NOT NULL REFERENCES repository,
    name       TEXT    NOT NULL,
    digest     BLOB    NOT NULL,
    -- When a mirror last learnt from its upstream where it points; when it was pushed, elsewhere.
    checked    INTEGER NOT NULL,
    PRIMARY KEY (repository, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX tag_by_digest ON tag (repository, digest);

-- Somebody was told lately that this is there, and may be about to name it in a manifest.
CREATE TABLE lease (
    digest BLOB    PRIMARY KEY,
    since  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER blob_in AFTER INSERT ON blob BEGIN
    UPDATE repository SET bytes = bytes + NEW.size WHERE id = NEW.repository;
END;
CREATE TRIGGER blob_out AFTER DELETE ON blob BEGIN
    UPDATE repository SET bytes = bytes - OLD.size WHERE id = OLD.repository;
END;
CREATE TRIGGER manifest_in AFTER INSERT ON manifest BEGIN
    UPDATE repository SET bytes = bytes + NEW.size WHERE id = NEW.repository;
END;
CREATE TRIGGER manifest_out AFTER DELETE ON manifest BEGIN
    UPDATE repository SET bytes = bytes - OLD.size WHERE id = OLD.repository;
    DELETE FROM edge WHERE repository = OLD.repository AND parent = OLD.digest;
END;
CREATE TRIGGER tag_in AFTER INSERT ON tag BEGIN
    UPDATE repository SET tags = tags + 1 WHERE id = NEW.repository;
END;
CREATE TRIGGER tag_out AFTER DELETE ON tag BEGIN
    UPDATE repository SET tags = tags - 1 WHERE id = OLD.repository;
END;
