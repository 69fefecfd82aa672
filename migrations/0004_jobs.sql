-- Kinds of job, HeyGen's final word as a column of its own, and what a row knows about its own trouble.
-- Runs with foreign keys off: `videos` and `files` are made anew, since SQLite cannot change a CHECK.

DROP TRIGGER videos_finished;
DROP TRIGGER files_inserted;
DROP TRIGGER files_updated;
DROP TRIGGER files_deleted;

CREATE TABLE videos_new (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never reused: the row's kernel locks are named by it
    rev INTEGER NOT NULL DEFAULT 0,        -- goes up with every change of state (compare-and-swap)

    kind TEXT NOT NULL DEFAULT 'video',    -- the kind of job; its words, like all that may grow, live in the program
    phase TEXT NOT NULL
        CHECK (phase IN ('unsent', 'sending', 'accepted', 'rejected', 'unknown', 'missing')),
    remote_status TEXT,                    -- HeyGen's word, verbatim
    status TEXT NOT NULL                   -- the one word shown: ours while the row is local, else HeyGen's
        GENERATED ALWAYS AS (CASE phase WHEN 'accepted' THEN coalesce(remote_status, 'waiting') ELSE phase END) VIRTUAL,
    outcome TEXT CHECK (outcome IN ('completed', 'failed')),  -- HeyGen's final word, as the program judged it; NULL while going
    finished INTEGER NOT NULL DEFAULT 0 CHECK (finished IN (0, 1)),  -- derived; see the triggers below

    video_id TEXT UNIQUE CHECK (video_id <> ''),
    session_id TEXT UNIQUE CHECK (session_id <> ''),
    template_id TEXT,
    idempotency_key TEXT UNIQUE,           -- stored before the POST it goes with; NULL for added rows
    request_key TEXT UNIQUE,               -- the caller's own name for the submission: the same again is the same row
    account TEXT,                          -- BASE_URL#KEY_FINGERPRINT that it belongs to, once known
    body_hash TEXT,                        -- sha256 of the body as a canonical JSON value, to find duplicates

    title TEXT,
    script TEXT,
    avatar_id TEXT,
    voice_id TEXT,
    title_edited INTEGER NOT NULL DEFAULT 0 CHECK (title_edited IN (0, 1)),  -- HeyGen's does not replace it
    tags TEXT NOT NULL DEFAULT '[]' CHECK (json_type(tags) = 'array'),

    -- What HeyGen says of it
    progress INTEGER,                      -- per cent
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
    audio_url TEXT,
    vtt_url TEXT,
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
    not_found_at INTEGER,                  -- the first 404 in a row
    not_found_count INTEGER NOT NULL DEFAULT 0,
    missing_at INTEGER,
    stalled_at INTEGER,
    failed_since INTEGER,                  -- a session's first "failed" in a row: often not its end
    failed_polls INTEGER NOT NULL DEFAULT 0,
    moved_at INTEGER,                      -- when status or progress last changed
    nudges_left INTEGER NOT NULL DEFAULT 0,
    auto_proceed INTEGER NOT NULL DEFAULT 0 CHECK (auto_proceed IN (0, 1)),
    attention_at INTEGER,                  -- since when it waits for a person
    candidates TEXT CHECK (json_type(candidates) = 'array'),  -- HeyGen ids that an unanswered submission may have become

    error_operation TEXT,
    error_code TEXT,
    error_message TEXT,
    error_at INTEGER,
    error_request_id TEXT,
    error_notified_at INTEGER,
    error_count INTEGER NOT NULL DEFAULT 0,

    output_dir TEXT NOT NULL,              -- absolute
    output_device TEXT,                    -- where the disk is mounted that it was on at first use; '/' is any
    name_template TEXT,
    retry_of INTEGER,                      -- the row this one submits again; that row may be forgotten since
    data TEXT CHECK (json_type(data) = 'object'),  -- the line of the user's table it was made from
    request TEXT,                          -- the exact body; last, because it is long and rarely read

    CHECK ((error_code IS NULL) = (error_operation IS NULL)),
    CHECK (phase <> 'accepted' OR video_id IS NOT NULL OR session_id IS NOT NULL),
    CHECK (phase NOT IN ('unsent', 'sending') OR (idempotency_key IS NOT NULL AND request IS NOT NULL)),
    CHECK (phase <> 'sending' OR (account IS NOT NULL AND first_unanswered_at IS NOT NULL))
) STRICT;

INSERT INTO videos_new (
    id, rev, phase, remote_status, finished, video_id, idempotency_key, account, body_hash, title, script,
    avatar_id, voice_id, tags, created_at, completed_at, duration, folder_id, output_language, failure_code,
    failure_message, video_page_url, video_url, captioned_video_url, subtitle_url, thumbnail_url, gif_url,
    urls_at, submitted_at, accepted_at, ended_at, first_unanswered_at, last_attempt_at, attempts, send_after,
    last_checked_at, check_count, not_found_at, stalled_at, error_operation, error_code, error_message,
    error_at, error_notified_at, error_count, output_dir, name_template, retry_of, request,
    outcome)
