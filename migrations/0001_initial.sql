-- The first schema. Every *_at is UTC milliseconds since the Unix epoch.
-- A shipped migration is never edited: later changes are new files.

CREATE TABLE videos (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never reused: the row's kernel locks are named by it
    rev INTEGER NOT NULL DEFAULT 0,        -- goes up with every change of state (compare-and-swap)

    phase TEXT NOT NULL
        CHECK (phase IN ('unsent', 'sending', 'accepted', 'rejected', 'unknown', 'missing')),
    remote_status TEXT,                    -- HeyGen's word, verbatim
    status TEXT NOT NULL                   -- the one word shown: ours while the row is local, else HeyGen's
        GENERATED ALWAYS AS (CASE phase WHEN 'accepted' THEN coalesce(remote_status, 'waiting') ELSE phase END) VIRTUAL,
    finished INTEGER NOT NULL DEFAULT 0 CHECK (finished IN (0, 1)),  -- derived; see the triggers below

    video_id TEXT UNIQUE CHECK (video_id <> ''),
    idempotency_key TEXT UNIQUE,           -- stored before the POST it goes with; NULL for added rows
    account TEXT,                          -- BASE_URL#KEY_FINGERPRINT of the unanswered attempt, the purchase or the last sight
    body_hash TEXT,                        -- sha256 of the body as a canonical JSON value, to find twins

    title TEXT,
    script TEXT,
    avatar_id TEXT,
    voice_id TEXT,
    tags TEXT NOT NULL DEFAULT '[]' CHECK (json_type(tags) = 'array'),

    -- HeyGen's video object
    created_at INTEGER,
    completed_at INTEGER,
    duration REAL,                         -- seconds
    folder_id TEXT,
    output_language TEXT,
    failure_code TEXT,
    failure_message TEXT,
    video_page_url TEXT,
    video_url TEXT,
    captioned_video_url TEXT,
    subtitle_url TEXT,
    thumbnail_url TEXT,
    gif_url TEXT,
    urls_at INTEGER,

    submitted_at INTEGER NOT NULL,
    accepted_at INTEGER,
    ended_at INTEGER,                      -- when we first saw a terminal status
    first_unanswered_at INTEGER,           -- the 20 h of safe replay run from here
    last_attempt_at INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,   -- POSTs without an answer so far
    send_after INTEGER,
    last_checked_at INTEGER,
    check_count INTEGER NOT NULL DEFAULT 0,
    not_found_at INTEGER,
    stalled_at INTEGER,

    error_operation TEXT CHECK (error_operation IN ('send', 'poll', 'save')),
    error_code TEXT,
    error_message TEXT,
    error_at INTEGER,
    error_told_at INTEGER,
    error_count INTEGER NOT NULL DEFAULT 0,

    output_dir TEXT NOT NULL,              -- absolute
    name_template TEXT,
    retry_of INTEGER,                      -- the row this one buys again; that row may be forgotten since
    request TEXT,                          -- the exact body; last, because it is long and rarely read

    CHECK ((error_code IS NULL) = (error_operation IS NULL)),
    CHECK (phase <> 'accepted' OR video_id IS NOT NULL),
    CHECK (phase NOT IN ('unsent', 'sending') OR (idempotency_key IS NOT NULL AND request IS NOT NULL)),
    CHECK (phase <> 'sending' OR (account IS NOT NULL AND first_unanswered_at IS NOT NULL))
) STRICT;

CREATE TABLE files (
    id INTEGER PRIMARY KEY,
    video INTEGER NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
    asset TEXT NOT NULL CHECK (asset IN ('video', 'captioned', 'subtitle', 'thumbnail', 'gif')),
    state TEXT NOT NULL DEFAULT 'wanted'
        CHECK (state IN ('wanted', 'partial', 'publishing', 'saved', 'unavailable', 'gone')),
    path TEXT,                             -- final, absolute; known from 'publishing' on
    part_name TEXT,                        -- what is known to be durable under a part name in output_dir
    part_bytes INTEGER CHECK (part_bytes >= 0),
    part_sha256 TEXT,                      -- of exactly part_bytes bytes
    etag TEXT,
    total INTEGER CHECK (total >= 0),
    bytes INTEGER CHECK (bytes > 0),
    sha256 TEXT CHECK (length(sha256) = 64),
    saved_at INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,
    UNIQUE (video, asset),
    CHECK (state NOT IN ('publishing', 'saved') OR (path IS NOT NULL AND bytes IS NOT NULL AND sha256 IS NOT NULL)),
    CHECK (part_name IS NULL OR (part_bytes IS NOT NULL AND part_sha256 IS NOT NULL))
) STRICT;

-- The timeline of each video. Append-only, but for repeats: they bump `count`.
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    video INTEGER NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    count INTEGER NOT NULL DEFAULT 1,
    detail TEXT NOT NULL DEFAULT '{}' CHECK (json_type(detail) = 'object')
) STRICT;

-- Trouble of whole runs (network, key, ...), so that it is told when it begins and when it ends.
CREATE TABLE troubles (
    kind TEXT PRIMARY KEY,
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    since INTEGER NOT NULL,
    told_at INTEGER NOT NULL
) STRICT;

-- How long HeyGen asked an account's POSTs to wait (Retry-After).
CREATE TABLE pauses (
    account TEXT PRIMARY KEY,
    until INTEGER NOT NULL
) STRICT;

-- What `check` looks for costs the number of unfinished rows, whatever the length of the history.
CREATE INDEX videos_unfinished ON videos (id) WHERE finished = 0;
CREATE INDEX videos_outbox ON videos (id) WHERE phase IN ('unsent', 'sending');
CREATE INDEX files_publishing ON files (video) WHERE state = 'publishing';
CREATE INDEX videos_by_status ON videos (status, id);
CREATE INDEX videos_by_body ON videos (body_hash) WHERE body_hash IS NOT NULL;
CREATE INDEX videos_retried ON videos (retry_of) WHERE retry_of IS NOT NULL;
CREATE INDEX events_by_video ON events (video, id);

-- `finished` is derived from the phase, HeyGen's word and the files: whoever changes one of them, it follows.
CREATE TRIGGER videos_finished AFTER UPDATE OF phase, remote_status ON videos BEGIN
    UPDATE videos SET finished = CASE
        WHEN phase IN ('rejected', 'unknown', 'missing') THEN 1
        WHEN phase IN ('unsent', 'sending') THEN 0
        WHEN remote_status = 'failed' THEN 1
        WHEN remote_status IS NOT 'completed' THEN 0
        ELSE NOT EXISTS (SELECT 1 FROM files
                         WHERE video = NEW.id AND state IN ('wanted', 'partial', 'publishing'))
        END
    WHERE id = NEW.id;
END;

-- Touching the phase makes the trigger above look again.
CREATE TRIGGER files_inserted AFTER INSERT ON files BEGIN
    UPDATE videos SET phase = phase WHERE id = NEW.video;
END;
CREATE TRIGGER files_updated AFTER UPDATE OF state ON files BEGIN
    UPDATE videos SET phase = phase WHERE id = NEW.video;
END;
CREATE TRIGGER files_deleted AFTER DELETE ON files BEGIN
    UPDATE videos SET phase = phase WHERE id = OLD.video;
END;
