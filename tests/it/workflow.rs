//! The main job, end to end.

use heygen_tracker::video::Asset;

use crate::support::Bench;

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
