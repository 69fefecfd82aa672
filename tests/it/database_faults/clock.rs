//! B9: clocks and time zones, and when cron last ran.

use super::*;

const YEAR: i64 = 365 * 24 * 3600 * 1000;

#[test]
fn b09_a_clock_that_is_off_by_a_year_changes_no_outcome_and_no_order() {
    for year in [YEAR, -YEAR] {
        let bench = Bench::new();
        bench.submit(2).exits(0);
        bench.tracker("check").exits(0).silent();
        bench.shift_database(year);
        bench.file("body.json", BODY);
        bench.tracker("submit body.json").exits(0);
        for row in 1..=3 {
            bench.heygen.finish(&bench.video_id(row));
        }
        let check = bench.tracker("check").exits(0);
        assert_eq!(check.stderr, "");
        bench.tracker("check").exits(0).silent();
        let list = bench.tracker("list --fields id,status").exits(0);
        assert_eq!(
            list.stdout,
            "3\tcompleted\n2\tcompleted\n1\tcompleted\n",
            "{}",
            list.screen()
        );
        let show = bench.tracker("show 1 --json").exits(0);
        let kinds: Vec<String> = show.json()[0]["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["kind"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(
            kinds.first().map(String::as_str),
            Some("recorded"),
            "{kinds:?}"
        );
        assert_eq!(kinds.last().map(String::as_str), Some("saved"), "{kinds:?}");
        bench.tracker("show 1").exits(0);
        bench.tracker("list --stats").exits(0);
        bench.assert_invariants();
    }
}

#[test]
fn b09_any_time_zone_records_the_same_instants() {
    let bench = Bench::new();
    bench.submit(1).exits(0);
    bench.heygen.finish(&bench.video_id(1));
    bench.tracker("check").exits(0);
    let in_zone = |zone: Option<&str>, verb: &str| {
        let mut command = bench.command(verb.split_whitespace());
        match zone {
            Some(zone) => command.env("TZ", zone),
            None => command.env_remove("TZ"),
        };
        run(&mut command).exits(0).stdout
    };
    let utc = in_zone(Some("UTC"), "list --json");
    let zones = [
        "",
        "Asia/Kathmandu",
        "No/Such_Zone",
        ":/nonexistent",
        "EST5EDT,M3.2.0,M11.1.0",
        "\u{1}ü",
        "-",
    ];
    for zone in zones.into_iter().map(Some).chain([None]) {
        assert_eq!(in_zone(zone, "list --json"), utc, "{zone:?}");
        assert_eq!(
            in_zone(zone, "list"),
            in_zone(Some("UTC"), "list"),
            "{zone:?}"
        );
        in_zone(zone, "show 1");
        in_zone(zone, "list --since 2020-01-01 --until 2099-12-31");
        in_zone(zone, "check");
    }
    bench.assert_invariants();
}

#[test]
fn b09_an_hour_that_does_not_exist_or_exists_twice_is_no_trouble() {
    let bench = Bench::new();
    bench.submit(1).exits(0);
    let at = |instant: &str| {
        let millis = chrono::DateTime::parse_from_rfc3339(instant)
            .unwrap()
            .timestamp_millis();
        bench
            .db()
            .execute("UPDATE videos SET submitted_at = ?1", [millis])
            .unwrap();
    };
    // 02:30 is skipped on 29 March 2026 in Berlin, and is there twice on 25 October.
    for (instant, since, until) in [
        (
            "2026-03-29T01:40:00Z",
            "2026-03-29T02:30",
            "2026-03-29T04:00",
        ),
        ("2026-10-25T00:30:00Z", "2026-10-25", "2026-10-25"),
        ("2026-10-25T01:30:00Z", "2026-10-25", "2026-10-25T03:30"),
    ] {
        at(instant);
        let listed = run(bench
            .command(["list", "--since", since, "--until", until])
            .env("TZ", "Europe/Berlin"))
        .exits(0);
        assert!(
            listed.stdout.starts_with("1\t"),
            "{instant}: {}",
            listed.screen()
        );
    }
}

/// Only `check` and `listen` are signs of life: a cron that is dead is noticed beside daily submits.
#[test]
fn a_submit_is_no_sign_that_cron_runs() {
    let bench = in_use();
    bench.tracker("check").exits(0);
    let speaks = || {
        bench
            .tracker("list")
            .exits(0)
            .stderr
            .contains("is cron running?")
    };
    assert!(!speaks());
    bench.advance(Duration::from_secs(2 * 3600));
    bench.tracker("submit body.json").exits(0);
    assert!(speaks());
    bench.tracker("check").exits(0);
    assert!(!speaks());
}
