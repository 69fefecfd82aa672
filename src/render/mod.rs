//! How rows become text: tables, tickets, TSV, CSV and JSON.
//!
//! Everything here is pure, with one exception: [`screen`] owns stdout and stderr. Text from a server is data
//! wherever a program reads it (JSON, CSV) and sanitized wherever a person does (see [`text`]); JSON is both,
//! because it can spell a dangerous character without containing it.

pub mod csv;
pub mod fields;
mod grid;
pub mod human;
pub mod json;
mod outlet;
pub mod progress;
pub mod screen;
pub mod show;
mod style;
pub mod table;
pub mod text;
pub mod tsv;

#[cfg(test)]
mod samples;

use std::path::{Path, PathBuf};

use crate::time::Timestamp;
use crate::video::{Account, Phase, Video};

/// What a person's rendering depends on besides the rows: handed in, so that rendering stays pure.
#[derive(Clone, Debug)]
pub struct View {
    pub now: Timestamp,
    pub local: human::Local,
    pub width: usize,
    /// Whether long text is broken into lines of that width: at a terminal, but not for `grep`.
    pub wraps: bool,
    pub verbose: bool,
    /// Who asks, as far as that is known without asking HeyGen.
    pub account: Option<Account>,
    /// Directories that need not be spelt out to the person who is looking.
    pub cwd: Option<PathBuf>,
    pub home: Option<PathBuf>,
}

impl View {
    /// Whether `video` waits for a run with another key.
    fn is_another_accounts(&self, video: &Video) -> bool {
        let waits = matches!(video.phase, Phase::Unsent | Phase::Sending);
        let both = video.account.as_ref().zip(self.account.as_ref());
        waits && both.is_some_and(|(owner, account)| !owner.covers(account))
    }

    /// `path` as short as it can be named here; lossy where it is not UTF-8, and not yet sanitized.
    fn shorten(&self, path: &Path) -> String {
        // An empty or root base would make paths longer or ambiguous, not shorter.
        let below = |base: &Option<PathBuf>| {
            let base = base.as_deref().filter(|base| base.parent().is_some())?;
            let rest = path.strip_prefix(base).ok()?.to_string_lossy();
            (!rest.is_empty()).then(|| rest.into_owned())
        };
        let from_home = || below(&self.home).map(|rest| format!("~/{rest}"));
        let short = below(&self.cwd).or_else(from_home);
        short.unwrap_or_else(|| path.to_string_lossy().into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_shortened_below_the_places_only() {
        let view = samples::view(80);
        for (path, short) in [
            ("/home/ada/work/output/a.mp4", "output/a.mp4"),
            ("/home/ada/videos/a.mp4", "~/videos/a.mp4"),
            ("/home/adam/a.mp4", "/home/adam/a.mp4"),
            ("/home/ada/work", "~/work"),
            ("/srv/a.mp4", "/srv/a.mp4"),
        ] {
            assert_eq!(view.shorten(Path::new(path)), short);
        }
    }

    #[test]
    fn a_root_directory_as_home_shortens_nothing() {
        let view = View {
            cwd: Some("/".into()),
            home: Some("".into()),
            ..samples::view(80)
        };
        assert_eq!(view.shorten(Path::new("/srv/a.mp4")), "/srv/a.mp4");
    }
}
