//! From what was found elsewhere to rows: the same for ids and files, the account and its batches.

use serde::Serialize;

use super::counted;
use crate::commands::Context;
use crate::decide::{self, Observation};
use crate::error::Result;
use crate::heygen::{self, RemoteVideo};
use crate::kind::Kind;
use crate::render::fields::Field;
use crate::render::text;
use crate::rows::load;
use crate::store::{NewVideo, Store, Tx};
use crate::time::Timestamp;
use crate::video::{RowId, Video};

/// Rows read and printed at a time.
const PAGE: usize = 500;
/// More known ids than this are only counted.
const NAMED: usize = 5;

#[derive(Debug)]
pub(super) struct MadeElsewhere {
    pub new: NewVideo,
    /// What HeyGen says, where it was asked: the job, or why it refused the body.
    pub said: Option<Result<RemoteVideo, heygen::ErrorBody>>,
}

impl MadeElsewhere {
    pub(super) fn job(video: Video, said: Option<RemoteVideo>) -> Self {
        Self {
            new: NewVideo {
                video,
                ..NewVideo::default()
            },
            said: said.map(Ok),
        }
    }

    /// By what no other is called.
    fn name(&self) -> String {
        let job = self.new.video.job().map(|job| job.id.to_string());
        job.or_else(|| self.new.request_key.clone())
            .unwrap_or_default()
    }

    fn track(&self, tx: &Tx<'_>, now: Timestamp) -> Result<(Tracked, RowId)> {
        if let Some(row) = tx.known(&self.new)? {
            let known = tx.video(row)?;
            return match known.and_then(|video| decide::named_again(&video)) {
                Some(decision) => tx.apply(&decision, now).map(|_| (Tracked::Again, row)),
                None => Ok((Tracked::Known, row)),
            };
        }
        let row = tx.insert(&self.new, now)?;
        let decision = match (tx.video(row)?, &self.said, &self.new.video.account) {
            (Some(video), Some(Ok(remote)), Some(account)) => {
                let seen = Observation::Detail(remote);
                decide::observed(&video, seen, account, now)
            }
            (Some(video), Some(Err(why)), _) => decide::refused_elsewhere(&video, why),
            _ => return Ok((Tracked::New, row)),
        };
        tx.apply(&decision, now)?;
        Ok((Tracked::New, row))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tracked {
    New,
    /// Nothing changed.
    Known,
    /// It was `missing` and will be asked for again.
    Again,
}

/// Makes rows, or with `--dry-run` shows of what.
pub(super) struct Recorder<'a> {
    context: &'a Context,
    /// What all rows of the command have in common.
    pub base: Video,
    /// With `--dry-run` there may be none.
    pub store: Option<Store>,
    pub dry_run: bool,
    /// With what each is called.
    tracked: Vec<(Tracked, RowId, String)>,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(base: Video, dry_run: bool, context: &'a Context) -> Result<Self> {
        let store = if dry_run {
            context.open_if_there()?
        } else {
            Some(context.open_or_create()?)
        };
        Ok(Self {
            context,
            base,
            store,
            dry_run,
            tracked: Vec::new(),
        })
    }

    pub(super) fn known(&self, found: &MadeElsewhere) -> Result<Option<RowId>> {
        let store = self.store.as_ref();
        store.map_or(Ok(None), |store| store.read(|tx| tx.known(&found.new)))
    }

    /// Records all of these or none of them.
    pub(super) fn record(&mut self, found: &[MadeElsewhere]) -> Result<()> {
        let now = self.base.submitted_at;
        let tracked: Vec<_> = match &mut self.store {
            Some(store) if !self.dry_run => store.write(|tx| {
                found
                    .iter()
                    .map(|one| one.track(tx, now))
                    .collect::<Result<_>>()
            })?,
            _ => return found.iter().try_for_each(|found| self.show(found)),
        };
        let named = tracked.into_iter().zip(found);
        let named = named.map(|((how, row), found)| (how, row, found.name()));
        self.tracked.extend(named);
        Ok(())
    }

    fn show(&mut self, found: &MadeElsewhere) -> Result<()> {
        let (known, video_id) = (self.known(found)?, found.name());
        let how = known.map_or(Tracked::New, |_| Tracked::Known);
        let tracked = (how, known.unwrap_or_default(), video_id.clone());
        self.tracked.push(tracked);
        if known.is_some() {
            return Ok(());
        }
        let row = &found.new.video;
        let (title, submitted_at) = (row.title.as_deref(), row.submitted_at);
        let screen = &self.context.screen;
        if screen.json {
            screen.json_row(&Preview {
                line: "dry_run",
                kind: row.kind,
                video_id,
                title,
                submitted_at,
            });
        } else {
            let title = text::sanitize(title.unwrap_or_default());
            let id = text::sanitize(&video_id);
            screen.row(&format!("{id}\t{submitted_at}\t{title}"));
        }
        Ok(())
    }

    /// Prints the rows like `submit`: a small table on a terminal, `id video_id status` in a pipe, video objects with
    /// `--json`. `named`: somebody wants to hear of each, the known ones too.
    pub(super) fn finish(&self, named: bool) -> Result<()> {
        let shown = self.tracked.iter();
        let shown = shown.filter(|(how, ..)| named || *how != Tracked::Known);
        let rows: Vec<RowId> = shown.map(|(_, row, _)| *row).collect();
        if let Some(store) = self.store.as_ref().filter(|_| !self.dry_run) {
            for page in rows.chunks(PAGE) {
                self.context.print_rows(&load(store, page)?, Field::SUBMIT);
            }
        }
        self.note(named);
        Ok(())
    }

    fn note(&self, named: bool) {
        let screen = &self.context.screen;
        let of = |wanted| self.tracked.iter().filter(move |(how, ..)| *how == wanted);
        let known = of(Tracked::Known).count();
        if named && known <= NAMED {
            for (_, row, name) in of(Tracked::Known) {
                screen.note(&format!("already tracked as {row}: {name}"));
            }
        } else if known > 0 {
            let known = counted(known, "id is", "ids are");
            screen.note(&format!("{known} tracked already"));
        }
        for (_, row, _) in of(Tracked::Again) {
            let note = format!("{row} was missing; tracker check asks for it again");
            screen.note(&note);
        }
        let new = self.tracked.len() - known;
        if self.dry_run {
            screen.note(&format!("{new} would be added; nothing was recorded"));
        } else if screen.err_is_terminal && new > 0 && !self.base.files.is_empty() {
            let videos = counted(new, "video", "videos");
            let dir = self.base.output_dir.display();
            let note = format!("tracker check saves the files of {videos} in {dir}");
            screen.note(&note);
        }
    }
}

#[derive(Serialize)]
struct Preview<'a> {
    #[serde(rename = "type")]
    line: &'static str,
    kind: Kind,
    video_id: String,
    title: Option<&'a str>,
    submitted_at: Timestamp,
}
