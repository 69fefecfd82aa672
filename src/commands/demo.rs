//! `tracker demo`: the main job from submit to file, on a local stand-in, in a directory of its own.
//!
//! Every step is this very program run as a child process, as a person would type it, so the demo cannot show
//! anything the program does not do.

use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anstream::ColorChoice;

use crate::commands::Context;
use crate::error::{Exit, Problem, Result, code};
use crate::sandbox::{Host, KEY, RenderState, Sandbox, SandboxOptions};

/// Long enough to see a video render, short enough to watch.
const RENDER_TIME: Duration = Duration::from_secs(6);

const BODIES: &str = r#"{"type":"avatar","avatar_id":"Ann_standing","voice_id":"v1","title":"Welcome","script":"Welcome aboard!"}
{"type":"avatar","avatar_id":"Ann_standing","voice_id":"v1","title":"Launch teaser","script":"This one is meant to fail."}
"#;
/// A line that begins with `$ tracker` is run; none has a quoted argument. What is said fits a check at a terminal,
/// which says how things stand, and cron's.
const ACTS: [&str; 3] = ["\
A stand-in for HeyGen runs on this machine; nothing leaves it and nothing is charged.

Three videos are submitted, one of them to HeyGen's agent. They are recorded before anything is sent:
$ tracker submit bodies.jsonl
$ tracker submit --prompt Newsreel

Cron would run this every minute, and print nothing while there is no news. HeyGen is still rendering:
$ tracker check", "
Then the agent says that it failed. Agents often go on after that, so the video is not given up yet:
$ tracker check
$ tracker list", "\
The agent's video arrived after all; the two files are downloaded, verified and in place. One video failed for good, and says why:
$ tracker check

Now nothing is unfinished, so a check no longer asks HeyGen anything:
$ tracker check

Everything about the one that failed:
$ tracker show 2

The history:
$ tracker list

And the same to look at, in a browser:
$ tracker gallery"];
/// What a person set for how things look still holds; key, database and base URL of theirs do not.
const LOOKS: [&str; 7] = [
    "TERM", "COLUMNS", "NO_COLOR", "LANG", "LC_ALL", "TZ", "PATH",
];

pub(crate) fn run(context: &Context) -> Result<Exit> {
    let options = SandboxOptions {
        render_time: Some(RENDER_TIME),
        fail_on_word: true,
        file_size: 400_000,
        ..SandboxOptions::default()
    };
    let (sandbox, _servers) =
        Sandbox::start(options).map_err(|source| Problem::system("start the sandbox", &source))?;
    let stage = Stage::set(context, &sandbox)?;
    let screen = &context.screen;
    let [begins, fails, arrives] = ACTS;
    stage.play(begins)?;
    agent_is(&sandbox, RenderState::Word("failed".to_owned()));
    stage.play(fails)?;
    agent_is(&sandbox, RenderState::Rendering);
    screen.line(&format!("\n({} seconds later)", RENDER_TIME.as_secs()));
    thread::sleep(RENDER_TIME);
    stage.play(arrives)?;
    let dir = stage.dir.display();
    screen.line(&format!("\nYour files and the database are in {dir}"));
    screen.line("With a key of your own: export HEYGEN_API_KEY=…, tracker submit body.json, and tracker check from cron.");
    Ok(Exit::Ok)
}

fn agent_is(sandbox: &Sandbox, state: RenderState) {
    let mut world = sandbox.world();
    let mut jobs = world.videos.values_mut();
    if let Some(session) = jobs.find(|job| job.kind == "agent") {
        session.progress = state;
    }
}

struct Stage<'a> {
    context: &'a Context,
    dir: PathBuf,
    program: PathBuf,
    base: String,
}

impl<'a> Stage<'a> {
    fn set(context: &'a Context, sandbox: &Sandbox) -> Result<Self> {
        let name = format!("heygen-tracker-demo-{}", uuid::Uuid::new_v4().simple());
        let dir = context.temporary().join(name);
        std::fs::create_dir(&dir).map_err(|source| Problem::file("use", &dir, &source))?;
        let bodies = dir.join("bodies.jsonl");
        std::fs::write(&bodies, BODIES).map_err(|source| Problem::file("use", &bodies, &source))?;
        let program = std::env::current_exe()
            .map_err(|source| Problem::system("find this program", &source))?;
        Ok(Self {
            context,
            dir,
            program,
            base: sandbox.base(Host::Api),
        })
    }

    fn play(&self, act: &str) -> Result<()> {
        for line in act.lines() {
            self.context.screen.line(line);
            if let Some(typed) = line.strip_prefix("$ tracker ") {
                self.tracker(typed)?;
            }
        }
        Ok(())
    }

    fn tracker(&self, typed: &str) -> Result<()> {
        let color = match ColorChoice::global() {
            ColorChoice::Auto => "auto",
            ColorChoice::Always | ColorChoice::AlwaysAnsi => "always",
            ColorChoice::Never => "never",
        };
        let theirs = |name| Some((name, self.context.env.get(name)?));
        let status = Command::new(&self.program)
            .args(["--color", color])
            .args(typed.split(' '))
            .current_dir(&self.dir)
            .env_clear()
            .envs(LOOKS.into_iter().filter_map(theirs))
            .env("HEYGEN_API_BASE", &self.base)
            .env("HEYGEN_API_KEY", KEY)
            .env("TRACKER_DB", self.dir.join("tracker.db"))
            .env("HOME", &self.dir)
            .status();
        let status = status.map_err(|source| Problem::system("run this program", &source))?;
        if !status.success() {
            let message = format!("tracker {typed} ended with {status}");
            let hint = format!("what there is so far is in {}", self.dir.display());
            return Err(Problem::new(code::FILE, message).with_hint(hint));
        }
        Ok(())
    }
}
