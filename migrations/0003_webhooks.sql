-- Deliveries of `listen` that were accepted: written before the answer, so that a kill after it loses nothing.

CREATE TABLE webhooks (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,              -- 'event:ID' from the signed body, else 'sha256:HEX' of the body
    video INTEGER NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
    event_type TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    done_at INTEGER                        -- NULL: pending, nobody has asked HeyGen about the video since
) STRICT;

CREATE INDEX webhooks_pending ON webhooks (id) WHERE done_at IS NULL;
CREATE INDEX webhooks_done ON webhooks (done_at) WHERE done_at IS NOT NULL;  -- old ones are pruned
CREATE INDEX webhooks_by_video ON webhooks (video);

-- What came of all deliveries that were signed, the ones above included.
CREATE TABLE webhook_counts (
    outcome TEXT PRIMARY KEY CHECK (outcome IN ('accepted', 'duplicate', 'unknown_video', 'other_event')),
    count INTEGER NOT NULL,
    last_at INTEGER NOT NULL
) STRICT;
