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
    assert_snapshot!(screen(40, "list --color never"), @r"
    $ tracker list --color never
    --- stdout
    ID  STATUS     TITLE    AGE  RESULT
    3   queued     Video 3  20m
    2   failed     Video 2  20m  script_too…
    1   completed  Video 1  20m  a833bdcdb6…
    --- exit 0
    ");
    assert_snapshot!(screen(60, "list --color never"), @r"
    $ tracker list --color never
    --- stdout
    ID  STATUS     TITLE    AGE  RESULT
    3   queued     Video 3  20m
    2   failed     Video 2  20m  script_too_long: Script too lo…
    1   completed  Video 1  20m  a833bdcdb6d1beb188dc97e5aab5fe…
    --- exit 0
    ");
    assert_snapshot!(screen(80, "list --color never"), @r#"
    $ tracker list --color never
    --- stdout
    ID  STATUS     TITLE    AGE  RESULT
    3   queued     Video 3  20m
    2   failed     Video 2  20m  script_too_long: Script too long for selected avat…
    1   completed  Video 1  20m  output/a833bdcdb6d1beb188dc97e5aab5fe3d.mp4
    --- exit 0
    "#);
    assert_snapshot!(screen(140, "list --color never"), @r"
    $ tracker list --color never
    --- stdout
    ID  STATUS     TITLE    AGE  DATE              RESULT
    3   queued     Video 3  20m  TIME
    2   failed     Video 2  20m  TIME  script_too_long: Script too long for selected avatar
    1   completed  Video 1  20m  TIME  output/a833bdcdb6d1beb188dc97e5aab5fe3d.mp4
    --- exit 0
    ");
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
    assert_snapshot!(screen(80, "check --color never"), @r"
    $ tracker check --color never
    --- stdout
    2 checked; 2 rendering, oldest 20m; check again in 1m
    --- exit 0
    ");
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
      {"type":"avatar","avatar_id":"a1","voice_id":"v1","title":"Video
        2","script":"Hello there"}

    timeline
      TIME  recorded
      TIME  sending
        idempotency_key=UUID
      TIME  accepted
        request_id=sandbox-2 status=waiting
        video_id=c763de764d6fe1b0027a617d2237a6c9
      TIME  status      from=waiting to=queued
      TIME  status
        failure_code=script_too_long failure_message="Script too long for selected
        avatar" from=queued to=failed

    account      http://API
    key          UUID
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

/// Sets the stage: titles as people write them, a retried failure, an old row, one that waits to be sent.
fn lively() -> crate::support::Bench {
    let bench = history();
    bench.tracker("retry 2 --tag launch,de").exits(0);
    bench
        .db()
        .execute_batch(
            "UPDATE videos SET title = '👨‍👩‍👧 新製品のご案内、春の特別版' WHERE id = 3;
             UPDATE videos SET title = NULL WHERE id = 1;
             UPDATE videos SET submitted_at = 1735732800000 WHERE id = 1;",
        )
        .expect("rows");
    bench
}

#[test]
fn a_listing_says_what_a_person_wants_to_know() {
    let bench = lively();
    let Some(_) = bench.terminal_shows(80, "list") else {
        return;
    };
    let screen = |columns, arguments: &str| {
        bench
            .terminal_shows(columns, &format!("{arguments} --color never"))
            .expect("a terminal")
    };
    assert_snapshot!(screen(60, "list"), @r"
    $ tracker list --color never
    --- stdout
    ID  STATUS     TITLE            AGE         RESULT
    4   waiting    Video 2          just now
    3   queued     👨‍👩‍👧 新製品…       20m
    2   failed     Video 2          20m         retried as 4
    1   completed  Hello there      2025-01-01  a833bdcdb6d1beb…
    --- exit 0
    ");
    assert_snapshot!(screen(140, "list"), @r"
    $ tracker list --color never
    --- stdout
    ID  STATUS     TITLE                              AGE         DATE              TAGS       RESULT
    4   waiting    Video 2                            just now    TIME  launch,de
    3   queued     👨‍👩‍👧 新製品のご案内、春の特別版      20m         TIME
    2   failed     Video 2                            20m         TIME             retried as 4
    1   completed  Hello there                        2025-01-01  TIME             output/a833bdcdb6d1beb188dc97e5aab5fe3d.mp4
    --- exit 0
    ");
    assert_snapshot!(screen(80, "list --wide"), @r"
    $ tracker list --wide --color never
    --- stdout
    ID  STATUS     TITLE              DATE              TAGS       RESULT
    4   waiting    Video 2            TIME  launch,de
    3   queued     👨‍👩‍👧 新製品の…       TIME
    2   failed     Video 2            TIME             retried as 4
    1   completed  Hello there        TIME             a833bdcdb6d1beb1…
    --- exit 0
    ");
    assert_snapshot!(screen(80, "list --failed"), @r"
    $ tracker list --failed --color never
    --- stdout
    no video matches
    --- exit 0
    ");
}

#[test]
fn show_is_about_the_video_first() {
    let bench = lively();
    let plain = bench.tracker("show 1").exits(0);
    assert!(!plain.stdout.contains("Signature="), "{}", plain.stdout);
    let more = bench.tracker("show 1 -v").exits(0);
    assert!(more.stdout.contains("Signature="), "{}", more.stdout);
    let json = bench.tracker("show 1 --json").exits(0);
    assert!(json.stdout.contains("Signature="), "{}", json.stdout);
    let failed = bench.tracker("show 2").exits(0).stdout;
    assert!(failed.contains("it was retried as 4"), "{failed}");
    assert!(!failed.contains("rendered in"), "{failed}");
    assert!(!failed.contains("\ncompleted "), "{failed}");
    let last: Vec<_> = failed.lines().rev().take(2).collect();
    assert!(last[0].starts_with("key") && last[1].starts_with("account"));
}

#[test]
fn long_text_is_wrapped_under_its_label_at_a_terminal_only() {
    let bench = history();
    bench
        .db()
        .execute(
            "UPDATE videos SET failure_message = ?1, send_after = NULL WHERE id = 2",
            ["HeyGen says a lot about this one. ".repeat(6).trim_end()],
        )
        .expect("a row");
    let piped = bench.tracker("show 2").exits(0).stdout;
    let line = piped.lines().find(|line| line.starts_with("failure"));
    assert_eq!(line.map(|line| line.matches("a lot").count()), Some(6));
    let Some(screen) = bench.terminal_shows(60, "show 2 --color never") else {
        return;
    };
    let failure: Vec<_> = screen
        .lines()
        .skip_while(|line| !line.starts_with("failure"))
        .take(5)
        .collect();
    assert_snapshot!(failure.join("\n"), @r"
    failure      script_too_long: HeyGen says a lot about this
                 one. HeyGen says a lot about this one. HeyGen
                 says a lot about this one. HeyGen says a lot
                 about this one. HeyGen says a lot about this
                 one. HeyGen says a lot about this one.
    ");
}

#[test]
fn what_is_to_come_is_not_just_now() {
    let bench = history();
    bench
        .db()
        .execute(
            "UPDATE videos SET send_after = (unixepoch() + 90) * 1000 WHERE id = 3",
            [],
        )
        .expect("a row");
    let shown = bench.tracker("show 3").exits(0).stdout;
    let line = shown.lines().find(|line| line.starts_with("send after"));
    assert!(
        line.is_some_and(|line| line.ends_with("(in 1m)")),
        "{shown}"
    );
}

#[test]
fn a_check_ends_with_totals() {
    let bench = history();
    bench.tracker("submit body1.json").exits(0);
    bench.heygen.finish(&bench.video_id(4));
    let Some(screen) = bench.terminal_shows(80, "check --color never") else {
        return;
    };
    let last = screen.lines().rev().nth(1).unwrap_or_default();
    assert_eq!(
        last,
        "2 checked; 1 saved (65.5 kB); 1 rendering, oldest 20m; check again in 1m"
    );
}

#[test]
fn kinds_of_job_are_told_apart() {
    let bench = history();
    bench
        .db()
        .execute_batch(
            "UPDATE videos SET kind = 'agent', session_id = 'sess-3', progress = 40 WHERE id = 3",
        )
        .expect("a row");
    let listed = bench.tracker("list --kind agent --fields id,kind,session_id,progress");
    assert_eq!(listed.exits(0).stdout, "3\tagent\tsess-3\t40\n");
    let unknown = bench.tracker("list --kind nonsense").exits(2);
    assert!(unknown.stderr.contains("translation"), "{}", unknown.stderr);
    let shown = bench.tracker("show 3").exits(0).stdout;
    for line in [
        "kind         agent",
        "session      sess-3",
        "progress     40%",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
}
