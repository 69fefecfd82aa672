//! The kinds of job as HeyGen shows them, in one table, and the life of a job.

use super::world::{Creation, RenderState};

pub(super) struct Shape {
    /// The word in [`Creation::kind`](super::Creation::kind).
    pub(super) kind: &'static str,
    pub(super) path: &'static [&'static str],
    pub(super) needs: &'static [&'static str],
    /// Any other field is refused, unless this is empty.
    pub(super) only: &'static str,
    /// Whether a repeated `Idempotency-Key` is documented to replay the answer.
    pub(super) replays: bool,
    pub(super) urls: &'static [(&'static str, &'static str)],
    pub(super) bulk: bool,
    pub(super) list: bool,
}

const AGENT_FIELDS: &str = "prompt mode orientation avatar_id voice_id style_id brand_kit_id files \
    callback_url callback_id incognito_mode";

const VIDEO: Shape = Shape {
    kind: "video",
    path: &["videos"],
    needs: &[],
    only: "",
    replays: true,
    urls: &[
        ("video_url", "video"),
        ("captioned_video_url", "captioned"),
        ("subtitle_url", "subtitle"),
        ("thumbnail_url", "thumbnail"),
        ("gif_url", "gif"),
    ],
    bulk: true,
    list: true,
};

pub(super) const SHAPES: [Shape; 6] = [
    VIDEO,
    Shape {
        kind: "template",
        path: &["templates"],
        needs: &["variables"],
        bulk: false,
        list: false,
        ..VIDEO
    },
    Shape {
        kind: "agent",
        path: &["video-agents"],
        needs: &["prompt"],
        only: AGENT_FIELDS,
        replays: false,
        bulk: false,
        ..VIDEO
    },
    Shape {
        kind: "translation",
        path: &["video-translations"],
        needs: &["video", "output_languages"],
        replays: false,
        urls: &[
            ("video_url", "video"),
            ("audio_url", "audio"),
            ("srt_caption_url", "subtitle"),
            ("vtt_caption_url", "vtt"),
        ],
        ..VIDEO
    },
    Shape {
        kind: "lipsync",
        path: &["lipsyncs"],
        needs: &["video", "audio"],
        replays: false,
        urls: &[("video_url", "video"), ("caption_url", "subtitle")],
        ..VIDEO
    },
    Shape {
        kind: "model",
        path: &["models", "videos"],
        urls: &[("video_url", "video")],
        bulk: false,
        list: false,
        ..VIDEO
    },
];

impl Shape {
    pub(super) fn word<'a>(&self, state: &'a RenderState) -> &'a str {
        match (self.kind, state.as_str()) {
            ("translation" | "lipsync", "waiting") => "pending",
            ("translation" | "lipsync", "processing") => "running",
            ("agent", "waiting" | "pending") => "thinking",
            ("agent", "processing") => "generating",
            (_, word) => word,
        }
    }

    /// The word in an answer about many: one for every video that has not begun.
    pub(super) fn bulk_word<'a>(&self, state: &'a RenderState) -> &'a str {
        match (self.kind, state.as_str()) {
            ("video", "waiting" | "pending") => "queued",
            _ => self.word(state),
        }
    }
}

/// The words of a rendering, each until this part of its time is over; prompts ask for the hard way.
pub(super) fn words(job: &Creation) -> &'static [(f64, &'static str)] {
    let prompt = job.body["prompt"].as_str().unwrap_or_default();
    let has = |word| job.kind != "video" && prompt.to_lowercase().contains(word);
    if has("stall") {
        &[(f64::INFINITY, "thinking")]
    } else if has("pause") && job.revived.is_none() {
        &[(0.3, "thinking"), (f64::INFINITY, "waiting_for_input")]
    } else if has("flap") {
        &[
            (0.2, "thinking"),
            (0.5, "failed"),
            (0.7, "thinking"),
            (1.0, "processing"),
        ]
    } else {
        &[(0.1, "waiting"), (0.3, "pending"), (1.0, "processing")]
    }
}
