//! One video on the page.

use std::path::Path;
use std::time::Duration;

use askama::Template;

use crate::net::{file_url, percent_encoded_path};
use crate::render::table::failure;
use crate::render::{human, text};
use crate::video::{Asset, File, FileState, Phase, Video};

/// Of a script; `tracker show` has all of it.
const MAX_SCRIPT: usize = 600;
const MAX_LINES: usize = 12;
const MAX_TEXT: usize = 300;

#[derive(Template)]
#[template(path = "card.html", config = "src/gallery/askama.toml")]
pub(super) struct Card<'a> {
    row: &'a Video,
    pub(super) tags: Vec<String>,
    film: Option<String>,
    poster: Option<String>,
    size: u64,
    files: Vec<(&'a File, String)>,
    usual: &'a str,
}

impl<'a> Card<'a> {
    pub(super) fn new(row: &'a Video, dir: &Path, usual: &'a str) -> Self {
        let is_saved = |file: &&File| file.state == FileState::Saved;
        let saved = row.files.iter().filter(is_saved);
        let saved = saved.filter_map(|file| Some((file, file.path.as_ref()?)));
        let there = saved.filter(|(_, path)| path.is_file());
        let there: Vec<_> = there.map(|(file, path)| (file, href(path, dir))).collect();
        let link = |asset: Asset| {
            let found = there.iter().find(|(file, _)| file.asset == asset);
            found.map(|(_, link)| link.clone())
        };
        let tags = row.tags.iter();
        Self {
            row,
            tags: tags.map(|tag| text::fit(tag, MAX_TEXT)).collect(),
            film: link(Asset::Video).or_else(|| link(Asset::Captioned)),
            poster: link(Asset::Thumbnail),
            size: there.iter().filter_map(|(file, _)| file.bytes).sum(),
            files: there,
            usual: if row.is_rendering() { usual } else { "" },
        }
    }

    pub(super) fn status(&self) -> String {
        text::fit(self.row.status(), 40)
    }

    fn is_gone(&self) -> bool {
        let was_saved = |file: &File| matches!(file.state, FileState::Saved | FileState::Gone);
        self.film.is_none() && self.row.files.iter().any(was_saved)
    }

    fn length(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.row.duration?).ok()
    }

    fn rendered(&self) -> Option<String> {
        let time = self.row.render_time().filter(|_| self.row.is_completed());
        time.map(human::duration)
    }

    /// How far it is: in rendering, or in saving.
    fn percent(&self) -> Option<u64> {
        if let Some(progress) = self.row.progress {
            return u64::try_from(progress.clamp(0, 100)).ok();
        }
        let part = self.row.file(Asset::Video)?.part.as_ref()?;
        let total = part.total?;
        part.bytes.min(total).saturating_mul(100).checked_div(total)
    }

    fn page(&self) -> Option<&str> {
        let page = self.row.video_page_url.as_deref();
        page.filter(|url| text::is_web_page(url))
    }
}

fn clock(length: &Duration) -> String {
    format!("{}:{:02}", length.as_secs() / 60, length.as_secs() % 60)
}

fn tone(video: &Video) -> &'static str {
    match video.phase {
        Phase::Unsent | Phase::Sending => "queued",
        _ if video.ended_badly() => "bad",
        _ if video.is_rendering() => "going",
        _ if video.finished => "good",
        _ => "saving",
    }
}

fn name(video: &Video) -> String {
    let title = video.title.as_deref().unwrap_or_default().trim();
    let script = video.script.as_deref().unwrap_or_default();
    let words: Vec<_> = script.split_whitespace().take(12).collect();
    match (title, words.as_slice()) {
        ("", []) => format!("Video {}", video.id),
        ("", words) => text::fit(&words.join(" "), 60),
        (title, _) => text::fit(title, MAX_TEXT),
    }
}

fn trouble(video: &Video) -> Option<String> {
    let reason = match &video.last_error {
        _ if video.ended_badly() => failure(video),
        Some(error) => format!("{}: {}", error.code, error.message),
        None => return None,
    };
    (!reason.is_empty()).then(|| text::fit(&reason, MAX_TEXT))
}

fn script(script: &str) -> Vec<String> {
    let end = script.char_indices().nth(MAX_SCRIPT);
    let shown = end.map_or(script, |(end, _)| script.get(..end).unwrap_or_default());
    let lines = shown.lines().take(MAX_LINES);
    let mut lines: Vec<String> = lines.map(|line| text::fit(line, MAX_SCRIPT)).collect();
    if end.is_some() || shown.lines().count() > MAX_LINES {
        lines.push("…".to_owned());
    }
    lines
}

/// Relative where the file lies below the page, so that both can be moved together.
fn href(path: &Path, dir: &Path) -> String {
    match path.strip_prefix(dir) {
        Ok(rest) => format!("./{}", percent_encoded_path(rest)),
        Err(_) => file_url(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_relative_below_the_page_and_cannot_become_another_scheme() {
        for (path, link) in [
            ("/out/a.mp4", "./a.mp4"),
            ("/out/b c/ü?#.mp4", "./b%20c/%C3%BC%3F%23.mp4"),
            ("/out/javascript:x.mp4", "./javascript%3Ax.mp4"),
            ("/elsewhere/a.mp4", "file:///elsewhere/a.mp4"),
        ] {
            assert_eq!(href(Path::new(path), Path::new("/out")), link);
        }
    }

    #[test]
    fn a_script_is_cut() {
        assert_eq!(script("one\ntwo"), ["one", "two"]);
        let long = script(&"x\n".repeat(500));
        assert_eq!(long.len(), MAX_LINES + 1);
        assert_eq!(script("").len(), 0);
    }
}
