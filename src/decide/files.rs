//! Files: what a saved, refused, vanished, never-appearing or withheld file means for its row.

use std::path::Path;
use std::time::Duration;

use super::{Decision, Entry, record_failure};
use crate::download::Finished;
use crate::event::{Event, Failure};
use crate::time::Timestamp;
use crate::video::{Asset, File, FileState, Operation, Part, Video};

/// An asset without a URL this long after the end of rendering will not get one.
const UNAVAILABLE_AFTER: Duration = Duration::from_secs(3600);

/// What was learnt about one file of a row.
#[derive(Clone, Debug)]
pub enum FileFact {
    /// What is durable under a part name, or that nothing is.
    Part(Option<Part>),
    /// Complete and durable under its part name; the rename comes next.
    Complete(Finished),
    /// Durable under its final name.
    Saved {
        /// By finishing what an earlier run left.
        repaired: bool,
    },
    /// It was complete, and is neither under its part name nor under its final name.
    Lost,
    /// Not this time. Without a failure the row's own error stays as it is.
    Failed(Option<Failure>),
    /// A saved file is not what it was.
    Gone(&'static str),
}

/// What a fact about the file of `asset` means. A file in a state that the fact does not fit stays as it is.
pub fn file(video: &Video, asset: Asset, fact: FileFact, now: Timestamp) -> Decision {
    let mut decision = Decision::new(video);
    let Some(mut file) = video.file(asset).cloned() else {
        return decision;
    };
    let state = file.state;
    match fact {
        FileFact::Part(part) if state.is_open() => {
            let state = match part {
                Some(_) => FileState::Partial,
                None => FileState::Wanted,
            };
            decision.put_file(File {
                state,
                part,
                path: None,
                bytes: None,
                sha256: None,
                ..file
            });
        }
        FileFact::Complete(finished) if state.is_open() => {
            decision.put_file(File {
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
            });
        }
        FileFact::Saved { repaired } if state == FileState::Publishing => {
            decision
                .events
                .extend(saved_event(&file, repaired).map(Entry::new));
            decision.put_file(File {
                state: FileState::Saved,
                part: None,
                saved_at: Some(now),
                attempts: 0,
                ..file
            });
            decision.files_settled();
        }
        FileFact::Lost if state == FileState::Publishing => {
            decision.put_file(File {
                state: FileState::Wanted,
                part: None,
                path: None,
                bytes: None,
                sha256: None,
                ..file
            });
            decision.event(Event::Lost {
                asset,
                what: "the finished part is gone; it is fetched again",
            });
        }
        FileFact::Failed(failure) if state.is_open() => {
            file.attempts = file.attempts.saturating_add(1);
            decision.put_file(file);
            if let Some(failure) = failure {
                record_failure(&mut decision, failure, now);
            }
        }
        FileFact::Gone(why) if state == FileState::Saved => {
            decision.event(Event::Gone {
                asset,
                why,
                path: file
                    .path
                    .as_ref()
                    .map(|path| path.to_string_lossy().into_owned()),
            });
            file.state = FileState::Gone;
            decision.put_file(file);
        }
        FileFact::Part(_)
        | FileFact::Complete(_)
        | FileFact::Saved { .. }
        | FileFact::Lost
        | FileFact::Failed(_)
        | FileFact::Gone(_) => {}
    }
    decision
}

/// The user wants files that are not there and intact, perhaps in another directory. What is half fetched goes on
/// where it stopped, unless it has to be somewhere else.
pub fn want_again(video: &Video, assets: &[Asset], moved_to: Option<&Path>) -> Decision {
    let mut decision = Decision::new(video);
    if let Some(dir) = moved_to {
        dir.clone_into(&mut decision.video.output_dir);
        decision.changed = true;
        decision.event(Event::Edited {
            from: None,
            by: None,
            output_dir: Some(dir.to_string_lossy().into_owned()),
            title: None,
            tags: None,
        });
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
    let asset = file.asset;
    let path = file.path.as_ref()?.to_string_lossy().into_owned();
    let (bytes, sha256) = (file.bytes?, file.sha256.clone()?);
    Some(if repaired {
        Event::Repaired {
            asset,
            path,
            bytes,
            sha256,
        }
    } else {
        Event::Saved {
            asset,
            path,
            bytes,
            sha256,
        }
    })
}

/// The files of a completed row that can be fetched: open ones that have a URL. What is complete needs no URL, only
/// its name.
pub fn to_fetch(video: &Video) -> Vec<Asset> {
    let open = |file: &&File| matches!(file.state, FileState::Wanted | FileState::Partial);
    let files = video.files.iter().filter(|_| video.is_completed());
    files
        .filter(open)
        .map(|file| file.asset)
        .filter(|&asset| video.urls.get(asset).is_some())
        .collect()
}

impl Decision {
    /// What HeyGen's answer about a completed row means for its open files without a URL: long after the end they are
    /// not waited for.
    pub(super) fn judge_files(&mut self, now: Timestamp) {
        if !self.video.is_completed() {
            return;
        }
        let long_over = self
            .video
            .ended_at
            .is_some_and(|at| now.since(at) >= UNAVAILABLE_AFTER);
        let mut given_up = false;
        for file in self.video.files.clone() {
            let open = matches!(file.state, FileState::Wanted | FileState::Partial);
            // It may be a little behind.
            if !open || !long_over || self.video.urls.get(file.asset).is_some() {
                continue;
            }
            if file.asset == Asset::Video {
                self.withheld(file, now);
            } else {
                self.give_up(file, None);
                given_up = true;
            }
        }
        if given_up {
            self.files_settled();
        }
    }

    /// HeyGen says that a video is completed and gives no link to it, hours later.
    fn withheld(&mut self, mut file: File, now: Timestamp) {
        file.attempts = file.attempts.saturating_add(1);
        let mut failure = Failure::local(
            Operation::Save,
            "download_failed",
            "completed over an hour ago, and HeyGen still gives no link to the video",
        );
        failure.asset = Some(file.asset);
        self.put_file(file);
        record_failure(self, failure, now);
    }

    /// HeyGen does not have the video any more: what is not here yet cannot be had.
    pub(super) fn give_up_files(&mut self) {
        for file in self.video.files.clone() {
            if matches!(file.state, FileState::Wanted | FileState::Partial) {
                self.give_up(file, None);
            }
        }
    }

    fn give_up(&mut self, file: File, why: Option<String>) {
        self.event(Event::Unavailable {
            asset: file.asset,
            why,
        });
        self.stale_parts
            .extend(file.part.as_ref().map(|part| part.name.clone()));
        self.put_file(File {
            state: FileState::Unavailable,
            ..file
        });
    }

    /// A file is not waited for any more: was it the one in trouble?
    fn files_settled(&mut self) {
        let in_trouble = |file: &File| file.state.is_open() && file.attempts > 0;
        if !self.video.files.iter().any(in_trouble) {
            let before = self.video.last_error.is_some();
            self.works(Operation::Save);
            self.changed |= before != self.video.last_error.is_some();
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
