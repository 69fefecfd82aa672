//! B8: where the database is.

use super::*;

#[test]
fn b08_without_home_nobody_guesses_where_the_database_is() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    let before = bench.everything();
    for verb in VERBS.iter().filter(|verb| **verb != "doctor") {
        let refused = run(bench
            .command(verb.split_whitespace())
            .env_remove("HOME")
            .env_remove("TRACKER_DB")
            .env("XDG_DATA_HOME", "relative/is/ignored"))
        .exits(2);
        assert!(
            refused.stderr.contains("HOME is not set"),
            "{verb}: {}",
            refused.screen()
        );
        assert!(
            refused.stderr.contains("--db PATH or TRACKER_DB"),
            "{verb}: {}",
            refused.screen()
        );
    }
    assert_unchanged(&before, &bench, "no HOME");
    assert!(!bench.path("relative").exists());
    assert_eq!(bench.heygen.posts().len(), 0);
}

#[test]
fn b08_only_submit_and_add_create_a_database() {
    let bench = Bench::new();
    bench.file("body.json", BODY);
    let place = "deep/er/tracker.db";
    let tracker = |verb: &str| bench.tracker(&format!("--db {place} {verb}"));
    for (verb, code, words) in [
        ("check -v", 1, "there is no database at"),
        ("check --wait", 1, "there is no database at"),
        ("show 1", 1, "there is no database at"),
        ("forget 1", 1, "there is no database at"),
        ("forget --older-than 1d", 1, "there is no database at"),
        ("doctor", 0, "to be created by the first submit"),
        ("list", 0, "no videos yet"),
        ("list --stats", 0, ""),
        ("submit --dry-run body.json", 0, ""),
        ("submit no-such-file.json", 2, "no such file"),
    ] {
        let run = tracker(verb).exits(code);
        assert!(run.screen().contains(words), "{verb}: {}", run.screen());
        if code != 0 || verb == "list" {
            assert!(
                run.screen()
                    .contains(if code == 2 { "no-such-file" } else { place }),
                "{verb}: {}",
                run.screen()
            );
        }
        assert!(!bench.path("deep").exists(), "{verb}");
    }
    let keyless = run(bench
        .command(["submit", "body.json", "--db", place])
        .env_remove("HEYGEN_API_KEY"))
    .exits(3);
    assert!(
        keyless.stderr.contains("cron does not see"),
        "{}",
        keyless.screen()
    );
    assert!(!bench.path("deep").exists());
    let json = bench
        .tracker(&format!("--json --db {place} check"))
        .exits(1);
    assert!(
        json.stderr.contains(r#""code":"no_database""#),
        "{}",
        json.screen()
    );
    assert_eq!(bench.heygen.posts().len(), 0);

    tracker("submit body.json").exits(0);
    bench.tracker("--db an/other.db add elsewhere").exits(0);
    assert!(bench.path(place).exists() && bench.path("an/other.db").exists());
    assert!(!bench.db_path().exists(), "no stray database");
}

#[test]
fn b08_places_are_taken_in_order() {
    let bench = Bench::new();
    let place = |flag: Option<&str>, set: &[(&str, &str)]| {
        let mut command = bench.command(["add", "elsewhere"]);
        command.env_remove("TRACKER_DB");
        command.args(flag.map(|path| ["--db", path]).into_iter().flatten());
        for (name, value) in set {
            command.env(name, bench.path(value));
        }
        run(&mut command).exits(0);
    };
    place(None, &[]);
    assert!(
        bench
            .path(".local/share/heygen-tracker/tracker.db")
            .exists()
    );
    place(None, &[("XDG_DATA_HOME", "xdg")]);
    assert!(bench.path("xdg/heygen-tracker/tracker.db").exists());
    place(
        None,
        &[("XDG_DATA_HOME", "unused"), ("TRACKER_DB", "variable.db")],
    );
    assert!(bench.path("variable.db").exists());
    place(
        Some("flag.db"),
        &[
            ("XDG_DATA_HOME", "unused"),
            ("TRACKER_DB", "unused/variable.db"),
        ],
    );
    assert!(bench.path("flag.db").exists());
    assert!(!bench.path("unused").exists());
}
