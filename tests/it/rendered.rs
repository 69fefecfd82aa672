//! A bench with one rendered video whose files are still to be fetched, and what must be true of them in the end.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::heygen::{Fault, Options, Recorded, Render};
use heygen_tracker::video::Asset;

use crate::support::{BODY, Bench, Run, files_below, run};

/// The route of the main file.
pub const VIDEO: &str = "GET /files/{id}/video";
/// Keeps tests fast.
const QUICK: &str = "check --retry-delay 1ms";

/// One row, bought and rendered at HeyGen; the program has not heard of that yet.
pub struct Rendered {
    pub bench: Bench,
    /// HeyGen's id of the video.
    pub id: String,
}

impl Rendered {
    pub fn new() -> Self {
        Self::with(Options::default(), "")
    }

    /// `flags` are those of `submit`.
    pub fn with(options: Options, flags: &str) -> Self {
        let bench = Bench::with(Options {
            render: Render::Manual,
            ..options
        });
        bench.file("body.json", BODY);
        let flags: Vec<&str> = flags.split_terminator(' ').collect();
        bench
            .tracker_with(&[&["submit", "body.json"], &flags[..]].concat())
            .exits(0);
        let id = bench.video_id(1);
        bench.heygen.finish(&id);
        Self { bench, id }
    }

    /// After a first check that was cut off, with exactly `bytes` bytes of the video in the part file.
    pub fn partial(bytes: u64) -> Self {
        let row = Self::new();
        row.cut_after(bytes);
        row
    }

    /// A check whose download of the video ends after `bytes` bytes.
    pub fn cut_after(&self, bytes: u64) {
        self.fault(Fault::truncate_body(bytes));
        self.check("--retries 0").exits(1);
        assert_eq!(self.state(), format!("partial {bytes}"));
    }

    /// For the next request for the video.
    #[track_caller]
    pub fn fault(&self, fault: Fault) {
        self.bench.heygen.fault(VIDEO, fault);
    }

    pub fn check(&self, flags: &str) -> Run {
        self.bench.tracker(&format!("{QUICK} {flags}"))
    }

    /// A check through `sh`, after some shell commands.
    pub fn check_after(&self, shell: &str) -> Run {
        let mut command = Command::new("sh");
        let script = format!("{shell} && exec {} {QUICK}", crate::support::TRACKER);
        self.bench.prepare(command.args(["-c", &script]));
        run(&mut command)
    }

    /// A check in the background.
    pub fn start_check(&self, flags: &str) -> Child {
        let arguments = format!("check --retry-delay 1ms {flags}");
        self.bench
            .command(arguments.split_whitespace())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs")
    }

    pub fn out(&self) -> PathBuf {
        self.bench.path("output")
    }

    /// The main file's final path.
    pub fn path(&self) -> PathBuf {
        self.out().join(format!("{}.mp4", self.id))
    }

    /// What HeyGen has.
    pub fn expected(&self) -> Vec<u8> {
        self.bench.heygen.expected(&self.id, Asset::Video)
    }

    /// The names in the output directory, every part as `.part`.
    pub fn names(&self) -> Vec<String> {
        let name = |path: PathBuf| path.file_name().expect("a name").to_string_lossy().into();
        let names = files_below(&self.out()).into_iter().map(name);
        names
            .map(|name: String| {
                if name.ends_with(".part") {
                    ".part".to_owned()
                } else {
                    name
                }
            })
            .collect()
    }

    /// The recorded part of the main file.
    pub fn part(&self) -> PathBuf {
        let name = self
            .bench
            .query("SELECT part_name FROM files WHERE asset = 'video'");
        assert!(!name.is_empty(), "no part is recorded");
        self.out().join(name)
    }

    /// State of the main file, and the bytes recorded of its part: `partial 20000`.
    pub fn state(&self) -> String {
        self.bench.query(
            "SELECT state || coalesce(' ' || part_bytes, '') FROM files WHERE asset = 'video'",
        )
    }

