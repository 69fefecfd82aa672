//! What the sweeps have in common: scenes to disturb, the way back from a disturbance, and what must hold then.
//!
//! A sweep plays one scene over and over, each time disturbed at another system call. `cargo test` plays an evenly
//! spread sample; every call is struck by
//!
//! ```text
//! TRACKER_SWEEP=full cargo test --test it sweep -- --nocapture
//! ```
//!
//! (but of hundreds of the same reads and writes in a row, see [`struck`]), which prints its figures and takes about an
//! hour on two cores, most of it for the errors;
//! `kill_sweep::a_killed_check` in place of `sweep` names one scene, `power_cut` does the same for power cuts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use crate::heygen::{Fault, Options, Render};

use crate::support::{BODY, Bench, Run};
use crate::tracer::{Act, Call, Traced, trace};

/// Videos with this title fail to render.
const DOOMED: &str = "Doomed";
/// Needed until a scene is over; every lap is an hour.
const LAPS: usize = 8;

/// Plays of one scene until it makes as many calls as the one that was counted.
pub const PLAYS: usize = 5;

/// Something the program does, to be disturbed.
pub struct Scene {
    pub name: &'static str,
    /// What happened before, undisturbed.
    pub stage: fn(&Bench),
    /// What is disturbed.
    pub arguments: &'static str,
    /// Rows there are before and after.
    pub rows: (usize, usize),
    /// Bytes of each video.
    pub file_size: u64,
}

/// Three bodies, of which HeyGen refuses one.
pub const SUBMIT: Scene = Scene {
    name: "submit",
    stage: |bench| {
        let refused = r#"{"type":"avatar","title":"Refused"}"#;
        let bodies = format!("{}\n{refused}\n{}\n", body("One"), body("Two"));
        bench.file("bodies.jsonl", bodies);
    },
    arguments: "submit bodies.jsonl",
    rows: (0, 3),
    file_size: 20_000,
};

/// One body that HeyGen takes.
pub const ACCEPTED: Scene = Scene {
    name: "accepted submit",
    stage: |bench| {
        bench.file("body.json", body("One"));
    },
    arguments: "submit body.json",
    rows: (0, 1),
    file_size: 20_000,
};

/// One row to send, one still rendering, one failed, two to download, one of them with two files.
pub const CHECK: Scene = Scene {
    name: "check",
    stage: |bench| {
        for title in ["Rendering", DOOMED, "Ready"] {
            bench.file("body.json", body(title));
            bench.tracker("submit body.json").exits(0);
        }
        bench.file("body.json", body("Subtitled"));
        bench
            .tracker("submit body.json --assets video,subtitle")
            .exits(0);
        bench.file("body.json", body("Queued"));
        bench.tracker("submit body.json --queue").exits(0);
        end_renderings(bench, |title| title != "Rendering");
    },
    arguments: "check",
    rows: (5, 5),
    file_size: 200_000,
};

/// A download that was cut short goes on.
pub const RESUME: Scene = Scene {
    name: "resumed download",
    stage: |bench| {
        bench.file("body.json", body("Cut"));
        bench.tracker("submit body.json").exits(0);
        end_renderings(bench, |_| true);
        bench
            .heygen
            .fault("GET /files", Fault::truncate_body(100_000));
        bench.tracker("check --retries 0").exits(1);
        let partial = bench.query("SELECT part_bytes FROM files WHERE state = 'partial'");
        assert_eq!(partial, "100000");
    },
    arguments: "check",
    rows: (1, 1),
    file_size: 300_000,
};

/// A download that was killed before its rename is finished without HeyGen.
pub const REPAIR: Scene = Scene {
    name: "repair",
    stage: |bench| {
        bench.file("body.json", body("Unpublished"));
        bench.tracker("submit body.json").exits(0);
        end_renderings(bench, |_| true);
        let killed = disturb(bench, "check", |_, call| {
            if call.name == "renameat2" {
                Act::Kill
            } else {
                Act::Go
            }
        });
        assert!(killed.was_killed());
    },
    arguments: "check",
    rows: (1, 1),
    file_size: 20_000,
};

/// A file long enough to be made durable while it arrives.
pub const LONG: Scene = Scene {
    name: "long download",
    stage: |bench| {
        bench.file("body.json", body("Long"));
        bench.tracker("submit body.json").exits(0);
        end_renderings(bench, |_| true);
    },
    arguments: "check",
    rows: (1, 1),
    file_size: 17 * 1024 * 1024,
};

