-- Hooks that are due: written in the transaction of the change they tell of, removed when told (or given up).

CREATE TABLE hooks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    video INTEGER NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
    event TEXT NOT NULL CHECK (event IN ('completed', 'saved', 'failed', 'stalled', 'idle')),
    file TEXT,                             -- the saved file, for 'saved'
    at INTEGER NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX hooks_by_video ON hooks (video);
