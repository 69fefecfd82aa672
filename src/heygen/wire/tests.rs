//! What is read from which JSON.

use super::*;
use crate::video::Asset;

fn redactor() -> Redactor {
    Redactor::new("sk_test_0123456789")
}

fn id(text: &str) -> VideoId {
    VideoId::new(text).unwrap()
}

fn job(text: &str) -> Job {
    Job {
        kind: Kind::Video,
        id: id(text),
    }
}

fn read<T>(
    body: &str,
    read: impl FnOnce(&AnswerPart<'_>) -> Result<T, Unusable>,
) -> Result<T, Unusable> {
    usable(body.as_bytes(), &redactor(), read).map_err(|(why, _)| why)
}

fn read_video(body: &str) -> Result<RemoteVideo, Unusable> {
    read(body, |answer| video(&job("v1"), answer))
}

/// A detail with one field, given as JSON, beside the required ones.
fn with_field(name: &str, json: &str) -> RemoteVideo {
    read_video(&format!(
        r#"{{"data":{{"id":"v1","status":"completed","{name}":{json}}}}}"#
    ))
    .unwrap()
}

#[test]
fn a_full_detail_is_read_completely() {
    let video = read_video(
        r#"{"data":{"id":"v1","status":"completed","title":"T","created_at":1764000000,"completed_at":1764000300.5,
        "video_url":"https://f/v","captioned_video_url":"https://f/c","subtitle_url":"https://f/s",
        "thumbnail_url":"https://f/t","gif_url":"https://f/g","duration":12.5,"folder_id":"F","output_language":"de",
        "failure_code":"c","failure_message":"m","video_page_url":"https://p","new_field":{"deep":[1]}},"extra":1}"#,
    )
    .unwrap();
    let some = |text: &str| Some(text.to_owned());
    let mut urls = Urls::default();
    for (asset, url) in [
        (Asset::Video, "https://f/v"),
        (Asset::Captioned, "https://f/c"),
        (Asset::Subtitle, "https://f/s"),
        (Asset::Thumbnail, "https://f/t"),
        (Asset::Gif, "https://f/g"),
    ] {
        urls.insert(asset, url.to_owned());
    }
    assert_eq!(
        video,
        RemoteVideo {
            id: id("v1"),
            status: RemoteStatus::new("completed"),
            title: some("T"),
            created_at: Some(Timestamp::from_secs(1_764_000_000)),
            completed_at: Some(Timestamp::from_millis(1_764_000_300_500)),
            session: None,
            urls,
            duration: Some(12.5),
            folder_id: some("F"),
            output_language: some("de"),
            failure_code: some("c"),
            failure_message: some("m"),
            video_page_url: some("https://p"),
        }
    );
}

