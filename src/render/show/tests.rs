use super::*;
use crate::render::samples;
use insta::assert_snapshot;

fn show(video: &Video, request: Option<&str>, events: &[TimelineEntry], view: &View) -> String {
    let row = TicketObject {
        video,
        request,
        events,
    };
    strip_str(&super::show(&row, None, view)).to_string()
}

#[test]
fn a_failed_video() {
    let ticket = show(
        &samples::failed(),
        Some(samples::REQUEST),
        &samples::timeline(),
        &samples::view(80),
    );
    assert_snapshot!(ticket, @r#"
    status       failed
    title        Quarterly results for everyone
    id           2
    video id     0002c0ffee
    submitted    2025-11-24 14:00:00 (3h ago)
    accepted     2025-11-24 14:01:00 (2h ago)
    ended        2025-11-24 14:04:00 (2h ago)
    checked      2025-11-24 14:04:00 (2h ago)
    output dir   /home/ada/work/output
    failure      script_too_long: Script too long for selected avatar
    hint         `tracker retry 2` submits it again as a new video

    request
      {"type": "avatar",
       "script": "Hi\nthere", "z": 1, "a": [1.50, {}]}

    timeline
      2025-11-24 14:00:00  recorded
      2025-11-24 14:01:00  accepted    status=201 video_id=0002c0ffee
      2025-11-24 14:02:00  error       ×3
        code=network_error message="timed out \u001b[2J"
      2025-11-24 14:04:00  status      from=processing to=failed x={"y":[1]}

    account      https://api.heygen.com
    key          key-1
    "#);
}

#[test]
fn a_saved_video() {
    let ticket = show(&samples::saved(), None, &[], &samples::view(80));
    assert_snapshot!(ticket, @r"
    status       completed
    title        Launch teaser
    id           1
    video id     5e0a7c
    tags         launch, en
    script       Hello\nworld
    submitted    2025-11-24 14:00:00 (3h ago)
    accepted     2025-11-24 14:00:00 (3h ago)
    completed    2025-11-24 14:06:00 (2h ago)
    rendered in  6m
    length       42.5s
    checked      3 times, last 2025-11-24 14:10:00 (2h ago)
    output dir   /home/ada/work/output
    page         https://app.heygen.com/videos/5e0a7c

    files
      video      saved       14.2 MB   output/5e0a.mp4
      subtitle   unavailable

    account      https://api.heygen.com
    key          key-1
    ");
}

#[test]
fn a_hostile_row() {
    let ticket = show(
        &samples::hostile(),
        Some("no JSON \x1b[2J"),
        &[],
        &samples::view(80),
    );
    assert!(!ticket.replace('\n', "").contains(text::is_harmful));
    assert_snapshot!(ticket, @r#"
    status       pro\x1b[31mcess\u{202e}ing
    title        =cmd\x1b[2J\x1b]0;pwned\x07 two\nlines\ttab \u{202e}gpj.exe\u{202c}
                 \u{9b}31m \u{200b}日本語 ❤️ "q", end
    id           123456
    video id     ../\x1b]8;;x\x07\n
    tags         =cmd\x1b[2J\x1b]0;pwned\x07 two\nlines\ttab \u{202e}gpj.exe\u{202c}
                 \u{9b}31m \u{200b}日本語 ❤️ "q", end
    script       =cmd\x1b[2J\x1b]0;pwned\x07 two\nlines\ttab \u{202e}gpj.exe\u{202c}
                 \u{9b}31m \u{200b}日本語 ❤️ "q", end
    folder       =cmd\x1b[2J\x1b]0;pwned\x07 two\nlines\ttab \u{202e}gpj.exe\u{202c} \u{9b}31m \u{200b}日本語 ❤️ "q", end
    submitted    2025-11-24 14:00:00 (3h ago)
    output dir   /tmp/a\tb\n\x1b[2J
    retry of     1
    page         =cmd\x1b[2J\x1b]0;pwned\x07 two\nlines\ttab \u{202e}gpj.exe\u{202c} \u{9b}31m \u{200b}日本語 ❤️ "q", end
    failure      =cmd\x1b[2J\x1b]0;pwned\x07 two\nlines\ttab \u{202e}gpj.exe\u{202c}
                 \u{9b}31m \u{200b}日本語 ❤️ "q", end: =cmd\x1b[2J\x1b]0;pwned\x07
                 two\nlines\ttab \u{202e}gpj.exe\u{202c} \u{9b}31m \u{200b}日本語 ❤️
                 "q", end
    last error   network\x1b_error: =cmd\x1b[2J\x1b]0;pwned\x07 two\nlines\ttab
                 \u{202e}gpj.exe\u{202c} \u{9b}31m \u{200b}日本語 ❤️ "q", end
                 2025-11-24 14:09:00 (2h ago)
    hint         `tracker check 123456` tries again now; nothing is lost meanwhile

    files
      video      wanted

    request
      no JSON \x1b[2J

    account      https://api.heygen.com
    key          key-1
    "#);
}

#[test]
fn every_state_that_needs_a_person_has_a_hint() {
    let with = |phase| {
        let mut video = samples::unsent();
        video.phase = phase;
        hint(&video)
    };
    for &phase in Phase::ALL {
        assert!(
            with(phase).is_some_and(|hint| hint.contains('4')),
            "{phase}"
        );
    }
    for fine in [
        samples::saved(),
        samples::rendering(),
        samples::downloading(),
    ] {
        assert_eq!(hint(&fine), None);
    }
}

#[test]
fn details_are_pairs_on_one_line() {
    for (detail, said) in [
        (
            serde_json::json!({"a": 1, "b": "two", "c": null}),
            "a=1 b=two",
        ),
        (
            serde_json::json!({"m": "two words\n", "e": ""}),
            r#"e="" m="two words\n""#,
        ),
        (
            serde_json::json!({"x": [1, {"y": "z"}]}),
            r#"x=[1,{"y":"z"}]"#,
        ),
        (serde_json::json!(null), ""),
        (serde_json::json!("odd"), "\"odd\""),
    ] {
        assert_eq!(facts(&detail), said);
    }
}

#[test]
fn a_huge_request_is_bounded() {
    let body = format!("[{}1]", "1,".repeat(100_000));
    let view = samples::view(80);
    let ticket = show(&samples::unsent(), Some(&body), &[], &view);
    assert!(ticket.lines().count() < 100);
    assert!(ticket.contains("\n  … (all of it: --json)\n"));
}
