//! Files: what a saved, refused, vanished, never-appearing or withheld file means for its row.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use super::{Decision, Entry, record_failure};
use crate::download::Finished;
use crate::error::code;
use crate::event::{Edit, Event, Failure, SavedFile};
use crate::time::Timestamp;

use crate::video::{Asset, File, FileState, Operation, Part, RowId, Video};

/// An asset without a URL this long after the end of rendering will not get one.
const UNAVAILABLE_AFTER: Duration = Duration::from_secs(3600);

/// A file that is refused is tried this often at least,
const TRIES: i64 = 20;
/// and for this long, before it is given up. The video is what was paid for.
const ASSET_PATIENCE: Duration = Duration::from_secs(24 * 3600);
const VIDEO_PATIENCE: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Clone, Debug)]
pub(crate) enum FileFact {
    /// What is durable under a part name, or that nothing is.
    Part(Option<Part>),
    /// Complete and durable under its part name; the rename comes next.
    Complete(Finished),
    Saved {
        repaired: bool,
    },
    Lost,
    Failed {
        failure: Failure,
        report: bool,
        /// By whoever serves the file, not by this machine: what goes on for too long is given up.
        refused: bool,
    },
    Gone(&'static str),
}

/// What a fact about the file of `asset` means. A file in a state that the fact does not fit stays as it is.
pub(crate) fn file(video: &Video, asset: Asset, fact: FileFact, now: Timestamp) -> Decision {
    let mut decision = Decision::new(video);
    let Some(file) = video.file(asset).cloned() else {
        return decision;
    };
    let fits = match fact {
        FileFact::Part(_) | FileFact::Complete(_) | FileFact::Failed { .. } => file.state.is_open(),
        FileFact::Saved { .. } | FileFact::Lost => file.state == FileState::Publishing,
        FileFact::Gone(_) => file.state == FileState::Saved,
    };
    if fits {
        decision.take_in(file, fact, now);
    }
    decision
}

/// The user wants files that are not there and intact, perhaps in another directory. What is half fetched goes on
/// where it stopped, unless it has to be somewhere else.
pub(crate) fn want_again(video: &Video, assets: &[Asset], moved_to: Option<&Path>) -> Decision {
    let mut decision = Decision::new(video);
    if let Some(dir) = moved_to {
        dir.clone_into(&mut decision.video.output_dir);
        decision.changed = true;
        decision.event(Event::Edited(Edit {
            output_dir: Some(dir.to_string_lossy().into_owned()),
            ..Edit::default()
        }));
    }
    for &asset in assets {
        let open = video.file(asset).is_some_and(|file| file.state.is_open());
        if moved_to.is_some() || !open {
            decision.put_file(File::wanted(asset));
        }
    }
    decision
}

fn saved_event(file: &File, repaired: bool) -> Option<Event> {
    let saved = SavedFile {
        asset: file.asset,
        path: file.path.as_ref()?.to_string_lossy().into_owned(),
        bytes: file.bytes?,
        sha256: file.sha256.clone()?,
    };
    Some(if repaired {
        Event::Repaired(saved)
    } else {
        Event::Saved(saved)
    })
}

/// The files of a completed row that can be fetched: open ones that have a URL. What is complete needs no URL, only
/// its name.
pub(crate) fn to_fetch(video: &Video) -> Vec<Asset> {
    let files = video.files.iter().filter(|_| video.is_completed());
    let files = files.filter(|file| is_lacking(file) && video.urls.contains_key(&file.asset));
    files.map(|file| file.asset).collect()
}

fn is_lacking(file: &File) -> bool {
    matches!(file.state, FileState::Wanted | FileState::Partial)
}

fn unfinished(file: File, part: Option<Part>) -> File {
    File {
        state: match part {
            None => FileState::Wanted,
            Some(_) => FileState::Partial,
        },
        part,
        path: None,
        bytes: None,
        sha256: None,
        ..file
    }
}

impl Decision {
    fn take_in(&mut self, mut file: File, fact: FileFact, now: Timestamp) {
        let asset = file.asset;
        match fact {
            FileFact::Part(part) => {
                let bytes = |part: &Option<Part>| part.as_ref().map_or(0, |part| part.bytes);
                if bytes(&part) > bytes(&file.part) {
                    // It comes, however slowly.
                    file.first_failed_at = None;
                }
                self.put_file(unfinished(file, part));
            }
            FileFact::Complete(finished) => self.put_file(File {
                state: FileState::Publishing,
                part: Some(Part {
                    name: finished.part_name,
                    bytes: finished.bytes,
                    sha256: finished.sha256.clone(),
                    etag: file.part.and_then(|part| part.etag),
                    total: Some(finished.bytes),
                }),
                path: Some(finished.path),
                bytes: Some(finished.bytes),
                sha256: Some(finished.sha256),
                ..file
            }),
            FileFact::Saved { repaired } => {
                let saved = saved_event(&file, repaired);
                self.events.extend(saved.map(Entry::new));
                self.put_file(File {
                    state: FileState::Saved,
                    part: None,
                    saved_at: Some(now),
                    attempts: 0,
                    first_failed_at: None,
                    ..file
                });
                self.files_settled();
            }
            FileFact::Lost => {
                self.put_file(unfinished(file, None));
                let what = "the finished part is gone; it is fetched again";
                self.event(Event::Lost { asset, what });
            }
            FileFact::Failed {
                failure,
                report,
                refused,
            } => self.file_failed(file, failure, report, refused, now),
            FileFact::Gone(why) => {
                let path = file.path.as_deref().map(Path::to_string_lossy);
                let path = path.map(Cow::into_owned);
                self.event(Event::Gone { asset, why, path });
                file.state = FileState::Gone;
                self.put_file(file);
            }
        }
    }

