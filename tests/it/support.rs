//! A bench to run the program on: its own directory, its own stand-in, nothing of the environment.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use crate::heygen::{Heygen, Options, Render};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rusqlite::Connection;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::flag;

/// The binary under test.
pub const TRACKER: &str = env!("CARGO_BIN_EXE_tracker");

/// The smallest body HeyGen takes.
pub const BODY: &str =
    r#"{"type":"avatar","avatar_id":"a1","voice_id":"v1","title":"Hello","script":"Hello there"}"#;

/// How long a test waits for anything: only that it ends some time matters, and the machine may have a lot to do.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// A directory, a stand-in for HeyGen, and a way to run the program on both.
pub struct Bench {
    /// Working directory and HOME of every run; holds `tracker.db` and `output/`.
    pub dir: tempfile::TempDir,
    /// HeyGen.
    pub heygen: Heygen,
}

/// What one run of the program did.
#[derive(Debug)]
pub struct Run {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Bench {
    /// Videos render until the test says otherwise.
    pub fn new() -> Self {
        Self::with(Options {
            render: Render::Manual,
            ..Options::default()
        })
    }

    pub fn with(options: Options) -> Self {
        Self::within(&std::env::temp_dir(), options)
    }

    /// With its directory in that one.
    pub fn within(parent: &Path, options: Options) -> Self {
        heed_signals();
        Self {
            dir: tempfile::tempdir_in(parent).expect("a directory"),
            heygen: Heygen::start(options).expect("a stand-in"),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn db_path(&self) -> PathBuf {
        self.path("tracker.db")
    }

    /// The program with this bench's environment and nothing else.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(TRACKER);
        command.args(arguments);
        self.prepare(&mut command);
        command
    }

    /// Gives any command (a shell, strace) this bench's environment.
    pub fn prepare(&self, command: &mut Command) {
        command
            .current_dir(self.dir.path())
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("HOME", self.dir.path())
            .env("TZ", "UTC")
            .env("TRACKER_DB", self.db_path())
            .env("HEYGEN_API_BASE", self.heygen.api_base())
            .env("HEYGEN_API_KEY", self.heygen.key())
            .stdin(Stdio::null());
    }

    /// Runs `tracker ARGUMENTS`, separated by spaces.
    pub fn tracker(&self, arguments: &str) -> Run {
        run(&mut self.command(arguments.split_whitespace()))
    }

    /// Runs the program with arguments that hold spaces.
    pub fn tracker_with(&self, arguments: &[&str]) -> Run {
        run(&mut self.command(arguments))
    }

    /// Submits `count` bodies with titles `Video 1` ….
    pub fn submit(&self, count: usize) -> Run {
        let mut bodies = String::new();
        for n in 1..=count {
            writeln!(
                bodies,
                "{}",
                BODY.replace("Hello\"", &format!("Video {n}\""))
            )
            .expect("text");
        }
        self.file("bodies.jsonl", &bodies);
        self.tracker("submit bodies.jsonl")
    }

    /// Writes a file into the bench's directory.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).expect("a file");
        path
    }

    /// The database, for looking and for setting the stage.
    pub fn db(&self) -> Connection {
        let db = Connection::open(self.db_path()).expect("the database");
        db.busy_timeout(Duration::from_secs(60)).expect("patience");
        db
    }

    /// One value from the database, as text; `NULL` is empty.
    pub fn query(&self, sql: &str) -> String {
        use rusqlite::types::Value;
        let value: Value = self
            .db()
            .query_row(sql, [], |row| row.get(0))
            .unwrap_or_else(|e| panic!("{sql}: {e}"));
        match value {
            Value::Null => String::new(),
            Value::Integer(n) => n.to_string(),
            Value::Real(x) => x.to_string(),
            Value::Text(text) => text,
            Value::Blob(bytes) => format!("{bytes:?}"),
        }
    }

    /// The status word of a row.
    pub fn status(&self, row: i64) -> String {
        self.query(&format!("SELECT status FROM videos WHERE id = {row}"))
    }

    /// HeyGen's id of a row.
    pub fn video_id(&self, row: i64) -> String {
        self.query(&format!("SELECT video_id FROM videos WHERE id = {row}"))
    }

    /// Lets time pass, for the stand-in and for every instant in the database, so that nothing has to wait for it.
    pub fn advance(&self, time: Duration) {
        self.heygen.advance(time);
        self.shift_database(-(time.as_millis() as i64));
    }

