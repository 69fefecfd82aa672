//! The one pass: what `check`, `submit`, `download` and their kin do with some rows.
//!
//! ```text
//! repair what a crash left ─▶ ask HeyGen (bulk, then own GETs) ─▶ replays ─▶ queued rows
//!                                        └─▶ save each file as soon as its own detail is in
//! ```
//!
//! The main thread owns the store. Worker threads make the requests and write the files; each sends what it learnt
//! as a [`Message`], and all that has arrived since the last commit is decided and written in one transaction, then
//! reported. Two things wait for their commit: a POST (the row must be `sending` before the first byte leaves) and a
//! rename (the file's digest must be known before its final name exists).
//!
//! Nothing here is joined or flushed at the end: a signal, a kill and a power cut all leave a database that the next
//! pass carries on from.

mod access;
mod calls;
mod commit;
mod hooks;
mod limiter;
mod lost;
mod messages;
mod options;
mod outages;
mod poll;
mod pool;
mod report;
mod save;
mod save_job;
mod send;
mod wait;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

pub(crate) use access::Access;
pub(crate) use calls::unread;
pub(crate) use lost::Lost;
pub(crate) use options::{PassOptions, Scope};
pub(crate) use report::{Level, Reporter, Tally, message_line};
pub(crate) use wait::Wait;

use commit::{AfterCommit, BATCH, Message};
use hooks::Hooks;
use limiter::RateLimiter;
use outages::Outages;
use poll::Polls;
use pool::Pool;
use save::Saves;
use send::Sends;

use crate::config::Environment;
use crate::decide;
use crate::error::Result;
use crate::locks::Locks;
use crate::store::{CHECKED, Identity, Store, Tx};
use crate::time::{self, Timestamp};
use crate::video::RowId;

/// # Errors
/// What makes going on senseless: the database, the command line. Everything else is reported, counted in the reporter's
/// tally, and left to the next pass.
pub(crate) fn run(
    store: &mut Store,
    env: &Environment,
    scope: Scope,
    options: &PassOptions,
    reporter: &mut Reporter<'_>,
) -> Result<()> {
    let everything = matches!(scope, Scope::Unfinished);
    let hooks = options.hook.is_some();
    if everything && !store.read(|tx| Ok(has_work(tx)? || (hooks && tx.has_hooks()?)))? {
        return Ok(());
    }
    let mut run = Run::new(store, env, options, reporter)?;
    run.gather(store, scope)?;
    run.hooks.look |= hooks;
    let result = run.finish(store);
    run.hooks.end();
    if everything {
        if result.is_ok() {
            store.write(|tx| tx.mark_unless_lately(CHECKED, time::now(), SIGN_OF_LIFE))?;
        }
        run.note_outbox_seen(store)?;
    }
    run.reporter.tally.requests += run.limiter.passed();
    result
}

fn has_work(tx: &Tx<'_>) -> Result<bool> {
    let since = time::now().before(decide::MISSING_ASKED_FOR);
    Ok(tx.has_unfinished()? || !tx.missing_since(since, 1)?.is_empty())
}

struct Run<'a, 's> {
    env: &'a Environment,
    options: &'a PassOptions,
    /// The rows whose messages are sent; `None` is all.
    about: Option<Vec<RowId>>,
    /// The rows were named, so whoever named them hears all there is to say about them.
    asked: bool,
    ignore_backoff: bool,
    locks: Locks,
    identity: Identity,
    access: Option<Access>,
    limiter: Arc<RateLimiter>,
    outbox: Sender<Message>,
    inbox: Receiver<Message>,
    started: Timestamp,
    now: Timestamp,
    api: Pool,
    savers: Pool,
    polls: Polls,
    sends: Sends,
    saves: Saves,
    hooks: Hooks,
    outages: Outages,
    /// Rows that may have become something nobody knows.
    lost: Vec<RowId>,
    after: AfterCommit,
    reporter: &'a mut Reporter<'s>,
}

/// How often a run leaves a sign of life at most: each costs a commit.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

