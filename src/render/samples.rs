//! Rows for the tests of this module: one of each fate, all on the afternoon of 2025-11-24 (UTC).

use std::time::Duration;

use chrono::FixedOffset;
use serde_json::json;

use crate::event::TimelineEntry;
use crate::render::{View, human};
use crate::time::Timestamp;
use crate::video::{
    Account, Asset, File, FileState, IdempotencyKey, LastError, Part, Phase, RemoteStatus, RowId,
    Video, VideoId,
};

/// A title that clears the screen, rewrites the window title, forges a row, runs backwards and hides a space.
pub(super) const HOSTILE: &str = "=cmd\x1b[2J\x1b]0;pwned\x07 two\nlines\ttab \u{202e}gpj.exe\u{202c} \u{9b}31m \u{200b}日本語 ❤️ \"q\", end";

pub(super) const REQUEST: &str =
    "{\"type\": \"avatar\",\n \"script\": \"Hi\\nthere\", \"z\": 1, \"a\": [1.50, {}]}";

/// Some minutes after 13:00 UTC.
pub(super) fn minute(minutes: u64) -> Timestamp {
    Timestamp::from_secs(1_763_989_200).after(Duration::from_secs(minutes * 60))
}

/// Three hours later, in Zürich, at Ada's.
pub(super) fn view(width: usize) -> View {
    View {
        now: minute(180),
        local: |at| human::in_zone(at, &FixedOffset::east_opt(3600).unwrap()),
        width,
        wraps: true,
        verbose: false,
        account: None,
        cwd: Some("/home/ada/work".into()),
        home: Some("/home/ada".into()),
    }
}

fn row(id: i64, phase: Phase, status: Option<&str>) -> Video {
    Video {
        id: RowId(id),
        rev: 1,
        phase,
        remote_status: status.map(RemoteStatus::new),
        outcome: status.and_then(|word| word.parse().ok()),
        video_id: status.and_then(|_| VideoId::new(format!("{id:04x}c0ffee"))),
        idempotency_key: Some(IdempotencyKey::stored("key-1".to_owned())),
        account: Some(Account::new("https://api.heygen.com#0123abcd".to_owned())),
        submitted_at: minute(0),
        output_dir: "/home/ada/work/output".into(),
        files: vec![file(Asset::Video, FileState::Wanted)],
        ..Video::default()
    }
}

fn file(asset: Asset, state: FileState) -> File {
    File {
        asset,
        state,
        path: None,
        part: None,
        bytes: None,
        sha256: None,
        saved_at: None,
        attempts: 0,
        first_failed_at: None,
    }
}

