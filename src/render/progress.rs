//! What a person at a terminal sees while something is under way: a line per rendering video, a bar per download.
//!
//! HeyGen gives no percentage, so a rendering video shows how long it has taken and what is usual. Everything is
//! drawn on stderr, below what is printed, and is gone when the program ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::render::text;
use crate::video::RowId;

/// Rendering videos shown at once; the rest is a number.
const MOST_LINES: usize = 12;

/// The moving part of the screen; clones share it. Shows nothing where nobody looks.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<Live>>);

struct Live {
    width: usize,
    all: MultiProgress,
    /// A line per rendering video, and one that is about all of them.
    rendering: Mutex<Vec<(Option<RowId>, ProgressBar)>>,
}

/// Columns of a download's line that are not its label.
const NUMBERS: usize = 50;

/// What the lines look like; see the documentation of `indicatif`.
const DOWNLOAD: &str = "{prefix} {wide_bar} {decimal_bytes:>9}/{decimal_total_bytes} {decimal_bytes_per_sec:>11} {eta:>4}";
const RENDERING: &str = "{prefix}  {elapsed}";
const NOTE: &str = "{wide_msg}";

/// One download's bar.
pub struct Transfer(Option<ProgressBar>);

/// One rendering video.
#[derive(Clone, Debug)]
pub struct Rendering {
    /// Which.
    pub row: RowId,
    /// `7 processing "Launch teaser"`, sanitized.
    pub label: String,
    /// How long it has taken so far.
    pub elapsed: Duration,
}

impl Progress {
    /// For a person at a terminal of `width` columns.
    pub fn live(width: usize) -> Self {
        Self(Some(Arc::new(Live {
            width,
            all: MultiProgress::new(),
            rendering: Mutex::default(),
        })))
    }

    /// Whether somebody is looking.
    pub fn is_live(&self) -> bool {
        self.0.is_some()
    }

    /// Clears the moving part while `print` runs.
    pub fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(live) => live.all.suspend(print),
            None => print(),
        }
    }

    /// Clears the moving part for good.
    pub fn end(&self) {
        if let Some(live) = &self.0 {
            // A terminal that cannot be cleared is nobody's trouble any more.
            live.all.clear().ok();
            live.all.set_draw_target(ProgressDrawTarget::hidden());
        }
    }

    /// A bar for one download.
    pub fn download(&self, label: &str) -> Transfer {
        Transfer(self.0.as_ref().map(|live| {
            let label = text::fit(label, live.width.saturating_sub(NUMBERS).clamp(8, 32));
            let bar = ProgressBar::no_length()
                .with_style(style(DOWNLOAD))
                .with_prefix(label);
            live.all.add(bar)
        }))
    }

    /// Replaces the lines about rendering videos; `usual` says how long it usually takes.
    pub fn rendering(&self, videos: &[Rendering], usual: &str) {
        let Some(live) = &self.0 else {
            return;
        };
        let mut lines = live.lines();
        for (_, line) in lines.drain(..) {
            live.remove(&line);
        }
        for video in videos.iter().take(MOST_LINES) {
            let line = ProgressBar::no_length()
                .with_style(style(RENDERING))
                .with_prefix(video.label.clone())
                .with_elapsed(video.elapsed);
            let line = live.all.insert(lines.len(), line);
            line.enable_steady_tick(Duration::from_secs(1));
            lines.push((Some(video.row), line));
        }
        let rest = match videos.len().saturating_sub(MOST_LINES) {
            0 => usual.to_owned(),
            more => format!("… and {more} more; {usual}"),
        };
        if !videos.is_empty() {
            let line = ProgressBar::no_length()
                .with_style(style(NOTE))
                .with_message(rest);
            let line = live.all.insert(lines.len(), line);
            line.tick();
            lines.push((None, line));
        }
    }

    /// A video does not render any more.
    pub fn rendered(&self, row: RowId) {
        if let Some(live) = &self.0 {
            live.lines().retain(|(id, line)| {
                let over = *id == Some(row);
                if over {
                    live.remove(line);
                }
                !over
            });
        }
    }
}

impl Live {
    fn lines(&self) -> MutexGuard<'_, Vec<(Option<RowId>, ProgressBar)>> {
        self.rendering
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self, line: &ProgressBar) {
        line.finish_and_clear();
        self.all.remove(line);
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants; one that did not parse would show the default bar.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Transfer {
    /// `so_far` bytes of `total` are here.
    pub fn update(&self, so_far: u64, total: Option<u64>) {
        if let Some(bar) = &self.0 {
            if let Some(total) = total {
                bar.set_length(total);
            }
            bar.set_position(so_far);
        }
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
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

    #[test]
    fn nobody_looking_costs_nothing() {
        let progress = Progress::default();
        progress.rendering(&[], "");
        progress.download("x").update(1, Some(2));
        assert_eq!(progress.suspend(|| 7), 7);
    }
}
