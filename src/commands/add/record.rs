//! From what was found elsewhere to rows: the same for ids and files, the account and its batches.

use std::fmt;

use serde::Serialize;

use super::{Args, counted};
use crate::commands::Context;
use crate::commands::file_options::WantedFiles;
use crate::decide::{self, Observation};
use crate::error::Result;
use crate::heygen::{self, RemoteVideo};
use crate::import::Made;
use crate::kind::Kind;
use crate::pass::Lost;
use crate::render::fields::Field;
use crate::render::text;
use crate::rows::load;
use crate::store::{NewVideo, Store, Tx};
use crate::time::{self, Timestamp};
use crate::video::{Account, File, RowId, Video};

/// Rows read and printed at a time.
const PAGE: usize = 500;
/// More known ids than this are only counted.
const NAMED: usize = 5;

#[derive(Debug)]
pub(super) enum MadeElsewhere {
    /// A job, and what HeyGen says of it, where it was asked.
    Job(Made, Option<Box<RemoteVideo>>),
    /// A body that HeyGen refused, by a name that no other has.
    Refused(String, heygen::ErrorBody),
}

impl MadeElsewhere {
    pub(super) fn listed(kind: Kind, remote: RemoteVideo) -> Self {
        let made = Made {
            kind: Some(kind),
            title: remote.title.clone(),
            created_at: remote.created_at,
            ..Made::new(remote.id.clone())
        };
        Self::Job(made, Some(Box::new(remote)))
    }
}

impl fmt::Display for MadeElsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job(made, _) => made.video_id.fmt(f),
            Self::Refused(name, _) => name.fmt(f),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tracked {
    New(RowId),
    /// Nothing changed.
    Known(RowId),
    /// It was `missing` and will be asked for again.
    Again(RowId),
}

impl Tracked {
    fn row(self) -> RowId {
        match self {
            Self::New(row) | Self::Known(row) | Self::Again(row) => row,
        }
    }

    fn is_known(self) -> bool {
        matches!(self, Self::Known(_))
    }
}

/// What all rows of one command have in common.
#[derive(Debug)]
pub(super) struct RowDefaults {
    kind: Kind,
    tags: Vec<String>,
    files: WantedFiles,
    /// Where it is certain.
    account: Option<Account>,
    now: Timestamp,
}

impl RowDefaults {
    pub(super) fn new(args: &Args, account: Option<Account>, context: &Context) -> Result<Self> {
        Ok(Self {
            kind: args.kind.unwrap_or_default(),
            tags: args.tag.iter().map(|tag| tag.trim().to_owned()).collect(),
            files: args.files.resolve(context)?,
            account,
            now: time::now(),
        })
    }

    fn new_video(&self, found: &MadeElsewhere) -> NewVideo {
        let video = Video {
            account: self.account.clone(),
            tags: self.tags.clone(),
            submitted_at: self.now,
            output_dir: self.files.output_dir.clone(),
            name_template: self.files.name_template.clone(),
            ..Video::default()
        };
        let (made, seen) = match found {
            MadeElsewhere::Job(made, seen) => (made, seen.as_ref()),
            MadeElsewhere::Refused(name, _) => {
                return NewVideo {
                    video,
                    request_key: Some(name.clone()),
                    ..NewVideo::default()
                };
            }
        };
        let kind = made.kind.unwrap_or(self.kind);
        let id = Some(made.video_id.clone());
        let its_video = || seen?.session.as_ref()?.video_id.clone();
        let (session_id, video_id) = match kind {
            Kind::Agent => (id, its_video()),
            _ => (None, id),
        };
        let assets = self.files.assets.iter().copied();
        let video = Video {
            kind,
            session_id,
            video_id,
            title: made.title.clone(),
            script: made.script.clone(),
            avatar_id: made.avatar_id.clone(),
            voice_id: made.voice_id.clone(),
            // Whatever another clock said, nothing was submitted later than now.
            submitted_at: made.created_at.map_or(self.now, |at| at.min(self.now)),
            files: (assets.filter(|asset| kind.has(*asset)).map(File::wanted)).collect(),
            ..video
        };
        NewVideo {
            video,
            ..NewVideo::default()
        }
    }

    fn track(&self, tx: &Tx<'_>, found: &MadeElsewhere) -> Result<Tracked> {
        let new = self.new_video(found);
        if let Some(row) = tx.known(&new)? {
            let known = tx.video(row)?;
            return match known.and_then(|video| decide::named_again(&video)) {
                Some(decision) => tx.apply(&decision, self.now).map(|_| Tracked::Again(row)),
                None => Ok(Tracked::Known(row)),
            };
        }
        let row = tx.insert(&new, self.now)?;
        let decision = match (tx.video(row)?, found, &self.account) {
            (Some(video), MadeElsewhere::Job(_, Some(remote)), Some(account)) => {
                let seen = Observation::Detail(remote);
                Some(decide::observed(&video, seen, account, self.now))
            }
            (Some(video), MadeElsewhere::Refused(_, why), _) => {
                Some(decide::refused_elsewhere(&video, why))
            }
            _ => None,
        };
        if let Some(decision) = decision {
            tx.apply(&decision, self.now)?;
        }
        Ok(Tracked::New(row))
    }
}

