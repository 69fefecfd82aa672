use super::*;
use crate::render::samples;
use insta::assert_snapshot;

/// One key per line, for the eye; checks that the real thing is one line.
fn keys_on_lines(value: &impl Serialize) -> String {
    let line = to_line(value).unwrap();
    assert!(!line.contains(text::is_harmful));
    line.replace(",\"", ",\n\"")
}

#[test]
fn the_video_object() {
    assert_snapshot!(keys_on_lines(&VideoObject::new(&samples::saved())), @r#"
    {"id":1,
    "video_id":"5e0a7c",
    "status":"completed",
    "finished":true,
    "stalled":false,
    "title":"Launch teaser",
    "tags":["launch",
    "en"],
    "submitted_at":"2025-11-24T13:00:00Z",
    "created_at":"2025-11-24T13:00:00Z",
    "completed_at":"2025-11-24T13:06:00Z",
    "last_checked_at":"2025-11-24T13:10:00Z",
    "duration":42.5,
    "output_language":null,
    "folder_id":null,
    "failure_code":null,
    "failure_message":null,
    "video_url":"https://files.heygen.ai/5e0a7c.mp4?Signature=abc",
    "video_page_url":"https://app.heygen.com/videos/5e0a7c",
    "path":"/home/ada/work/output/5e0a.mp4",
    "output_dir":"/home/ada/work/output",
    "files":[{"asset":"video",
    "state":"saved",
    "path":"/home/ada/work/output/5e0a.mp4",
    "bytes":14200000,
    "sha256":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "saved_at":"2025-11-24T13:11:00Z"},{"asset":"subtitle",
    "state":"unavailable",
    "path":null,
    "bytes":null,
    "sha256":null,
    "saved_at":null}],
    "last_error":null,
    "retry_of":null,
    "kind":"video",
    "session_id":null,
    "progress":null,
    "data":null}
    "#);
}

#[test]
fn the_video_object_of_a_hostile_row() {
    assert_snapshot!(keys_on_lines(&VideoObject::new(&samples::hostile())), @r#"
    {"id":123456,
    "video_id":"../\u001b]8;;x\u0007\n",
    "status":"pro\u001b[31mcess\u202eing",
    "finished":false,
    "stalled":false,
    "title":"=cmd\u001b[2J\u001b]0;pwned\u0007 two\nlines\ttab \u202egpj.exe\u202c \u009b31m \u200b日本語 ❤️ \"q\", end",
    "tags":["=cmd\u001b[2J\u001b]0;pwned\u0007 two\nlines\ttab \u202egpj.exe\u202c \u009b31m \u200b日本語 ❤️ \"q\", end"],
    "submitted_at":"2025-11-24T13:00:00Z",
    "created_at":null,
    "completed_at":null,
    "last_checked_at":null,
    "duration":null,
    "output_language":null,
    "folder_id":"=cmd\u001b[2J\u001b]0;pwned\u0007 two\nlines\ttab \u202egpj.exe\u202c \u009b31m \u200b日本語 ❤️ \"q\", end",
    "failure_code":"=cmd\u001b[2J\u001b]0;pwned\u0007 two\nlines\ttab \u202egpj.exe\u202c \u009b31m \u200b日本語 ❤️ \"q\", end",
    "failure_message":"=cmd\u001b[2J\u001b]0;pwned\u0007 two\nlines\ttab \u202egpj.exe\u202c \u009b31m \u200b日本語 ❤️ \"q\", end",
    "video_url":"=cmd\u001b[2J\u001b]0;pwned\u0007 two\nlines\ttab \u202egpj.exe\u202c \u009b31m \u200b日本語 ❤️ \"q\", end",
    "video_page_url":"=cmd\u001b[2J\u001b]0;pwned\u0007 two\nlines\ttab \u202egpj.exe\u202c \u009b31m \u200b日本語 ❤️ \"q\", end",
    "path":null,
    "output_dir":"/tmp/a\tb\n\u001b[2J",
    "files":[{"asset":"video",
    "state":"wanted",
    "path":null,
    "bytes":null,
    "sha256":null,
    "saved_at":null}],
    "last_error":{"code":"network\u001b_error",
    "message":"=cmd\u001b[2J\u001b]0;pwned\u0007 two\nlines\ttab \u202egpj.exe\u202c \u009b31m \u200b日本語 ❤️ \"q\", end",
    "request_id":null,
    "at":"2025-11-24T13:09:00Z"},
    "retry_of":1,
    "kind":"video",
    "session_id":null,
    "progress":null,
    "data":null}
    "#);
}

#[test]
fn chosen_fields_come_in_the_chosen_order() {
    let video = samples::unsent();
    let fields = [Field::Title, Field::VideoId, Field::Script, Field::Id];
    let object = VideoObject {
        video: &video,
        fields: &fields,
    };
    assert_snapshot!(to_line(&object).unwrap(), @r#"{"title":"Onboarding, part 2","video_id":null,"script":null,"id":4}"#);
}

#[test]
fn everything_about_one_row() {
    let (video, events) = (samples::failed(), samples::timeline());
    let ticket = TicketObject {
        video: &video,
        request: Some(samples::REQUEST),
        events: &events,
    };
    assert_snapshot!(keys_on_lines(&ticket), @r#"
    {"id":2,
    "video_id":"0002c0ffee",
    "status":"failed",
    "finished":true,
    "stalled":false,
    "title":"Quarterly results for everyone",
    "tags":[],
    "submitted_at":"2025-11-24T13:00:00Z",
    "created_at":"2025-11-24T13:01:00Z",
    "completed_at":null,
    "last_checked_at":"2025-11-24T13:04:00Z",
    "duration":null,
    "output_language":null,
    "folder_id":null,
    "failure_code":"script_too_long",
    "failure_message":"Script too long for selected avatar",
    "video_url":null,
    "video_page_url":null,
    "path":null,
    "output_dir":"/home/ada/work/output",
    "files":[{"asset":"video",
    "state":"wanted",
    "path":null,
    "bytes":null,
    "sha256":null,
    "saved_at":null}],
    "last_error":null,
    "retry_of":null,
    "kind":"video",
    "session_id":null,
    "progress":null,
    "data":null,
    "script":null,
    "avatar_id":null,
    "voice_id":null,
    "captioned_video_url":null,
    "subtitle_url":null,
    "thumbnail_url":null,
    "gif_url":null,
    "urls_at":null,
    "audio_url":null,
    "vtt_url":null,
    "template_id":null,
    "candidates":null,
    "request":{"type": "avatar",
    "script": "Hi\nthere", "z": 1, "a": [1.50, {}]},
    "idempotency_key":"key-1",
    "events":[{"at":"2025-11-24T13:00:00Z",
    "kind":"recorded",
    "count":1,
    "detail":{}},{"at":"2025-11-24T13:01:00Z",
    "kind":"accepted",
    "count":1,
    "detail":{"status":201,
    "video_id":"0002c0ffee"}},{"at":"2025-11-24T13:02:00Z",
    "kind":"error",
    "count":3,
    "detail":{"code":"network_error",
    "message":"timed out \u001b[2J",
    "request_id":null}},{"at":"2025-11-24T13:04:00Z",
    "kind":"status",
    "count":1,
    "detail":{"from":"processing",
    "to":"failed",
    "x":{"y":[1]}}}]}
    "#);
}

#[test]
fn a_request_is_one_line_as_it_was_typed() {
    for (body, json) in [
        (
            "{\r\n\t\"b\": 1.10,\n  \"a b\" : [ ],\"b\":2}\n",
            r#"{"b": 1.10,"a b" : [ ],"b":2}"#,
        ),
        (r#"{"q": "\" , \n:"}"#, r#"{"q": "\" , \n:"}"#),
        ("1 2", r#""1 2""#),
        ("{\"a\":", r#""{\"a\":""#),
        ("{\"a\":\"\u{202e}\"}", r#"{"a":"\u202e"}"#),
    ] {
        assert_eq!(to_line(&request(body)).unwrap(), json);
    }
}

#[test]
fn hostile_text_round_trips() {
    let raw = "\x1b[2J\u{9b}\u{202e}\u{e0041}\u{2028}\x7f\"\\\n日本";
    let line = to_line(&raw).unwrap();
    assert!(!line.contains(text::is_harmful));
    assert_eq!(serde_json::from_str::<String>(&line).unwrap(), raw);
}

#[test]
fn a_duration_that_is_no_number_is_null() {
    let mut video = samples::saved();
    video.duration = Some(f64::NAN);
    let line = to_line(&VideoObject::new(&video)).unwrap();
    assert!(line.contains(r#""duration":null"#));
}
