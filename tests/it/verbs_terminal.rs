//! What a person sees at terminals of several widths.

use insta::assert_snapshot;

use crate::snapshot::history;
use crate::support::run;

#[test]
fn at_a_terminal() {
    let bench = history();
    for columns in [40, 60, 80, 140] {
        let Some(list) = bench.terminal_shows(columns, "list --color never") else {
            return;
        };
        let widest = list.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(usize::from(columns)), "{list}");
    }
    let screen = |columns, arguments| {
        bench
            .terminal_shows(columns, arguments)
            .expect("a terminal")
    };
    assert_snapshot!(screen(40, "list --color never"), @r#"
    $ tracker list --color never
    --- stdout
    ID  STATUS     TITLE    AGE  RESULT
    3   queued     Video 3  20m
    2   failed     Video 2  20m  script_too…
    1   completed  Video 1  20m  …b5fe3d.mp4
    --- exit 0
    "#);
    assert_snapshot!(screen(60, "list --color never"), @r#"
    $ tracker list --color never
    --- stdout
    ID  STATUS     TITLE    AGE  RESULT
    3   queued     Video 3  20m
    2   failed     Video 2  20m  script_too_long: Script too lo…
    1   completed  Video 1  20m  …cdb6d1beb188dc97e5aab5fe3d.mp4
    --- exit 0
    "#);
    assert_snapshot!(screen(80, "list --color never"), @r#"
    $ tracker list --color never
    --- stdout
    ID  STATUS     TITLE    AGE  RESULT
    3   queued     Video 3  20m
    2   failed     Video 2  20m  script_too_long: Script too long for selected avat…
    1   completed  Video 1  20m  output/a833bdcdb6d1beb188dc97e5aab5fe3d.mp4
    --- exit 0
    "#);
    assert_snapshot!(screen(140, "list --color never"), @r#"
    $ tracker list --color never
    --- stdout
    ID  STATUS     TITLE    AGE  RESULT
    3   queued     Video 3  20m
    2   failed     Video 2  20m  script_too_long: Script too long for selected avatar
    1   completed  Video 1  20m  output/a833bdcdb6d1beb188dc97e5aab5fe3d.mp4
    --- exit 0
    "#);
    assert_snapshot!(screen(80, "list --fields id,status,title,failure_message --color never"), @r#"
    $ tracker list --fields id,status,title,failure_message --color never
    --- stdout
    id  status     title    failure_message
    3   queued     Video 3
    2   failed     Video 2  Script too long for selected avatar
    1   completed  Video 1
    --- exit 0
    "#);
    assert_snapshot!(screen(80, "submit body1.json --color never"), @r#"
    $ tracker submit body1.json --color never
    --- stdout
    warning: 4 has the same body as 1 (completed, submitted 20m ago); --if-new skips such a body
    id  video_id                          status   title
    4   2a7799127b9e31c8104a64fb4fa6048b  waiting  Video 1
    files go to DIR/output
    follow up with: tracker check (from cron), or tracker check --wait 4
    --- exit 0
    "#);
    assert_snapshot!(screen(80, "check --color never"), @r#"
    $ tracker check --color never
    --- stdout
    2 rendering, oldest 20m
    --- exit 0
    "#);
    assert_snapshot!(screen(80, "forget 1 --color never"), @r#"
    $ tracker forget 1 --color never
    --- stdout
    dropped 1 completed "Video 1"
    --- exit 0
    "#);
    assert_snapshot!(screen(80, "show 2 --color never"), @r#"
    $ tracker show 2 --color never
    --- stdout
    status       failed
    title        Video 2
    id           2
    video id     c763de764d6fe1b0027a617d2237a6c9
    account      http://API
    script       Hello there
    avatar       a1
    voice        v1
    submitted    TIME (20m ago)
    accepted     TIME (20m ago)
    completed    TIME (12m ago)
    rendered in  8m
    checked      2 times, last TIME (20m ago)
    key          UUID
    output dir   DIR/output
    failure      script_too_long: Script too long for selected avatar
    hint         `tracker retry 2` buys it again as a new video

    request
      {
        "type": "avatar",
        "avatar_id": "a1",
        "voice_id": "v1",
        "title": "Video 2",
        "script": "Hello there"
      }

    timeline
      TIME  recorded
      TIME  sending     idempotency_key=UUID
      TIME  accepted    request_id=sandbox-2 status=waiting video_id=c763de764d6fe1b0027a617d2237a6c9
      TIME  status      from=waiting to=queued
      TIME  status      failure_code=script_too_long failure_message="Script too long for selected avatar" from=queued to=failed
    --- exit 0
    "#);
}

#[test]
fn forty_columns_are_enough() {
    let bench = history();
    let narrow = |arguments: &str| {
        let mut command = bench.command(arguments.split_whitespace());
        run(command.env("COLUMNS", "40"))
    };
    for verb in [
        "list",
        "show 2",
        "check",
        "doctor",
        "list --stats",
        "--help",
    ] {
        let run = narrow(verb).exits(0);
        bench.assert_decent(&run);
    }
}
