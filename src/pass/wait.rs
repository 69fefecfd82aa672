//! Waiting: the whole pass again and again until the rows are finished or the time is up.

use std::collections::HashMap;
use std::time::{Duration, Instant};
use std::{mem, thread};

use super::report::subject;
use super::{PassOptions, Reporter, Scope};
use crate::config::Environment;
use crate::error::{Exit, Result};
use crate::render::human;
use crate::store::Store;
use crate::time;
use crate::video::{RowId, Video};

const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The last round begins so long before the end, however long the pause before it was to be.
const LAST_ROUND: Duration = Duration::from_millis(900);
/// How many finished videos an estimate is made from, at most.
const USUAL: u32 = 40;
const REASSURE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub(crate) struct Wait {
    pub rows: Option<Vec<RowId>>,
    pub deadline: Option<Instant>,
    /// When a round that is still at it ends.
    pub cut_off: Option<Instant>,
    pub interval: Duration,
}

impl Wait {
    /// The result is the exit code of `--wait`: the last round's trouble, 4 when the time is up, 5 when a video ended
    /// badly; see [`Exit`].
    pub(crate) fn until_finished(
        &self,
        store: &mut Store,
        env: &Environment,
        options: &PassOptions,
        reporter: &mut Reporter<'_>,
    ) -> Result<Exit> {
        let options = PassOptions {
            deadline: self.cut_off,
            ..options.clone()
        };
        let mut pause = self.interval.max(Duration::from_millis(10));
        let mut said = Said::default();
        let mut first = true;
        loop {
            // What was sent before may have taken all the time.
            if self.cut_off.is_none_or(|at| Instant::now() < at) {
                // What failed in the round before is over, or fails again, or was not tried again.
                let tally = &mut reporter.tally;
                let (errors, auth) = (mem::take(&mut tally.errors), mem::take(&mut tally.auth));
                tally.out_of_time = false;
                super::run(store, env, self.scope(store, first)?, &options, reporter)?;
                let tally = &mut reporter.tally;
                if tally.out_of_time {
                    tally.errors = errors.max(tally.errors);
                    tally.auth = tally.auth.take().or(auth);
                }
            }
            first = false;
            let open = self.open(store)?;
            if open.is_empty() {
                reporter.screen.progress.rendering(&[], "");
                break;
            }
            reassure(reporter, &open, &usual(store)?, &mut said);
            let now = Instant::now();
            let left = self
                .deadline
                .map_or(Duration::MAX, |at| at.saturating_duration_since(now));
            thread::sleep(match left.checked_sub(LAST_ROUND) {
                Some(rest) => pause.min(rest),
                None if pause <= left => pause,
                // 3 and 1 win over 4, and 4 over 5.
                None => return Ok(reporter.tally.exit(false).or(Exit::Timeout)),
            });
            pause = pause.mul_f64(1.5).min(LONGEST_PAUSE.max(self.interval));
        }
        Ok(reporter.tally.exit(true))
    }

    fn scope(&self, store: &Store, first: bool) -> Result<Scope> {
        Ok(match &self.rows {
            None => Scope::Unfinished,
            Some(rows) if first => Scope::Asked(rows.clone()),
            Some(_) => Scope::Waited(self.open(store)?.iter().map(|video| video.id).collect()),
        })
    }

    /// What is not finished yet; of everything only as much as one screen shows.
    fn open(&self, store: &Store) -> Result<Vec<Video>> {
        store.read(|tx| match &self.rows {
            None => tx.oldest_unfinished(20),
            Some(rows) => {
                let mut open = Vec::new();
                for row in rows {
                    open.extend(tx.video(*row)?.filter(|video| !video.finished));
                }
                Ok(open)
            }
        })
    }
}

#[derive(Default)]
struct Said {
    at: Option<Instant>,
    words: HashMap<RowId, String>,
}

/// At a terminal: a line per rendering video, moving. Elsewhere: a line when a status changes, and all of them now and
/// then when none does.
fn reassure(reporter: &Reporter<'_>, open: &[Video], usual: &str, said: &mut Said) {
    let now = time::now();
    let elapsed = |video: &Video| now.since(video.began_at());
    if reporter.screen.progress.is_live() {
        let line = |video: &Video| {
            let doing = match video.progress {
                Some(percent) => format!("{} {percent}%", video.status()),
                None => video.status().to_owned(),
            };
            (video.id, subject(video, &doing), elapsed(video))
        };
        let lines: Vec<_> = open.iter().map(line).collect();
        reporter.screen.progress.rendering(&lines, usual);
        return;
    }
    let rendering = || open.iter().filter(|video| video.is_rendering());
    let news =
        |video: &Video| said.words.get(&video.id).map(String::as_str) != Some(video.status());
    let all = said.at.is_none_or(|at| at.elapsed() >= REASSURE);
    for video in rendering().filter(|video| !reporter.screen.json && (all || news(video))) {
        let (doing, elapsed) = (subject(video, video.status()), elapsed(video));
        let elapsed = human::duration(elapsed);
        let note = format!("{doing}, {elapsed} ({usual})");
        reporter.screen.note(&note);
    }
    if all {
        said.at = Some(Instant::now());
    }
    let words = rendering().map(|video| (video.id, video.status().to_owned()));
    said.words = words.collect();
}

fn usual(store: &Store) -> Result<String> {
    let times = store.read(|tx| tx.usual_render_times(USUAL))?;
    Ok(match human::usual(&times) {
        Some(usual) => format!("{usual}, from your last {}", times.count),
        None => "too few finished videos to say how long it takes".to_owned(),
    })
}