pub fn body(title: &str) -> String {
    BODY.replace("Hello\"", &format!("{title}\""))
}

/// How a scene ended, without what differs from one play to the next.
#[derive(Debug, PartialEq, Eq)]
pub struct End {
    /// Title, status, failure, and asset, state and size of each file.
    rows: Vec<String>,
    /// Titles HeyGen charged for.
    bills: Vec<String>,
}

impl Scene {
    /// A bench on which everything is ready to be disturbed.
    pub fn bench(&self) -> Bench {
        self.bench_within(&std::env::temp_dir())
    }

    /// The same, with its directory in that one.
    pub fn bench_within(&self, parent: &Path) -> Bench {
        let options = Options {
            render: Render::Manual,
            file_size: self.file_size,
            ..Options::default()
        };
        let bench = Bench::within(parent, options);
        (self.stage)(&bench);
        bench
    }

    /// The scene as it should be: its system calls and its end. How many calls it takes depends on how its threads
    /// meet; a sample is spread over as many as every play makes, a full sweep over the most that were seen.
    pub fn undisturbed(&self) -> (Vec<Call>, End) {
        let (mut counted, end) = self.play_undisturbed();
        for _ in 0..2 {
            let (calls, again) = self.play_undisturbed();
            assert_eq!(again, end);
            if (calls.len() > counted.len()) == is_full() {
                counted = calls;
            }
        }
        (counted, end)
    }

    fn play_undisturbed(&self) -> (Vec<Call>, End) {
        let bench = self.bench();
        let played = disturb(&bench, self.arguments, |_, _| Act::Go);
        assert!(played.signal.is_none(), "{:?}", played.run);
        self.converge(&bench);
        (played.calls, end_of(&bench))
    }

    /// What must hold at once after a disturbance, before anything was repaired.
    pub fn assert_unharmed(&self, bench: &Bench, run: &Run) {
        bench.assert_decent(run);
        bench.assert_files();
        bench.assert_nothing_locked();
    }

    /// Runs `check` until all is finished, as cron does every hour. What was not recorded is submitted again: then,
    /// and only then, nothing was sent; the answer is whether that was so.
    pub fn converge(&self, bench: &Bench) -> bool {
        let (before, after) = self.rows;
        let mut submitted_again = false;
        for lap in 0..LAPS {
            let check = bench.tracker("check");
            bench.assert_decent(&check);
            let rows = if bench.db_path().exists() {
                rows(bench)
            } else {
                0
            };
            if rows == after {
                bench.assert_invariants();
                end_renderings(bench, |_| true);
                if lap > 0 && bench.query("SELECT count(*) FROM videos WHERE NOT finished") == "0" {
                    self.assert_tidy(bench);
                    return submitted_again;
                }
                bench.advance(Duration::from_secs(3600));
            } else {
                assert_eq!(rows, before, "all rows of a command are recorded, or none");
                assert!(
                    bench.heygen.posts().is_empty(),
                    "sent before it was recorded"
                );
                bench.assert_decent(&bench.tracker(self.arguments));
                submitted_again = true;
            }
        }
        panic!("not finished after {LAPS} checks: {:?}", end_of(bench));
    }

    /// Nothing is left to do, and nothing lies about.
    fn assert_tidy(&self, bench: &Bench) {
        let requests = bench.heygen.requests().len();
        bench.tracker("check").exits(0).silent();
        assert_eq!(bench.heygen.requests().len(), requests);
        bench.assert_nothing_locked();
        bench.assert_no_litter();
        bench.assert_saved_files_are_there(&BTreeSet::new());
    }

    /// The same end as if nothing had happened.
    pub fn assert_ends_as(&self, bench: &Bench, end: &End) {
        assert_eq!(&end_of(bench), end);
    }
}

/// Runs the program, disturbed.
pub fn disturb(bench: &Bench, arguments: &str, decide: impl FnMut(usize, &Call) -> Act) -> Traced {
    trace(&mut bench.command(arguments.split_whitespace()), decide).expect("a traced run")
}