    /// Moves every instant in the database: what the program sees when its clock moved the other way.
    pub fn shift_database(&self, millis: i64) {
        let db = self.db();
        for table in [
            "videos", "files", "events", "troubles", "pauses", "hooks", "webhooks", "marks",
            "messages",
        ] {
            let columns: Vec<String> = db
                .prepare(&format!("SELECT name FROM pragma_table_info('{table}')"))
                .and_then(|mut s| s.query_map([], |row| row.get(0))?.collect())
                .expect("columns");
            for column in columns {
                let instant = column == "at"
                    || column == "until"
                    || column == "since"
                    || column == "send_after"
                    || column.ends_with("_since")
                    || column.ends_with("_at");
                if instant {
                    db.execute(
                        &format!("UPDATE {table} SET {column} = {column} + ?1"),
                        [millis],
                    )
                    .expect("a shift");
                }
            }
        }
    }

    /// What must hold at any time: one bill per row (I1), a sound database (I6), no secret anywhere it does not
    /// belong (I5), and under a final name only complete files (I3).
    pub fn assert_invariants(&self) {
        assert_eq!(self.query("PRAGMA integrity_check"), "ok");
        let mut keys: Vec<String> = self
            .heygen
            .billed()
            .into_iter()
            .map(|bill| bill.idempotency_key.expect("every POST has a key"))
            .collect();
        let bills = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), bills, "a row was billed twice");
        self.assert_files();
    }

    /// Whatever happens: no panic, and the key is nobody's business (I5).
    #[track_caller]
    pub fn assert_decent(&self, run: &Run) {
        let screen = run.screen();
        assert!(
            run.code != Some(101) && !screen.contains("panicked"),
            "{screen}"
        );
        assert!(!screen.contains(self.heygen.key()), "{screen}");
    }

    /// The kernel has every lock of the lock file back.
    pub fn assert_nothing_locked(&self) {
        #[cfg(target_os = "linux")]
        if let Ok(file) = std::fs::File::open(self.path("tracker.db-lock")) {
            use nix::{fcntl, libc};
            let mut found = libc::flock {
                l_type: libc::F_WRLCK as libc::c_short,
                l_whence: libc::SEEK_SET as libc::c_short,
                l_start: 0,
                l_len: 0,
                l_pid: 0,
            };
            fcntl::fcntl(&file, fcntl::FcntlArg::F_OFD_GETLK(&mut found)).expect("a look at it");
            let free = i32::from(found.l_type) == libc::F_UNLCK;
            assert!(free, "byte {} is locked", found.l_start);
        }
    }

    /// What the database calls saved is there, complete, but for what the test itself deleted.
    pub fn assert_saved_files_are_there(&self, deleted: &BTreeSet<PathBuf>) {
        let saved: Vec<(String, String, String)> = self
            .db()
            .prepare(
                "SELECT path, video_id, asset FROM files JOIN videos ON videos.id = files.video WHERE state = 'saved'",
            )
            .and_then(|mut statement| {
                statement
                    .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                    .collect()
            })
            .expect("files");
        for (path, id, asset) in saved {
            if deleted.contains(Path::new(&path)) {
                continue;
            }
            let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{path} is saved: {e}"));
            assert!(bytes == self.heygen.expected(&id, asset), "{path}");
        }
    }

    /// Beside the database there is nothing but what belongs to it, in the output directory nothing half-done.
    pub fn assert_no_litter(&self) {
        for file in files_below(&self.path("output")) {
            let part = file.extension().is_some_and(|end| end == "part");
            assert!(!part, "{} is left", file.display());
        }
        for file in files_below(self.dir.path()) {
            let name = file.file_name().and_then(OsStr::to_str).expect("a name");
            let ours = ["tracker.db", "tracker.db-wal", "tracker.db-shm"].contains(&name);
            let known = ours || ["tracker.db-lock", "output"].contains(&name);
            assert!(known || name.starts_with("bod"), "{name} is litter");
        }
    }

    /// Under a final name there is only what HeyGen has (I3). Looks at files alone: after a crash the program is the
    /// first to open the database.
    pub fn assert_files(&self) {
        self.assert_files_in(&self.path("output"));
    }

    /// The same of any directory.
    pub fn assert_files_in(&self, dir: &Path) {
        for entry in files_below(dir) {
            let name = entry.file_name().and_then(OsStr::to_str).expect("a name");
            if name.starts_with('.') {
                assert!(name.ends_with(".part"), "{name}");
                continue;
            }
            let (id, asset) = self.owner_of(&entry).unwrap_or_else(|| asset_of(name));
            let bytes = std::fs::read(&entry).expect("a file");
            assert!(
                bytes == self.heygen.expected(&id, asset),
                "{name} is not what HeyGen has"
            );
        }
    }

    /// The video and asset a final path was recorded for, whatever the template made of its name.
    fn owner_of(&self, path: &Path) -> Option<(String, String)> {
        let sql =
            "SELECT video_id, asset FROM files JOIN videos ON videos.id = video WHERE path = ?1";
        self.db()
            .query_row(sql, [path.to_str()?], |row| Ok((row.get(0)?, row.get(1)?)))
            .ok()
    }
}

