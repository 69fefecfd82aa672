//! What a person at a terminal sees while something is under way: a line per rendering video, a bar per download.
//!
//! HeyGen gives no percentage, so a rendering video shows how long it has taken and what is usual. Everything is
//! drawn on stderr, below what is printed, and is gone when the program ends.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{
    HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle,
};

use crate::render::text;
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

/// What the lines look like; see the documentation of `indicatif`. No line is as wide as the terminal, whatever a
/// terminal makes of an emoji: one that wraps is never cleared. For that reason labels come last, too.
const DOWNLOAD: &str = "{percent:>3}%  {decimal_bytes_per_sec:>12} {eta:>4}  {prefix}";
const WITH_BYTES: &str = "{percent:>3}%  {decimal_bytes:>9}/{decimal_total_bytes:<9}  {decimal_bytes_per_sec:>12} {eta:>4}  {prefix}";
const WITH_BAR: &str = "{percent:>3}%  {bar:20}  {decimal_bytes:>9}/{decimal_total_bytes:<9}  {decimal_bytes_per_sec:>12} {eta:>4}  {prefix}";
const WAITING: &str = "   ?  {prefix}";
const OF_ANY_LENGTH: &str = "{decimal_bytes:>9}  {decimal_bytes_per_sec:>12}  {prefix}";
const RENDERING: &str = "{elapsed:>4}  {prefix}";
const NOTE: &str = "{msg}";

/// Columns of a rendering video's line that are not its label.
const ELAPSED: usize = 8;

/// A download, and its template once its length is known.
pub struct Transfer(ProgressBar, &'static str);

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
        let (template, used) = match self.width {
            110.. => (WITH_BAR, 71),
            80.. => (WITH_BYTES, 49),
            _ => (DOWNLOAD, 28),
        };
        if !self.is_live() {
            return Transfer(ProgressBar::hidden(), template);
        }
        let label = text::fit(label, self.width.saturating_sub(used));
        let bar = self.all.add(line_of(WAITING).with_prefix(label));
        bar.enable_steady_tick(Duration::from_millis(500));
        Transfer(bar, template)
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
            let line = line_of(RENDERING).with_prefix(label);
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
            let line = line_of(NOTE).with_message(rest);
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

fn line_of(template: &str) -> ProgressBar {
    ProgressBar::no_length().with_style(style(template))
}

/// The templates are constants; one that did not parse would show the default bar.
fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    style.with_key("eta", |state: &ProgressState, out: &mut dyn fmt::Write| {
        // Of one at rest nobody knows.
        if state.per_sec() > 0.0 {
            let _nobody_to_report_to = write!(out, "{:#}", HumanDuration(state.eta()));
        }
    })
}

impl Transfer {
    pub fn update(&self, so_far: u64, total: Option<u64>) {
        let Self(bar, template) = self;
        if bar.position() == 0 || bar.length() != total {
            // What an earlier run fetched took no time, so a rate is shown only once the position is set.
            bar.set_style(style(WAITING));
            bar.set_position(so_far);
            total.map_or_else(|| bar.unset_length(), |total| bar.set_length(total));
            bar.reset_eta();
            bar.set_style(style(total.map_or(OF_ANY_LENGTH, |_| template)));
        }
        bar.set_position(so_far);
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::TermLike;
    use std::io;

    #[test]
    fn every_template_parses() {
        for template in [
            DOWNLOAD,
            WITH_BYTES,
            WITH_BAR,
            WAITING,
            OF_ANY_LENGTH,
            RENDERING,
            NOTE,
        ] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }

    const MB: u64 = 1_000_000;

    /// A terminal that remembers the lines it was given.
    #[derive(Clone, Debug, Default)]
    struct Lines(u16, Arc<Mutex<Vec<String>>>);

    impl TermLike for Lines {
        fn width(&self) -> u16 {
            self.0
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, line: &str) -> io::Result<()> {
            self.write_str(line)
        }
        fn write_str(&self, line: &str) -> io::Result<()> {
            let line = line.trim_end().to_owned();
            self.1.lock().unwrap().push(line);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_percentage_comes_first_and_titles_stay_readable() {
        let mut shown = String::new();
        for (width, label, total) in [
            (
                60,
                "7 video \"Launch teaser for the spring\"",
                Some(90 * MB),
            ),
            (
                60,
                "8 video \"👨\u{200d}👩\u{200d}👧 新製品のご案内\"",
                Some(90 * MB),
            ),
            (80, "9 video \"Launch teaser\"", Some(90 * MB)),
            (120, "10 video \"Launch teaser\"", Some(90 * MB)),
            (120, "11 video \"Launch teaser\"", None),
        ] {
            let lines = Lines(width, Arc::default());
            let target = ProgressDrawTarget::term_like(Box::new(lines.clone()));
            let progress = Progress {
                width: width.into(),
                all: MultiProgress::with_draw_target(target),
                rendering: Arc::default(),
            };
            let transfer = progress.download(label);
            transfer.update(45 * MB, total);
            transfer.0.force_draw();
            let drawn = lines.1.lock().unwrap();
            // What an earlier run left is no speed, not even at first.
            assert!(!drawn.iter().any(|line| line.contains("MB/s")), "{drawn:?}");
            let line = drawn.iter().rfind(|line| !line.is_empty()).unwrap();
            assert!(text::width(line) < width.into(), "{line}");
            shown.push_str(&format!("{line}\n"));
        }
        insta::assert_snapshot!(shown, @r#"
        50%         0 B/s       7 video "Launch teaser for the …
        50%         0 B/s       8 video "👨‍👩‍👧 新製品のご案内"
        50%   45.00 MB/90.00 MB          0 B/s       9 video "Launch teaser"
        50%  ██████████░░░░░░░░░░   45.00 MB/90.00 MB          0 B/s       10 video "Launch teaser"
        45.00 MB         0 B/s  11 video "Launch teaser"
        "#);
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds_also_after_a_resume() {
        for total in [Some(1000 * MB), None] {
            let transfer = Transfer(ProgressBar::hidden(), DOWNLOAD);
            let Transfer(bar, _) = &transfer;
            transfer.update(930 * MB, total);
            bar.tick();
            assert_eq!(bar.per_sec(), 0.0);
            std::thread::sleep(Duration::from_millis(20));
            transfer.update(931 * MB, total);
            bar.tick();
            let rate = bar.per_sec();
            assert!(rate > 0.0 && rate < 60.0 * MB as f64, "{rate}");
            // It starts over.
            transfer.update(MB, total);
            bar.tick();
            assert_eq!(bar.per_sec(), 0.0);
        }
    }

    #[test]
    fn nobody_looking_costs_nothing() {
        let progress = Progress::new(80, false);
        progress.rendering(&[], "");
        progress.download("x").update(1, Some(2));
        assert_eq!(progress.suspend(|| 7), 7);
    }
}
