//! `tracker open`: look at a video, in whatever the desktop opens such things with.

use std::process::{Command, Stdio};

use super::{Context, find_video};
use crate::error::{Exit, Problem, Result, code};
use crate::render::text;
use crate::video::Video;

const OPENER: &str = if cfg!(target_os = "macos") {
    "open"
} else {
    "xdg-open"
};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tracker open 14          # the saved file
  tracker open 14 --web    # its page at HeyGen")]
pub struct Args {
    /// Local number, HeyGen id, or a unique beginning of one
    #[arg(value_name = "ID")]
    id: String,
    /// HeyGen's page of it instead
    #[arg(long)]
    web: bool,
}

pub(crate) fn run(args: Args, context: &Context) -> Result<Exit> {
    let store = context.open_for_reading()?;
    let video = store.read(|tx| find_video(tx, &args.id, true))?;
    let target = if args.web {
        page(&video)?
    } else {
        file(&video)?
    };
    open(&target)
}

pub(super) fn open(target: &str) -> Result<Exit> {
    let status = Command::new(OPENER)
        .arg(target)
        .stdin(Stdio::null())
        // The desktop's programs have no use for the key.
        .env_remove("HEYGEN_API_KEY")
        .status();
    match status {
        Ok(status) if status.success() => Ok(Exit::Ok),
        other => {
            let why = other.map_or_else(|error| error.to_string(), |status| status.to_string());
            let problem = Problem::new(code::FILE, format!("{OPENER}: {why}"));
            Err(problem.with_hint(format!("open it by hand: {target}")))
        }
    }
}

fn file(video: &Video) -> Result<String> {
    let id = video.id;
    let message = match video.saved_path() {
        Some(path) if path.exists() => return Ok(path.to_string_lossy().into_owned()),
        Some(path) => format!("{} is not there any more", path.display()),
        None => format!("{id} has no saved file ({})", video.status()),
    };
    let mut hint = match video.is_completed() {
        true => format!("tracker download {id} --assets video fetches it"),
        false if video.ended_badly() => format!("tracker show {id} says why"),
        false => format!("tracker check {id} looks for it"),
    };
    if page(video).is_ok() {
        hint += &format!("; tracker open {id} --web opens its page");
    }
    Err(Problem::usage(message, hint))
}

fn page(video: &Video) -> Result<String> {
    let id = video.id;
    let none = || {
        let hint = format!("tracker check {id} asks again");
        Problem::usage(format!("HeyGen has named no page for {id} yet"), hint)
    };
    let page = video
        .video_page_url
        .as_deref()
        .filter(|url| text::is_web_page(url));
    page.map(str::to_owned).ok_or_else(none)
}
