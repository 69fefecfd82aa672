//! What a person at a terminal sees while something is under way: a line per rendering video, a bar per download.
//!
//! HeyGen gives no percentage, so a rendering video shows how long it has taken and what is usual. Everything is
//! drawn on stderr, below what is printed, and is gone when the program ends.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::style::ProgressTracker;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::render::{human, text};
use crate::video::RowId;

const MOST_LINES: usize = 12;

/// The moving part of the screen; clones share it. Shows nothing where nobody looks.
#[derive(Clone)]
pub struct Progress {
    width: usize,
    all: MultiProgress,
    rendering: Arc<Mutex<Vec<DrawnLine>>>,
}

/// Of one rendering video, or about all of them.
type DrawnLine = (Option<RowId>, ProgressBar);

/// From this many columns on a line also has the bytes, and a bar.
const ROOM_FOR_BYTES: usize = 80;
const ROOM_FOR_BAR: usize = 110;
const BAR: usize = 20;
/// A download's rate is that of this long: what was there before it began, or an hour ago, says nothing.
const LATELY: Duration = Duration::from_secs(5);

/// What the lines look like; see the documentation of `indicatif`. No line is as wide as the terminal, whatever a
/// terminal makes of an emoji: one that wraps is never cleared.
const DOWNLOAD: &str = "{line}";
const RENDERING: &str = "{elapsed:>4}  {prefix}";
const NOTE: &str = "{msg}";

/// Columns of a rendering video's line that are not its label.
const ELAPSED: usize = 8;

pub struct Transfer(ProgressBar);

impl Progress {
    pub fn new(width: usize, is_live: bool) -> Self {
        let target = match is_live {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        Self {
            width,
            all: MultiProgress::with_draw_target(target),
            rendering: Arc::default(),
        }
    }

    pub fn is_live(&self) -> bool {
        !self.all.is_hidden()
    }

    pub fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        match self.is_live() {
            true => self.all.suspend(print),
            // Whoever prints to a reader that stalls holds up nobody.
            false => print(),
        }
    }

    pub fn end(&self) {
        if self.is_live() {
            // A terminal that cannot be cleared is nobody's trouble any more.
            self.all.clear().ok();
            self.all.set_draw_target(ProgressDrawTarget::hidden());
        }
    }

    pub fn download(&self, label: &str) -> Transfer {
        if !self.is_live() {
            return Transfer(ProgressBar::hidden());
        }
        let line = DownloadLine {
            label: label.to_owned(),
            width: self.width,
            lately: VecDeque::new(),
        };
        let bar = line_of(DOWNLOAD, |style| style.with_key("line", line));
        let bar = self.all.add(bar);
        bar.enable_steady_tick(Duration::from_millis(500));
        Transfer(bar)
    }

    /// Replaces the lines about rendering videos: `7 processing "Launch teaser"`, sanitized, and for how long already;
    /// `usual` says how long it usually takes.
    pub fn rendering(&self, videos: &[(RowId, String, Duration)], usual: &str) {
        if !self.is_live() {
            return;
        }
        let mut lines = self.lines();
        lines.drain(..).for_each(|(_, line)| self.remove(&line));
        for (row, label, elapsed) in videos.iter().take(MOST_LINES) {
            let label = text::fit(label, self.width.saturating_sub(ELAPSED));
            let line = line_of(RENDERING, |style| style).with_prefix(label);
            let line = self.all.insert(lines.len(), line.with_elapsed(*elapsed));
            line.enable_steady_tick(Duration::from_secs(1));
            lines.push((Some(*row), line));
        }
        if !videos.is_empty() {
            let rest = match videos.len().saturating_sub(MOST_LINES) {
                0 => usual.to_owned(),
                more => format!("… and {more} more; {usual}"),
            };
            let rest = text::fit(&rest, self.width.saturating_sub(1));
            let line = line_of(NOTE, |style| style).with_message(rest);
            let line = self.all.insert(lines.len(), line);
            line.tick();
            lines.push((None, line));
        }
    }

    pub fn rendered(&self, row: RowId) {
        let over = |(id, _): &mut DrawnLine| *id == Some(row);
        for (_, line) in self.lines().extract_if(.., over) {
            self.remove(&line);
        }
    }

    fn lines(&self) -> MutexGuard<'_, Vec<DrawnLine>> {
        let lines = self.rendering.lock();
        lines.unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self, line: &ProgressBar) {
        line.finish_and_clear();
        self.all.remove(line);
    }
}

fn line_of(template: &str, style: impl FnOnce(ProgressStyle) -> ProgressStyle) -> ProgressBar {
    // The templates are constants; one that did not parse would show the default bar.
    let parsed = ProgressStyle::with_template(template);
    let parsed = parsed.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::no_length().with_style(style(parsed))
}