SELECT
    id, rev, phase, remote_status, finished, video_id, idempotency_key, account, body_hash, title, script,
    avatar_id, voice_id, tags, created_at, completed_at, duration, folder_id, output_language, failure_code,
    failure_message, video_page_url, video_url, captioned_video_url, subtitle_url, thumbnail_url, gif_url,
    urls_at, submitted_at, accepted_at, ended_at, first_unanswered_at, last_attempt_at, attempts, send_after,
    last_checked_at, check_count, not_found_at, stalled_at, error_operation, error_code, error_message,
    error_at, error_told_at, error_count, output_dir, name_template, retry_of, request,
    CASE WHEN remote_status IN ('completed', 'failed') THEN remote_status END
FROM videos;

-- The numbers of rows that were forgotten are not used again.
DELETE FROM sqlite_sequence WHERE name = 'videos_new';
INSERT INTO sqlite_sequence (name, seq) SELECT 'videos_new', seq FROM sqlite_sequence WHERE name = 'videos';
DROP TABLE videos;
ALTER TABLE videos_new RENAME TO videos;

CREATE TABLE files_new (
    id INTEGER PRIMARY KEY,
    video INTEGER NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
    asset TEXT NOT NULL,
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
    first_failed_at INTEGER,
    UNIQUE (video, asset),
    CHECK (state NOT IN ('publishing', 'saved') OR (path IS NOT NULL AND bytes IS NOT NULL AND sha256 IS NOT NULL)),
    CHECK (part_name IS NULL OR (part_bytes IS NOT NULL AND part_sha256 IS NOT NULL))
) STRICT;

INSERT INTO files_new (
    id, video, asset, state, path, part_name, part_bytes, part_sha256, etag, total, bytes, sha256, saved_at,
    attempts)
SELECT
    id, video, asset, state, path, part_name, part_bytes, part_sha256, etag, total, bytes, sha256, saved_at,
    attempts
FROM files;
DROP TABLE files;
ALTER TABLE files_new RENAME TO files;

-- Hooks that are due: written in the transaction of the change they report, removed when reported (or given up).
CREATE TABLE hooks_new (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    video INTEGER NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
    event TEXT NOT NULL,
    file TEXT,                             -- the saved file, for 'saved'
    at INTEGER NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO hooks_new (id, video, event, file, at, tries) SELECT id, video, event, file, at, tries FROM hooks;
DELETE FROM sqlite_sequence WHERE name = 'hooks_new';
INSERT INTO sqlite_sequence (name, seq) SELECT 'hooks_new', seq FROM sqlite_sequence WHERE name = 'hooks';
DROP TABLE hooks;
ALTER TABLE hooks_new RENAME TO hooks;

-- Errors and outages of whole runs, so that each is reported when it begins and when it ends.
CREATE TABLE troubles_new (
    kind TEXT NOT NULL,
    scope TEXT NOT NULL DEFAULT '',        -- the account or host that it concerns
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    since INTEGER NOT NULL,
    notified_at INTEGER NOT NULL,
    notified INTEGER NOT NULL DEFAULT 1 CHECK (notified IN (0, 1)),  -- whether anybody was there to read it
    PRIMARY KEY (kind, scope)
) STRICT;
INSERT INTO troubles_new (kind, code, message, since, notified_at)
SELECT kind, code, message, since, told_at FROM troubles;
DROP TABLE troubles;
ALTER TABLE troubles_new RENAME TO troubles;

-- What people, or the program for them, write to a session.
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    video INTEGER NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,                    -- reply, nudge, proceed
    text TEXT NOT NULL,
    state TEXT NOT NULL,
    at INTEGER NOT NULL,
    run_id TEXT                            -- HeyGen's name for what the message started
) STRICT;

-- When something was last done that belongs to no row.
CREATE TABLE marks (
    name TEXT PRIMARY KEY,
    at INTEGER NOT NULL
) STRICT;

CREATE INDEX videos_unfinished ON videos (id) WHERE finished = 0;
CREATE INDEX videos_outbox ON videos (id) WHERE phase IN ('unsent', 'sending');
CREATE INDEX videos_missing ON videos (id) WHERE phase = 'missing';
CREATE INDEX videos_by_status ON videos (status, id);
CREATE INDEX videos_by_body ON videos (body_hash) WHERE body_hash IS NOT NULL;
CREATE INDEX videos_submitted ON videos (submitted_at) WHERE request IS NOT NULL;
CREATE INDEX videos_retried ON videos (retry_of) WHERE retry_of IS NOT NULL;
CREATE INDEX files_publishing ON files (video) WHERE state = 'publishing';
CREATE INDEX hooks_by_video ON hooks (video);
CREATE INDEX messages_unsent ON messages (id) WHERE state = 'unsent';
CREATE INDEX messages_by_video ON messages (video, id);

-- `finished` is derived from the phase, the outcome and the files: whoever changes one of them, it follows.
CREATE TRIGGER videos_finished AFTER UPDATE OF phase, outcome ON videos BEGIN
    UPDATE videos SET finished = CASE
        WHEN phase IN ('rejected', 'unknown', 'missing') THEN 1
        WHEN phase IN ('unsent', 'sending') THEN 0
        WHEN outcome = 'failed' THEN 1
        WHEN outcome IS NULL THEN 0
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
