//! Submitting when things go wrong: the rows S1 to S18 and S20 of the fault table, each through the real binary.
//!
//! Most tests end with [`converges`]: once the fault is gone, `check` brings every row to the same end as if nothing
//! had happened, with one bill each.
//!
//! | file | rows |
//! |---|---|
//! | `judged` | S4, S7b, S11, S20: whose word an answer is, whose row it is, how old a key may be |
//! | `lost` | S1, S2, S3, S6, S9, S10: answers that never come |
//! | `refused` | S4, S5, S7, S8, S11, S13, S17, S18: answers that say no |
//! | `machine` | S12, S14, S15, S16: overlapping runs, the disk, bad bodies |
//! | `options` | the options that are about submitting |

mod judged;
mod lost;
mod machine;
mod options;
mod refused;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::heygen::{Fault, Host, Options, Port, Recorded, Render};
use heygen_tracker::time::Timestamp;
use serde_json::json;

use crate::support::{
    BODY, Bench, PATIENCE, Run, TRACKER, can_strace, end as end_of, eventually, run, skipped, start,
};

const POST: &str = "POST /v3/videos";
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A bench with one body in the outbox that nobody has tried to send.
fn queued() -> Bench {
    queued_on(Bench::new(), 1)
}

fn queued_on(bench: Bench, count: usize) -> Bench {
    bench.file("queue.jsonl", bodies(count));
    bench.tracker("submit --queue queue.jsonl").exits(0);
    assert_eq!(bench.heygen.posts().len(), 0, "--queue sends nothing");
    bench
}

/// A plan with room for so many videos at once.
fn plan_of(slots: usize, retry_after: u32) -> Options {
    Options {
        render: Render::Manual,
        slots: Some(slots),
        retry_after,
        ..Options::default()
    }
}

fn bodies(count: usize) -> String {
    (1..=count)
        .map(|n| BODY.replace("Hello\"", &format!("Video {n}\"")) + "\n")
        .collect()
}

/// Runs `tracker ARGUMENTS` with some variables set otherwise.
fn tracker_env(bench: &Bench, arguments: &str, variables: &[(&str, &str)]) -> Run {
    run(bench
        .command(arguments.split_whitespace())
        .envs(variables.iter().copied()))
}

/// Runs the cases of one test side by side: most of their time is pauses between tries.
fn each<T: Send>(cases: impl IntoIterator<Item = T>, test: impl Fn(T) + Sync) {
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(|| test(case));
        }
    });
}

/// What the database says about a row's purchase.
#[derive(Debug, PartialEq)]
struct Row {
    status: String,
    key: String,
    /// Whether an unanswered attempt ties the row to the clock.
    tied: bool,
    error: String,
}

fn row(bench: &Bench, id: i64) -> Row {
    let ask = |column| bench.query(&format!("SELECT {column} FROM videos WHERE id = {id}"));
    let (account, clock) = (ask("account"), ask("first_unanswered_at"));
    let status = bench.status(id);
    if matches!(status.as_str(), "unsent" | "sending") {
        assert!(clock.is_empty() || !account.is_empty(), "tied in part");
    }
    Row {
        status,
        key: ask("idempotency_key"),
        tied: !clock.is_empty(),
        error: ask("error_code"),
    }
}

/// The row waits as if nothing had been tried: no attempt may have bought it.
#[track_caller]
fn assert_unsent(bench: &Bench, id: i64) {
    let row = row(bench, id);
    assert_eq!(
        (row.status.as_str(), row.tied),
        ("unsent", false),
        "{row:?}"
    );
}

/// HeyGen may have charged for the row, so only its key may ask again.
#[track_caller]
fn assert_sending(bench: &Bench, id: i64) {
    let row = row(bench, id);
    assert_eq!(
        (row.status.as_str(), row.tied),
        ("sending", true),
        "{row:?}"
    );
}

fn key_of(post: &Recorded) -> &str {
    post.header("Idempotency-Key")
        .expect("every POST has a key")
}

/// There were `count` POSTs so far, and all were the very same request as the database holds for row 1.
#[track_caller]
fn assert_same_posts(bench: &Bench, count: usize) {
    let posts = bench.heygen.posts();
    assert_eq!(posts.len(), count, "POSTs");
    let key = bench.query("SELECT idempotency_key FROM videos WHERE id = 1");
    let body = bench.query("SELECT request FROM videos WHERE id = 1");
    for post in &posts {
        assert_eq!(key_of(post), key);
        assert_eq!(String::from_utf8_lossy(&post.body), body);
    }
}

