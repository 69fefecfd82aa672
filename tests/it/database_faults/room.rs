//! B6: full disks.

use super::*;

#[test]
fn b06_no_room_at_any_write_of_submit() {
    if !can_strace() {
        return;
    }
    let bench = in_use();
    let log = bench.path("calls");
    run(&mut bench.strace(&["trace=pwrite64"], &log, "submit body.json")).exits(0);
    bench.tracker("check").exits(0);
    let count = calls(&log, "pwrite64");
    assert!(count > 10, "{count}");
    let mut failures = 0;
    for n in 1..=count {
        // Once, and every third time from then on.
        let plus = if n % 3 == 0 { "+" } else { "" };
        let fault = format!("inject=pwrite64:error=ENOSPC:when={n}{plus}");
        let rows = || -> usize {
            let rows = bench.query("SELECT count(*) FROM videos");
            rows.parse().unwrap()
        };
        let before = rows();
        let mut full = bench.strace(
            &["trace=pwrite64", &fault],
            Path::new("/dev/null"),
            "submit body.json",
        );
        let submit = run(&mut full);
        let bought = bench.heygen.billed().split_off(before).pop();
        if submit.code != Some(0) {
            failures += 1;
            let submit = submit.exits(1);
            assert!(
                submit.stderr.contains("tracker.db"),
                "{fault}: {}",
                submit.screen()
            );
            assert!(
                submit.stderr.contains("hint: "),
                "{fault}: {}",
                submit.screen()
            );
            assert_eq!(submit.stdout, "", "{fault}");
            if let Some(bought) = bought {
                // S15: it is known from the row, or from what was said.
                assert_eq!(rows(), before + 1, "{fault}: bought and not recorded");
                let told = submit.stderr.contains(&bought.video_id)
                    && submit.stderr.contains(&bought.idempotency_key.unwrap());
                let recorded = bench.video_id(before as i64 + 1) == bought.video_id;
                assert!(told || recorded, "{fault}: {}", submit.screen());
            }
        } else {
            assert_eq!(rows(), before + 1, "{fault}: {}", submit.screen());
        }
        // There is room again.
        bench.tracker("check").exits(0);
        assert_eq!(bench.heygen.billed().len(), rows(), "{fault}");
    }
    bench.assert_invariants();
    assert!(failures > 4, "{failures}");
}

#[test]
fn b06_a_full_disk_under_the_database_is_said_to_cron_once_a_day_and_when_it_is_over() {
    if !can_mount() {
        return;
    }
    let bench = Bench::new();
    bench.file("body.json", BODY);
    let steps = bench.shell(
        "exec unshare -m bash -c '
            export TRACKER_DB=disk/tracker.db; mkdir disk
            mount -t tmpfs -o size=2m tmpfs disk || exit 9
            tracker submit body.json >/dev/null
            cat /dev/zero > disk/filler 2>/dev/null
            for run in first second; do tracker check 2>$run; echo $?; done
            touch -d \"25 hours ago\" disk/tracker.db-full
            tracker check 2>third; echo $?
            rm disk/filler
            for run in fourth fifth; do tracker check 2>$run; echo $?; done
            ls disk'",
    );
    let said = |run: &str| fs::read_to_string(bench.path(run)).unwrap_or_default();
    let lines: Vec<&str> = steps.stdout.lines().collect();
    let (codes, files) = lines.split_at(5);
    assert_eq!(codes, ["1", "1", "1", "0", "0"], "{}", steps.screen());
    assert!(said("first").contains("no room left"), "{}", said("first"));
    assert_eq!(said("second"), "");
    assert_eq!(said("third"), said("first"), "a day later");
    assert_eq!(
        said("fourth"),
        "resolved: there is room for the database again\n"
    );
    assert_eq!(said("fifth"), "");
    assert!(!files.contains(&"tracker.db-full"), "{files:?}");
}

#[test]
fn b06_a_disk_of_any_size_loses_nothing() {
    if !can_mount() {
        return;
    }
    let (mut refused, mut took) = (0, 0);
    for size in (16..=480).step_by(16) {
        let bench = Bench::with(Options {
            render: Render::After(Duration::ZERO),
            file_size: 10_000,
            ..Options::default()
        });
        bench.file("body.json", BODY);
        let steps = bench.shell(&format!(
            "exec unshare -m bash -c '
                export TRACKER_DB=disk/tracker.db; mkdir disk kept
                mount -t tmpfs -o size={size}k tmpfs disk || exit 9
                tracker submit body.json >/dev/null 2>first; echo $?
                tracker check >/dev/null 2>second; echo $?
                mount -o remount,size=64m disk
                if [ -s disk/tracker.db ]; then tracker check 1 --wait --timeout 3m --interval 50ms >/dev/null 2>third; echo $?; else echo 0; fi
                cp disk/tracker.db* kept'"
        ));
        let codes: Vec<&str> = steps.stdout.lines().collect();
        let said = |file: &str| fs::read_to_string(bench.path(file)).unwrap_or_default();
        assert_eq!(codes.len(), 3, "{size}: {}", steps.screen());
        match codes[0] {
            "0" => took += 1,
            "1" => {
                refused += 1;
                assert!(
                    said("first").contains("tracker.db"),
                    "{size}: {}",
                    said("first")
                );
                assert!(
                    said("first").contains("hint: "),
                    "{size}: {}",
                    said("first")
                );
            }
            other => panic!("{size}: {other}: {}", said("first")),
        }
        assert!(["0", "1"].contains(&codes[1]), "{size}: {}", said("second"));
        assert!(
            codes[2] == "0"
                || ["there is no database", "no video \"1\" here"]
                    .iter()
                    .any(|nothing| said("third").contains(nothing)),
            "{size}: {}",
            said("third")
        );
        let kept = Connection::open(bench.path("kept/tracker.db")).unwrap();
        let ask = |sql: &str| -> i64 { kept.query_row(sql, [], |row| row.get(0)).unwrap_or(0) };
        let integrity: String = kept
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(integrity, "ok", "{size}");
        assert_eq!(
            ask("SELECT count(*) FROM videos"),
            bench.heygen.billed().len() as i64,
            "{size}"
        );
        assert_eq!(
            ask("SELECT count(*) FROM videos WHERE finished = 0"),
            0,
            "{size}"
        );
        assert_eq!(
            files_below(&bench.path("output")).len(),
            bench.heygen.billed().len(),
            "{size}"
        );
    }
    assert!(
        refused > 0 && took > 0,
        "the sweep must cross the border: {refused} {took}"
    );
}
