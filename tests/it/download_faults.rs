//! Downloads whose host or network misbehaves: D1–D9, X1 and X2 of the fault list.

use std::time::Duration;

use crate::heygen::Fault;
use serde_json::json;

use crate::rendered::{Rendered, VIDEO};
use crate::support::PATIENCE;

/// The size of the stand-in's videos.
const SIZE: usize = 64 * 1024;

#[test]
fn d01_a_short_body_is_resumed_within_the_run() {
    let row = Rendered::new();
    row.fault(Fault::truncate_body(20_000));
    let check = row.check("--retries 1").exits(0);
    assert_eq!(check.stdout.lines().count(), 1, "{}", check.screen());
    assert_eq!(check.stderr, "");
    assert_eq!(row.ranges(), ["", "bytes=20000-"]);
    assert!(row.video_requests()[1].header("If-Range").is_some());
    row.is_saved();
}

#[test]
fn d01_a_short_body_is_kept_and_resumed_by_the_next_run() {
    let row = Rendered::partial(20_000);
    row.keeps(20_000);
    assert_eq!(row.error_code(), "network_error");
    row.fault(Fault::truncate_body(30_000));
    row.check("--retries 0").exits(1).silent();
    row.keeps(50_000);
    row.converges();
    assert_eq!(row.ranges(), ["", "bytes=20000-", "bytes=50000-"]);
}

#[test]
fn d01_a_reset_at_any_byte_is_retried() {
    let row = Rendered::new();
    let cuts = [0, 1, 4095, 4096, 4097, 30_000];
    for bytes in cuts {
        row.fault(Fault::reset_after(bytes));
    }
    let check = row.check("--retries 6").exits(0);
    assert_eq!(check.stderr, "");
    assert_eq!(row.ranges().len(), cuts.len() + 1);
    row.is_saved();
}

#[test]
fn d01_a_body_that_stands_still_is_a_timeout() {
    let row = Rendered::new();
    row.fault(Fault::stall_body_after(20_000, PATIENCE));
    row.check("--retries 0 --read-timeout 1s").exits(1);
    assert_eq!(row.error_code(), "timeout");
    row.keeps(20_000);
    row.converges();
    assert_eq!(row.ranges(), ["", "bytes=20000-"]);
}

#[test]
fn d01_headers_that_never_come_or_never_end_are_given_up() {
    let row = Rendered::new();
    let quick = "--read-timeout 1s";
    for (fault, patience, codes) in [
        (Fault::stall(PATIENCE), quick, &["timeout"][..]),
        (Fault::drip(Duration::from_secs(4)), quick, &["timeout"]),
        // Whichever comes first: too many of them, or too long a time.
        (
            Fault::endless_headers(),
            quick,
            &["network_error", "timeout"],
        ),
        (Fault::drop_request(), "", &["network_error"]),
    ] {
        row.fault(fault);
        row.check(&format!("--retries 0 {patience}")).exits(1);
        let code = row.error_code();
        assert!(codes.contains(&code.as_str()), "{code}, not {codes:?}");
        row.nothing_is_kept();
    }
    row.converges();
}

#[test]
fn d01_no_more_tries_than_allowed() {
    let row = Rendered::new();
    row.fault(Fault::status(503).times(4));
    row.check("--retries 3").exits(1);
    assert_eq!(row.ranges().len(), 4);
    assert_eq!(row.error_code(), "download_failed");
    row.converges();
}

#[test]
fn d02_a_body_longer_than_announced_is_discarded() {
    for fault in [
        Fault::longer_body(10),
        Fault::longer_body(100_000),
        Fault::set_header("Content-Length", "60000"),
    ] {
        let row = Rendered::new();
        row.fault(fault);
        let check = row.check("").exits(1);
        assert!(check.stderr.contains("more bytes"), "{}", check.screen());
        row.nothing_is_kept();
        row.converges();
        assert_eq!(row.ranges(), ["", ""]);
    }
}

#[test]
fn d02_a_rest_longer_than_announced_discards_the_part_too() {
    let row = Rendered::partial(20_000);
    row.fault(Fault::longer_body(10));
    row.check("").exits(1);
    row.nothing_is_kept();
    row.converges();
}

#[test]
fn d03_a_chunked_body_is_accepted_with_its_terminator() {
    let row = Rendered::new();
    row.fault(Fault::chunked(true));
    row.converges();
}