fn asset_of(name: &str) -> (String, String) {
    for (end, asset) in [
        (".captioned.mp4", "captioned"),
        (".mp4", "video"),
        (".srt", "subtitle"),
        (".jpg", "thumbnail"),
        (".gif", "gif"),
    ] {
        if let Some(id) = name.strip_suffix(end) {
            return (id.to_owned(), asset.to_owned());
        }
    }
    panic!("{name} is no name of ours");
}

/// Every file below a directory, which need not exist.
pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}

/// Says loudly, past the capture of test output, that a test proved nothing here.
pub fn skipped(why: &str) {
    use std::io::Write as _;
    let test = std::thread::current();
    let name = test.name().unwrap_or("a test");
    writeln!(std::io::stderr(), "SKIPPED {name}: {why}").expect("stderr");
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Run {
    end(start(command))
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("UTF-8 on stdout"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8 on stderr"),
        }
    }
}

impl Run {
    /// Everything a person sees, in one text for snapshots.
    pub fn screen(&self) -> String {
        let mut screen = String::new();
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.is_empty() {
                write!(screen, "--- {name}\n{text}").expect("text");
            }
        }
        match self.code {
            Some(code) => write!(screen, "--- exit {code}").expect("text"),
            None => screen.push_str("--- killed"),
        }
        screen
    }

    /// Asserts the exit code, showing everything when it is another one.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.screen());
        self
    }

    /// Asserts that nothing was said.
    #[track_caller]
    pub fn silent(self) -> Self {
        assert!(
            self.stdout.is_empty() && self.stderr.is_empty(),
            "{}",
            self.screen()
        );
        self
    }

    /// Each line of stdout as JSON.
    pub fn json(&self) -> Vec<serde_json::Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")))
            .collect()
    }
}

/// How often HeyGen was asked about videos.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// For up to 100 status words at once.
    pub bulk: usize,
    /// For one video.
    pub own: usize,
}

impl Bench {
    /// The questions among the API requests after the first `since`.
    pub fn asked_since(&self, since: usize) -> Asked {
        let paths: Vec<String> = self
            .heygen
            .api_requests()
            .split_off(since)
            .into_iter()
            .filter(|request| request.method == "GET")
            .map(|request| request.path)
            .collect();
        let bulk = paths.iter().filter(|path| path.ends_with("/statuses"));
        let bulk = bulk.count();
        Asked {
            bulk,
            own: paths.len() - bulk,
        }
    }

    /// [`Bench::tracker`], and what it asked HeyGen.
    pub fn asking(&self, arguments: &str) -> (Run, Asked) {
        let before = self.heygen.api_requests().len();
        let run = self.tracker(arguments);
        (run, self.asked_since(before))
    }

    /// `count` rows that render, without the cost of submitting each.
    pub fn rendering(&self, count: usize) {
        self.submit(1).exits(0);
        self.db()
            .execute_batch(&format!(
                "WITH RECURSIVE further (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM further WHERE n < {count})
                 INSERT INTO videos (phase, remote_status, outcome, video_id, account, submitted_at, accepted_at, output_dir, title)
                 SELECT phase, remote_status, outcome, printf('%032x', n), account, submitted_at, accepted_at, output_dir,
                        'Video ' || n
                 FROM videos, further WHERE id = 1 AND n <= {count};
                 INSERT INTO files (video, asset) SELECT id, 'video' FROM videos WHERE id > 1;"
            ))
            .expect("rows");
        self.stalled_already();
        for row in 2..=count {
            self.heygen.add_video(&format!("{row:032x}"), "pending");
        }
    }

    /// Every row was said to have stalled: for tests that let hours pass and are about something else.
    pub fn stalled_already(&self) {
        self.db()
            .execute("UPDATE videos SET stalled_at = submitted_at", [])
            .expect("rows");
    }
}

/// Runs that are looked at, or interfered with, while they run.
impl Bench {
    /// Starts the program; both its outputs are kept for [`end`].
    pub fn start(&self, arguments: &str) -> Child {
        start(&mut self.command(arguments.split_whitespace()))
    }