/// Runs the program and kills it at that call.
pub fn kill_at(bench: &Bench, arguments: &str, number: usize) -> Traced {
    disturb(bench, arguments, |n, _| {
        if n == number { Act::Kill } else { Act::Go }
    })
}

/// Ends the renderings under way: badly for the doomed, well for those whose title is wanted.
pub fn end_renderings(bench: &Bench, wanted: impl Fn(&str) -> bool) {
    for bill in bench.heygen.billed() {
        let title = title_of(&bill.body);
        if title == DOOMED {
            bench.heygen.fail(&bill.video_id, "doomed", "It was doomed");
        } else if wanted(&title) {
            bench.heygen.finish(&bill.video_id);
        }
    }
}

fn title_of(body: &[u8]) -> String {
    let body: serde_json::Value = serde_json::from_slice(body).expect("JSON");
    body["title"].as_str().expect("a title").to_owned()
}

fn rows(bench: &Bench) -> usize {
    let tables = bench.query("SELECT count(*) FROM sqlite_schema WHERE name = 'videos'");
    if tables == "0" {
        return 0;
    }
    let rows = bench.query("SELECT count(*) FROM videos");
    rows.parse().expect("a number")
}

fn end_of(bench: &Bench) -> End {
    let rows = bench
        .db()
        .prepare(
            "SELECT concat_ws(' ', title, status, failure_code, (SELECT group_concat(concat_ws(':', asset, state, bytes))
                FROM (SELECT * FROM files WHERE video = videos.id ORDER BY asset)))
             FROM videos ORDER BY id",
        )
        .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
        .expect("rows");
    let mut bills: Vec<String> = bench
        .heygen
        .billed()
        .iter()
        .map(|bill| title_of(&bill.body))
        .collect();
    bills.sort();
    End { rows, bills }
}

/// Whether every call is to be struck.
#[allow(
    clippy::disallowed_methods,
    reason = "the switch of the tests, not of the program"
)]
pub fn is_full() -> bool {
    std::env::var("TRACKER_SWEEP").is_ok_and(|value| value == "full")
}

/// Which of `count` calls are struck: all of them in a full sweep, else about `sample`, evenly spread, the first and
/// the last among them.
pub fn chosen(count: usize, sample: usize) -> Vec<usize> {
    if is_full() || count <= sample {
        return (1..=count).collect();
    }
    let spread: BTreeSet<usize> = (0..sample)
        .map(|n| 1 + n * (count - 1) / (sample - 1))
        .collect();
    spread.into_iter().collect()
}

/// How many reads and writes of a transfer on either side make a call one of many that find the same: nothing becomes
/// durable between them.
const AMID: usize = 12;
/// Of such calls each eighth is struck.
const EVERY: usize = 8;

/// [`chosen`] of these calls; a full sweep leaves out most of what is amid a transfer.
pub fn struck(calls: &[Call], sample: usize) -> Vec<usize> {
    let transfers =
        |call: &Call| call.name == "recvfrom" || call.is_disk() && call.name.contains("write");
    let mut numbers = chosen(calls.len(), sample);
    if is_full() {
        numbers.retain(|number| {
            let around = number.saturating_sub(AMID + 1)..calls.len().min(number + AMID);
            let edge = around.len() <= 2 * AMID;
            edge || number.is_multiple_of(EVERY) || !calls[around].iter().all(transfers)
        });
    }
    numbers
}

/// How often each call was struck.
#[derive(Default)]
pub struct Strikes {
    names: BTreeMap<&'static str, usize>,
    missed: usize,
}

impl Strikes {
    pub fn hit(&mut self, call: &Call) {
        *self.names.entry(call.name).or_default() += 1;
    }

    /// No play made so many calls as the one that was counted: threads do not always meet in the same way.
    pub fn missed(&mut self) {
        self.missed += 1;
    }

    /// Prints the figures, and fails if too little was struck to have proven anything.
    pub fn conclude(&self, what: &str, counted: usize) {
        let total: usize = self.names.values().sum();
        println!(
            "{what}: struck {total} times in {counted} calls, {} not reached: {:?}",
            self.missed, self.names
        );
        // A sample has its last calls at the very end of a play, where a thread more or less decides.
        let in_how_many = if is_full() { 10 } else { 3 };
        assert!(
            total > 0 && self.missed * in_how_many <= total,
            "{} not reached",
            self.missed
        );
    }
}
