-- A database of schema version 3, as sqlite3 .dump shows it; the two pragmas at the end are part of the file format.
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    video INTEGER NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    count INTEGER NOT NULL DEFAULT 1,
    detail TEXT NOT NULL DEFAULT '{}' CHECK (json_type(detail) = 'object')
) STRICT;
INSERT INTO "events" VALUES(1,1,1795441387356,'recorded',1,'{}');
INSERT INTO "events" VALUES(2,1,1795441387367,'sending',1,'{"idempotency_key":"158a48fa-7cdd-4b60-924c-fbfc2fc5e7ec"}');
INSERT INTO "events" VALUES(3,1,1795441387376,'accepted',1,'{"request_id":"request-1","status":"waiting","video_id":"77a641ab7e5bf2b681482f6903d5a5aa"}');
INSERT INTO "events" VALUES(4,1,1795441387409,'status',1,'{"from":"waiting","to":"completed"}');
INSERT INTO "events" VALUES(5,1,1795441387463,'saved',1,'{"asset":"video","bytes":1000000,"path":"/nonexistent/output/x.mp4","sha256":"fdfb04daf4a0cbb11e0e628f43991feb776cc4371b69553336a1daf7b9b50419"}');
INSERT INTO "events" VALUES(6,2,1795441387487,'recorded',1,'{}');
INSERT INTO "events" VALUES(7,2,1795441387490,'sending',1,'{"idempotency_key":"98994716-c01d-498d-a997-d5ef0a1e6f2f"}');
INSERT INTO "events" VALUES(8,2,1795441387495,'accepted',1,'{"request_id":"request-4","status":"waiting","video_id":"c02c0e3d021a268a6900d4395f921d7a"}');
INSERT INTO "events" VALUES(9,3,1795441387504,'recorded',1,'{}');
INSERT INTO "events" VALUES(10,3,1795441387509,'sending',1,'{"idempotency_key":"9249bf6e-f3c3-4037-9ff3-30505b7a3660"}');
INSERT INTO "events" VALUES(11,3,1795441387515,'accepted',1,'{"request_id":"request-5","status":"waiting","video_id":"ce9dcb37de5a4d772851c14f7cba62f1"}');
INSERT INTO "events" VALUES(12,4,1795441387523,'recorded',1,'{}');
INSERT INTO "events" VALUES(13,4,1795441387527,'sending',1,'{"idempotency_key":"ac332b76-53bc-439e-8706-2c291d550d5e"}');
INSERT INTO "events" VALUES(14,4,1795441387559,'accepted',1,'{"request_id":"request-6","status":"waiting","video_id":"5cb2cbdbce98c22a8b9834d9119dec7d"}');
INSERT INTO "events" VALUES(15,5,1795441387577,'recorded',1,'{}');
INSERT INTO "events" VALUES(16,5,1795441387615,'sending',1,'{"idempotency_key":"c952c810-30ce-47e6-bc7c-6d1addba5d83"}');
INSERT INTO "events" VALUES(17,5,1795441387626,'accepted',1,'{"request_id":"request-7","status":"waiting","video_id":"b8903b1f980d12ed1cb5f626484fc566"}');
INSERT INTO "events" VALUES(18,6,1795441387654,'recorded',1,'{}');
INSERT INTO "events" VALUES(19,6,1795441387678,'sending',1,'{"idempotency_key":"c248ccf4-e02d-48e1-a771-c7a528442aa1"}');
INSERT INTO "events" VALUES(20,6,1795441387721,'accepted',1,'{"request_id":"request-8","status":"waiting","video_id":"8d1df7164cb1ddb378bc3fa376dfc666"}');
INSERT INTO "events" VALUES(21,7,1795441387759,'recorded',1,'{}');
INSERT INTO "events" VALUES(22,3,1795441387838,'status',1,'{"from":"waiting","to":"completed"}');
INSERT INTO "events" VALUES(23,2,1795441387838,'status',1,'{"from":"waiting","to":"completed"}');
INSERT INTO "events" VALUES(24,4,1795441387851,'status',1,'{"from":"waiting","to":"completed"}');
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
INSERT INTO "files" VALUES(1,1,'video','saved','/nonexistent/output/77a641ab7e5bf2b681482f6903d5a5aa.mp4',NULL,NULL,NULL,NULL,NULL,1000000,'fdfb04daf4a0cbb11e0e628f43991feb776cc4371b69553336a1daf7b9b50419',1795441387463,0);
INSERT INTO "files" VALUES(2,2,'video','wanted',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0);
INSERT INTO "files" VALUES(3,3,'video','wanted',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0);
INSERT INTO "files" VALUES(4,4,'video','wanted',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0);
INSERT INTO "files" VALUES(5,5,'video','wanted',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0);
INSERT INTO "files" VALUES(6,6,'video','wanted',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0);
INSERT INTO "files" VALUES(7,7,'video','wanted',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0);
INSERT INTO "files" VALUES(8,2,'gif','partial',NULL,'.2-gif.part',10,'aa','"e"',20,NULL,NULL,NULL,0);
INSERT INTO "files" VALUES(9,9,'video','unavailable',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0);
CREATE TABLE hooks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    video INTEGER NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
    event TEXT NOT NULL CHECK (event IN ('completed', 'saved', 'failed', 'stalled', 'idle')),
    file TEXT,                             -- the saved file, for 'saved'
    at INTEGER NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO "hooks" VALUES(1,1,'saved','/nonexistent/output/x.mp4',1795441387463,0);
