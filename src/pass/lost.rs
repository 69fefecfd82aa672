//! Submissions that nobody answered and that are not repeated any more: the account's list says what they may have
//! become. That HeyGen cannot be asked loses nothing; the row's next check asks again.

use std::time::Instant;

use super::access::may_ask;
use super::{Access, Run};
use crate::decide;
use crate::error::Result;
use crate::heygen::RemoteVideo;
use crate::store::{Store, Tx};
use crate::time;
use crate::video::{Account, Candidate, Kind, RowId, Video};

const MAX_PAGES: usize = 50;
const MAX_TITLE: usize = 200;

/// A row with an unanswered attempt, and the title of its body.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) video: Video,
    title: Option<String>,
    found: Vec<Candidate>,
}

impl Lost {
    /// None where all attempts were answered, or where the row is another account's.
    pub(crate) fn read(tx: &Tx<'_>, row: RowId, account: &Account) -> Result<Option<Self>> {
        let lost = |video: &Video| video.has_unanswered_attempt() && may_ask(account, video);
        let Some(video) = tx.video(row)?.filter(lost) else {
            return Ok(None);
        };
        let title = tx.request(row)?.as_deref().and_then(title_of);
        Ok(Some(Self {
            video,
            title,
            found: Vec::new(),
        }))
    }

    pub(crate) fn may_be(&self, kind: Kind, remote: &RemoteVideo) -> bool {
        self.video.kind.strategy().list == kind.strategy().list
            && decide::may_be(&self.video, self.title.as_deref(), remote)
    }
}

impl Run<'_, '_> {
    pub(super) fn look_for_lost(&mut self, store: &mut Store) -> Result<()> {
        let mut rows = std::mem::take(&mut self.lost);
        rows.sort_unstable();
        rows.dedup();
        // Whoever has no key is told so where one is needed.
        let access = self.access.clone().or_else(|| self.resolve().ok());
        let Some(access) = access.filter(|_| !rows.is_empty() && self.spare(false).is_some())
        else {
            return Ok(());
        };
        let mut lost: Vec<Lost> = Vec::new();
        store.read(|tx| {
            for row in rows {
                let read = Lost::read(tx, row, &access.account)?;
                lost.extend(read.filter(|lost| lost.video.is_lost()));
            }
            Ok(())
        })?;
        while let Some(kind) = lost.first().map(|lost| lost.video.kind) {
            let list = kind.strategy().list;
            let same_list = |lost: &mut Lost| lost.video.kind.strategy().list == list;
            let these = lost.extract_if(.., same_list).collect();
            if let Some(list) = list {
                self.look_in_list(store, &access, (kind, list), these)?;
            }
        }
        Ok(())
    }

    fn look_in_list(
        &mut self,
        store: &mut Store,
        access: &Access,
        (kind, list): (Kind, &str),
        mut lost: Vec<Lost>,
    ) -> Result<()> {
        let begins = lost
            .iter()
            .filter_map(|lost| decide::may_begin(&lost.video));
        let since = begins.map(|window| *window.start()).min();
        let (mut pages, mut whole) = (0, true);
        let deadline = self.options.deadline;
        let read = self.in_time(access).pages(
            |client, token| client.jobs(kind, list, token),
            |page| {
                for lost in &mut lost {
                    let jobs = page.items.iter().filter(|job| lost.may_be(kind, job));
                    let found: Vec<Candidate> = jobs.map(candidate).collect();
                    lost.found.extend(found);
                }
                pages += 1;
                let oldest = page.items.iter().rev().find_map(|remote| remote.created_at);
                // A page without a date says nothing about how far back the list was read.
                whole = oldest
                    .zip(since)
                    .is_some_and(|(oldest, since)| oldest < since);
                if deadline.is_some_and(|at| Instant::now() >= at) {
                    pages = MAX_PAGES;
                }
                Ok(!whole && pages < MAX_PAGES)
            },
        );
        if let Err(problem) = read {
            self.reporter
                .step(&format!("HeyGen's list cannot be read: {problem}"));
            return Ok(());
        }
        whole |= pages < MAX_PAGES;
        let now = time::now();
        store.write(|tx| {
            for Lost {
                video, mut found, ..
            } in lost
            {
                tx.retain_untracked(&mut found)?;
                // What was not seen to its end has nothing to say about what is not there.
                if let Some(video) = tx.video(video.id)?.filter(Video::is_lost)
                    && (whole || !found.is_empty())
                {
                    self.write(tx, decide::looked(&video, found, now))?;
                }
            }
            Ok(())
        })?;
        if self.asked && !self.reporter.is_json() {
            // The command that names the rows says all there is to say about them.
            self.after.said.clear();
        }
        self.committed()
    }
}

fn title_of(body: &str) -> Option<String> {
    let body: serde_json::Value = serde_json::from_str(body).ok()?;
    let title = body.get("title")?.as_str()?;
    (!title.is_empty()).then(|| title.to_owned())
}

fn candidate(remote: &RemoteVideo) -> Candidate {
    let title = remote.title.as_ref();
    Candidate {
        video_id: remote.id.as_str().to_owned(),
        title: title.map(|title| title.chars().take(MAX_TITLE).collect()),
        created_at: remote
            .created_at
            .map_or_else(String::new, |at| at.rfc3339()),
    }
}