    /// Runs a shell script with `tracker` on its path.
    pub fn shell(&self, script: &str) -> Run {
        let mut command = Command::new("bash");
        command.arg("-c").arg(script);
        self.prepare(&mut command);
        run(command.env("PATH", path_with_tracker()))
    }

    /// The program under `strace -f`, which does what `expressions` (`-e`) say.
    pub fn strace(&self, expressions: &[&str], log: &Path, arguments: &str) -> Command {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o"]).arg(log);
        for expression in expressions {
            command.args(["-e", expression]);
        }
        command.arg(TRACKER).args(arguments.split_whitespace());
        self.prepare(&mut command);
        command
    }

    /// Every file below the bench's directory and its bytes.
    pub fn everything(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut directories = vec![self.dir.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for path in files_below(&directory) {
                if path.is_dir() {
                    directories.push(path);
                } else {
                    let bytes = std::fs::read(&path).expect("a file");
                    found.insert(path, bytes);
                }
            }
        }
        found
    }
}

fn path_with_tracker() -> String {
    let directory = Path::new(TRACKER).parent().expect("a directory");
    format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", directory.display())
}

/// Starts a command with both outputs kept.
pub fn start(command: &mut Command) -> Child {
    heed_signals();
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

/// Waits for the end of what was started.
pub fn end(child: Child) -> Run {
    let (pid, (over, ended)) = (child.id(), channel::<()>());
    let hangs = std::thread::spawn(move || {
        let hangs = ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
        if hangs {
            kill_tree(pid);
        }
        hangs
    });
    let run: Run = child.wait_with_output().expect("an end").into();
    drop(over);
    let hangs = hangs.join().expect("a look at it");
    assert!(!hangs, "it would not end: {}", run.screen());
    run
}

/// Ends a process and all that came of it: a traced program, a hook, a shell's children.
fn kill_tree(pid: u32) {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter();
    for thread in threads.flatten().flatten() {
        let children = std::fs::read_to_string(thread.path().join("children"));
        for child in children.unwrap_or_default().split_whitespace() {
            kill_tree(child.parse().expect("a process id"));
        }
    }
    let pid = Pid::from_raw(i32::try_from(pid).expect("a process id"));
    kill(pid, Signal::SIGKILL).ok();
}

/// Whoever starts the tests may ignore signals (`nohup`, a shell's `&`, some CI), and children inherit that. What has a
/// handler goes back to its default in a child, so the handlers here do what the default does.
fn heed_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
            let always = Arc::new(AtomicBool::new(true));
            flag::register_conditional_default(signal, always).expect("a handler");
        }
    });
}

/// Waits until it is so.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// For tests that say "today": begins when at least five minutes are left of it.
pub fn well_before_midnight() {
    const DAY: i64 = 24 * 3600;
    let left = || DAY - (heygen_tracker::time::now().millis() / 1000).rem_euclid(DAY);
    while left() < 300 {
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Whether the machine can do what a test needs; says so when it cannot.
pub fn machine_can(what: &str, probe: &mut Command) -> bool {
    let can = probe
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !can {
        skipped(&format!("this machine cannot {what}: {probe:?}"));
    }
    can
}

/// A Python environment with the programs of others that the tests run, and `node_modules` beside it: `.ci/run` makes it
/// and says where.
#[allow(
    clippy::disallowed_methods,
    reason = "where they are is the machine's business"
)]
pub fn clients() -> Option<PathBuf> {
    let clients = std::env::var_os("TRACKER_TEST_CLIENTS").map(PathBuf::from);
    if clients.is_none() {
        skipped(
            "TRACKER_TEST_CLIENTS names no directory with a Python environment and node_modules",
        );
    }
    clients
}

/// Whether system calls can be counted and made to fail.
pub fn can_strace() -> bool {
    let mut probe = Command::new("strace");
    machine_can(
        "trace system calls",
        probe.args([
            "-f",
            "-o",
            "/dev/null",
            "-e",
            "inject=getpgid:error=EPERM",
            "true",
        ]),
    )
}

/// Whether a file system can be mounted where only one process sees it.
pub fn can_mount() -> bool {
    let mut probe = Command::new("unshare");
    machine_can(
        "mount in a namespace of its own",
        probe.args(["-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]),
    )
}

/// How often a system call was made, by the log of [`Bench::strace`].
pub fn calls(log: &Path, name: &str) -> usize {
    let call = format!("{name}(");
    let text = std::fs::read_to_string(log).expect("a log");
    text.lines().filter(|line| line.contains(&call)).count()
}