impl Transfer {
    pub fn update(&self, so_far: u64, total: Option<u64>) {
        let Self(bar) = self;
        // First, so that what an earlier run fetched is there from the beginning.
        bar.set_position(so_far);
        if let Some(total) = total.filter(|&total| bar.length() != Some(total)) {
            bar.set_length(total);
        }
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[derive(Clone)]
struct DownloadLine {
    label: String,
    width: usize,
    lately: VecDeque<(Instant, u64)>,
}

impl DownloadLine {
    fn observe(&mut self, so_far: u64, now: Instant) {
        let last = self.lately.back();
        if last.is_some_and(|&(_, before)| before > so_far) {
            // It had to start over.
            self.lately.clear();
        }
        // Ten a second are enough.
        let recent = self.lately.iter().rev().nth(1);
        if recent.is_some_and(|&(at, _)| now.duration_since(at) < LATELY / 50) {
            self.lately.pop_back();
        }
        if so_far > 0 {
            self.lately.push_back((now, so_far));
        }
        // One that is older stays, so that there is always a distance to measure.
        while let Some(&(at, _)) = self.lately.get(1)
            && now.duration_since(at) > LATELY
        {
            self.lately.pop_front();
        }
    }

    fn rate(&self) -> Option<u64> {
        let (&(from, before), &(to, so_far)) = (self.lately.front()?, self.lately.back()?);
        let seconds = to.duration_since(from).as_secs_f64();
        (seconds >= 0.5).then(|| (so_far.saturating_sub(before) as f64 / seconds) as u64)
    }

    fn text(&self, so_far: u64, total: Option<u64>) -> String {
        let total = total.filter(|&total| total > 0);
        let parts_of = |whole: usize, total: u64| {
            let parts = u128::from(so_far) * whole as u128 / u128::from(total);
            usize::try_from(parts).unwrap_or(whole)
        };
        let percent = match total {
            Some(total) => format!("{:>3}%", parts_of(100, total)),
            None => "   ?".to_owned(),
        };
        let speed = self.rate();
        let speed = speed.map_or_else(String::new, |rate| format!("{}/s", human::bytes(rate)));
        let left = total.and_then(|total| total.saturating_sub(so_far).checked_div(self.rate()?));
        let left = left.map(Duration::from_secs).map(human::duration);
        let mut numbers = format!("{speed:>10} {:>6}", left.unwrap_or_default());
        if self.width >= ROOM_FOR_BYTES {
            let mut bytes = human::bytes(so_far);
            if let Some(total) = total {
                bytes += &format!(" of {}", human::bytes(total));
            }
            numbers = format!("{bytes:>20} {numbers}");
        }
        if let Some(total) = total.filter(|_| self.width >= ROOM_FOR_BAR) {
            let done = "█".repeat(parts_of(BAR, total).min(BAR));
            numbers = format!("{done:<BAR$} {numbers}");
        }
        let used = percent.len() + 2 + 1 + numbers.chars().count() + 1;
        let room = self.width.saturating_sub(used);
        let label = text::fit(&self.label, room);
        // Where terminals disagree about the width of a character, the wider is believed.
        let gap = " ".repeat(room.saturating_sub(text::width(&label)));
        let line = format!("{percent}  {label}{gap} {numbers}");
        line.trim_end().to_owned()
    }
}

impl ProgressTracker for DownloadLine {
    fn clone_box(&self) -> Box<dyn ProgressTracker> {
        Box::new(self.clone())
    }

    fn tick(&mut self, state: &ProgressState, now: Instant) {
        self.observe(state.pos(), now);
    }

    fn reset(&mut self, _: &ProgressState, _: Instant) {
        self.lately.clear();
    }

    fn write(&self, state: &ProgressState, out: &mut dyn fmt::Write) {
        let _nobody_to_report_to = out.write_str(&self.text(state.pos(), state.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_parses() {
        for template in [DOWNLOAD, RENDERING, NOTE] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }

    fn line(width: usize, label: &str) -> DownloadLine {
        DownloadLine {
            label: label.to_owned(),
            width,
            lately: VecDeque::new(),
        }
    }

    const MB: u64 = 1_000_000;

    #[test]
    fn the_rate_is_that_of_the_last_seconds_also_after_a_resume() {
        let start = Instant::now();
        let mut line = line(80, "7 \"Keynote\"");
        // 930 MB were there already; a megabyte a second, and then two.
        for second in 0..=10 {
            line.observe(930 * MB + second * MB, start + Duration::from_secs(second));
        }
        assert_eq!(line.rate(), Some(MB));
        for second in 1..=10 {
            line.observe(
                940 * MB + second * 2 * MB,
                start + Duration::from_secs(10 + second),
            );
        }
        assert_eq!(line.rate(), Some(2 * MB));
        // Nothing comes any more.
        for second in 1..=10 {
            line.observe(960 * MB, start + Duration::from_secs(20 + second));
        }
        assert_eq!(line.rate(), Some(0));
        // It starts over.
        line.observe(MB, start + Duration::from_secs(31));
        assert_eq!(line.rate(), None);
    }

    #[test]
    fn the_percentage_comes_first_and_titles_stay_readable() {
        let start = Instant::now();
        let mut shown = String::new();
        for (width, label) in [
            (60, "7 video \"Launch teaser for the spring\""),
            (60, "8 video \"👨\u{200d}👩\u{200d}👧 新製品のご案内\""),
            (80, "9 video \"Launch teaser\""),
            (120, "10 video \"Launch teaser\""),
        ] {
            let mut line = line(width, label);
            line.observe(44 * MB, start);
            line.observe(45 * MB, start + Duration::from_secs(1));
            let text = line.text(45 * MB, Some(90 * MB));
            assert!(text::width(&text) < width, "{text}");
            shown.push_str(&format!("{text}\n"));
        }
        insta::assert_snapshot!(shown, @r#"
        50%  7 video "Launch teaser for the spr…   1.0 MB/s    45s
        50%  8 video "👨‍👩‍👧 新製品のご案内"       1.0 MB/s    45s
        50%  9 video "Launch teaser"              45.0 MB of 90.0 MB   1.0 MB/s    45s
        50%  10 video "Launch teaser"                              ██████████             45.0 MB of 90.0 MB   1.0 MB/s    45s
        "#);
    }

    #[test]
    fn nobody_looking_costs_nothing() {
        let progress = Progress::new(80, false);
        progress.rendering(&[], "");
        progress.download("x").update(1, Some(2));
        assert_eq!(progress.suspend(|| 7), 7);
    }
}
