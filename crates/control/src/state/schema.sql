-- Releases are never changed, but for the number of instances wanted of them.
CREATE TABLE releases (
    environment TEXT NOT NULL,
    service     TEXT NOT NULL,
    number      INTEGER NOT NULL CHECK (number > 0),
    digest      TEXT NOT NULL,
    content     TEXT NOT NULL CHECK (json_valid(content)),
    peers       TEXT NOT NULL CHECK (json_valid(peers)),
    replicas    INTEGER NOT NULL CHECK (replicas >= 0),
    author      TEXT NOT NULL,
    reason      TEXT,
    created_ms  INTEGER NOT NULL,
    PRIMARY KEY (environment, service, number)
) STRICT, WITHOUT ROWID;

-- Which release serves. A service that was stopped has no current release.
CREATE TABLE services (
    environment TEXT NOT NULL,
    service     TEXT NOT NULL,
    project     TEXT NOT NULL,
    current     INTEGER,
    previous    INTEGER,
    leaving     INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (environment, service),
    FOREIGN KEY (environment, service, current)  REFERENCES releases (environment, service, number),
    FOREIGN KEY (environment, service, previous) REFERENCES releases (environment, service, number)
) STRICT, WITHOUT ROWID;

-- Rollouts. `engine` is the engine's whole memory; it is empty while a rollout waits.
CREATE TABLE rollouts (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    environment TEXT NOT NULL,
    service     TEXT NOT NULL,
    release     INTEGER NOT NULL,
    old         INTEGER,
    purpose     TEXT NOT NULL CHECK (purpose IN ('deploy', 'rollback')),
    status      TEXT NOT NULL CHECK (status IN ('waiting', 'running', 'failed', 'succeeded', 'rolled-back', 'cancelled')),
    engine      TEXT CHECK (engine IS NULL OR json_valid(engine)),
    after       TEXT NOT NULL CHECK (json_valid(after)),
    progress    TEXT CHECK (progress IS NULL OR json_valid(progress)),
    blameless   INTEGER NOT NULL DEFAULT 0,
    rules       TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(rules)),
    reason      TEXT,
    author      TEXT NOT NULL,
    created_ms  INTEGER NOT NULL,
    ended_ms    INTEGER,
    FOREIGN KEY (environment, service, release) REFERENCES releases (environment, service, number)
) STRICT;
CREATE UNIQUE INDEX rollouts_one_active ON rollouts (environment, service) WHERE status IN ('running', 'failed');
CREATE UNIQUE INDEX rollouts_one_waiting ON rollouts (environment, service) WHERE status = 'waiting';
CREATE INDEX rollouts_by_release ON rollouts (environment, service, release);

-- What is wanted of the provider and of the data plane: size and weight of every fleet that is not forgotten.
CREATE TABLE fleets (
    environment TEXT NOT NULL,
    service     TEXT NOT NULL,
    release     INTEGER NOT NULL,
    size        INTEGER NOT NULL CHECK (size >= 0),
    weight      INTEGER NOT NULL CHECK (weight BETWEEN 0 AND 100),
    PRIMARY KEY (environment, service, release),
    FOREIGN KEY (environment, service, release) REFERENCES releases (environment, service, number)
) STRICT, WITHOUT ROWID;

-- The route table that was last handed to the data plane.
CREATE TABLE routes (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    version  INTEGER NOT NULL,
    content  TEXT NOT NULL CHECK (json_valid(content))
) STRICT;

-- Contents that are not deployed again.
CREATE TABLE quarantine (
    environment TEXT NOT NULL,
    service     TEXT NOT NULL,
    digest      TEXT NOT NULL,
    release     INTEGER NOT NULL,
    reason      TEXT NOT NULL,
    at_ms       INTEGER NOT NULL,
    PRIMARY KEY (environment, service, digest)
) STRICT, WITHOUT ROWID;

-- Instances that are to be replaced because a person touched them or asked for it.
CREATE TABLE taints (
    instance TEXT PRIMARY KEY,
    fleet    TEXT NOT NULL,
    reason   TEXT NOT NULL,
    who      TEXT NOT NULL,
    asked    INTEGER NOT NULL,
    at_ms    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What happened. Rows are only ever added.
CREATE TABLE events (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms       INTEGER NOT NULL,
    environment TEXT NOT NULL,
    service     TEXT NOT NULL,
    release     INTEGER,
    rollout     INTEGER,
    who         TEXT NOT NULL,
    what        TEXT NOT NULL CHECK (json_valid(what))
) STRICT;
CREATE INDEX events_by_service ON events (environment, service, id);
CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
CREATE TRIGGER events_are_never_removed BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are never removed'); END;
