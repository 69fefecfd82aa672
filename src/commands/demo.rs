//! `tracker demo`: the main job from submit to file, on a local stand-in, in a directory of its own.
//!
//! Every step is this very program run as a child process, as a person would type it, so the demo cannot show
//! anything the program does not do.

use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::commands::Context;
use crate::error::{Exit, Problem, Result};
use crate::sandbox::{Host, KEY, RenderState, Sandbox, SandboxOptions};
use crate::shell;

/// Long enough to see a video render, short enough to watch.
const RENDER_TIME: Duration = Duration::from_secs(6);

#[derive(Debug, clap::Args)]
pub struct Args {}

const BODIES: &str = r#"{"type":"avatar","avatar_id":"Ann_standing","voice_id":"v1","title":"Welcome","script":"Welcome aboard!"}
{"type":"avatar","avatar_id":"Ann_standing","voice_id":"v1","title":"Launch teaser","script":"This one is meant to fail."}
"#;
const PROMPT: &str = "Weekly news";
/// What a person set for how things look still holds; key, database and base URL of theirs do not.
const LOOKS: [&str; 7] = [
    "TERM", "COLUMNS", "NO_COLOR", "LANG", "LC_ALL", "TZ", "PATH",
];

pub(crate) fn run(_: Args, context: &Context) -> Result<Exit> {
    let options = SandboxOptions {
        render_time: Some(RENDER_TIME),
        fail_on_word: true,
        file_size: 400_000,
        ..SandboxOptions::default()
    };
    let (sandbox, _servers) = Sandbox::start(options, Duration::ZERO)
        .map_err(|source| Problem::system("start the sandbox", &source))?;
    let stage = Stage::set(context, &sandbox)?;
    let screen = &context.screen;
    screen.line(
        "A stand-in for HeyGen runs on this machine; nothing leaves it and nothing is charged.",
    );
    stage.step(
        "\nThree videos are submitted, one of them to HeyGen's agent. They are recorded before anything is sent:",
        &["submit", "bodies.jsonl"],
    )?;
    stage.tracker(&["submit", "--prompt", PROMPT])?;
    // At a terminal an uneventful check says how things stand, from cron nothing: what is said here fits both.
    stage.step(
        "\nCron would run this every minute, and print nothing while there is no news. HeyGen is still rendering:",
        &["check"],
    )?;
    agent_is(&sandbox, RenderState::Word("failed".to_owned()));
    stage.step(
        "\nThen the agent says that it failed. Agents often go on after that, so the video is not given up yet:",
        &["check"],
    )?;
    stage.tracker(&["list"])?;
    agent_is(&sandbox, RenderState::Rendering);
    screen.line(&format!("\n({} seconds later)", RENDER_TIME.as_secs()));
    thread::sleep(RENDER_TIME);
    for (text, verb) in [
        (
            "The agent's video arrived after all; the two files are downloaded, verified and in place. One video failed for good, and says why:",
            &["check"][..],
        ),
        (
            "\nNow nothing is unfinished, so a check no longer asks HeyGen anything:",
            &["check"],
        ),
        ("\nEverything about the one that failed:", &["show", "2"]),
        ("\nThe history:", &["list"]),
        ("\nAnd the same to look at, in a browser:", &["gallery"]),
    ] {
        stage.step(text, verb)?;
    }
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

    fn step(&self, text: &str, arguments: &[&str]) -> Result<()> {
        self.context.screen.line(text);
        self.tracker(arguments)
    }

    fn tracker(&self, arguments: &[&str]) -> Result<()> {
        let typed: Vec<_> = arguments.iter().map(|word| shell::word(word)).collect();
        let screen = &self.context.screen;
        screen.line(&format!("$ tracker {}", typed.join(" ")));
        let theirs = |name| Some((name, self.context.env.get(name)?));
        let status = Command::new(&self.program)
            .args(arguments)
            .current_dir(&self.dir)
            .env_clear()
            .envs(LOOKS.into_iter().filter_map(theirs))
            .env("HEYGEN_API_BASE", &self.base)
            .env("HEYGEN_API_KEY", KEY)
            .env("TRACKER_DB", self.dir.join("tracker.db"))
            .env("HOME", &self.dir)
            .status();
        status.map_err(|source| Problem::system("run this program", &source))?;
        Ok(())
    }
}
