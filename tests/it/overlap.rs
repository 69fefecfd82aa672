//! Many at once, some of them killed: nobody sends twice, nobody waits for a download, nobody is in the way.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::heygen::{Fault, Options, Render};

use crate::support::{BODY, Bench, PATIENCE, end, eventually};

/// Bytes of each video of the great melee.
const FILE: u64 = 1024 * 1024;

fn queue(bench: &Bench, count: usize) {
    let bodies = (1..=count).fold(String::new(), |mut bodies, n| {
        writeln!(
            bodies,
            "{}",
            BODY.replace("Hello\"", &format!("Queued {n}\""))
        )
        .expect("text");
        bodies
    });
    bench.file("bodies.jsonl", bodies);
    bench.tracker("submit bodies.jsonl --queue").exits(0);
}

/// Says that it is over, however it ends: threads that go on until then would keep a failed test for ever.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// T6, D15
#[test]
fn eight_checks_with_random_kills_beside_submits() {
    const QUEUED: usize = 40;
    const SUBMITTED: usize = 8;
    /// Downloads at once of one run.
    const AT_ONCE: usize = 16;
    let bench = Bench::with(Options {
        render: Render::Manual,
        file_size: FILE,
        ..Options::default()
    });
    // Long enough under way to be killed at it.
    let slowly = Fault::stall_body_after(FILE / 2, Duration::from_millis(100));
    bench.heygen.fault("GET /files", slowly.forever());
    queue(&bench, QUEUED);

    let over = AtomicBool::new(false);
    let kills = AtomicUsize::new(0);
    thread::scope(|scope| {
        let _end = Ends(&over);
        for seed in 0..8 {
            let (bench, over, kills) = (&bench, &over, &kills);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                while !over.load(Ordering::Relaxed) {
                    let mut check = bench.start("check");
                    if random.bool() {
                        // The fault itself: nothing could be waited for.
                        thread::sleep(Duration::from_millis(random.u64(0..200)));
                        check.kill().expect("a kill");
                    }
                    let run = end(check);
                    match run.code {
                        None => drop(kills.fetch_add(1, Ordering::Relaxed)),
                        Some(code) => {
                            assert_eq!((code, run.stderr.as_str()), (0, ""), "{}", run.screen());
                        }
                    }
                }
            });
        }
        scope.spawn(|| {
            for n in 0..SUBMITTED {
                let name = format!("body{n}.json");
                bench.file(&name, BODY.replace("there", &format!("number {n}")));
                let submit = bench.tracker(&format!("submit {name}")).exits(0);
                assert_eq!(submit.stderr, "", "{}", submit.screen());
                let list = bench.tracker("list -L 0").exits(0);
                assert_eq!(list.stderr, "", "{}", list.screen());
            }
        });
        // Renderings end one after the other while all that goes on.
        for done in 0..QUEUED + SUBMITTED {
            eventually("another video is bought", || {
                bench.heygen.videos().len() > done
            });
            bench.heygen.finish(&bench.heygen.videos()[done]);
            thread::sleep(Duration::from_millis(20));
            if done + 1 == QUEUED {
                // While there is still something to do, so that it is done by runs that were killed.
                eventually("kills", || kills.load(Ordering::Relaxed) >= 8);
            }
        }
        let unfinished = || bench.query("SELECT count(*) FROM videos WHERE NOT finished");
        eventually("everything is saved", || unfinished() == "0");
    });

    let kills = kills.into_inner();
    // How much of a file a killed run takes with it is a matter of time; that nobody else fetches it meanwhile is not.
    let files = bench.heygen.file_requests().len();
    println!("{kills} kills, {files} requests for files");
    assert!(
        files <= QUEUED + SUBMITTED + kills * AT_ONCE,
        "{files} requests for files"
    );
    bench.assert_nothing_locked();
    bench.tracker("check").exits(0).silent();
    bench.assert_invariants();
    bench.assert_no_litter();
    assert_eq!(bench.heygen.billed().len(), QUEUED + SUBMITTED);
    let saved = bench.query("SELECT count(*) FROM files WHERE state = 'saved'");
    assert_eq!(saved, (QUEUED + SUBMITTED).to_string());
}

