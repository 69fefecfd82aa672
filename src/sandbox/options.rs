//! How a stand-in is set up.

use std::time::Duration;

use super::webhooks::Webhook;
use crate::video::Asset;

/// What moves a video from `waiting` to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Render {
    /// The sandbox clock: `waiting`, `pending`, `processing`, and the end after this long.
    After(Duration),
    /// The test, with [`super::Sandbox::finish`] and its kin; until then videos are `pending`.
    Manual,
}

/// Settings of one stand-in; the default suits tests.
#[derive(Clone, Debug)]
pub struct Options {
    /// Port of the API; 0 takes any free one.
    pub api_port: u16,
    /// Port of the file host; 0 takes any free one.
    pub files_port: u16,
    /// The API key of the first account, which also owns videos "made elsewhere".
    pub key: String,
    /// One more account each: they see neither each other's videos nor each other's idempotency keys.
    pub other_keys: Vec<String>,
    /// What makes renderings progress.
    pub render: Render,
    /// Real time between the work and the answer of every API request.
    pub latency: Duration,
    /// Most API requests a second; further ones are answered 429 with [`Options::retry_after`] and not carried out.
    pub rate_limit: Option<u32>,
    /// Bytes of each MP4, if it fits into so few.
    pub file_size: u64,
    /// With `Some(k)`, every k-th video that is bought fails to render.
    pub fail_every: Option<u32>,
    /// The share of videos that fail to render, by a generator seeded with `seed`.
    pub fail_rate: f64,
    /// Videos whose title or script contains the word "fail" fail to render.
    pub fail_on_word: bool,
    /// Seeds video ids and `fail_rate`; `None` is different every time.
    pub seed: Option<u64>,
    /// Most unfinished videos of one account; past it a POST is answered 429.
    pub max_rendering: Option<usize>,
    /// What `Retry-After` says when there are too many videos or requests, in seconds.
    pub retry_after: u32,
    /// Files a completed video has; the URLs of others are null.
    pub assets: Vec<Asset>,
    /// For the first n GETs of a completed video its URLs are still null.
    pub gets_without_urls: u32,
    /// How long a minted URL works.
    pub url_lifetime: Duration,
    /// How long a video is kept after its creation; `None` is for ever.
    pub retention: Option<Duration>,
    /// How many of the latest requests and deliveries are remembered; a long-running stand-in needs a bound.
    pub keep_requests: usize,
    /// Who is told when a video of the first account ends.
    pub webhook: Option<Webhook>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            api_port: 0,
            files_port: 0,
            key: "sandbox-key".to_owned(),
            other_keys: Vec::new(),
            render: Render::After(Duration::ZERO),
            latency: Duration::ZERO,
            rate_limit: None,
            file_size: 64 * 1024,
            fail_every: None,
            fail_rate: 0.0,
            fail_on_word: false,
            seed: None,
            max_rendering: None,
            retry_after: 1,
            assets: Asset::ALL.to_vec(),
            gets_without_urls: 0,
            url_lifetime: Duration::from_secs(7 * 24 * 60 * 60),
            retention: None,
            keep_requests: usize::MAX,
            webhook: None,
        }
    }
}
