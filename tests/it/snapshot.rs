//! What a person sees, in one text that is the same at every run: directories, ports, instants and keys get names.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use crate::heygen::{Options, Render};

use crate::support::{BODY, Bench, Run, TRACKER, machine_can, run};

/// What differs from run to run. `#` stands for a digit, `x` for a hexadecimal one.
const CHANGING: &[(&str, &str)] = &[
    ("xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "UUID"),
    ("####-##-##T##:##:##.###Z", "TIME"),
    ("####-##-##T##:##:##Z", "TIME"),
    ("####-##-## ##:##:##", "TIME"),
    ("####-##-## ##:##", "TIME"),
    ("\n####-## ", "\nMONTH "),
    ("\"month\":\"####-##\"", "\"month\":\"MONTH\""),
    ("pires=##########", "pires=UNIX"),
    (
        "Signature=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "Signature=…",
    ),
    (", ###.# kB, schema", ", SIZE, schema"),
    ("\"bytes\":######,\"videos\"", "\"bytes\":SIZE,\"videos\""),
];

impl Bench {
    /// With video ids that are the same at every run.
    pub fn seeded() -> Self {
        Self::with(Options {
            render: Render::Manual,
            seed: Some(1),
            ..Options::default()
        })
    }

    /// Runs `tracker ARGUMENTS`: the command line, both outputs and the exit code, as a person sees them.
    pub fn shows(&self, arguments: &str) -> String {
        let run = self.tracker(arguments);
        self.screen(&format!("tracker {arguments}"), &run)
    }

    /// The same of a pipeline.
    pub fn shell_shows(&self, script: &str) -> String {
        self.screen(script, &self.shell(script))
    }

    /// The same at a terminal of that width, where both outputs are one; `None` where there is no way to have one.
    pub fn terminal_shows(&self, columns: u16, arguments: &str) -> Option<String> {
        let mut probe = Command::new("script");
        if !machine_can(
            "pretend to be a terminal",
            probe.args(["-qec", "true", "/dev/null"]),
        ) {
            return None;
        }
        let mut terminal = Command::new("script");
        terminal.args([
            "-qec",
            &format!("stty cols {columns} rows 24; {TRACKER} {arguments}"),
            "/dev/null",
        ]);
        self.prepare(&mut terminal);
        let mut run = run(terminal
            .env("TERM", "xterm-256color")
            .env("SHELL", "/bin/sh"));
        run.stdout = run.stdout.replace('\r', "");
        Some(self.screen(&format!("tracker {arguments}"), &run))
    }

    /// Without what differs from run to run.
    pub fn screen(&self, command: &str, run: &Run) -> String {
        let mut screen = String::new();
        write!(screen, "$ {command}\n{}", run.screen()).expect("text");
        let dir = self.dir.path().display().to_string();
        let (api, files) = (self.heygen.api_base(), self.heygen.files_base());
        let host = |base: &str| base.replace("http://", "");
        for (changing, name) in [
            (dir, "DIR"),
            (host(&api), "API"),
            (host(&files), "FILES"),
            (env!("CARGO_PKG_VERSION").to_owned(), "VERSION"),
            (rusqlite::version().to_owned(), "SQLITE"),
        ] {
            screen = screen.replace(&changing, name);
        }
        for (pattern, name) in CHANGING {
            screen = replace(&screen, pattern, name);
        }
        screen
    }
}

/// `text` with `name` wherever something looks like `pattern`.
fn replace(text: &str, pattern: &str, name: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if matches(rest, pattern) {
            out.push_str(name);
            rest = &rest[pattern.len()..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

fn matches(text: &str, pattern: &str) -> bool {
    text.len() >= pattern.len()
        && pattern.bytes().zip(text.bytes()).all(|(p, t)| match p {
            b'#' => t.is_ascii_digit(),
            b'x' => t.is_ascii_hexdigit(),
            _ => p == t,
        })
}

/// One saved, one failed, one rendering; and the first two took eight minutes.
pub fn history() -> Bench {
    let bench = Bench::seeded();
    for n in 1..=3 {
        let body = BODY.replace("Hello\"", &format!("Video {n}\""));
        bench.file(&format!("body{n}.json"), body);
        bench.tracker(&format!("submit body{n}.json")).exits(0);
    }
    bench.heygen.finish(&bench.video_id(1));
    bench.tracker("check").exits(0);
    bench.heygen.fail(
        &bench.video_id(2),
        "script_too_long",
        "Script too long for selected avatar",
    );
    bench.tracker("check").exits(0);
    bench.advance(Duration::from_secs(20 * 60 + 2));
    bench
        .db()
        .execute_batch(
            "-- All of one age, which says `20m` for almost a minute.
             UPDATE videos SET submitted_at = (SELECT max(submitted_at) FROM videos) - 3 + id;
             UPDATE videos SET accepted_at = submitted_at, created_at = submitted_at / 1000 * 1000;
             UPDATE videos SET completed_at = created_at + 8 * 60 * 1000 WHERE finished",
        )
        .expect("rows");
    bench
}
