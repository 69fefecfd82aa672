//! An idle check, and looking back, with a short and a long history: the same question to the `sqlite3` shell.

use std::process::Command;

use crate::heygen::Options;

use crate::Scale;
use crate::measure::{self, Cost, Side, compare, is_installed};
use crate::stage::Stage;

/// A process this short needs more than a few runs for a median.
const RUNS: usize = 11;

/// What a piped `list` prints.
const LIST: &str = "SELECT id, video_id, status, submitted_at, completed_at, title,
    (SELECT path FROM files WHERE video = videos.id AND asset = 'video') FROM videos";

/// What `list --json` prints.
const JSON: &str = "SELECT id, video_id, status, finished, stalled_at IS NOT NULL AS stalled, title, json(tags) AS tags,
    strftime('%Y-%m-%dT%H:%M:%SZ', submitted_at / 1000, 'unixepoch') AS submitted_at,
    strftime('%Y-%m-%dT%H:%M:%SZ', created_at / 1000, 'unixepoch') AS created_at,
    strftime('%Y-%m-%dT%H:%M:%SZ', completed_at / 1000, 'unixepoch') AS completed_at,
    strftime('%Y-%m-%dT%H:%M:%SZ', last_checked_at / 1000, 'unixepoch') AS last_checked_at,
    duration, output_language, folder_id, failure_code, failure_message, video_url, video_page_url,
    (SELECT path FROM files WHERE video = videos.id AND asset = 'video') AS path, output_dir,
    (SELECT json_group_array(json_object('asset', asset, 'state', state, 'path', path, 'bytes', bytes,
        'sha256', sha256, 'saved_at', strftime('%Y-%m-%dT%H:%M:%SZ', saved_at / 1000, 'unixepoch')))
     FROM files WHERE video = videos.id) AS files,
    error_code, error_message, error_at, retry_of
    FROM videos ORDER BY id DESC";

/// The histories: how long, and what holds them.
fn histories(scale: Scale) -> Vec<(usize, Stage)> {
    let sizes: &[usize] = scale.of(&[1_000, 1_000_000], &[1_000, 20_000]);
    sizes
        .iter()
        .map(|rows| {
            let stage = Stage::new(Options::default());
            fill(&stage, *rows);
            (*rows, stage)
        })
        .collect()
}

