//! One video on the page.

use std::path::{Path, PathBuf};
use std::time::Duration;

use askama::Template;
use chrono::TimeZone;

use crate::net::percent_encoded;
use crate::render::table::reason;
use crate::render::{human, text};
use crate::time::Timestamp;
use crate::video::{Asset, File, FileState, Phase, Video};

/// Of a script; `tracker show` has all of it.
const MAX_SCRIPT: usize = 600;
const MAX_LINES: usize = 12;
const MAX_TEXT: usize = 300;

#[derive(Template)]
#[template(path = "card.html", config = "src/gallery/askama.toml")]
pub(super) struct Card<'a> {
    row: &'a Video,
    tone: &'static str,
    pub(super) status: String,
    name: String,
    film: Option<String>,
    poster: Option<String>,
    /// There was a film.
    gone: bool,
    at: String,
    length: Option<Duration>,
    size: u64,
    since: Timestamp,
    since_local: String,
    usual: &'a str,
    percent: Option<u8>,
    failure: Option<String>,
    pub(super) tags: Vec<String>,
    tags_joined: String,
    script: Vec<String>,
    /// Links and their words.
    files: Vec<(String, &'static str)>,
    page: Option<&'a str>,
}

impl<'a> Card<'a> {
    pub(super) fn new<Tz: TimeZone>(row: &'a Video, dir: &Path, usual: &'a str, tz: &Tz) -> Self {
        let saved = row
            .files
            .iter()
            .filter(|file| file.state == FileState::Saved);
        let there: Vec<(&File, &PathBuf)> = saved
            .filter_map(|file| Some((file, file.path.as_ref()?)))
            .filter(|(_, path)| path.is_file())
            .collect();
        let link = |asset: Asset| {
            let found = there.iter().find(|(file, _)| file.asset == asset);
            found.map(|(_, path)| href(path, dir))
        };
        let was_saved = |file: &File| matches!(file.state, FileState::Saved | FileState::Gone);
        let film = link(Asset::Video).or_else(|| link(Asset::Captioned));
        let seconds = row.duration.filter(|seconds| seconds.is_finite());
        let tags: Vec<String> = row
            .tags
            .iter()
            .map(|tag| text::fit(tag, MAX_TEXT))
            .collect();
        let since = row.accepted_at.unwrap_or(row.submitted_at);
        Self {
            row,
            tone: tone(row),
            status: text::fit(row.status(), 40),
            name: name(row),
            poster: link(Asset::Thumbnail),
            gone: film.is_none() && row.files.iter().any(was_saved),
            film,
            at: minute(row.submitted_at, tz),
            length: seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            size: there.iter().filter_map(|(file, _)| file.bytes).sum(),
            since,
            since_local: minute(since, tz),
            usual: if row.is_rendering() { usual } else { "" },
            percent: row
                .progress
                .and_then(|progress| u8::try_from(progress.clamp(0, 100)).ok())
                .or_else(|| saved_percent(row)),
            failure: failure(row),
            tags_joined: tags.join("\n"),
            tags,
            script: script(row.script.as_deref().unwrap_or_default()),
            files: there
                .iter()
                .map(|(file, path)| (href(path, dir), file.asset.word()))
                .collect(),
            page: row
                .video_page_url
                .as_deref()
                .filter(|url| url.starts_with("https://") && !url.contains(text::is_harmful)),
        }
    }

    fn rendered(&self) -> Option<String> {
        let time = self.row.render_time().filter(|_| self.row.is_completed());
        time.map(human::duration)
    }
}

fn minute<Tz: TimeZone>(at: Timestamp, tz: &Tz) -> String {
    let mut clock = human::clock_exact(at, tz);
    clock.truncate("2026-11-23 09:12".len());
    clock
}

/// `1:42`, as a player shows it.
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

/// Its title, else how its script begins, else its number.
fn name(video: &Video) -> String {
    let title = video.title.as_deref().unwrap_or_default().trim();
    let script = video.script.as_deref().unwrap_or_default();
    let words: Vec<_> = script.split_whitespace().take(12).collect();
    match (title, words.join(" ")) {
        ("", words) if words.is_empty() => format!("Video {}", video.id),
        ("", words) => text::fit(&words, 60),
        (title, _) => text::fit(title, MAX_TEXT),
    }
}

fn failure(video: &Video) -> Option<String> {
    let (code, message) = match &video.last_error {
        _ if video.ended_badly() => (
            video.failure_code.as_deref(),
            video.failure_message.as_deref(),
        ),
        Some(error) => (Some(error.code.as_str()), Some(error.message.as_str())),
        None => return None,
    };
    let reason = reason(code, message);
    (!reason.is_empty()).then(|| text::fit(&reason, MAX_TEXT))
}

fn script(script: &str) -> Vec<String> {
    let end = script.char_indices().nth(MAX_SCRIPT);
    let shown = end.map_or(script, |(end, _)| script.get(..end).unwrap_or_default());
    let mut lines: Vec<String> = shown
        .lines()
        .take(MAX_LINES)
        .map(|line| text::fit(line, MAX_SCRIPT))
        .collect();
    if end.is_some() || shown.lines().count() > MAX_LINES {
        lines.push("…".to_owned());
    }
    lines
}

/// How much of a file that is on its way is here.
fn saved_percent(video: &Video) -> Option<u8> {
    let part = video.file(Asset::Video)?.part.as_ref()?;
    let total = part.total.filter(|&total| total > 0)?;
    u8::try_from((part.bytes.min(total)).saturating_mul(100) / total).ok()
}

/// Relative where the file lies below the page, so that both can be moved together.
fn href(path: &Path, dir: &Path) -> String {
    let (start, rest) = match path.strip_prefix(dir) {
        Ok(rest) => ("./", rest),
        Err(_) => ("file:///", path.strip_prefix("/").unwrap_or(path)),
    };
    let segments: Vec<String> = rest
        .components()
        .map(|part| percent_encoded(&part.as_os_str().to_string_lossy()))
        .collect();
    format!("{start}{}", segments.join("/"))
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