    /// The code of the row's error.
    pub fn error_code(&self) -> String {
        self.bench
            .query("SELECT coalesce(error_code, '') FROM videos WHERE id = 1")
    }

    /// The `Range` of each request for the main file; empty without one.
    pub fn ranges(&self) -> Vec<String> {
        let range = |request: &Recorded| request.header("Range").unwrap_or_default().to_owned();
        self.video_requests().iter().map(range).collect()
    }

    pub fn video_requests(&self) -> Vec<Recorded> {
        let mut requests = self.bench.heygen.file_requests();
        requests.retain(|request| request.path.ends_with("/video"));
        requests
    }

    /// Not one byte is kept and the file is still wanted.
    #[track_caller]
    pub fn nothing_is_kept(&self) {
        assert_eq!(self.names(), [""; 0]);
        assert_eq!(self.state(), "wanted");
    }

    /// Exactly `bytes` bytes of the right file are in a private part file, and recorded.
    #[track_caller]
    pub fn keeps(&self, bytes: usize) {
        assert_eq!(self.names(), [".part"]);
        assert_eq!(self.state(), format!("partial {bytes}"));
        let part = std::fs::read(self.part()).expect("the part");
        assert!(part == self.expected()[..bytes], "{} bytes", part.len());
        assert_eq!(mode(&self.part()), 0o600);
    }

    /// A check without faults ends as if there had never been any.
    #[track_caller]
    pub fn converges(&self) {
        self.check("").exits(0);
        self.is_saved();
    }

    /// Every wanted file is there, nothing else is, nothing is left to do, and no secret went astray.
    #[track_caller]
    pub fn is_saved(&self) {
        let bench = &self.bench;
        let paths: Vec<(String, String, String)> = bench
            .db()
            .prepare("SELECT asset, path, sha256 FROM files WHERE state = 'saved' ORDER BY path")
            .and_then(|mut s| {
                s.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                    .collect()
            })
            .expect("the files");
        for (asset, path, sha256) in &paths {
            let asset: Asset = asset.parse().expect("an asset");
            let bytes = std::fs::read(path).expect("a saved file");
            assert!(bytes == bench.heygen.expected(&self.id, asset), "{path}");
            assert_eq!(*sha256, sha256_of(&bytes));
        }
        let saved: Vec<PathBuf> = paths.iter().map(|(_, path, _)| path.into()).collect();
        let dir = bench.query("SELECT output_dir FROM videos");
        assert_eq!(files_below(Path::new(&dir)), saved);
        let open = "SELECT count(*) FROM files WHERE state NOT IN ('saved', 'unavailable')";
        assert_eq!(bench.query(open), "0");
        assert_eq!(bench.query("SELECT finished FROM videos"), "1");
        assert_eq!(bench.status(1), "completed");
        assert_eq!(self.error_code(), "");

        let requests = bench.heygen.requests().len();
        self.check("").exits(0).silent();
        assert_eq!(bench.heygen.requests().len(), requests, "nothing to do");
        self.no_secret_went_astray();
        bench.assert_invariants();
    }

    /// X1: the file host never saw who asks. I5: no signature in what is kept outside the URL columns.
    #[track_caller]
    pub fn no_secret_went_astray(&self) {
        for request in self.bench.heygen.file_requests() {
            for name in ["X-Api-Key", "Authorization", "Cookie"] {
                assert_eq!(request.header(name), None);
            }
        }
        let texts = "SELECT group_concat(detail) || coalesce((SELECT error_message FROM videos), '') FROM events";
        let texts = self.bench.query(texts);
        assert!(!texts.contains("Signature"), "{texts}");
    }
}

/// Permission bits.
pub fn mode(path: &Path) -> u32 {
    let found = std::fs::symlink_metadata(path).expect("a file");
    found.permissions().mode() & 0o7777
}

fn sha256_of(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    let hex = |byte: &u8| format!("{byte:02x}");
    Sha256::digest(bytes).iter().map(hex).collect()
}
