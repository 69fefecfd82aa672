//! Random sequences of what can happen, against a model small enough to be right.
//!
//! The model knows how many rows there must be and what HeyGen says of each video; the stand-in knows the rest. After
//! each step everything that was true must still be true; after an undisturbed `check` with HeyGen there, the program
//! must know what HeyGen knows; at the end everything must be finished. A failure shrinks to a short list of steps.
//!
//! `cargo test` plays the same 24 sequences every time; `PROPTEST_CASES=1000 cargo test --test it model` plays that many
//! new ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::heygen::{Fault, Host};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::support::{BODY, Bench, Run, end, files_below, skipped};
use crate::sweep::kill_at;
use crate::tracer::why_not;

/// One step. Numbers pick a video or a system call.
#[derive(Clone, Debug)]
enum Op {
    Submit(usize),
    SubmitKilledAt(usize),
    Check,
    CheckKilledAt(usize),
    TwoChecks,
    /// HeyGen finishes one of the videos that render.
    Finish(usize),
    /// … or fails to.
    Fail(usize),
    AnHourPasses,
    /// The next download breaks off in the middle.
    CutDownload,
    /// The user deletes one of the saved files.
    DeleteSaved(usize),
    /// The user deletes what there is of unfinished downloads.
    DeleteParts,
    /// Somebody writes into what there is of unfinished downloads.
    SpoilParts,
    Offline,
    Online,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (1..4usize).prop_map(Op::Submit),
        3 => (1..340usize).prop_map(Op::SubmitKilledAt),
        4 => Just(Op::Check),
        6 => (1..300usize).prop_map(Op::CheckKilledAt),
        2 => Just(Op::TwoChecks),
        6 => (0..8usize).prop_map(Op::Finish),
        2 => (0..8usize).prop_map(Op::Fail),
        2 => Just(Op::AnHourPasses),
        3 => Just(Op::CutDownload),
        1 => (0..8usize).prop_map(Op::DeleteSaved),
        1 => Just(Op::DeleteParts),
        1 => Just(Op::SpoilParts),
        1 => Just(Op::Offline),
        2 => Just(Op::Online),
    ]
}

/// What a row was last seen as.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    phase: String,
    status: String,
}

struct World {
    bench: Bench,
    online: bool,
    /// The next download breaks off.
    cut: bool,
    /// Rows there must be.
    rows: usize,
    /// What HeyGen says of the videos whose rendering is over.
    over: BTreeMap<String, &'static str>,
    seen: BTreeMap<i64, Seen>,
    /// Saved files the user deleted.
    deleted: BTreeSet<PathBuf>,
}

impl World {
    fn new() -> Self {
        let bench = Bench::new();
        bench.heygen.allow_unused();
        Self {
            bench,
            online: true,
            cut: false,
            rows: 0,
            over: BTreeMap::new(),
            seen: BTreeMap::new(),
            deleted: BTreeSet::new(),
        }
    }

    fn step(&mut self, op: &Op) {
        match *op {
            Op::Submit(count) => {
                self.bodies(count);
                let run = self.bench.tracker("submit bodies.jsonl").exits(0);
                self.bench.assert_decent(&run);
                self.rows += count;
            }
            Op::SubmitKilledAt(number) => {
                self.bodies(2);
                let posts = self.bench.heygen.posts().len();
                let run = kill_at(&self.bench, "submit bodies.jsonl", number);
                let found = self.look().len();
                // All or none; and if HeyGen heard of it, or the command ended, all.
                let sent = self.bench.heygen.posts().len() > posts;
                if found != self.rows || sent || !run.was_killed() {
                    self.rows += 2;
                }
            }
            Op::Check => {
                let before = self.look();
                let run = self.bench.tracker("check");
                self.checked(&run, &before);
            }
            Op::CheckKilledAt(number) => {
                kill_at(&self.bench, "check", number);
                self.bench.assert_nothing_locked();
            }
            Op::TwoChecks => {
                let before = self.look();
                let both = [(); 2].map(|()| self.bench.start("check"));
                // What one of them leaves to the other is done when both have ended.
                let runs = both.map(end);
                for run in runs {
                    self.checked(&run, &before);
                }
            }
            Op::Finish(n) => self.end_rendering(n, "completed"),
            Op::Fail(n) => self.end_rendering(n, "failed"),
            Op::AnHourPasses if self.rows > 0 => self.bench.advance(Duration::from_secs(3600)),
            Op::CutDownload => {
                let cut = Fault::truncate_body(30_000);
                self.bench.heygen.fault("GET /files", cut);
                self.cut = true;
            }
            Op::DeleteSaved(n) => {
                let saved: Vec<PathBuf> = self.output().filter(|path| !is_part(path)).collect();
                if let Some(path) = pick(&saved, n) {
                    std::fs::remove_file(path).expect("a file");
                    self.deleted.insert(path.clone());
                }
            }
            Op::DeleteParts => {
                for part in self.output().filter(|path| is_part(path)) {
                    std::fs::remove_file(part).expect("a part");
                }
            }
            Op::SpoilParts => {
                for part in self.output().filter(|path| is_part(path)) {
                    let mut bytes = std::fs::read(&part).expect("a part");
                    bytes.iter_mut().take(100).for_each(|byte| *byte ^= 1);
                    std::fs::write(&part, bytes).expect("a part");
                }
            }
            Op::Offline => self.set_online(false),
            Op::Online => self.set_online(true),
            Op::AnHourPasses => {}
        }
        self.assert_true();
    }

