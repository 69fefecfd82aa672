//! The kinds of job as HeyGen shows them, in one table, and the life of an agent's session.

use std::time::Duration;

use super::world::RenderState;

pub(super) struct Shape {
    /// The word in [`Creation::kind`](super::Creation::kind).
    pub(super) kind: &'static str,
    /// Below `/v3`.
    pub(super) path: &'static [&'static str],
    pub(super) needs: &'static [&'static str],
    /// Any other field is refused.
    pub(super) only: Option<&'static [&'static str]>,
    /// Whether a repeated `Idempotency-Key` is documented to replay the answer.
    pub(super) replays: bool,
    /// URL fields and the assets behind them.
    pub(super) urls: &'static [(&'static str, &'static str)],
    pub(super) bulk: bool,
    pub(super) list: bool,
}

const AGENT_FIELDS: &[&str] = &[
    "prompt",
    "mode",
    "orientation",
    "avatar_id",
    "voice_id",
    "style_id",
    "brand_kit_id",
    "files",
    "callback_url",
    "callback_id",
    "incognito_mode",
];

const VIDEO: Shape = Shape {
    kind: "video",
    path: &["videos"],
    needs: &[],
    only: None,
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
        only: Some(AGENT_FIELDS),
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

/// Where a session is after `age` of a rendering that takes `total`, for prompts that ask for the hard way.
pub(super) fn life(
    prompt: &str,
    answered: bool,
    age: Duration,
    total: Duration,
) -> Option<RenderState> {
    let has = |word: &str| prompt.to_lowercase().contains(word);
    let part = age.as_secs_f64() / total.as_secs_f64().max(f64::EPSILON);
    let words: &[(f64, &str)] = if has("stall") {
        &[(f64::MAX, "thinking")]
    } else if has("pause") && !answered {
        &[(0.3, "thinking"), (f64::MAX, "waiting_for_input")]
    } else if has("flap") {
        &[
            (0.2, "thinking"),
            (0.5, "failed"),
            (0.7, "thinking"),
            (1.0, "processing"),
        ]
    } else {
        return None;
    };
    let word = words.iter().find(|(until, _)| part < *until)?.1;
    Some(RenderState::Word(word.to_owned()))
}
