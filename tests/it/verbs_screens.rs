//! What each verb prints into a pipe: text, JSON, and the exit code.

use insta::assert_snapshot;

use crate::snapshot::history;
use crate::support::{BODY, Bench};

#[test]
fn submit() {
    let bench = Bench::seeded();
    bench.file("body.json", BODY);
    assert_snapshot!(bench.shows("submit body.json"), @r#"
    $ tracker submit body.json
    --- stdout
    1	a833bdcdb6d1beb188dc97e5aab5fe3d	waiting
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("submit body.json --json"), @r#"
    $ tracker submit body.json --json
    --- stdout
    {"id":2,"video_id":"c763de764d6fe1b0027a617d2237a6c9","status":"waiting","finished":false,"stalled":false,"title":"Hello","tags":[],"submitted_at":"TIME","created_at":null,"completed_at":null,"last_checked_at":null,"duration":null,"output_language":null,"folder_id":null,"failure_code":null,"failure_message":null,"video_url":null,"video_page_url":null,"path":null,"output_dir":"DIR/output","files":[{"asset":"video","state":"wanted","path":null,"bytes":null,"sha256":null,"saved_at":null}],"last_error":null,"retry_of":null,"kind":"video","session_id":null,"progress":null,"data":null}
    --- stderr
    warning: 2 has the same body as 1 (waiting, submitted just now); --if-new skips such a body
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("submit body.json --queue --tag launch,news"), @r#"
    $ tracker submit body.json --queue --tag launch,news
    --- stdout
    3		unsent
    --- stderr
    warning: 3 has the same body as 2 (waiting, submitted just now); --if-new skips such a body
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("submit body.json --if-new"), @r#"
    $ tracker submit body.json --if-new
    --- stdout
    3		unsent
    --- stderr
    1 of 1 had been submitted before and was not submitted again
    warning: it is recorded but not sent yet; do not submit again: check sends it
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("submit body.json --dry-run"), @r#"
    $ tracker submit body.json --dry-run
    --- stdout
    {"type":"avatar","avatar_id":"a1","voice_id":"v1","title":"Hello","script":"Hello there"}
    --- stderr
    body.json: the same body is 3 (unsent), submitted TIME
    body.json: the same body is 2 (waiting), submitted TIME
    body.json: the same body is 1 (waiting), submitted TIME
    1 would be submitted; nothing was sent or recorded
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("submit body.json --dry-run --json"), @r#"
    $ tracker submit body.json --dry-run --json
    --- stdout
    {"type":"dry_run","place":"body.json","request":{"type":"avatar","avatar_id":"a1","voice_id":"v1","title":"Hello","script":"Hello there"},"duplicates":[3,2,1],"known":null}
    --- stderr
    1 would be submitted; nothing was sent or recorded
    --- exit 0
    "#);
}

#[test]
fn what_would_be_sent_is_one_line_however_it_was_typed() {
    let bench = Bench::seeded();
    bench.file("pretty.json", BODY.replace(',', ",\n    "));
    let plain = bench.tracker("submit pretty.json --dry-run").exits(0);
    assert_eq!(plain.stdout, format!("{BODY}\n"));
    let json = bench
        .tracker("submit pretty.json --dry-run --json")
        .exits(0);
    assert_eq!(json.json()[0]["request"], plain.json()[0]);
}

#[test]
fn check() {
    let bench = history();
    assert_snapshot!(bench.shows("check"), @r#"
    $ tracker check
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("check 2 3 --exit-status"), @r#"
    $ tracker check 2 3 --exit-status
    --- stderr
    2 failed before (tracker show 2)
    --- exit 5
    "#);
    bench.heygen.finish(&bench.video_id(3));
    assert_snapshot!(bench.shows("check"), @r#"
    $ tracker check
    --- stdout
    3 saved "Video 3": DIR/output/c4e77f0ce2a31df5d932ef6461dfa32a.mp4 (65.5 kB)
    --- exit 0
    "#);
    bench.tracker("submit body1.json").exits(0);
    bench
        .heygen
        .fail(&bench.video_id(4), "no_face", "No face in the picture");
    assert_snapshot!(bench.shows("check"), @r#"
    $ tracker check
    --- stdout
    4 failed "Video 1": no_face: No face in the picture (tracker show 4)
    --- exit 0
    "#);
    bench.tracker("submit body1.json").exits(0);
    bench.heygen.finish(&bench.video_id(5));
    assert_snapshot!(bench.shows("check --json"), @r#"
    $ tracker check --json
    --- stdout
    {"failure_code":null,"failure_message":null,"from":"waiting","id":5,"to":"completed","type":"change","video_id":"015b4857625a9156dd3e252b8cf7b561"}
    {"asset":"video","bytes":65536,"id":5,"path":"DIR/output/015b4857625a9156dd3e252b8cf7b561.mp4","sha256":"ddf8601a69664bed358fbd26c735d53eb8ca11e3a4ffa765d02aedc26effb6c3","type":"saved","video_id":"015b4857625a9156dd3e252b8cf7b561"}
    {"type":"summary","sent":0,"polled":1,"changed":1,"saved":1,"failed":0,"errors":0,"unfinished":0,"requests":1,"next_check_seconds":null}
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("check -v"), @r#"
    $ tracker check -v
    --- exit 0
    "#);
}

#[test]
fn list() {
    let bench = history();
    assert_snapshot!(bench.shows("list"), @r#"
    $ tracker list
    --- stdout
    3	c4e77f0ce2a31df5d932ef6461dfa32a	queued	TIME		Video 3	
    2	c763de764d6fe1b0027a617d2237a6c9	failed	TIME	TIME	Video 2	
    1	a833bdcdb6d1beb188dc97e5aab5fe3d	completed	TIME	TIME	Video 1	DIR/output/a833bdcdb6d1beb188dc97e5aab5fe3d.mp4
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("list --json -s failed"), @r#"
    $ tracker list --json -s failed
    --- stdout
    {"id":2,"video_id":"c763de764d6fe1b0027a617d2237a6c9","status":"failed","finished":true,"stalled":false,"title":"Video 2","tags":[],"submitted_at":"TIME","created_at":"TIME","completed_at":"TIME","last_checked_at":"TIME","duration":null,"output_language":null,"folder_id":null,"failure_code":"script_too_long","failure_message":"Script too long for selected avatar","video_url":null,"video_page_url":null,"path":null,"output_dir":"DIR/output","files":[{"asset":"video","state":"wanted","path":null,"bytes":null,"sha256":null,"saved_at":null}],"last_error":null,"retry_of":null,"kind":"video","session_id":null,"progress":null,"data":null}
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("list --csv"), @r#"
    $ tracker list --csv
    --- stdout
    id,video_id,status,submitted_at,completed_at,title,path
    3,c4e77f0ce2a31df5d932ef6461dfa32a,queued,TIME,,Video 3,
    2,c763de764d6fe1b0027a617d2237a6c9,failed,TIME,TIME,Video 2,
    1,a833bdcdb6d1beb188dc97e5aab5fe3d,completed,TIME,TIME,Video 1,DIR/output/a833bdcdb6d1beb188dc97e5aab5fe3d.mp4
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("list --fields id,status,failure_code,script"), @r#"
    $ tracker list --fields id,status,failure_code,script
    --- stdout
    3	queued		Hello there
    2	failed	script_too_long	Hello there
    1	completed		Hello there
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("list --csv --fields id,title,failure_message"), @r#"
    $ tracker list --csv --fields id,title,failure_message
    --- stdout
    id,title,failure_message
    3,Video 3,
    2,Video 2,Script too long for selected avatar
    1,Video 1,
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("list --json --fields id,path"), @r#"
    $ tracker list --json --fields id,path
    --- stdout
    {"id":3,"path":null}
    {"id":2,"path":null}
    {"id":1,"path":"DIR/output/a833bdcdb6d1beb188dc97e5aab5fe3d.mp4"}
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("list --stats"), @r#"
    $ tracker list --stats
    --- stdout
    videos     3: 1 completed, 1 failed, 1 queued
    unfinished 1
    rendering  up to 8m (too few to say what is usual: 1)
    on disk    65.5 kB in 1 file

    MONTH    SUBMITTED  COMPLETED  FAILED  SUCCESS  MINUTES  DELIVERED
    MONTH          3          1       1      50%      0.1        0.1
    --- exit 0
    "#);
    assert_snapshot!(bench.shell_shows("tracker list --stats --csv | grep -v ^month"), @r"
    $ tracker list --stats --csv | grep -v ^month
    --- stdout
    by,name,submitted,completed,failed,success_rate,minutes_submitted,minutes_delivered
    kind,video,3,1,1,0.5,0.06666666666666667,0.06666666666666667
    --- exit 0
    ");
    assert_snapshot!(bench.shows("list --stats --json"), @r#"
    $ tracker list --stats --json
    --- stdout
    {"videos":3,"unfinished":1,"by_status":{"completed":1,"failed":1,"queued":1},"render_seconds":{"count":1,"p50":480.0,"p90":480.0},"months":[{"month":"MONTH","submitted":3,"completed":1,"failed":1,"success_rate":0.5,"minutes_submitted":0.06666666666666667,"minutes_delivered":0.06666666666666667}],"tags":[],"kinds":[{"kind":"video","submitted":3,"completed":1,"failed":1,"success_rate":0.5,"minutes_submitted":0.06666666666666667,"minutes_delivered":0.06666666666666667}],"files":1,"bytes":65536}
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("list -L 2"), @r#"
    $ tracker list -L 2
    --- stdout
    3	c4e77f0ce2a31df5d932ef6461dfa32a	queued	TIME		Video 3	
    2	c763de764d6fe1b0027a617d2237a6c9	failed	TIME	TIME	Video 2	
    --- stderr
    showing 2 of 3; -L 0 for all
    --- exit 0
    "#);
}

#[test]
fn show() {
    let bench = history();
    assert_snapshot!(bench.shows("show 1"), @r#"
    $ tracker show 1
    --- stdout
    status       completed
    title        Video 1
    id           1
    video id     a833bdcdb6d1beb188dc97e5aab5fe3d
    script       Hello there
    avatar       a1
    voice        v1
    submitted    TIME (20m ago)
    accepted     TIME (20m ago)
    completed    TIME (12m ago)
    rendered in  8m
    length       4.0s
    checked      TIME (20m ago)
    output dir   DIR/output
    page         https://app.heygen.com/videos/a833bdcdb6d1beb188dc97e5aab5fe3d

    files
      video      saved       65.5 kB   output/a833bdcdb6d1beb188dc97e5aab5fe3d.mp4

    request
      {"type":"avatar","avatar_id":"a1","voice_id":"v1","title":"Video 1","script":"Hello there"}

    timeline
      TIME  recorded
      TIME  sending     idempotency_key=UUID
      TIME  accepted    request_id=sandbox-1 status=waiting video_id=a833bdcdb6d1beb188dc97e5aab5fe3d
      TIME  status      from=waiting to=completed
      TIME  saved       asset=video bytes=65536 path=DIR/output/a833bdcdb6d1beb188dc97e5aab5fe3d.mp4 sha256=6ce2273d67ae29369ca9dc12315e483c5836d87b26b999d57f75d6bf527301b2

    account      http://API
    key          UUID
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("show 2"), @r#"
    $ tracker show 2
    --- stdout
    status       failed
    title        Video 2
    id           2
    video id     c763de764d6fe1b0027a617d2237a6c9
    script       Hello there
    avatar       a1
    voice        v1
    submitted    TIME (20m ago)
    accepted     TIME (20m ago)
    ended        TIME (12m ago)
    checked      2 times, last TIME (20m ago)
    output dir   DIR/output
    failure      script_too_long: Script too long for selected avatar
    hint         `tracker retry 2` submits it again as a new video

    request
      {"type":"avatar","avatar_id":"a1","voice_id":"v1","title":"Video 2","script":"Hello there"}

    timeline
      TIME  recorded
      TIME  sending     idempotency_key=UUID
      TIME  accepted    request_id=sandbox-2 status=waiting video_id=c763de764d6fe1b0027a617d2237a6c9
      TIME  status      from=waiting to=queued
      TIME  status      failure_code=script_too_long failure_message="Script too long for selected avatar" from=queued to=failed

    account      http://API
    key          UUID
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("show 2 --json"), @r#"
    $ tracker show 2 --json
    --- stdout
    {"id":2,"video_id":"c763de764d6fe1b0027a617d2237a6c9","status":"failed","finished":true,"stalled":false,"title":"Video 2","tags":[],"submitted_at":"TIME","created_at":"TIME","completed_at":"TIME","last_checked_at":"TIME","duration":null,"output_language":null,"folder_id":null,"failure_code":"script_too_long","failure_message":"Script too long for selected avatar","video_url":null,"video_page_url":null,"path":null,"output_dir":"DIR/output","files":[{"asset":"video","state":"wanted","path":null,"bytes":null,"sha256":null,"saved_at":null}],"last_error":null,"retry_of":null,"kind":"video","session_id":null,"progress":null,"data":null,"script":"Hello there","avatar_id":"a1","voice_id":"v1","captioned_video_url":null,"subtitle_url":null,"thumbnail_url":null,"gif_url":null,"urls_at":null,"audio_url":null,"vtt_url":null,"template_id":null,"candidates":null,"request":{"type":"avatar","avatar_id":"a1","voice_id":"v1","title":"Video 2","script":"Hello there"},"idempotency_key":"UUID","events":[{"at":"TIME","kind":"recorded","count":1,"detail":{}},{"at":"TIME","kind":"sending","count":1,"detail":{"idempotency_key":"UUID"}},{"at":"TIME","kind":"accepted","count":1,"detail":{"request_id":"sandbox-2","status":"waiting","video_id":"c763de764d6fe1b0027a617d2237a6c9"}},{"at":"TIME","kind":"status","count":1,"detail":{"from":"waiting","to":"queued"}},{"at":"TIME","kind":"status","count":1,"detail":{"failure_code":"script_too_long","failure_message":"Script too long for selected avatar","from":"queued","to":"failed"}}]}
    --- exit 0
    "#);
}

#[test]
fn add() {
    let bench = Bench::seeded();
    bench.heygen.add_video("elsewhere-1", "completed");
    assert_snapshot!(bench.shows("add elsewhere-1 elsewhere-2 --tag old"), @r#"
    $ tracker add elsewhere-1 elsewhere-2 --tag old
    --- stdout
    1	elsewhere-1	waiting
    2	elsewhere-2	waiting
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("add elsewhere-1 elsewhere-3"), @r#"
    $ tracker add elsewhere-1 elsewhere-3
    --- stdout
    1	elsewhere-1	waiting
    3	elsewhere-3	waiting
    --- stderr
    already tracked as 1: elsewhere-1
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("add elsewhere-4 --json"), @r#"
    $ tracker add elsewhere-4 --json
    --- stdout
    {"id":4,"video_id":"elsewhere-4","status":"waiting","finished":false,"stalled":false,"title":null,"tags":[],"submitted_at":"TIME","created_at":null,"completed_at":null,"last_checked_at":null,"duration":null,"output_language":null,"folder_id":null,"failure_code":null,"failure_message":null,"video_url":null,"video_page_url":null,"path":null,"output_dir":"DIR/output","files":[{"asset":"video","state":"wanted","path":null,"bytes":null,"sha256":null,"saved_at":null}],"last_error":null,"retry_of":null,"kind":"video","session_id":null,"progress":null,"data":null}
    --- exit 0
    "#);
}

#[test]
fn download() {
    let bench = history();
    assert_snapshot!(bench.shows("download 1"), @r#"
    $ tracker download 1
    --- stderr
    1 video: DIR/output/a833bdcdb6d1beb188dc97e5aab5fe3d.mp4
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("download 1 --assets subtitle"), @r#"
    $ tracker download 1 --assets subtitle
    --- stdout
    1 saved "Video 1" subtitle: DIR/output/a833bdcdb6d1beb188dc97e5aab5fe3d.srt (79 B)
    --- stderr
    1 video: DIR/output/a833bdcdb6d1beb188dc97e5aab5fe3d.mp4
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("download 1 --assets gif --json"), @r#"
    $ tracker download 1 --assets gif --json
    --- stdout
    {"asset":"gif","bytes":4419,"id":1,"path":"DIR/output/a833bdcdb6d1beb188dc97e5aab5fe3d.gif","sha256":"65f4aa6ebabeba681eb14169cdae7fe27034ddc067ce3f84c4c7c587e13bb419","type":"saved","video_id":"a833bdcdb6d1beb188dc97e5aab5fe3d"}
    --- stderr
    1 video: DIR/output/a833bdcdb6d1beb188dc97e5aab5fe3d.mp4
    1 subtitle: DIR/output/a833bdcdb6d1beb188dc97e5aab5fe3d.srt
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("download 3"), @r#"
    $ tracker download 3
    --- stderr
    error: 3 is pending: there is nothing to download
    hint: tracker check 3 --wait waits for it
    --- exit 1
    "#);
    let quiet = bench.tracker("download 3 --quiet").exits(1);
    assert!(
        quiet.stderr.starts_with("error: 3 is pending"),
        "{}",
        quiet.screen()
    );
    let line = &bench.tracker("download 3 --json").exits(1).json()[0];
    assert_eq!((&line["type"], &line["id"]), (&"error".into(), &3.into()));
    assert_eq!(line["error"]["code"], "download_failed");
}

#[test]
fn retry() {
    let bench = history();
    assert_snapshot!(bench.shows("retry --failed --dry-run"), @r#"
    $ tracker retry --failed --dry-run
    --- stdout
    {"type":"avatar","avatar_id":"a1","voice_id":"v1","title":"Video 2","script":"Hello there"}
    --- stderr
    1 would be submitted; nothing was sent or recorded
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("retry 2"), @r#"
    $ tracker retry 2
    --- stdout
    4	2a7799127b9e31c8104a64fb4fa6048b	waiting
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("retry 2 --json"), @r#"
    $ tracker retry 2 --json
    --- stdout
    {"id":4,"video_id":"2a7799127b9e31c8104a64fb4fa6048b","status":"waiting","finished":false,"stalled":false,"title":"Video 2","tags":[],"submitted_at":"TIME","created_at":null,"completed_at":null,"last_checked_at":null,"duration":null,"output_language":null,"folder_id":null,"failure_code":null,"failure_message":null,"video_url":null,"video_page_url":null,"path":null,"output_dir":"DIR/output","files":[{"asset":"video","state":"wanted","path":null,"bytes":null,"sha256":null,"saved_at":null}],"last_error":null,"retry_of":2,"kind":"video","session_id":null,"progress":null,"data":null}
    --- stderr
    1 of 1 had been submitted before and was not submitted again
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("retry --failed"), @r#"
    $ tracker retry --failed
    --- stderr
    nothing failed that was not retried already
    --- exit 0
    "#);
}

#[test]
fn forget() {
    let bench = history();
    assert_snapshot!(bench.shows("forget 1 --dry-run"), @r#"
    $ tracker forget 1 --dry-run
    --- stdout
    1	a833bdcdb6d1beb188dc97e5aab5fe3d	completed
    --- stderr
    nothing was dropped (--dry-run)
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("forget 1"), @r#"
    $ tracker forget 1
    --- stdout
    1	a833bdcdb6d1beb188dc97e5aab5fe3d	completed
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("forget --older-than 7d"), @r#"
    $ tracker forget --older-than 7d
    --- stderr
    no finished video is that old
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("forget 2 --json"), @r#"
    $ tracker forget 2 --json
    --- stdout
    {"id":2,"video_id":"c763de764d6fe1b0027a617d2237a6c9","status":"failed","finished":true,"stalled":false,"title":"Video 2","tags":[],"submitted_at":"TIME","created_at":"TIME","completed_at":"TIME","last_checked_at":"TIME","duration":null,"output_language":null,"folder_id":null,"failure_code":"script_too_long","failure_message":"Script too long for selected avatar","video_url":null,"video_page_url":null,"path":null,"output_dir":"DIR/output","files":[{"asset":"video","state":"wanted","path":null,"bytes":null,"sha256":null,"saved_at":null}],"last_error":null,"retry_of":null,"kind":"video","session_id":null,"progress":null,"data":null}
    --- exit 0
    "#);
    assert_snapshot!(bench.shows("forget 3"), @r#"
    $ tracker forget 3
    --- stderr
    error: not dropped: 3 is still rendering
    hint: --force drops them all the same; HeyGen still charges for what it renders
    --- exit 2
    "#);
}
