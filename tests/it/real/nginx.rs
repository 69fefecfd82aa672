//! nginx between the program and HeyGen.

use std::fs;
use std::time::Duration;

use super::part_size;
use super::server::{Front, Settings};
use crate::heygen::Fault;
use crate::support::{BODY, end, eventually, start};

const MB: u64 = 1 << 20;

#[test]
fn connections_that_are_closed_after_two_requests_or_a_second_are_no_trouble() {
    let closing = Settings {
        http: "keepalive_timeout 1s; keepalive_requests 2;",
        ..Settings::default()
    };
    let Some(front) = Front::start(64 * 1024, &closing) else {
        return;
    };
    let bench = &front.bench;
    let title = |n| BODY.replace("Hello\"", &format!("Video {n}\"")) + "\n";
    bench.file("bodies.jsonl", (1..=12).map(title).collect::<String>());
    let submit = front.tracker("submit bodies.jsonl").exits(0);
    assert_eq!(submit.stderr, "");
    let waiting = start(&mut front.command("check --wait --interval 2s"));
    for rows in [1..=6, 7..=12] {
        // nginx has closed what was idle since the round before.
        let asked = front.asked().len();
        eventually("the next round", || front.asked().len() > asked);
        rows.for_each(|row| drop(front.finish(row)));
    }
    let wait = end(waiting).exits(0);
    assert!(!wait.stderr.contains("error"), "{}", wait.screen());
    let asked = front.asked_all();
    assert!(
        asked.iter().any(|line| line.ends_with(" 2")),
        "one was reused, and closed after that: {asked:?}"
    );
    assert_eq!(
        bench.query("SELECT count(*) FROM files WHERE state = 'saved'"),
        "12"
    );
    bench.assert_invariants();
}

#[test]
fn an_answer_that_the_gateway_did_not_wait_for_is_asked_for_again_and_billed_once() {
    let impatient = Settings {
        api: "proxy_read_timeout 1s;",
        ..Settings::default()
    };
    let Some(front) = Front::start(64 * 1024, &impatient) else {
        return;
    };
    let bench = &front.bench;
    bench.heygen.fault("POST /v3/videos", Fault::held());
    front.tracker("submit body.json").exits(0);
    bench.heygen.release();
    eventually("it is known that HeyGen took it", || {
        bench.advance(Duration::from_secs(60));
        front.tracker("check");
        bench.query("SELECT phase FROM videos") == "accepted"
    });
    let asked = front.asked_all();
    assert!(asked.contains(&"504 POST 1".to_owned()), "{asked:?}");
    assert_eq!(bench.heygen.billed().len(), 1);
    bench.assert_invariants();
}

#[test]
fn a_post_whose_connection_is_reset_is_sent_by_the_next_check() {
    let resetting = Settings {
        http: "reset_timedout_connection on;",
        api: "if ($request_method = POST) { return 444; }",
        ..Settings::default()
    };
    let Some(mut front) = Front::start(64 * 1024, &resetting) else {
        return;
    };
    front.tracker("submit body.json").exits(0);
    assert_eq!(front.bench.heygen.posts().len(), 0);
    front.reload(&Settings::default());
    front.bench.advance(Duration::from_secs(60));
    front.tracker("check").exits(0);
    assert_eq!(front.bench.heygen.billed().len(), 1);
    front.bench.assert_invariants();
}

/// Files at a rate at which a test can do something meanwhile.
const SLOW: Settings<'static> = Settings {
    certificate: "good",
    file_certificate: "good",
    http: "",
    api: "",
    files: "limit_rate 400k;",
    file_host: "localhost",
};

#[test]
fn a_reload_under_a_running_download_costs_a_range_request() {
    let Some(mut front) = Front::start(2 * MB, &SLOW) else {
        return;
    };
    front.tracker("submit body.json").exits(0);
    let id = front.finish(1);
    let check = start(&mut front.command("check --retry-delay 10ms"));
    eventually("some of it is here", || part_size(&front.bench) > 0);
    // The old worker closes what is still open after a second.
    front.reload(&Settings::default());
    let check = end(check).exits(0);
    assert!(check.stdout.contains("1 saved"), "{}", check.screen());
    let served = front.served_so_many(2);
    assert_eq!(served.len(), 2, "{served:?}");
    assert!(served[0].starts_with("200 "), "{served:?}");
    // With the entity tag that came with the first part.
    assert!(
        served[1].starts_with("206 ") && served[1].contains("\" \"\\x22"),
        "{served:?}"
    );
    assert!(
        sent(&served) < 2 * MB + 256 * 1024,
        "little was fetched twice: {served:?}"
    );
    assert!(
        served.iter().all(|line| line.ends_with("\"-\"")),
        "no key for a file host: {served:?}"
    );
    assert_eq!(
        fs::read(front.bench.path(&format!("output/{id}.mp4")))
            .unwrap()
            .len() as u64,
        2 * MB
    );
    front.bench.assert_invariants();
}

/// Bytes of bodies in all.
fn sent(served: &[String]) -> u64 {
    let bytes = served.iter().filter_map(|line| line.split(' ').nth(1));
    bytes
        .map(|bytes| bytes.parse::<u64>().expect("a number"))
        .sum()
}

#[test]
fn a_file_that_changed_between_two_runs_is_fetched_anew() {
    let Some(mut front) = Front::start(2 * MB, &SLOW) else {
        return;
    };
    front.tracker("submit body.json").exits(0);
    let id = front.finish(1);
    let check = start(&mut front.command("check --retries 0"));
    eventually("some of it is here", || part_size(&front.bench) > 0);
    front.reload(&Settings::default());
    end(check).exits(1);
    front.bench.heygen.rerender(&id);
    front.publish(&id);
    let file = front.bench.path(&format!("www/files/{id}/video"));
    let file = fs::File::options().write(true).open(file).unwrap();
    let written = file.metadata().unwrap().modified().unwrap();
    file.set_modified(written + Duration::from_secs(10))
        .unwrap();
    front.tracker("check 1").exits(0);
    let served = front.served_so_many(2);
    let last = served.last().expect("a request");
    assert!(
        last.starts_with("200 ") && last.contains("bytes="),
        "{served:?}"
    );
    front.bench.assert_invariants();
}

#[test]
fn a_certificate_that_is_expired_or_for_another_name_is_refused_until_it_is_replaced() {
    let Some(mut front) = Front::start(64 * 1024, &Settings::default()) else {
        return;
    };
    front.tracker("submit body.json").exits(0);
    let asked = front.asked_all().len();
    for certificate in ["expired", "other"] {
        front.reload(&Settings {
            certificate,
            ..Settings::default()
        });
        let refused = front.tracker("check 1").exits(1);
        assert!(
            refused.stderr.contains("certificate"),
            "{certificate}: {}",
            refused.screen()
        );
    }
    assert_eq!(front.asked().len(), asked, "no key, no question");

    // The API's is good, the file host's is not.
    front.finish(1);
    front.reload(&Settings {
        file_certificate: "expired",
        ..Settings::default()
    });
    let refused = front.tracker("check 1 --retries 0").exits(1);
    assert!(
        refused.stderr.contains("certificate"),
        "{}",
        refused.screen()
    );
    assert_eq!(front.served().len(), 0);
    front.reload(&Settings::default());
    let check = front.tracker("check 1").exits(0);
    assert!(check.stdout.contains("1 saved"), "{}", check.screen());
    front.bench.assert_invariants();
}