#[test]
fn d03_a_chunked_body_without_its_terminator_is_not_complete() {
    let row = Rendered::new();
    row.fault(Fault::chunked(false));
    row.check("--retries 0").exits(1);
    row.keeps(SIZE);
    row.converges();
}

#[test]
fn d03_a_body_that_ends_with_its_connection_proves_nothing() {
    let row = Rendered::new();
    row.fault(Fault::no_length_close());
    row.fault(Fault::no_length_close().and(Fault::truncate_body(30_000)));
    for _ in 0..2 {
        row.check("").exits(1);
        row.nothing_is_kept();
    }
    row.converges();
}

#[test]
fn d04_an_answer_that_is_not_the_rest_asked_for_adds_nothing() {
    for fault in [
        Fault::ignore_range(),
        Fault::as_if_range("bytes=0-"),
        Fault::as_if_range("bytes=10000-"),
        Fault::as_if_range("bytes=20000-30000"),
        Fault::as_if_range("bytes=30000-"),
        Fault::as_if_range("bytes=30000-").and(Fault::content_range("bytes 20000-55535/55536")),
        Fault::content_range("bytes 20000-65535/70000"),
        Fault::content_range("bytes 20000-65535/*"),
        Fault::content_range("items 20000-65535/65536"),
        Fault::content_range("nonsense"),
        Fault::relabel(206).without_header("Content-Range"),
        Fault::ignore_range().and(Fault::relabel(206)),
    ] {
        let row = Rendered::partial(20_000);
        let told = format!("{fault:?}");
        row.fault(fault);
        let check = row.check("").exits(0);
        assert_eq!(row.ranges()[1], "bytes=20000-", "{told}");
        assert!(check.stdout.contains("saved"), "{told}");
        row.is_saved();
    }
}

#[test]
fn d04_a_rest_that_was_not_asked_for_is_no_file() {
    let row = Rendered::new();
    row.fault(Fault::as_if_range("bytes=10000-"));
    row.check("").exits(1);
    row.nothing_is_kept();
    row.converges();
}

/// A part that is complete, though nothing has proven that yet.
fn unproven() -> (Rendered, String) {
    let row = Rendered::new();
    row.fault(Fault::chunked(false));
    row.check("--retries 0").exits(1);
    row.keeps(SIZE);
    let etag = row.bench.query("SELECT etag FROM files");
    (row, etag)
}

#[test]
fn d05_a_416_that_proves_size_and_etag_finishes_the_file() {
    let (row, etag) = unproven();
    row.fault(Fault::set_header("ETag", &etag));
    row.converges();
    assert_eq!(row.ranges(), ["", "bytes=65536-"], "no second body");
}

#[test]
fn d05_any_other_416_restarts_and_its_body_is_never_stored() {
    let (row, etag) = unproven();
    row.fault(Fault::set_header("ETag", &etag).and(Fault::content_range("bytes */70000")));
    row.converges();
    assert_eq!(row.ranges(), ["", "bytes=65536-", ""]);

    let row = Rendered::partial(20_000);
    row.fault(Fault::status(416));
    row.converges();
    assert_eq!(row.ranges(), ["", "bytes=20000-", ""]);

    let row = Rendered::new();
    row.fault(Fault::status(416));
    row.check("--retries 0").exits(1);
    row.nothing_is_kept();
    row.converges();
}

#[test]
fn d06_a_changed_etag_restarts_from_zero() {
    let row = Rendered::partial(20_000);
    row.bench.heygen.rerender(&row.id);
    row.converges();
    assert_eq!(row.ranges(), ["", "bytes=20000-"], "a 200 is the whole");
}

#[test]
fn d06_a_host_that_resumes_under_another_etag_is_not_believed() {
    for etag in [Some("\"other\""), Some("W/\"weak\""), None] {
        let row = Rendered::partial(20_000);
        let lie = match etag {
            Some(etag) => Fault::set_header("ETag", etag),
            None => Fault::default().without_header("ETag"),
        };
        row.bench.heygen.rerender(&row.id);
        let was = row.bench.query("SELECT etag FROM files");
        // 206 with the rest of another file: the host ignores `If-Range`.
        row.fault(Fault::etag(Some(&was)).and(lie));
        row.converges();
        assert_eq!(row.ranges(), ["", "bytes=20000-", ""], "{etag:?}");
    }
}

