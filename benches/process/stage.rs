//! A directory, a stand-in for HeyGen, and a database that can be put back to where it began.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::heygen::{Heygen, Options, Render};
use rusqlite::Connection;

use crate::measure::{self, Cost};

const TRACKER: &str = env!("CARGO_BIN_EXE_tracker");

/// The smallest body HeyGen takes.
pub(crate) const BODY: &str =
    r#"{"type":"avatar","avatar_id":"a1","voice_id":"v1","title":"Hello","script":"Hello there"}"#;

/// Where a benchmark happens.
pub(crate) struct Stage {
    dir: tempfile::TempDir,
    pub(crate) heygen: Heygen,
}

impl Stage {
    /// Without a database yet. Videos render until somebody says otherwise.
    pub(crate) fn new(options: Options) -> Self {
        Self {
            dir: tempfile::tempdir().expect("a directory"),
            heygen: Heygen::start(Options {
                render: Render::Manual,
                ..options
            })
            .expect("a stand-in"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn db(&self) -> Connection {
        let db = Connection::open(self.path("tracker.db")).expect("the database");
        db.busy_timeout(std::time::Duration::from_secs(30))
            .expect("patience");
        db
    }

    /// `tracker ARGUMENTS`, separated by spaces, here and with nothing of the environment.
    pub(crate) fn tracker(&self, arguments: &str) -> Command {
        let mut command = Command::new(TRACKER);
        command.args(arguments.split_whitespace());
        self.prepare(&mut command);
        command
    }

    /// Any other program, with its usual environment.
    pub(crate) fn peer(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let kept = ["PATH", "HOME", "PYENV_ROOT", "VIRTUAL_ENV"];
        command.env_clear().current_dir(self.dir.path());
        command.envs(
            kept.iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        );
        command
    }

    fn prepare(&self, command: &mut Command) {
        command
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.dir.path())
            .env("TZ", "UTC")
            .env("TRACKER_DB", self.path("tracker.db"))
            .env("HEYGEN_API_BASE", self.heygen.api_base())
            .env("HEYGEN_API_KEY", self.heygen.key());
    }

    /// Runs something and counts the API requests it made; without its memory when that is not wanted.
    pub(crate) fn counted(&self, command: &mut Command) -> Cost {
        let before = self.heygen.api_requests().len();
        let cost = measure::run_with_memory(command);
        Cost {
            requests: Some(self.heygen.api_requests().len() - before),
            ..cost
        }
    }

    /// A database of `count` rows that HeyGen works on, and the same videos there, with one word for all. Row by row
    /// this would take a POST each: the first is bought, the others are made after it.
    pub(crate) fn rendering(&self, count: usize, word: &str) {
        fs::write(self.path("body.json"), BODY).expect("a body");
        measure::run(&mut self.tracker("submit body.json"));
        self.db()
            .execute_batch(&format!(
                "BEGIN;
                 UPDATE videos SET remote_status = '{word}',
                                   outcome = iif('{word}' IN ('completed', 'failed'), '{word}', NULL), video_id = printf('%032x', 1),
                                   stalled_at = submitted_at, title = 'Video 1';
                 WITH RECURSIVE further (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM further WHERE n < {count})
                 INSERT INTO videos (phase, remote_status, outcome, video_id, account, submitted_at, accepted_at,
                                     stalled_at, output_dir, title, script, request)
                 SELECT phase, remote_status, outcome, printf('%032x', n), account, submitted_at, accepted_at,
                        stalled_at, output_dir, 'Video ' || n, script, request
                 FROM videos, further WHERE id = 1 AND n <= {count};
                 INSERT INTO files (video, asset) SELECT id, 'video' FROM videos WHERE id > 1;
                 COMMIT;
                 PRAGMA wal_checkpoint(TRUNCATE);"
            ))
            .expect("rows");
        for row in 1..=count {
            self.heygen.add_video(&id(row), word);
        }
        fs::copy(self.path("tracker.db"), self.path("template.db")).expect("a copy");
    }

    /// Back to what [`Stage::rendering`] made.
    pub(crate) fn reset(&self) {
        for name in ["tracker.db-wal", "tracker.db-shm"] {
            fs::remove_file(self.path(name)).ok();
        }
        for name in ["output", "theirs"] {
            fs::remove_dir_all(self.path(name)).ok();
        }
        fs::copy(self.path("template.db"), self.path("tracker.db")).expect("a copy");
        // What was written and deleted before is nobody's cost.
        measure::run(&mut Command::new("sync"));
    }
}

/// HeyGen's id of the row of that number.
pub(crate) fn id(row: usize) -> String {
    format!("{row:032x}")
}