    fn bodies(&self, count: usize) {
        let bodies = format!("{BODY}\n").repeat(count);
        self.bench.file("bodies.jsonl", bodies);
    }

    fn output(&self) -> impl Iterator<Item = PathBuf> + use<> {
        files_below(&self.bench.path("output")).into_iter()
    }

    fn end_rendering(&mut self, n: usize, word: &'static str) {
        let ids = self.bench.heygen.videos();
        let rendering: Vec<&String> = ids
            .iter()
            .filter(|id| !self.over.contains_key(*id))
            .collect();
        if let Some(id) = pick(&rendering, n) {
            self.bench.heygen.set_status(id, word);
            self.over.insert((*id).clone(), word);
        }
    }

    fn set_online(&mut self, online: bool) {
        self.online = online;
        for host in [Host::Api, Host::Files] {
            self.bench
                .heygen
                .set_reachable(host, online)
                .expect("a port");
        }
    }

    /// The rows as they are; none without a database.
    fn look(&self) -> BTreeMap<i64, (Seen, Option<String>)> {
        if !self.bench.db_path().exists() {
            return BTreeMap::new();
        }
        let db = self.bench.db();
        let Ok(mut statement) = db.prepare("SELECT id, phase, status, video_id FROM videos") else {
            return BTreeMap::new();
        };
        statement
            .query_map([], |row| {
                let seen = Seen {
                    phase: row.get(1)?,
                    status: row.get(2)?,
                };
                Ok((row.get(0)?, (seen, row.get(3)?)))
            })
            .and_then(Iterator::collect)
            .expect("rows")
    }

    /// After an undisturbed check the program knows what HeyGen knew when it began, and nothing waits to be sent.
    fn checked(&mut self, run: &Run, before: &BTreeMap<i64, (Seen, Option<String>)>) {
        self.bench.assert_decent(run);
        let may_fail = !self.online || before.is_empty() || self.cut;
        if run.code != Some(0) && may_fail {
            assert_eq!(run.code, Some(1), "{}", run.screen());
            return;
        }
        assert_eq!(run.code, Some(0), "{}", run.screen());
        if !self.online {
            return;
        }
        let now = self.look();
        for (row, (was, id)) in before {
            let (is, _) = &now[row];
            assert_eq!(
                is.phase,
                "accepted",
                "row {row} was {was:?}: {}",
                run.screen()
            );
            if let Some(word) = id.as_ref().and_then(|id| self.over.get(id)) {
                assert_eq!(&is.status, word, "row {row} was {was:?}: {}", run.screen());
            }
        }
    }

    /// What holds after every step.
    fn assert_true(&mut self) {
        let now = self.look();
        assert_eq!(now.len(), self.rows, "I2");
        for (row, (is, id)) in &now {
            if let Some(was) = self.seen.get(row) {
                let over = ["completed", "failed", "rejected"].contains(&was.status.as_str());
                assert!(
                    !over || was == is,
                    "I4: row {row} was {was:?} and is {is:?}"
                );
            }
            if ["completed", "failed"].contains(&is.status.as_str()) {
                let word = id.as_ref().and_then(|id| self.over.get(id));
                assert_eq!(word, Some(&is.status.as_str()), "row {row}");
            }
        }
        self.seen = now
            .into_iter()
            .map(|(row, (seen, _))| (row, seen))
            .collect();
        if self.rows == 0 {
            assert!(self.bench.heygen.posts().is_empty());
            return;
        }
        self.bench.assert_invariants();
        for bill in self.bench.heygen.billed() {
            let key = bill.idempotency_key.expect("a key");
            let rows = format!("SELECT count(*) FROM videos WHERE idempotency_key = '{key}'");
            assert_eq!(self.bench.query(&rows), "1", "a bill without a row");
        }
        for path in &self.deleted {
            assert!(!path.exists(), "{} came back by itself", path.display());
        }
        self.bench.assert_saved_files_are_there(&self.deleted);
    }

    /// HeyGen is there, renders everything, and `check` runs until nothing is left to do.
    fn finish(&mut self) {
        self.step(&Op::Online);
        self.bench.heygen.clear_faults();
        self.cut = false;
        if self.rows == 0 {
            return;
        }
        for _ in 0..3 {
            while self.over.len() < self.bench.heygen.videos().len() {
                self.end_rendering(0, "completed");
            }
            self.step(&Op::AnHourPasses);
            self.step(&Op::Check);
        }
        assert_eq!(
            self.bench
                .query("SELECT count(*) FROM videos WHERE NOT finished"),
            "0"
        );
        assert_eq!(self.bench.heygen.billed().len(), self.rows, "I1");
        self.bench.tracker("check").exits(0).silent();
        self.bench.assert_no_litter();
    }
}

fn is_part(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "part")
}

fn pick<T>(from: &[T], n: usize) -> Option<&T> {
    from.get(n.checked_rem(from.len())?)
}

#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "the switch of the tests, not of the program"
)]
fn whatever_happens_in_whatever_order() {
    if let Some(reason) = why_not() {
        skipped(&reason);
        return;
    }
    let mut config = Config {
        failure_persistence: None,
        max_shrink_iters: 256,
        ..Config::default()
    };
    let mut runner = if std::env::var("PROPTEST_CASES").is_ok() {
        TestRunner::new(config)
    } else {
        config.cases = 24;
        TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
    };
    let played = runner.run(&prop::collection::vec(op(), 1..16), |ops| {
        let mut world = World::new();
        for op in &ops {
            world.step(op);
        }
        world.finish();
        Ok(())
    });
    if let Err(error) = played {
        panic!("{error}");
    }
}