impl<'a, 's> Run<'a, 's> {
    fn new(
        store: &Store,
        env: &'a Environment,
        options: &'a PassOptions,
        reporter: &'a mut Reporter<'s>,
    ) -> Result<Self> {
        let jobs = options.jobs.min(pool::affordable_jobs());
        let (outbox, inbox) = channel();
        Ok(Self {
            env,
            options,
            about: Some(Vec::new()),
            asked: false,
            ignore_backoff: false,
            locks: store.locks()?,
            identity: store.identity(),
            access: None,
            limiter: Arc::new(RateLimiter::default()),
            api: Pool::new("api", jobs, &outbox),
            savers: Pool::new("save", jobs, &outbox),
            outbox,
            inbox,
            started: time::now(),
            now: time::now(),
            polls: Polls::default(),
            sends: Sends::default(),
            saves: Saves::default(),
            hooks: Hooks::default(),
            outages: Outages::default(),
            lost: Vec::new(),
            after: AfterCommit::default(),
            reporter,
        })
    }

    /// What is to be done. What needs neither key nor network is done at once.
    fn gather(&mut self, store: &mut Store, scope: Scope) -> Result<()> {
        // The database may have been put back since the run before, by the shell's .restore for one.
        store.heed_witness()?;
        self.asked = matches!(scope, Scope::Asked(_));
        self.ignore_backoff = self.asked && !self.options.keep_held;
        let waited = matches!(scope, Scope::Waited(_));
        let named = match scope {
            Scope::Unfinished => {
                self.saves.one_at_a_time = store.read(|tx| tx.has_trouble("disk"))?;
                None
            }
            Scope::Named(rows) | Scope::Waited(rows) | Scope::Asked(rows) => Some(rows),
            Scope::Fresh(rows) => {
                let rows = rows.into_iter().map(|(row, guard)| (row, Some(guard)));
                self.sends.queue.extend(rows);
                return Ok(());
            }
            Scope::Hooks => return Ok(()),
        };
        self.about.clone_from(&named);
        self.repair(store, named.as_deref())?;
        self.expire(store, named.as_deref())?;
        if let Some(rows) = named {
            if self.asked {
                self.lost.extend(&rows);
            }
            let in_bulk = waited && rows.len() > 1;
            self.name(store, rows, in_bulk)?;
        } else if store.read(has_work)? {
            self.polls.everything();
            self.sends.everything = true;
        }
        Ok(())
    }

    fn finish(&mut self, store: &mut Store) -> Result<()> {
        let whole = loop {
            self.dispatch(store)?;
            if self.api.is_idle() && self.savers.is_idle() {
                break true;
            }
            if !self.step(store, self.options.deadline)? {
                break false;
            }
        };
        self.reporter.tally.out_of_time |= !whole;
        self.conclude_polls(store)?;
        if whole {
            self.conclude_sends();
            self.send_messages(store)?;
            self.look_for_lost(store)?;
            self.explain_no_credit();
        }
        std::mem::take(&mut self.outages).settle(store, self.reporter)?;
        if whole && self.runs_hooks() {
            self.finish_hooks(store)?;
        }
        Ok(())
    }

    /// Waits for what the workers learnt, at most `until`, and takes it in. `false` when there was nothing by then.
    fn step(&mut self, store: &mut Store, until: Option<Instant>) -> Result<bool> {
        let first = loop {
            let hook = self.hooks.until;
            let received = match [until, hook].into_iter().flatten().min() {
                // `self.outbox` keeps the channel open.
                None => self.inbox.recv().ok(),
                Some(at) => {
                    let patience = at.saturating_duration_since(Instant::now());
                    self.inbox.recv_timeout(patience).ok()
                }
            };
            match received {
                Some(message) => break message,
                None if until.is_none_or(|at| Instant::now() < at) && hook.is_some() => {
                    self.hooks.kill();
                }
                None => return Ok(false),
            }
        };
        let mut about = first.rows;
        let mut batch = vec![first];
        while about < BATCH
            && let Ok(message) = self.inbox.try_recv()
        {
            about += message.rows;
            batch.push(message);
        }
        self.take_in(store, batch)?;
        Ok(true)
    }

    /// Starts jobs while workers are free. Downloads have their own pool, so that status requests never wait for them.
    fn dispatch(&mut self, store: &mut Store) -> Result<()> {
        self.dispatch_polls(store)?;
        // What HeyGen has in work is known when everything was answered.
        if self.polls.all_asked() && (self.api.is_idle() || self.sends.begun) {
            self.dispatch_sends(store)?;
        }
        self.dispatch_saves(store)?;
        self.dispatch_hooks(store)
    }
}