#[test]
fn d06_without_a_strong_etag_the_next_try_starts_from_zero() {
    for etag in [Some("W/\"weak\""), Some("unquoted"), None] {
        let row = Rendered::new();
        row.fault(Fault::etag(etag).and(Fault::truncate_body(20_000)));
        row.check("--retries 0").exits(1);
        row.nothing_is_kept();
        row.converges();
        assert_eq!(row.ranges(), ["", ""], "{etag:?}");
    }
}

#[test]
fn d07_a_refused_url_is_replaced_by_a_fresh_one() {
    for status in [403, 404, 410] {
        let row = Rendered::new();
        let before = row.bench.heygen.api_requests().len();
        row.fault(Fault::status(status));
        let check = row.check("--retries 0").exits(0);
        assert_eq!(check.stderr, "", "{status}");
        let asked = row.bench.heygen.api_requests().len() - before;
        assert_eq!(asked, 2, "{status}: the poll and one fresh look");
        row.is_saved();
    }
}

#[test]
fn d07_a_url_that_stays_refused_is_the_next_runs() {
    let row = Rendered::new();
    row.fault(Fault::status(403).times(6));
    let check = row.check("").exits(1);
    assert!(check.stderr.contains("HTTP 403"), "{}", check.screen());
    assert_eq!(row.ranges().len(), 2, "not refreshed again and again");
    row.nothing_is_kept();
    row.check("").exits(1).silent();
    row.bench.advance(Duration::from_secs(25 * 3600));
    let check = row.check("").exits(1);
    assert!(check.stderr.contains("HTTP 403"), "told again after a day");
    row.converges();
}

#[test]
fn d07_the_same_partial_goes_on_under_a_fresh_url() {
    let row = Rendered::partial(20_000);
    let url = format!("{}/files/{}/video", row.bench.heygen.files_base(), row.id);
    let expired = json!({"video_url": format!("{url}?Expires=1&Signature=0")});
    let detail = format!("GET /v3/videos/{}", row.id);
    row.bench
        .heygen
        .fault(&detail, Fault::patch_detail(expired));
    row.check("--retries 0").exits(0);
    assert_eq!(row.ranges(), ["", "bytes=20000-", "bytes=20000-"]);
    let requests = row.video_requests();
    let (old, new) = (&requests[1], &requests[2]);
    assert_eq!((old.answered, new.answered), (Some(403), Some(206)));
    assert_ne!(old.query, new.query);
    assert_eq!(
        row.bench.heygen.bytes_served(),
        SIZE as u64,
        "no byte twice"
    );
    row.is_saved();
}

#[test]
fn d07_a_fresh_look_that_fails_is_the_rows_trouble() {
    let row = Rendered::new();
    row.fault(Fault::status(403));
    let detail = format!("GET /v3/videos/{}", row.id);
    row.bench.heygen.fault(&detail, Fault::status(404).nth(1));
    row.check("").exits(1);
    assert_eq!(row.bench.status(1), "completed");
    row.nothing_is_kept();
    row.converges();
}

#[test]
fn d08_pages_and_empty_bodies_leave_nothing() {
    let row = Rendered::new();
    let page = |kind: &str, text: &str| Fault::body(200, kind, text);
    for fault in [
        Fault::html(200),
        page(
            "application/xml",
            "<Error><Code>AccessDenied</Code></Error>",
        ),
        page("application/json", "{}"),
        page("video/mp4", "<!DOCTYPE html><title>Sign in</title>"),
        page("video/mp4", "\u{feff}\n <?xml version=\"1.0\"?><Error/>"),
        page("video/mp4", ""),
        Fault::chunked(true).and(page("video/mp4", "")),
        Fault::relabel(204),
    ] {
        let told = format!("{fault:?}");
        row.fault(fault);
        let requests = row.ranges().len();
        row.check("").exits(1);
        assert_eq!(row.ranges().len(), requests + 1, "{told}");
        assert_eq!(row.error_code(), "download_failed", "{told}");
        row.nothing_is_kept();
    }
    row.converges();
}

#[test]
fn d08_a_page_in_answer_to_a_range_is_not_appended() {
    let row = Rendered::partial(20_000);
    row.fault(Fault::html(200));
    row.check("").exits(1);
    row.keeps(20_000);
    row.converges();
}

/// The URL the program was last given for the video.
fn file_url(row: &Rendered) -> String {
    row.check("--no-download").exits(0);
    row.bench.query("SELECT video_url FROM videos")
}

