//! The main job, end to end.

use std::time::Duration;

use heygen_tracker::video::Asset;

use crate::support::{BODY, Bench, end, eventually};

#[test]
fn three_videos_two_files_one_failure_and_then_nothing() {
    let bench = Bench::new();
    let submitted = bench.submit(3).exits(0);
    assert_eq!(
        submitted.stdout.lines().count(),
        3,
        "{}",
        submitted.screen()
    );
    bench.tracker("check").exits(0).silent();

    let (one, two, three) = (bench.video_id(1), bench.video_id(2), bench.video_id(3));
    bench.heygen.finish(&one);
    bench.heygen.fail(
        &two,
        "script_too_long",
        "Script too long for selected avatar",
    );
    bench.heygen.finish(&three);
    let check = bench.tracker("check").exits(0);
    assert_eq!(check.stderr, "");
    for id in [&one, &three] {
        let saved = std::fs::read(bench.path(&format!("output/{id}.mp4"))).expect("a file");
        assert!(saved == bench.heygen.expected(id, Asset::Video));
    }
    assert!(
        check
            .stdout
            .contains("2 failed \"Video 2\": script_too_long: Script too long for selected avatar (tracker show 2)"),
        "{}",
        check.screen()
    );
    bench.assert_invariants();

    let requests = bench.heygen.requests().len();
    bench.tracker("check").exits(0).silent();
    assert_eq!(
        bench.heygen.requests().len(),
        requests,
        "an idle check makes no request"
    );
}

#[test]
fn generate_and_exit_then_check_later_and_look_back() {
    let bench = Bench::new();

    // Monday: buy, write it down, leave.
    bench.file("body.json", BODY);
    let submit = bench.tracker("submit body.json --tag launch").exits(0);
    let id = bench.video_id(1);
    assert_eq!(submit.stdout, format!("1\t{id}\twaiting\n"));

    // A little later: still rendering, nothing to say.
    bench.advance(Duration::from_secs(5 * 60));
    bench.tracker("check").exits(0).silent();
    assert_eq!(bench.status(1), "pending");

    // Later still: stay until it is there.
    let wait = bench.start("check --wait --interval 1s");
    let before = bench.heygen.api_requests().len();
    eventually("the waiting check asked", || {
        bench.heygen.api_requests().len() > before
    });
    bench.heygen.finish(&id);
    let wait = end(wait).exits(0);
    let file = bench.path(&format!("output/{id}.mp4"));
    assert!(
        wait.stdout
            .contains(&format!("1 saved \"Hello\": {}", file.display())),
        "{}",
        wait.screen()
    );
    assert!(std::fs::read(&file).unwrap() == bench.heygen.expected(&id, Asset::Video));

    // The subtitles, too.
    bench.tracker("download 1 --assets subtitle").exits(0);
    assert!(bench.path(&format!("output/{id}.srt")).exists());

    // Next month: what was that video? Its links have long expired.
    bench.advance(Duration::from_secs(30 * 86400));
    let list = bench.tracker("list --tag launch --json").exits(0).json();
    assert_eq!(list.len(), 1);
    assert_eq!(
        (&list[0]["status"], &list[0]["finished"]),
        (&"completed".into(), &true.into())
    );
    assert_eq!(list[0]["path"], file.to_str().unwrap());
    let show = bench.tracker("show 1").exits(0);
    for told in ["Hello there", "a1", "v1", "recorded", "accepted", "saved"] {
        assert!(show.stdout.contains(told), "{told}: {}", show.screen());
    }

    // And if the file is lost, there is a fresh link.
    std::fs::remove_file(&file).unwrap();
    bench.tracker("download 1").exits(0);
    assert!(file.exists());
    assert_eq!(bench.heygen.billed().len(), 1);
    bench.assert_invariants();
}