CREATE TABLE pauses (
    account TEXT PRIMARY KEY,
    until INTEGER NOT NULL
) STRICT;
INSERT INTO "pauses" VALUES('https://api.heygen.com#ba7816bf8f01',1795441387900);
CREATE TABLE troubles (
    kind TEXT PRIMARY KEY,
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    since INTEGER NOT NULL,
    told_at INTEGER NOT NULL
) STRICT;
INSERT INTO "troubles" VALUES('network','network_error','cannot connect to api.heygen.com',1795441387900,1795441387900);
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
INSERT INTO "videos" VALUES(1,3,'accepted','completed',1,'77a641ab7e5bf2b681482f6903d5a5aa','158a48fa-7cdd-4b60-924c-fbfc2fc5e7ec','https://api.heygen.com#ba7816bf8f01','39618e4e0f511495b1d7a062d19f745670cdad585e568b6c86e87ec15a6d0619','saved','Hello','a1','v1','["launch"]',1795441387000,1795441387000,4.0,NULL,NULL,NULL,NULL,'https://app.heygen.com/videos/77a641ab7e5bf2b681482f6903d5a5aa','https://files.heygen.ai/files/77a641ab7e5bf2b681482f6903d5a5aa/video?Expires=1796046187&Signature=0','https://files.heygen.ai/files/77a641ab7e5bf2b681482f6903d5a5aa/captioned?Expires=1796046187&Signature=0','https://files.heygen.ai/files/77a641ab7e5bf2b681482f6903d5a5aa/subtitle?Expires=1796046187&Signature=0','https://files.heygen.ai/files/77a641ab7e5bf2b681482f6903d5a5aa/thumbnail?Expires=1796046187&Signature=0','https://files.heygen.ai/files/77a641ab7e5bf2b681482f6903d5a5aa/gif?Expires=1796046187&Signature=0',1795441387409,1764000001000,1795441387376,1795441387409,NULL,1795441387367,0,NULL,1795441387409,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,'/nonexistent/output',NULL,NULL,'{"avatar_id":"a1","script":"Hello","title":"saved","type":"avatar","voice_id":"v1"}');
INSERT INTO "videos" VALUES(2,3,'accepted','completed',0,'c02c0e3d021a268a6900d4395f921d7a','98994716-c01d-498d-a997-d5ef0a1e6f2f','https://api.heygen.com#ba7816bf8f01','7d1767e1ce662b178f9c2c4e4739785db0d84cc641d79b331e3f7278b75e5347','completed','Hello','a1','v1','[]',1795441387000,1795441387000,4.0,NULL,NULL,NULL,NULL,'https://app.heygen.com/videos/c02c0e3d021a268a6900d4395f921d7a','https://files.heygen.ai/files/c02c0e3d021a268a6900d4395f921d7a/video?Expires=1796046187&Signature=0','https://files.heygen.ai/files/c02c0e3d021a268a6900d4395f921d7a/captioned?Expires=1796046187&Signature=0','https://files.heygen.ai/files/c02c0e3d021a268a6900d4395f921d7a/subtitle?Expires=1796046187&Signature=0','https://files.heygen.ai/files/c02c0e3d021a268a6900d4395f921d7a/thumbnail?Expires=1796046187&Signature=0','https://files.heygen.ai/files/c02c0e3d021a268a6900d4395f921d7a/gif?Expires=1796046187&Signature=0',1795441387838,1764000002000,1795441387495,1795441387838,NULL,1795441387490,0,NULL,1795441387838,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,'/nonexistent/output',NULL,NULL,'{"avatar_id":"a1","script":"Hello","title":"completed","type":"avatar","voice_id":"v1"}');
INSERT INTO "videos" VALUES(3,3,'accepted','failed',1,'ce9dcb37de5a4d772851c14f7cba62f1','9249bf6e-f3c3-4037-9ff3-30505b7a3660','https://api.heygen.com#ba7816bf8f01','dddd7b5f5d3ca2adf94bbc3dff55c30f9b18462d8e285c2d98af66363e71c737','failed','Hello','a1','v1','[]',1795441387000,1795441387000,4.0,NULL,NULL,'script_too_long','Script too long','https://app.heygen.com/videos/ce9dcb37de5a4d772851c14f7cba62f1','https://files.heygen.ai/files/ce9dcb37de5a4d772851c14f7cba62f1/video?Expires=1796046187&Signature=0','https://files.heygen.ai/files/ce9dcb37de5a4d772851c14f7cba62f1/captioned?Expires=1796046187&Signature=0','https://files.heygen.ai/files/ce9dcb37de5a4d772851c14f7cba62f1/subtitle?Expires=1796046187&Signature=0','https://files.heygen.ai/files/ce9dcb37de5a4d772851c14f7cba62f1/thumbnail?Expires=1796046187&Signature=0','https://files.heygen.ai/files/ce9dcb37de5a4d772851c14f7cba62f1/gif?Expires=1796046187&Signature=0',1795441387838,1764000003000,1795441387515,1795441387838,NULL,1795441387509,0,NULL,1795441387838,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,'/nonexistent/output',NULL,NULL,'{"avatar_id":"a1","script":"Hello","title":"failed","type":"avatar","voice_id":"v1"}');
INSERT INTO "videos" VALUES(4,3,'accepted','waiting',0,'5cb2cbdbce98c22a8b9834d9119dec7d','ac332b76-53bc-439e-8706-2c291d550d5e','https://api.heygen.com#ba7816bf8f01','c6d82126636158949b2b11d2a6ab677787758f6143a35493546dc03007d7360b','rendering','Hello','a1','v1','[]',1795441387000,NULL,4.0,NULL,NULL,NULL,NULL,'https://app.heygen.com/videos/5cb2cbdbce98c22a8b9834d9119dec7d',NULL,'https://files.heygen.ai/files/5cb2cbdbce98c22a8b9834d9119dec7d/captioned?Expires=1796046187&Signature=0','https://files.heygen.ai/files/5cb2cbdbce98c22a8b9834d9119dec7d/subtitle?Expires=1796046187&Signature=0','https://files.heygen.ai/files/5cb2cbdbce98c22a8b9834d9119dec7d/thumbnail?Expires=1796046187&Signature=0','https://files.heygen.ai/files/5cb2cbdbce98c22a8b9834d9119dec7d/gif?Expires=1796046187&Signature=0',1795441387851,1764000004000,1795441387559,1795441387851,NULL,1795441387527,0,NULL,1795441387851,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,'/nonexistent/output',NULL,NULL,'{"avatar_id":"a1","script":"Hello","title":"rendering","type":"avatar","voice_id":"v1"}');
INSERT INTO "videos" VALUES(5,2,'rejected',NULL,1,NULL,'c952c810-30ce-47e6-bc7c-6d1addba5d83','https://api.heygen.com#ba7816bf8f01','4dafb243e9784104bdfe2e1d1833c897e08ae68fa5249aba3777a0cf0c85a0d2','rejected','Hello','a1','v1','[]',NULL,NULL,NULL,NULL,NULL,'invalid_parameter','no such avatar',NULL,NULL,NULL,NULL,NULL,NULL,NULL,1764000005000,1795441387626,NULL,NULL,1795441387615,0,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,'/nonexistent/output',NULL,NULL,'{"avatar_id":"a1","script":"Hello","title":"rejected","type":"avatar","voice_id":"v1"}');
INSERT INTO "videos" VALUES(6,2,'sending',NULL,0,NULL,'c248ccf4-e02d-48e1-a771-c7a528442aa1','https://api.heygen.com#ba7816bf8f01','8c458494c996ea072cab9b8a7c42ed08c69e75d84e1af06e8b7925d2dae41ac4','sending','Hello','a1','v1','[]',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1764000006000,NULL,NULL,1764000000000,1795441387678,1,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,'/nonexistent/output',NULL,NULL,'{"avatar_id":"a1","script":"Hello","title":"sending","type":"avatar","voice_id":"v1"}');
INSERT INTO "videos" VALUES(7,0,'unsent',NULL,0,NULL,'df64a4a6-552e-4d9d-9d7d-40d7178657a9',NULL,'9a3b710cc2a2e5609c3fec7629007db5aa5f8ab895cf511eb459e6ac055b2d99','queued','Hello','a1','v1','[]',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1795441387759,NULL,NULL,NULL,NULL,0,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,'/nonexistent/output',NULL,NULL,'{"avatar_id":"a1","script":"Hello","title":"queued","type":"avatar","voice_id":"v1"}');
INSERT INTO "videos" VALUES(8,5,'unknown',NULL,1,NULL,'c248ccf4-e02d-48e1-a771-c7a528442aa8','https://api.heygen.com#ba7816bf8f01',NULL,'unknown',NULL,NULL,NULL,'[]',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1764000008000,NULL,NULL,1764000008000,NULL,2,NULL,NULL,0,NULL,NULL,'send','unanswered','no answer for 20 h',1764080000000,1764080000000,3,'/nonexistent/output',NULL,NULL,'{"avatar_id":"a1","script":"Hello","title":"unknown"}');
INSERT INTO "videos" VALUES(9,4,'missing','processing',1,'00000000000000000000000000000009',NULL,NULL,NULL,'missing',NULL,NULL,NULL,'["a","b"]',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1764000009000,1764000009000,NULL,NULL,NULL,0,NULL,NULL,0,1764009000000,NULL,NULL,NULL,NULL,NULL,NULL,0,'/nonexistent/output',NULL,NULL,NULL);
CREATE TABLE webhook_counts (
    outcome TEXT PRIMARY KEY CHECK (outcome IN ('accepted', 'duplicate', 'unknown_video', 'other_event')),
    count INTEGER NOT NULL,
    last_at INTEGER NOT NULL
) STRICT;
INSERT INTO "webhook_counts" VALUES('accepted',1,1795441387900);
CREATE TABLE webhooks (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,              -- 'event:ID' from the signed body, else 'sha256:HEX' of the body
    video INTEGER NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
    event_type TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    done_at INTEGER                        -- NULL: pending, nobody has asked HeyGen about the video since
) STRICT;
INSERT INTO "webhooks" VALUES(1,'event:1',4,'avatar_video.success',1795441387900,NULL);
CREATE INDEX videos_unfinished ON videos (id) WHERE finished = 0;
CREATE INDEX videos_outbox ON videos (id) WHERE phase IN ('unsent', 'sending');
CREATE INDEX files_publishing ON files (video) WHERE state = 'publishing';
CREATE INDEX videos_by_status ON videos (status, id);
CREATE INDEX videos_by_body ON videos (body_hash) WHERE body_hash IS NOT NULL;
CREATE INDEX videos_retried ON videos (retry_of) WHERE retry_of IS NOT NULL;
CREATE INDEX events_by_video ON events (video, id);
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
CREATE TRIGGER files_inserted AFTER INSERT ON files BEGIN
    UPDATE videos SET phase = phase WHERE id = NEW.video;
END;
CREATE TRIGGER files_updated AFTER UPDATE OF state ON files BEGIN
    UPDATE videos SET phase = phase WHERE id = NEW.video;
END;
CREATE TRIGGER files_deleted AFTER DELETE ON files BEGIN
    UPDATE videos SET phase = phase WHERE id = OLD.video;
END;
CREATE INDEX hooks_by_video ON hooks (video);
CREATE INDEX webhooks_pending ON webhooks (id) WHERE done_at IS NULL;
CREATE INDEX webhooks_done ON webhooks (done_at) WHERE done_at IS NOT NULL;
CREATE INDEX webhooks_by_video ON webhooks (video);
DELETE FROM sqlite_sequence;
INSERT INTO "sqlite_sequence" VALUES('videos',10);
INSERT INTO "sqlite_sequence" VALUES('events',24);
INSERT INTO "sqlite_sequence" VALUES('hooks',2);
COMMIT;
PRAGMA application_id = 1212634226;
PRAGMA user_version = 3;