#[test]
fn a_status_is_any_word_but_has_to_be_one() {
    let long = format!(r#""{}""#, "x".repeat(257));
    let table = [
        (r#""completed""#, true),
        (r#""brand_new word""#, true),
        (r#""""#, false),
        (r#""  ""#, false),
        ("null", false),
        ("7", false),
        ("true", false),
        (r#"["completed"]"#, false),
        (r#"{"a":1}"#, false),
        (long.as_str(), false),
    ];
    for (json, usable) in table {
        let body = format!(r#"{{"data":{{"id":"v1","status":{json}}}}}"#);
        assert_eq!(read_video(&body).is_ok(), usable, "{json}");
    }
    let without = read_video(r#"{"data":{"id":"v1"}}"#);
    assert_eq!(without, Err(NO_STATUS));
}

#[test]
fn an_answer_that_is_not_a_detail_is_said_to_be_so() {
    let deep = format!(
        r#"{{"data":{}1{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let table = [
        ("", "something that is not a JSON object"),
        ("<html>", "something that is not a JSON object"),
        ("null", "something that is not a JSON object"),
        (
            r#"{"data":{"id":"v1","status":"comp"#,
            "something that is not a JSON object",
        ),
        (
            r#"[{"id":"v1","status":"completed"}]"#,
            "something that is not a JSON object",
        ),
        ("{}", "JSON without the expected `data`"),
        (r#"{"data":null}"#, "JSON without the expected `data`"),
        (
            r#"{"data":["v1","completed"]}"#,
            "JSON without the expected `data`",
        ),
        (deep.as_str(), "JSON without the expected `data`"),
        (r#"{"error":{"code":"x"}}"#, "an error envelope"),
        (
            r#"{"data":{"id":"v2","status":"completed"}}"#,
            "another video than the one asked for",
        ),
        (
            r#"{"data":{"status":"completed"}}"#,
            "another video than the one asked for",
        ),
    ];
    for (body, expected) in table {
        let said = read_video(body).unwrap_err();
        assert_eq!(said, expected, "{body:.80}");
    }
}

#[test]
fn a_byte_order_mark_and_an_empty_error_do_no_harm() {
    for error in ["null", "{}", r#""""#, "false", "[]"] {
        let body =
            format!("\u{feff} {{\"error\":{error},\"data\":{{\"id\":\"v1\",\"status\":\"x\"}}}}\n");
        assert!(read_video(&body).is_ok(), "{error}");
    }
}

#[test]
fn instants_are_seconds_or_iso_text() {
    let table = [
        ("1764000000", Some(1_764_000_000_000)),
        ("1764000000.25", Some(1_764_000_000_250)),
        (r#""1764000000""#, Some(1_764_000_000_000)),
        (r#""2025-11-24T16:00:00Z""#, Some(1_764_000_000_000)),
        (
            r#""2025-11-24T17:00:00.500+01:00""#,
            Some(1_764_000_000_500),
        ),
        (r#""2025-11-24T16:00:00.5""#, Some(1_764_000_000_500)),
        ("1e300", Some(253_402_300_799_999)),
        ("1e999", None),
        (r#""NaN""#, None),
        (r#""yesterday""#, None),
        ("null", None),
        ("{}", None),
    ];
    for (json, millis) in table {
        let read = with_field("created_at", json).created_at;
        assert_eq!(read.map(Timestamp::millis), millis, "{json}");
    }
}

#[test]
fn durations_are_numbers_that_make_sense() {
    let table = [
        ("12", Some(12.0)),
        (r#""12.5""#, Some(12.5)),
        ("-1", None),
        (r#""inf""#, None),
        ("[]", None),
        ("null", None),
    ];
    for (json, seconds) in table {
        assert_eq!(with_field("duration", json).duration, seconds, "{json}");
    }
}

#[test]
fn optional_texts_of_a_wrong_type_are_missing() {
    for json in ["null", "5", "[1]", r#"{"a":"b"}"#, r#""""#, r#""\ud800""#] {
        assert_eq!(with_field("title", json).title, None, "{json}");
        assert_eq!(
            with_field("video_url", json).urls.get(&Asset::Video),
            None,
            "{json}"
        );
    }
}

#[test]
fn texts_are_bounded() {
    let long = format!(r#""{}""#, "é".repeat(40_000));
    assert_eq!(with_field("title", &long).title.unwrap().len(), 65_536);
    assert_eq!(
        with_field("failure_message", &long)
            .failure_message
            .unwrap()
            .len(),
        65_536
    );
    assert_eq!(with_field("video_url", &long).urls.get(&Asset::Video), None);
}

#[test]
fn failure_messages_hold_no_secrets() {
    let json = r#""cannot fetch https://b/a.mp3?X-Amz-Signature=abc with sk_test_0123456789""#;
    assert_eq!(
        with_field("failure_message", json).failure_message.unwrap(),
        "cannot fetch https://b/a.mp3?*** with ***"
    );
}

/// The key is nowhere in what was read, whichever field a server echoes it in.
#[test]
fn no_field_holds_the_key() {
    let json = r#""a sk_test_0123456789 b""#;
    let names = [
        "title",
        "folder_id",
        "output_language",
        "failure_code",
        "failure_message",
        "video_page_url",
        "video_url",
        "gif_url",
    ];
    for name in names {
        let read = format!("{:?}", with_field(name, json));
        assert!(read.contains("***") && !read.contains("sk_test"), "{read}");
    }
    let body = r#"{"data":{"id":"v1","status":"sk_test_0123456789"}}"#;
    assert_eq!(read_video(body).unwrap().status.as_str(), "***");
    let body = r#"{"data":{"video_id":"v-sk_test_0123456789","status":"waiting"}}"#;
    let read = read(body, |answer| created(Kind::Video, answer));
    assert_eq!(read.unwrap_err(), "no usable `video_id`");
}

#[test]
fn a_purchase_is_proven_by_its_id_alone() {
    let read = |body: &str| read(body, |answer| created(Kind::Video, answer));
    let full = r#"{"data":{"video_id":"v1","status":"queued","output_format":"webm"}}"#;
    let full = read(full).unwrap();
    assert_eq!(full.video_id, id("v1"));
    assert_eq!(full.status.as_str(), "queued");
    let bare = read(r#"{"data":{"video_id":"v1","status":7}}"#).unwrap();
    assert_eq!(bare.status, RemoteStatus::waiting());
    for json in ["null", r#""""#, r#"" ""#, "7", "{}"] {
        let body = format!(r#"{{"data":{{"video_id":{json},"status":"waiting"}}}}"#);
        assert_eq!(read(&body).unwrap_err(), "no usable `video_id`", "{json}");
    }
}

#[test]
fn the_field_that_names_no_job_is_the_one_of_its_kind() {
    for (kind, name) in [
        (Kind::Video, "video_id"),
        (Kind::Agent, "session_id"),
        (Kind::Template, "id"),
        (Kind::Translation, "video_translation_ids"),
        (Kind::Lipsync, "lipsync_id"),
        (Kind::Model, "video_id"),
    ] {
        let read = read(r#"{"data":{"status":"waiting"}}"#, |answer| {
            created(kind, answer)
        });
        assert_eq!(read.unwrap_err(), format!("no usable `{name}`"));
    }
}

#[test]
fn bulk_entries_stand_alone() {
    let body = r#"{"data":[
        {"video_id":"v1","status":"queued","error":null,"batch_id":null,"item_index":0},
        {"video_id":"v2","status":"not_found","error":{"code":"not_found","message":"no"}},
        {"video_id":null,"status":"pending"},
        {"video_id":"v3","status":null}, null, "v4", []
    ]}"#;
    let words = read(body, statuses).unwrap();
    let word = |video: &str| words.get(&id(video)).map(RemoteStatus::as_str);
    assert_eq!(
        [word("v1"), word("v2"), word("v3")],
        [Some("queued"), Some("not_found"), None]
    );
    assert_eq!(words.len(), 2);
    for body in [r#"{"data":{}}"#, r#"{"data":null}"#, "{}"] {
        assert_eq!(read(body, statuses), Err(NO_DATA));
    }
}

#[test]
fn a_page_knows_whether_there_is_another() {
    let table = [
        (r#""has_more":true,"next_token":"t""#, Some("t")),
        (r#""next_token":"t""#, Some("t")),
        (r#""has_more":false,"next_token":"t""#, None),
        (r#""has_more":true,"next_token":null"#, None),
    ];
    for (cursor, next) in table {
        let body =
            format!(r#"{{"data":[{{"id":"v1","status":"x"}},{{"status":"y"}},7],{cursor}}}"#);
        let page = read(&body, |answer| jobs(Kind::Video, answer)).unwrap();
        assert_eq!(page.next.as_deref(), next, "{cursor}");
        assert_eq!((page.items.len(), page.skipped), (1, 2));
    }
}

#[test]
fn a_listed_session_without_a_status_is_waiting() {
    let body = r#"{"data":[{"session_id":"s1","created_at":7,"title":"T"}]}"#;
    let page = read(body, |answer| jobs(Kind::Agent, answer)).unwrap();
    let session = &page.items[0];
    assert_eq!(session.id.as_str(), "s1");
    assert_eq!(session.status, RemoteStatus::waiting());
    assert_eq!(session.created_at, Some(Timestamp::from_secs(7)));
}

#[test]
fn a_batch_is_read_wherever_its_cursor_stands() {
    let items = r#""items":[{"item_index":0,"status":"queued","video_id":"v1","error":null},
        {"item_index":1,"status":"failed","error":{"code":"c","message":"m"}},{"status":"x"}]"#;
    for body in [
        format!(r#"{{"data":{{{items},"has_more":true,"next_token":"t"}}}}"#),
        format!(r#"{{"data":{{{items}}},"has_more":true,"next_token":"t"}}"#),
        format!(r#"{{"data":{},"next_token":"t"}}"#, &items[8..]),
    ] {
        let page = read(&body, batch).unwrap();
        assert_eq!((page.next.as_deref(), page.skipped), (Some("t"), 1));
        assert_eq!(page.items[0].video_id.as_ref().unwrap().as_str(), "v1");
        let error = page.items[1].error.as_ref().unwrap();
        assert_eq!((page.items[1].index, error.code.as_deref()), (1, Some("c")));
    }
}

#[test]
fn refusals_are_read_as_far_as_possible() {
    let table = [
        (
            r#"{"error":{"code":"c","message":"m"}}"#,
            Some("c"),
            Some("m"),
        ),
        (
            r#"{"error":{"code":40119,"message":"m"}}"#,
            Some("40119"),
            Some("m"),
        ),
        (r#"{"error":"m"}"#, None, Some("m")),
        (r#"{"code":"c","message":"m"}"#, Some("c"), Some("m")),
        (r#"{"detail":"m"}"#, None, Some("m")),
        (r#"{"error":{"message":["m"]}}"#, None, None),
        ("<html>", None, None),
        ("", None, None),
    ];
    for (body, code, message) in table {
        let (read, _) = refusal(body.as_bytes(), &redactor());
        assert_eq!(
            (read.code.as_deref(), read.message.as_deref()),
            (code, message),
            "{body}"
        );
    }
    assert_eq!(
        refusal(b"\xff\xfe", &redactor()),
        (ErrorBody::default(), false)
    );
}
