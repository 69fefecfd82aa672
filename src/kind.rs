//! Every kind of HeyGen job that ends in a file, one [`Strategy`] each. Whatever differs between kinds stands in this
//! table; adding a kind is a row here, the shape of its answer in `heygen::wire`, its stand-in in `sandbox`, and a
//! word in the documents.

use crate::video::Asset;
pub use crate::video::Kind;

/// How HeyGen is asked for one kind of job. Paths are relative to the API's base URL.
#[derive(Debug)]
pub struct Strategy {
    /// Where the body is POSTed; a template's id follows as one more segment.
    pub create: &'static str,
    /// The field of the answer's `data` that names the job; of an array the first element.
    pub id: &'static str,
    /// Where a job is read, followed by its id.
    pub read: &'static str,
    pub bulk: Option<&'static str>,
    pub list: Option<&'static str>,
    pub files: &'static [(&'static str, Asset)],
    /// Whether HeyGen documents that a repeated `Idempotency-Key` replays the first answer. Without that promise an
    /// unanswered POST is never repeated by itself.
    pub replays: bool,
    pub needs: Option<&'static str>,
}

const VIDEO_FILES: &[(&str, Asset)] = &[
    ("video_url", Asset::Video),
    ("captioned_video_url", Asset::Captioned),
    ("subtitle_url", Asset::Subtitle),
    ("thumbnail_url", Asset::Thumbnail),
    ("gif_url", Asset::Gif),
];

const VIDEO: Strategy = Strategy {
    create: "/v3/videos",
    id: "video_id",
    read: "/v3/videos",
    bulk: Some("/v3/videos/statuses"),
    list: Some("/v3/videos"),
    files: VIDEO_FILES,
    replays: true,
    needs: None,
};

/// The answer is a whole video, and from then on it is one.
const TEMPLATE: Strategy = Strategy {
    create: "/v3/templates",
    id: "id",
    needs: Some("variables"),
    ..VIDEO
};

/// The id is the session's. The session has the video's id once there is one; the files are the video's.
const AGENT: Strategy = Strategy {
    create: "/v3/video-agents",
    id: "session_id",
    read: "/v3/video-agents",
    bulk: None,
    list: Some("/v3/video-agents"),
    replays: false,
    needs: Some("prompt"),
    ..VIDEO
};

const TRANSLATION: Strategy = Strategy {
    create: "/v3/video-translations",
    id: "video_translation_ids",
    read: "/v3/video-translations",
    bulk: Some("/v3/video-translations/statuses"),
    list: Some("/v3/video-translations"),
    files: &[
        ("video_url", Asset::Video),
        ("audio_url", Asset::Audio),
        ("srt_caption_url", Asset::Subtitle),
        ("vtt_caption_url", Asset::Vtt),
    ],
    replays: false,
    needs: Some("output_languages"),
};

const LIPSYNC: Strategy = Strategy {
    create: "/v3/lipsyncs",
    id: "lipsync_id",
    read: "/v3/lipsyncs",
    bulk: Some("/v3/lipsyncs/statuses"),
    list: Some("/v3/lipsyncs"),
    files: &[
        ("video_url", Asset::Video),
        ("caption_url", Asset::Subtitle),
    ],
    replays: false,
    needs: Some("audio"),
};

const MODEL: Strategy = Strategy {
    create: "/v3/models/videos",
    read: "/v3/models/videos",
    bulk: None,
    list: None,
    files: &[("video_url", Asset::Video)],
    ..VIDEO
};

impl Kind {
    pub fn strategy(self) -> &'static Strategy {
        match self {
            Self::Video => &VIDEO,
            Self::Agent => &AGENT,
            Self::Template => &TEMPLATE,
            Self::Translation => &TRANSLATION,
            Self::Lipsync => &LIPSYNC,
            Self::Model => &MODEL,
        }
    }

    pub fn has(self, asset: Asset) -> bool {
        self.strategy().files.iter().any(|(_, a)| *a == asset)
    }
}