/// Finished rows, one in a hundred failed, made after one that was bought; the triggers would look at each.
fn fill(stage: &Stage, rows: usize) {
    stage.rendering(1, "processing");
    let db = stage.db();
    let triggers: Vec<(String, String)> = db
        .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
        .and_then(|mut all| {
            all.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
        .expect("triggers");
    let drop: String = triggers
        .iter()
        .map(|(name, _)| format!("DROP TRIGGER {name};"))
        .collect();
    let create: String = triggers.iter().map(|(_, sql)| format!("{sql};")).collect();
    db.execute_batch(&format!(
        "BEGIN;
         {drop}
         WITH RECURSIVE n (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM n WHERE n < {rows})
         INSERT INTO videos (id, phase, remote_status, outcome, finished, video_id, idempotency_key, account, title, script,
             avatar_id, voice_id, created_at, completed_at, duration, failure_code, failure_message,
             video_url, urls_at, submitted_at, accepted_at, ended_at, last_checked_at, check_count, output_dir, request)
         SELECT n, phase, iif(n % 100, 'completed', 'failed'), iif(n % 100, 'completed', 'failed'), 1, printf('%032x', n), printf('key-%d', n), account,
             'Video ' || n, 'Hello ' || n || ', this is what the avatar says, a sentence or two on most days.',
             avatar_id, voice_id, submitted_at + n, submitted_at + n + 300000, 12.5,
             iif(n % 100, NULL, 'script_too_long'), iif(n % 100, NULL, 'Script too long for selected avatar'),
             printf('https://files.example/%032x/video.mp4?Expires=1800000000&Signature=%064x', n, n),
             submitted_at + n, submitted_at + n, submitted_at + n, submitted_at + n + 300000, submitted_at + n + 300000,
             6, output_dir, request
         FROM videos, n WHERE id = 1;
         INSERT INTO files (video, asset, state, path, bytes, sha256, saved_at)
         SELECT id, 'video', 'saved', output_dir || '/' || video_id || '.mp4', 5000000, printf('%064x', id), ended_at
         FROM videos WHERE id > 1 AND remote_status = 'completed';
         INSERT INTO events (video, at, kind) SELECT id, submitted_at, 'recorded' FROM videos WHERE id > 1;
         INSERT INTO events (video, at, kind) SELECT id, accepted_at, 'accepted' FROM videos WHERE id > 1;
         {create}
         DELETE FROM videos WHERE id = 1;
         COMMIT;
         PRAGMA wal_checkpoint(TRUNCATE);"
    ))
    .expect("a history");
    let unfinished: i64 = db
        .query_row(
            "SELECT count(*) FROM videos WHERE finished = 0",
            [],
            |row| row.get(0),
        )
        .expect("a count");
    assert_eq!(unfinished, 0);
    let bytes = std::fs::metadata(stage.path("tracker.db")).map_or(0, |meta| meta.len());
    println!(
        "\n{rows} rows: {:.0} MB, {} bytes a row",
        bytes as f64 / 1e6,
        bytes / rows as u64
    );
    // Neither side pays for bringing it into memory, or for what is still being written.
    measure::run(&mut Command::new("sync"));
}

fn sqlite3(stage: &Stage, flags: &[&str], sql: &str) -> Command {
    let mut command = stage.peer("sqlite3");
    command.args(flags).args(["tracker.db", sql]);
    command
}

/// Nothing is unfinished.
pub(crate) fn idle(scale: Scale) {
    let peer = is_installed("sqlite3", &["--version"]);
    for (rows, stage) in histories(scale) {
        let mut sides = vec![Side::new("tracker check", || {
            let before = stage.heygen.api_requests().len();
            let cost = measure::run(&mut stage.tracker("check"));
            Cost {
                requests: Some(stage.heygen.api_requests().len() - before),
                ..cost
            }
        })];
        if peer {
            sides.push(Side::new("sqlite3 DB 'select 1'", || {
                measure::run(&mut sqlite3(&stage, &[], "select 1"))
            }));
        }
        compare(
            &format!("idle check, {rows} rows"),
            scale.of(RUNS, 5),
            sides,
        );
    }
}

/// Looking back.
pub(crate) fn list(scale: Scale) {
    let peer = is_installed("sqlite3", &["--version"]);
    for (rows, stage) in histories(scale) {
        for (arguments, sql) in questions(rows) {
            let name = format!("tracker {arguments}");
            let mut sides = vec![Side::new(&name, || {
                measure::run(&mut stage.tracker(&arguments))
            })];
            if peer {
                sides.push(Side::new("sqlite3, the same", || {
                    measure::run(&mut sqlite3(&stage, &["-tabs"], &sql))
                }));
            }
            compare(&format!("{rows} rows"), scale.of(RUNS, 5), sides);
        }
        let mut sides = vec![Side::new("tracker list -L 0 --json", || {
            measure::run_with_memory(&mut stage.tracker("list -L 0 --json"))
        })];
        if peer {
            sides.push(Side::new("sqlite3 -json, the same fields", || {
                measure::run_with_memory(&mut sqlite3(&stage, &["-json"], JSON))
            }));
        }
        compare(&format!("{rows} rows, all of them"), scale.of(3, 3), sides);
    }
}

/// The history as a page: the newest, and all of it.
pub(crate) fn gallery(scale: Scale) {
    let rows = scale.of(10_000, 1_000);
    let stage = Stage::new(Options::default());
    fill(&stage, rows);
    for arguments in [
        "gallery --output new.html",
        "gallery --output all.html -L 0",
    ] {
        let name = format!("tracker {arguments}");
        let written = Side::new(&name, || {
            // The same page is not written again.
            for page in ["new.html", "all.html"] {
                std::fs::remove_file(stage.path(page)).ok();
            }
            measure::run_with_memory(&mut stage.tracker(arguments))
        });
        compare(&format!("{rows} rows as a page"), 3, vec![written]);
    }
}

/// What is typed, and what it means in SQL.
fn questions(rows: usize) -> Vec<(String, String)> {
    let newest = "ORDER BY id DESC LIMIT 30";
    let like = |text: &str| {
        format!(
            "title LIKE '%{text}%' OR script LIKE '%{text}%' OR failure_message LIKE '%{text}%'"
        )
    };
    let rare = format!("Video {}", rows / 2);
    let rare = rare.split(' ').nth(1).unwrap_or_default();
    vec![
        ("list".into(), format!("{LIST} {newest}")),
        (
            "list --status failed".into(),
            format!("{LIST} WHERE status = 'failed' {newest}"),
        ),
        (
            format!("list --search {rare}"),
            format!("{LIST} WHERE {} {newest}", like(rare)),
        ),
        (
            "list --search sentence".into(),
            format!("{LIST} WHERE {} {newest}", like("sentence")),
        ),
        (
            format!("show {rare}"),
            format!(
                "SELECT * FROM videos WHERE id = {rare}; SELECT * FROM files WHERE video = {rare}; SELECT * FROM events WHERE video = {rare} ORDER BY id"
            ),
        ),
    ]
}