fn send_after(bench: &Bench, id: i64) -> Duration {
    let millis: i64 = bench
        .query(&format!("SELECT send_after FROM videos WHERE id = {id}"))
        .parse()
        .expect("a time");
    Timestamp::from_millis(millis).since(heygen_tracker::time::now())
}

/// The fault is over: one `check` sends what waits, the next saves the files, and then nothing is left to do.
#[track_caller]
fn converges(bench: &Bench) {
    bench.heygen.clear_faults();
    bench.advance(HOUR + SECOND);
    bench.tracker("check").exits(0);
    ends_well(bench);
}

/// Everything is sent and paid for once; rendering ends; everything is saved.
#[track_caller]
fn ends_well(bench: &Bench) {
    let rows = "SELECT count(*) FROM videos WHERE phase NOT IN ('rejected', 'unknown')";
    assert_eq!(
        bench.query("SELECT count(*) FROM videos WHERE phase IN ('unsent', 'sending')"),
        "0",
        "something still waits to be sent"
    );
    assert_eq!(bench.heygen.billed().len().to_string(), bench.query(rows));
    for id in bench.heygen.videos() {
        bench.heygen.finish(&id);
    }
    bench.tracker("check").exits(0);
    assert_eq!(
        bench.query("SELECT count(*) FROM videos WHERE finished = 0"),
        "0"
    );
    bench.tracker("check").exits(0).silent();
    bench.assert_invariants();
}

/// Runs the program under strace with a system call tampered with; `None`, loudly, where strace cannot be run.
fn tampered(bench: &Bench, inject: &str, arguments: &str) -> Option<Run> {
    let works = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !works {
        skipped(&format!(
            "strace cannot be run here, so {inject} was not tried"
        ));
        return None;
    }
    let call = inject.split(':').next().expect("a system call");
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-o", "/dev/null", "-e"])
        .arg(format!("trace={call}"))
        .arg("-e")
        .arg(format!("inject={inject}"))
        .arg(TRACKER)
        .args(arguments.split_whitespace());
    bench.prepare(&mut command);
    Some(run(&mut command))
}

/// A file system of its own in the bench's directory, with the database in it.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, loudly, where that is not allowed.
    fn mount(bench: &Bench, kib: u32) -> Option<Self> {
        let place = bench.path("disk");
        std::fs::create_dir(&place).expect("a directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"])
            .arg(&place)
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !mounted {
            skipped("a tmpfs cannot be mounted here (not root?)");
            return None;
        }
        Some(Self(place))
    }

    fn db(&self) -> PathBuf {
        self.0.join("tracker.db")
    }

    fn query(&self, sql: &str) -> i64 {
        rusqlite::Connection::open(self.db())
            .and_then(|db| db.query_row(sql, [], |row| row.get(0)))
            .unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    /// Takes all the room there is but this much.
    fn fill_but(&self, kib: u64) {
        let mut file = std::fs::File::create(self.filler()).expect("a file");
        let full = std::io::copy(&mut std::io::repeat(0), &mut file).expect_err("no more room");
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        let length = file.metadata().expect("its length").len();
        file.set_len(length - kib * 1024).expect("some room");
    }

    fn make_room(&self) {
        // Emptied first: a process that another test is just starting may still hold it open.
        std::fs::File::create(self.filler()).expect("room");
        std::fs::remove_file(self.filler()).expect("room");
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    fn remount(&self, how: &str) {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,{how}")])
            .arg(&self.0)
            .status()
            .expect("mount");
        assert!(status.success());
    }

    fn tracker(&self, bench: &Bench, arguments: &str) -> Run {
        run(&mut self.command(bench, arguments))
    }

    fn command(&self, bench: &Bench, arguments: &str) -> Command {
        let mut command = bench.command(arguments.split_whitespace());
        command.env("TRACKER_DB", self.db());
        command
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a child that a failed test left behind may still use it.
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

/// A row that was bought, and nobody here knows.
fn unanswered() -> Bench {
    let bench = queued();
    bench
        .heygen
        .fault(POST, Fault::cut_before_answer().times(2));
    bench.tracker("check").exits(1);
    assert_sending(&bench, 1);
    bench
}
