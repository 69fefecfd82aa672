//! Presigned URLs, ranges and entity tags.

use super::*;

#[test]
fn files_are_served_whole_and_in_part() {
    let sandbox = start();
    let (id, url) = finished(&sandbox);
    let expected = sandbox.expected(&id, "video");
    let whole = send(&url, "GET", &[], b"").unwrap();
    assert_eq!(whole.status, 200);
    assert!(whole.body == expected);
    assert_eq!(whole.header("Content-Type"), Some("video/mp4"));
    assert_eq!(whole.header("Accept-Ranges"), Some("bytes"));
    assert_eq!(whole.header("Content-Length"), Some("65536"));
    let etag = whole.header("ETag").unwrap();
    let range = ("Range", "bytes=60000-");
    let part = send(&url, "GET", &[range, ("If-Range", etag)], b"").unwrap();
    assert_eq!(part.status, 206);
    assert_eq!(
        part.header("Content-Range"),
        Some("bytes 60000-65535/65536")
    );
    assert!(part.body == expected[60000..]);
    let changed = send(&url, "GET", &[range, ("If-Range", "\"x\"")], b"").unwrap();
    assert_eq!((changed.status, changed.body.len()), (200, 65536));
    let past = send(&url, "GET", &[("Range", "bytes=65536-")], b"").unwrap();
    assert_eq!(
        (past.status, past.header("Content-Range")),
        (416, Some("bytes */65536"))
    );
    assert_eq!(sandbox.bytes_served(), 65536 * 2 + 5536);
}

#[test]
fn urls_expire_and_cannot_be_forged() {
    let sandbox = start();
    let (id, url) = finished(&sandbox);
    assert_eq!(send(&url, "HEAD", &[], b"").unwrap().status, 403);
    let forged = url.replace("/video?", "/gif?");
    assert_eq!(send(&forged, "GET", &[], b"").unwrap().status, 403);
    sandbox.advance(Duration::from_secs(7 * 24 * 60 * 60));
    let expired = send(&url, "GET", &[], b"").unwrap();
    assert_eq!(expired.status, 403);
    assert!(expired.body.starts_with(b"<?xml"));
    let (_, fresh) = finished(&sandbox);
    assert_eq!(send(&fresh, "GET", &[], b"").unwrap().status, 200);
    sandbox.forget_video(&id);
    assert_eq!(send(&fresh, "GET", &[], b"").unwrap().status, 404);
}

#[test]
fn urls_may_come_late_and_some_never() {
    let options = Options {
        gets_without_urls: 1,
        assets: vec!["video".to_owned()],
        ..Options::default()
    };
    let sandbox = Heygen::start(options).unwrap();
    sandbox.add_video("../x y", "completed");
    let path = "/v3/videos/..%2Fx%20y";
    assert_eq!(get(&sandbox, path).json()["data"]["video_url"], Value::Null);
    let data = get(&sandbox, path).json()["data"].clone();
    assert_eq!(data["gif_url"], Value::Null);
    let url = data["video_url"].as_str().unwrap();
    assert!(send(url, "GET", &[], b"").unwrap().body == sandbox.expected("../x y", "video"));
}

#[test]
fn a_video_rendered_again_is_another_file() {
    let sandbox = start();
    let (id, url) = finished(&sandbox);
    let before = send(&url, "GET", &[], b"").unwrap();
    sandbox.rerender(&id);
    let after = send(&url, "GET", &[], b"").unwrap();
    assert_ne!(before.header("ETag"), after.header("ETag"));
    assert!(after.body != before.body && after.body == sandbox.expected(&id, "video"));
}

#[test]
fn ranges_are_read_as_rfc_9110_says() {
    let sandbox = Heygen::start(Options {
        file_size: 10_000,
        ..Options::default()
    });
    let sandbox = sandbox.unwrap();
    let (_, url) = finished(&sandbox);
    for (range, status, answered) in [
        ("bytes=0-9", 206, Some("bytes 0-9/10000")),
        ("bytes=9990-", 206, Some("bytes 9990-9999/10000")),
        ("bytes=9990-50000", 206, Some("bytes 9990-9999/10000")),
        ("bytes=-5", 206, Some("bytes 9995-9999/10000")),
        ("bytes=-50000", 206, Some("bytes 0-9999/10000")),
        ("bytes=10000-", 416, Some("bytes */10000")),
        ("bytes=-0", 416, Some("bytes */10000")),
        ("bytes=9-0", 200, None),
        ("bytes=0-1,3-4", 200, None),
        ("bytes=-", 200, None),
        ("items=0-1", 200, None),
    ] {
        let got = send(&url, "GET", &[("Range", range)], b"").unwrap();
        let found = (got.status, got.header("Content-Range"));
        assert_eq!(found, (status, answered), "{range}");
    }
}