#[test]
fn d09_up_to_five_redirects_are_followed() {
    let row = Rendered::new();
    let url = file_url(&row);
    row.fault(Fault::redirect(307, &url).times(5));
    row.check("--retries 0").exits(0);
    assert_eq!(row.ranges().len(), 6);
    row.is_saved();
}

#[test]
fn d09_a_rest_is_asked_for_at_the_end_of_a_redirect() {
    let row = Rendered::partial(20_000);
    let url = file_url(&row);
    let relative = url.replace(&row.bench.heygen.files_base(), "");
    row.fault(Fault::redirect(302, &relative));
    row.converges();
    assert_eq!(row.ranges(), ["", "bytes=20000-", "bytes=20000-"]);
}

#[test]
fn d09_a_redirect_loop_ends() {
    let row = Rendered::new();
    let url = file_url(&row);
    row.fault(Fault::redirect(301, &url).times(6));
    let check = row.check("").exits(1);
    assert!(
        check.stderr.contains("redirected more than 5"),
        "{}",
        check.screen()
    );
    assert!(!check.stderr.contains("Signature"), "{}", check.screen());
    assert_eq!(row.ranges().len(), 6);
    row.nothing_is_kept();
    row.converges();
}

#[test]
fn d09_other_schemes_and_plain_http_are_not_followed() {
    let row = Rendered::new();
    for location in [
        "http://192.0.2.1/video.mp4",
        "file:///etc/passwd",
        "data:video/mp4,hello",
        "ftp://127.0.0.1/video.mp4",
        "https://user:word@127.0.0.1/video.mp4",
    ] {
        let requests = row.ranges().len();
        row.fault(Fault::redirect(302, location));
        row.check("").exits(1);
        assert_eq!(row.ranges().len(), requests + 1, "{location}");
        row.nothing_is_kept();
    }
    row.converges();
}

#[test]
fn x01_a_redirect_to_the_api_gets_no_key() {
    let row = Rendered::new();
    let api = format!("{}/v3/users/me", row.bench.heygen.api_base());
    row.fault(Fault::redirect(302, &api).times(2));
    row.check("--retries 0").exits(1);
    let requests = row.bench.heygen.api_requests();
    let led_astray: Vec<_> = requests
        .iter()
        .filter(|request| request.path == "/v3/users/me")
        .collect();
    assert_eq!(led_astray.len(), 2, "one for each URL");
    for request in led_astray {
        for name in ["X-Api-Key", "Authorization", "Cookie"] {
            assert_eq!(request.header(name), None);
        }
    }
    row.nothing_is_kept();
    row.converges();
}

#[test]
fn x02_a_file_url_that_is_neither_https_nor_loopback_is_not_asked() {
    let row = Rendered::new();
    for url in [
        "http://192.0.2.1/video.mp4?Signature=secret",
        "http://localhost.example/video.mp4",
        "file:///etc/passwd",
        "/etc/passwd",
        "not a url",
    ] {
        let detail = format!("GET /v3/videos/{}", row.id);
        let fault = Fault::patch_detail(json!({ "video_url": url }));
        row.bench.heygen.fault(&detail, fault);
        // One pause would be longer than any test waits.
        let check = row
            .bench
            .tracker("check -v --retries 3 --retry-delay 1h")
            .exits(1);
        assert!(!check.stderr.contains("secret"), "{}", check.screen());
        assert_eq!(row.error_code(), "download_failed", "{url}");
        row.nothing_is_kept();
    }
    assert_eq!(row.ranges().len(), 0);
    row.converges();
}

#[test]
fn a_file_host_that_is_down_is_a_network_error_and_no_more() {
    use crate::heygen::Host;
    let row = Rendered::partial(20_000);
    row.bench.heygen.set_reachable(Host::Files, false).unwrap();
    row.check("--retries 2").exits(1).silent();
    assert_eq!(row.error_code(), "network_error");
    assert_eq!(row.bench.status(1), "completed");
    row.keeps(20_000);
    row.bench.heygen.set_reachable(Host::Files, true).unwrap();
    row.converges();
    assert_eq!(row.ranges(), ["", "bytes=20000-"]);
}

#[test]
fn a_compressed_answer_is_not_the_file() {
    let row = Rendered::new();
    row.bench
        .heygen
        .fault(VIDEO, Fault::set_header("Content-Encoding", "gzip"));
    row.check("").exits(1);
    row.nothing_is_kept();
    row.converges();
    assert!(
        row.video_requests()
            .iter()
            .all(|r| r.header("Accept-Encoding") == Some("identity"))
    );
}
