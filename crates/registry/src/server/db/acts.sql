-- What was done and nobody took yet. Numbers are never given twice.
CREATE TABLE act (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    who   TEXT    NOT NULL,
    deed  TEXT    NOT NULL
) STRICT;

-- Which database it is: the numbers of another one are others.
CREATE TABLE identity (name TEXT NOT NULL) STRICT;
INSERT INTO identity SELECT lower(hex(randomblob(16)));