/// Makes rows, or with `--dry-run` shows of what.
pub(super) struct Recorder<'a> {
    context: &'a Context,
    defaults: RowDefaults,
    /// With `--dry-run` there may be none.
    store: Option<Store>,
    dry_run: bool,
    /// With what each was called.
    tracked: Vec<(Tracked, String)>,
    shown: usize,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(args: &Args, account: Option<Account>, context: &'a Context) -> Result<Self> {
        let defaults = RowDefaults::new(args, account, context)?;
        let store = if args.dry_run {
            context.open_if_there()?
        } else {
            Some(context.open_or_create()?)
        };
        Ok(Self {
            context,
            defaults,
            store,
            dry_run: args.dry_run,
            tracked: Vec::new(),
            shown: 0,
        })
    }

    /// The database, where it may be written.
    pub(super) fn store(&mut self) -> Option<&mut Store> {
        self.store.as_mut().filter(|_| !self.dry_run)
    }

    /// Rows of the account that may have become a job which no row knows.
    pub(super) fn lost(&self, account: &Account) -> Result<Vec<Lost>> {
        let Some(store) = &self.store else {
            return Ok(Vec::new());
        };
        store.read(|tx| {
            let rows = tx.unanswered()?.into_iter();
            rows.filter_map(|row| Lost::read(tx, row, account).transpose())
                .collect()
        })
    }

    pub(super) fn known(&self, found: &MadeElsewhere) -> Result<Option<RowId>> {
        let new = self.defaults.new_video(found);
        self.store
            .as_ref()
            .map_or(Ok(None), |store| store.read(|tx| tx.known(&new)))
    }

    /// Records all of these or none of them.
    pub(super) fn record(&mut self, found: &[MadeElsewhere]) -> Result<()> {
        let defaults = &self.defaults;
        let tracked: Vec<Tracked> = match &mut self.store {
            Some(store) if !self.dry_run => {
                let track = |tx: &Tx<'_>| found.iter().map(|one| defaults.track(tx, one)).collect();
                store.write(track)?
            }
            _ => return found.iter().try_for_each(|found| self.show(found)),
        };
        let names = found.iter().map(ToString::to_string);
        self.tracked.extend(tracked.into_iter().zip(names));
        Ok(())
    }

    fn show(&mut self, found: &MadeElsewhere) -> Result<()> {
        if let Some(row) = self.known(found)? {
            self.tracked.push((Tracked::Known(row), found.to_string()));
            return Ok(());
        }
        self.shown += 1;
        let new = self.defaults.new_video(found).video;
        let row = Preview {
            line: "dry_run",
            kind: new.kind,
            video_id: found.to_string(),
            title: new.title.as_deref(),
            submitted_at: new.submitted_at,
        };
        let screen = &self.context.screen;
        if screen.json {
            screen.json_row(&row);
        } else {
            let title = text::sanitize(row.title.unwrap_or_default());
            let id = text::sanitize(&row.video_id);
            screen.row(&format!("{id}\t{}\t{title}", row.submitted_at));
        }
        Ok(())
    }

    /// Prints the rows like `submit`: a small table on a terminal, `id video_id status` in a pipe, video objects with
    /// `--json`. `named`: somebody wants to hear of each, the known ones too.
    pub(super) fn finish(&self, named: bool) -> Result<()> {
        let shown = self.tracked.iter().map(|(tracked, _)| *tracked);
        let shown = shown.filter(|tracked| named || !tracked.is_known());
        let rows: Vec<RowId> = shown.map(Tracked::row).collect();
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
        let known = self.tracked.iter().filter(|(row, _)| row.is_known());
        let count = known.clone().count();
        if named && count <= NAMED {
            for (tracked, name) in known {
                screen.note(&format!("already tracked as {}: {name}", tracked.row()));
            }
        } else if count > 0 {
            screen.note(&format!("{count} ids are tracked already"));
        }
        for (tracked, _) in &self.tracked {
            if let Tracked::Again(row) = tracked {
                let note = format!("{row} was missing; tracker check asks for it again");
                screen.note(&note);
            }
        }
        if self.dry_run {
            let shown = self.shown;
            screen.note(&format!("{shown} would be added; nothing was recorded"));
        }
        let new = self.tracked.len() - count;
        let files = &self.defaults.files;
        if screen.err_is_terminal && new > 0 && !files.assets.is_empty() {
            let videos = counted(new, "video", "videos");
            let dir = files.output_dir.display();
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
