//! B1: other processes at the same database.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::*;
use std::process::Stdio;

use crate::support::start;

#[test]
fn b01_a_write_lock_held_for_two_seconds_is_waited_for_before_any_post() {
    let bench = in_use();
    let posts = bench.heygen.posts().len();
    let other = bench.db();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let held = Instant::now();
    let mut check = bench.start("check");
    while held.elapsed() < Duration::from_secs(2) {
        assert!(check.try_wait().unwrap().is_none(), "{:?}", end(check));
        assert_eq!(
            bench.heygen.posts().len(),
            posts,
            "not before its row says so"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    other.execute_batch("ROLLBACK").unwrap();
    end(check).exits(0).silent();
    assert_eq!(bench.heygen.posts().len(), posts + 1);
    bench.assert_invariants();
}

#[test]
fn b01_a_write_lock_held_for_ever_is_given_up_and_nothing_is_half_done() {
    if !can_strace() {
        return;
    }
    let bench = in_use();
    let posts = bench.heygen.posts().len();
    let rows = bench.query("SELECT count(*) FROM videos");
    let other = bench.db();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    for verb in WRITERS {
        // The patience is counted in naps; these take no time.
        let naps = "inject=clock_nanosleep:retval=0";
        let log = Path::new("/dev/null");
        let gave_up = run(&mut bench.strace(&["trace=clock_nanosleep", naps], log, verb)).exits(1);
        assert!(
            gave_up.stderr.contains("is locked by another process"),
            "{}",
            gave_up.screen()
        );
        assert!(gave_up.stderr.contains("hint: "), "{}", gave_up.screen());
        assert_eq!(bench.heygen.posts().len(), posts, "{verb}");
    }
    // Looking waits for nobody.
    bench.tracker("list").exits(0);
    bench.tracker("show 1").exits(0);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(bench.query("SELECT count(*) FROM videos"), rows);
    bench.tracker("check").exits(0).silent();
    assert_eq!(bench.heygen.posts().len(), posts + 1);
    bench.assert_invariants();
}

/// Nothing is recorded yet that a check could go on with, and nobody says so.
#[test]
fn b01_a_submit_that_is_ended_while_it_waits_promises_no_more_than_it_knows() {
    let bench = in_use();
    let before = bench.query("SELECT count(*) FROM videos");
    let holder = bench.db();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let submit = start(&mut bench.command(["submit", "body.json"]));
    let pid = Pid::from_raw(submit.id().try_into().unwrap());
    eventually("it waits for the database", || {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let mut open = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
        open.any(|file| file.ends_with("tracker.db-wal"))
    });
    kill(pid, Signal::SIGTERM).unwrap();
    let ended = end(submit);
    assert!(
        !ended.stderr.contains("nothing is lost"),
        "{}",
        ended.screen()
    );
    drop(holder);
    assert_eq!(bench.query("SELECT count(*) FROM videos"), before);
}

#[test]
fn b01_submit_goes_ahead_beside_a_check_that_waits_for_heygen() {
    let bench = in_use();
    bench.heygen.fault("GET /v3/videos/{id}", Fault::held());
    let mut check = bench.start("check");
    eventually("the check asks", || bench.heygen.holding() == 1);
    bench.tracker("submit body.json").exits(0);
    bench.tracker("list").exits(0);
    assert!(
        check.try_wait().unwrap().is_none(),
        "submit waited for the check"
    );
    bench.heygen.release();
    end(check).exits(0).silent();
    assert_eq!(bench.heygen.billed().len(), 3);
    bench.assert_invariants();
}

#[test]
fn b01_submit_is_not_starved_by_a_check_that_writes_much() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    let ids: Vec<String> = (0..3000).map(|n| format!("elsewhere-{n}")).collect();
    for id in &ids {
        bench.heygen.add_video(id, "processing");
    }
    bench.file("ids.json", serde_json::json!({ "data": ids.iter().map(|id| serde_json::json!({ "id": id })).collect::<Vec<_>>() }).to_string());
    bench.tracker("add ids.json").exits(0);
    let mut check = bench.start("check --no-download");
    // What is starved ends with the check and not before it.
    let mut beside = 0;
    while check.try_wait().unwrap().is_none() {
        bench.tracker("submit --queue body.json").exits(0);
        beside += usize::from(check.try_wait().unwrap().is_none());
    }
    end(check).exits(0);
    assert!(beside > 0);
    assert_eq!(
        bench.query("SELECT count(*) FROM videos WHERE remote_status = 'processing'"),
        "3000"
    );
    bench.assert_invariants();
}

#[test]
fn four_hundred_submits_at_once_are_all_recorded() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    // No pipes: there may be no more than a thousand of them for all tests together.
    let said = fs::File::create(bench.path("said")).unwrap();
    let submits: Vec<_> = (0..400)
        .map(|_| {
            let mut submit = bench.command(["submit", "--queue", "body.json"]);
            let said = said.try_clone().unwrap();
            submit.stdout(Stdio::null()).stderr(said).spawn().unwrap()
        })
        .collect();
    for submit in submits {
        let code = end(submit).code;
        let said = || fs::read_to_string(bench.path("said"));
        assert_eq!(code, Some(0), "{:?}", said());
    }
    assert_eq!(bench.query("SELECT count(*) FROM videos"), "400");
}