/// S12
#[test]
fn two_checks_send_each_queued_row_once() {
    const ROWS: usize = 24;
    let bench = Bench::with(Options {
        render: Render::Manual,
        latency: Duration::from_millis(20),
        ..Options::default()
    });
    queue(&bench, ROWS);
    let checks = [(); 2].map(|()| bench.start("check --jobs 4"));
    for check in checks {
        let run = end(check).exits(0);
        assert_eq!(run.stderr, "", "{}", run.screen());
    }
    assert_eq!(bench.heygen.posts().len(), ROWS);
    assert_eq!(bench.heygen.billed().len(), ROWS);
    assert_eq!(
        bench.query("SELECT count(*) FROM videos WHERE phase = 'accepted'"),
        ROWS.to_string()
    );
    bench.assert_invariants();
}

/// S12
#[test]
fn a_check_leaves_a_submit_in_flight_alone() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    bench.heygen.fault("POST /v3/videos", Fault::held());
    let submit = bench.start("submit body.json");
    eventually("the POST has arrived", || bench.heygen.holding() == 1);
    bench.tracker("check").exits(0).silent();
    assert!(
        bench.query("SELECT video_id FROM videos").is_empty(),
        "the answer was not there yet"
    );
    bench.heygen.release();
    end(submit).exits(0);
    assert_eq!(bench.heygen.posts().len(), 1);
    assert_eq!(bench.status(1), "waiting");
}

/// A killed sender's lock is free at once, and the next run repeats its POST under the same key.
#[test]
fn the_locks_of_a_killed_submit_are_free() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    bench
        .heygen
        .fault("POST /v3/videos", Fault::stall(PATIENCE));
    let mut submit = bench.start("submit body.json");
    eventually("it is bought", || bench.heygen.billed().len() == 1);
    submit.kill().expect("a kill");
    assert_eq!(end(submit).code, None);
    bench.assert_nothing_locked();
    bench.tracker("check").exits(0);
    let keys: Vec<_> = bench
        .heygen
        .posts()
        .iter()
        .map(|post| post.header("Idempotency-Key").map(str::to_owned))
        .collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
    assert_eq!(bench.heygen.billed().len(), 1);
    assert_eq!(bench.query("SELECT phase FROM videos"), "accepted");
}

/// D15: nobody waits for a download, and nobody fetches it a second time.
#[test]
fn a_download_under_way_keeps_nobody_waiting() {
    let bench = Bench::new();
    bench.submit(2).exits(0);
    bench.heygen.finish(&bench.video_id(1));
    bench
        .heygen
        .fault("GET /files", Fault::held_body_after(30_000));
    let slow = bench.start("check");
    eventually("the file is asked for", || bench.heygen.holding() == 1);

    bench.heygen.finish(&bench.video_id(2));
    let check = bench.tracker("check").exits(0);
    assert!(check.stdout.starts_with("2 saved"), "{}", check.screen());
    bench.file("body.json", BODY);
    bench.tracker("submit body.json").exits(0);
    assert_eq!(
        bench.query("SELECT state FROM files WHERE video = 1"),
        "partial"
    );

    bench.heygen.release();
    let slow = end(slow).exits(0);
    assert!(slow.stdout.starts_with("1 saved"), "{}", slow.screen());
    assert_eq!(bench.heygen.file_requests().len(), 2);
    bench.assert_invariants();
}

/// B4
#[test]
fn eight_first_opens_at_once() {
    for _ in 0..4 {
        let bench = Bench::new();
        let opens = [1, 2, 3, 4, 5, 6, 7, 8].map(|n| {
            let name = format!("body{n}.json");
            bench.file(&name, BODY.replace("there", &format!("number {n}")));
            bench.start(&format!("submit {name} --queue"))
        });
        for open in opens {
            let run = end(open).exits(0);
            assert_eq!(run.stderr, "", "{}", run.screen());
        }
        assert_eq!(bench.query("SELECT count(*) FROM videos"), "8");
        bench.assert_invariants();
        bench.assert_nothing_locked();
        bench.assert_no_litter();
    }
}