pub(super) fn saved() -> Video {
    let mut video = row(1, Phase::Accepted, Some("completed"));
    video.finished = true;
    video.video_id = VideoId::new("5e0a7c");
    video.title = Some("Launch teaser".to_owned());
    video.script = Some("Hello\nworld".to_owned());
    video.tags = vec!["launch".to_owned(), "en".to_owned()];
    video.created_at = Some(minute(0));
    video.accepted_at = Some(minute(0));
    video.completed_at = Some(minute(6));
    video.last_checked_at = Some(minute(10));
    video.check_count = 3;
    video.duration = Some(42.5);
    video.video_page_url = Some("https://app.heygen.com/videos/5e0a7c".to_owned());
    video.urls.insert(
        Asset::Video,
        "https://files.heygen.ai/5e0a7c.mp4?Signature=abc".to_owned(),
    );
    video.urls_at = Some(minute(10));
    video.files[0] = File {
        path: Some("/home/ada/work/output/5e0a.mp4".into()),
        bytes: Some(14_200_000),
        sha256: Some("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned()),
        saved_at: Some(minute(11)),
        ..file(Asset::Video, FileState::Saved)
    };
    video
        .files
        .push(file(Asset::Subtitle, FileState::Unavailable));
    video
}

pub(super) fn failed() -> Video {
    let mut video = row(2, Phase::Accepted, Some("failed"));
    video.finished = true;
    video.title = Some("Quarterly results for everyone".to_owned());
    video.created_at = Some(minute(1));
    video.accepted_at = Some(minute(1));
    video.ended_at = Some(minute(4));
    video.last_checked_at = Some(minute(4));
    video.check_count = 1;
    video.failure_code = Some("script_too_long".to_owned());
    video.failure_message = Some("Script too long for selected avatar".to_owned());
    video
}

pub(super) fn rendering() -> Video {
    let mut video = row(3, Phase::Accepted, Some("processing"));
    video.title = Some("Onboarding, part 1".to_owned());
    video.submitted_at = minute(174);
    video
}

pub(super) fn unsent() -> Video {
    let mut video = row(4, Phase::Unsent, None);
    video.title = Some("Onboarding, part 2".to_owned());
    video.submitted_at = minute(175);
    video.last_error = Some(LastError {
        operation: crate::video::Operation::Poll,
        code: "insufficient_credit".to_owned(),
        message: "HeyGen refused for now: not enough credit".to_owned(),
        request_id: Some("req-42".to_owned()),
        at: minute(176),
        notified_at: None,
        count: 2,
    });
    video
}

pub(super) fn stalled() -> Video {
    let mut video = row(5, Phase::Accepted, Some("processing"));
    video.title = Some("新製品のご案内".to_owned());
    video.accepted_at = Some(minute(0));
    video.stalled_at = Some(minute(60));
    video
}

pub(super) fn unknown() -> Video {
    let mut video = row(6, Phase::Unknown, None);
    video.finished = true;
    video
}

pub(super) fn downloading() -> Video {
    let mut video = row(7, Phase::Accepted, Some("completed"));
    video.title = Some("Keynote".to_owned());
    video.submitted_at = minute(100);
    video.files[0] = File {
        part: Some(Part {
            name: ".x.part".to_owned(),
            bytes: 45_000_000,
            sha256: String::new(),
            etag: None,
            total: Some(90_000_000),
        }),
        ..file(Asset::Video, FileState::Partial)
    };
    video
}

/// Every piece of text that others write is hostile.
pub(super) fn hostile() -> Video {
    let mut video = row(123_456, Phase::Accepted, Some("pro\x1b[31mcess\u{202e}ing"));
    let text = || Some(HOSTILE.to_owned());
    video.video_id = VideoId::new("../\x1b]8;;x\x07\n");
    video.title = text();
    video.script = text();
    video.tags = vec![HOSTILE.to_owned()];
    video.folder_id = text();
    video.failure_code = text();
    video.failure_message = text();
    video.urls.extend(text().map(|url| (Asset::Video, url)));
    video.video_page_url = text();
    video.output_dir = "/tmp/a\tb\n\x1b[2J".into();
    video.retry_of = Some(RowId(1));
    video.last_error = Some(LastError {
        operation: crate::video::Operation::Poll,
        code: "network\x1b_error".to_owned(),
        message: HOSTILE.to_owned(),
        request_id: None,
        at: minute(9),
        notified_at: None,
        count: 1,
    });
    video
}

pub(super) fn all() -> Vec<Video> {
    vec![
        hostile(),
        downloading(),
        unknown(),
        stalled(),
        unsent(),
        rendering(),
        failed(),
        saved(),
    ]
}

pub(super) fn timeline() -> Vec<TimelineEntry> {
    let event = |minutes, kind: &str, count, detail| TimelineEntry {
        at: minute(minutes),
        kind: kind.to_owned(),
        count,
        detail,
    };
    vec![
        event(0, "recorded", 1, json!({})),
        event(
            1,
            "accepted",
            1,
            json!({"video_id": "0002c0ffee", "status": 201}),
        ),
        event(
            2,
            "error",
            3,
            json!({"code": "network_error", "message": "timed out \x1b[2J", "request_id": null}),
        ),
        event(
            4,
            "status",
            1,
            json!({"from": "processing", "to": "failed", "x": {"y": [1]}}),
        ),
    ]
}