    /// What HeyGen's answer about a completed row means for its open files without a URL: long after the end they are
    /// not waited for.
    pub(super) fn judge_files(&mut self, now: Timestamp) {
        let ended = self.video.ended_at;
        // It may be a little behind.
        let long_over = ended.is_some_and(|at| now.since(at) >= UNAVAILABLE_AFTER);
        if !self.video.is_completed() || !long_over {
            return;
        }
        let mut given_up = false;
        for file in self.video.files.clone() {
            if !is_lacking(&file) || self.video.urls.contains_key(&file.asset) {
                continue;
            }
            if file.asset == Asset::Video {
                let why = "completed over an hour ago, and HeyGen still gives no link to the video";
                let failure = Failure {
                    asset: Some(file.asset),
                    ..Failure::local(Operation::Save, code::DOWNLOAD_FAILED, why)
                };
                self.file_failed(file, failure, true, true, now);
            } else {
                self.give_up(file, None);
                given_up = true;
            }
        }
        if given_up {
            self.files_settled();
        }
    }

    /// What is refused for long enough is given up, so that its row can finish.
    fn file_failed(
        &mut self,
        mut file: File,
        failure: Failure,
        report: bool,
        refused: bool,
        now: Timestamp,
    ) {
        file.attempts = file.attempts.saturating_add(1);
        if refused {
            // One in the future means that the clock went back.
            file.first_failed_at = file.first_failed_at.filter(|at| *at <= now).or(Some(now));
        }
        let patience = match file.asset {
            Asset::Video => VIDEO_PATIENCE,
            _ => ASSET_PATIENCE,
        };
        let long = file
            .first_failed_at
            .is_some_and(|first| now.since(first) >= patience);
        let over = refused && long && file.attempts >= TRIES;
        // What is complete only lacks its name.
        if over && file.state != FileState::Publishing {
            let id = self.video.id;
            let since = file.first_failed_at.unwrap_or(now);
            let why = format!(
                "{}; given up after {} tries in {} days, `tracker download {id}` asks again",
                failure.message,
                file.attempts,
                now.since(since).as_secs() / 86_400
            );
            self.give_up(file, Some(why));
            // Its error is not over but understood.
            if !self.is_in_trouble() {
                self.drop_error(Operation::Save);
            }
            return;
        }
        self.put_file(file);
        if report {
            record_failure(self, failure, now);
        }
    }

    /// They are another video's now: nothing goes on from the parts that are here, which go when that one's begin.
    pub(super) fn begin_anew(&mut self) {
        for mut file in self.video.files.clone() {
            if is_lacking(&file) {
                (file.attempts, file.first_failed_at) = (0, None);
                file.part.iter_mut().for_each(|part| part.etag = None);
                self.put_file(file);
            }
        }
    }

    /// What is not here yet cannot be had; without a reason, since HeyGen does not have the video any more.
    pub(super) fn give_up_files(&mut self) {
        for file in self.video.files.clone() {
            if is_lacking(&file) {
                self.give_up(file, None);
            }
        }
    }

    pub(super) fn leave_files_to(&mut self, row: RowId) {
        let before = self.events.len();
        self.give_up_files();
        for entry in &mut self.events[before..] {
            if let Event::Unavailable { why, elsewhere, .. } = &mut entry.event {
                (*why, *elsewhere) = (Some(format!("row {row} has its video")), true);
            }
        }
    }

    fn give_up(&mut self, file: File, why: Option<String>) {
        self.event(Event::Unavailable {
            asset: file.asset,
            why,
            elsewhere: false,
        });
        self.stale_parts
            .extend(file.part.as_ref().map(|part| part.name.clone()));
        self.put_file(File {
            state: FileState::Unavailable,
            ..file
        });
    }

    fn is_in_trouble(&self) -> bool {
        let mut files = self.video.files.iter();
        files.any(|file| file.state.is_open() && file.attempts > 0)
    }

    /// A file is not waited for any more: was it the one in trouble?
    fn files_settled(&mut self) {
        if !self.is_in_trouble() {
            self.works(Operation::Save);
        }
    }

    fn put_file(&mut self, file: File) {
        if !self.files.contains(&file.asset) {
            self.files.push(file.asset);
        }
        let files = &mut self.video.files;
        match files.iter_mut().find(|known| known.asset == file.asset) {
            Some(known) => *known = file,
            None => files.push(file),
        }
        files.sort_by_key(|file| file.asset);
    }
}

#[cfg(test)]
mod tests;
