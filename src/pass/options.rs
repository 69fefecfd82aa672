//! What a run is about, and how it goes about it.

use std::time::{Duration, Instant};

use crate::locks::Guard;
use crate::video::RowId;

#[derive(Clone, Debug)]
pub(crate) struct PassOptions {
    pub jobs: usize,
    pub download: bool,
    /// How many videos HeyGen may have in work before no further one is sent.
    pub max_active: Option<u64>,
    pub retries: u32,
    pub retry_delay: Duration,
    pub read_timeout: Duration,
    pub budget: Duration,
    /// What was held back waits for a person, although it is named.
    pub keep_held: bool,
    pub hook: Option<String>,
    /// Whether this run also runs the command; otherwise it only notes what is due.
    pub run_hooks: bool,
    pub replace: bool,
    pub deadline: Option<Instant>,
    pub max_size: u64,
}

impl Default for PassOptions {
    fn default() -> Self {
        Self {
            jobs: 16,
            download: true,
            max_active: None,
            retries: 5,
            retry_delay: Duration::from_secs(2),
            read_timeout: Duration::from_secs(60),
            budget: Duration::from_secs(30),
            keep_held: false,
            hook: None,
            run_hooks: true,
            replace: false,
            deadline: None,
            max_size: 64 << 30,
        }
    }
}

#[derive(Debug)]
pub(crate) enum Scope {
    Unfinished,
    Named(Vec<RowId>),
    /// The same, again and again: many rows are asked about at once where that tells enough.
    Waited(Vec<RowId>),
    /// The spacing of replays does not hold them back: a person asked.
    Asked(Vec<RowId>),
    /// Rows just recorded: sent and nothing else. Their send locks were taken before they became visible.
    Fresh(Vec<(RowId, Guard)>),
    /// None: only hooks that are due.
    Hooks,
}
