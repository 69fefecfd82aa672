//! The plots above the cards: drawn by plotters, coloured by the page's own style sheet through marker colours.

use std::ops::Range;
use std::time::Duration;

use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use crate::error::{Problem, code};
use crate::render::human;
use crate::store::{Group, Stats};
use crate::video::{Asset, Video};

/// The page's style sheet gives these their colours, by day and by night.
const TEXT: RGBColor = RGBColor(1, 1, 1);
const LINES: RGBColor = RGBColor(2, 2, 2);
const MARK: RGBColor = RGBColor(3, 3, 3);
const SECOND: RGBColor = RGBColor(4, 4, 4);

const SIZE: (u32, u32) = (560, 260);
const MONTHS: usize = 24;
/// More points than this only make the page slow.
const POINTS: usize = 1_500;

/// A drawing and what it says.
pub(super) struct Plot {
    pub(super) title: &'static str,
    pub(super) text: String,
    /// Every number, where there are many.
    pub(super) detail: String,
    pub(super) svg: String,
}

/// What the rows of the page show, one by one.
#[derive(Default)]
pub(super) struct Observed {
    /// (length in seconds, render time in minutes)
    renders: Vec<(f64, f64)>,
    sending: Vec<Duration>,
    rendering: Vec<Duration>,
    saving: Vec<Duration>,
}

impl Observed {
    pub(super) fn add(&mut self, video: &Video) {
        if let Some(accepted) = video
            .accepted_at
            .filter(|_| video.idempotency_key.is_some())
        {
            self.sending.push(accepted.since(video.submitted_at));
        }
        if !video.is_completed() {
            return;
        }
        let rendered = video.render_time();
        self.rendering.extend(rendered);
        let length = video.duration.filter(|seconds| seconds.is_finite());
        if let (Some(rendered), Some(length)) = (rendered, length)
            && self.renders.len() < POINTS
        {
            self.renders.push((length, rendered.as_secs_f64() / 60.0));
        }
        let saved = video.file(Asset::Video).and_then(|file| file.saved_at);
        if let (Some(done), Some(saved)) = (video.completed_at, saved) {
            self.saving.push(saved.since(done));
        }
    }
}

pub(super) fn all(stats: Option<&Stats>, observed: &Observed) -> Result<Vec<Plot>, Problem> {
    let mut plots = Vec::new();
    if let Some(stats) = stats.filter(|stats| !stats.months.is_empty()) {
        let newest = stats.months.iter().take(MONTHS);
        let months: Vec<&Group> = newest.rev().collect();
        plots.push(months_plot(&months)?);
        plots.push(success(&months)?);
    }
    if observed.renders.len() > 1 {
        plots.push(times(&observed.renders)?);
    }
    plots.extend(waiting(observed)?);
    Ok(plots)
}

fn undrawable(error: impl std::fmt::Display) -> Problem {
    Problem::new(code::FILE, format!("a plot cannot be drawn: {error}"))
}

/// The most, and not nothing: an axis needs a length.
fn top(values: impl Iterator<Item = f64>) -> f64 {
    let most = values.fold(0.0, f64::max);
    if most > 0.0 { most * 1.1 } else { 1.0 }
}

/// `svg` as a picture with a name for those who do not see it.
fn named(svg: String, title: &str) -> String {
    // The title is one of this file's.
    svg.replacen(
        "<svg ",
        &format!("<svg role=\"img\" aria-label=\"{title}\" "),
        1,
    )
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Chart<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Drawn<T> = Result<T, Box<dyn std::error::Error>>;

fn drawn(
    title: &'static str,
    text: String,
    detail: String,
    draw: impl FnOnce(&Area<'_>) -> Drawn<()>,
) -> Result<Plot, Problem> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        draw(&area).map_err(undrawable)?;
        area.present().map_err(undrawable)?;
    }
    Ok(Plot {
        title,
        text,
        detail,
        svg: named(svg, title),
    })
}

/// Bars above the months, with a line of another measure on an axis of its own.
fn months_plot(months: &[&Group]) -> Result<Plot, Problem> {
    let minutes: f64 = months.iter().map(|month| month.minutes_delivered).sum();
    let submitted: u64 = months.iter().map(|month| month.submitted).sum();
    let text =
        format!("Bars: {submitted} submissions. Line: {minutes:.1} minutes of video delivered.");
    let detail = by_month(months, |month| {
        format!("{} and {:.1} min", month.submitted, month.minutes_delivered)
    });
    drawn("Submissions and minutes by month", text, detail, |area| {
        let ends = -0.5..months.len() as f64 - 0.5;
        let most = top(months.iter().map(|month| month.submitted as f64));
        let longest = top(months.iter().map(|month| month.minutes_delivered));
        let mut chart =
            chart(area, 56, 56, ends.clone(), most)?.set_secondary_coord(ends, 0.0..longest);
        by_month_axes(&mut chart, months, "")?;
        chart
            .configure_secondary_axes()
            .axis_style(LINES)
            .label_style(label())
            .y_labels(4)
            .y_label_formatter(&|minutes| time(*minutes, longest))
            .draw()?;
        chart.draw_series(months.iter().enumerate().map(|(at, month)| {
            let at = at as f64;
            Rectangle::new(
                [(at - 0.35, 0.0), (at + 0.35, month.submitted as f64)],
                MARK.filled(),
            )
        }))?;
        let line = months.iter().enumerate();
        let line: Vec<(f64, f64)> = line
            .map(|(at, month)| (at as f64, month.minutes_delivered))
            .collect();
        chart.draw_secondary_series(dots(&line, SECOND))?;
        chart.draw_secondary_series(path(line))?;
        Ok(())
    })
}

fn success(months: &[&Group]) -> Result<Plot, Problem> {
    let rate = |month: &Group| month.success_rate().map(|rate| rate * 100.0);
    let said = by_month(months, |month| {
        rate(month).map_or_else(|| "none ended".to_owned(), |rate| format!("{rate:.0}%"))
    });
    let line: Vec<(f64, f64)> = months
        .iter()
        .enumerate()
        .filter_map(|(at, month)| Some((at as f64, rate(month)?)))
        .collect();
    drawn(
        "Success by month",
        "Completed, of those that ended.".to_owned(),
        said,
        |area| {
            let mut chart = chart(area, 56, 0, -0.5..months.len() as f64 - 0.5, 105.0)?;
            by_month_axes(&mut chart, months, "%")?;
            chart.draw_series(dots(&line, SECOND))?;
            chart.draw_series(path(line))?;
            Ok(())
        },
    )
}

fn times(points: &[(f64, f64)]) -> Result<Plot, Problem> {
    let mut sorted: Vec<f64> = points.iter().map(|point| point.1).collect();
    sorted.sort_by(f64::total_cmp);
    let median = sorted.get((sorted.len() - 1) / 2).copied().unwrap_or(0.0);
    let slowest = sorted.last().copied().unwrap_or(0.0);
    let text = format!(
        "Minutes of rendering against seconds of video, for {} videos. Half took at most {median:.1} minutes (the line), \
         the slowest {slowest:.1}.",
        points.len()
    );
    drawn("Render time by length", text, String::new(), |area| {
        let longest = top(points.iter().map(|point| point.0));
        let most = top(points.iter().map(|point| point.1));
        let mut chart = chart(area, 56, 0, 0.0..longest, most)?;
        let seconds = |seconds: &f64| format!("{seconds:.0}s");
        let minutes = |minutes: &f64| time(*minutes, slowest);
        axes(&mut chart, (6, true, &seconds), (4, true, &minutes))?;
        chart.draw_series(dots(points, MARK))?;
        chart.draw_series(path(vec![(0.0, median), (longest, median)]))?;
        Ok(())
    })
}

/// Medians of the three waits between a submission and its file.
fn waiting(observed: &Observed) -> Result<Option<Plot>, Problem> {
    let mut waits = Vec::new();
    for (name, times) in [
        ("to be sent", &observed.sending),
        ("rendering", &observed.rendering),
        ("to be saved", &observed.saving),
    ] {
        let mut sorted = times.clone();
        sorted.sort_unstable();
        if let Some(median) = sorted.get(sorted.len().saturating_sub(1) / 2) {
            waits.push((name, *median));
        }
    }
    if waits.is_empty() {
        return Ok(None);
    }
    let said: Vec<String> = waits
        .iter()
        .map(|(name, wait)| format!("{name} {}", human::duration(*wait)))
        .collect();
    let text = format!("Half of the videos waited at most: {}.", said.join(", "));
    drawn("Where the waiting goes", text, String::new(), |area| {
        let longest = top(waits.iter().map(|(_, wait)| wait.as_secs_f64() / 60.0));
        let mut chart = chart(area, 12, 0, 0.0..longest, waits.len() as f64)?;
        let minutes = |minutes: &f64| time(*minutes, longest);
        axes(
            &mut chart,
            (6, true, &minutes),
            (0, false, &|_| String::new()),
        )?;
        let rows = waits.len() as f64;
        chart.draw_series(waits.iter().enumerate().map(|(at, (_, wait))| {
            let base = rows - 1.0 - at as f64;
            let wait = wait.as_secs_f64() / 60.0;
            Rectangle::new([(0.0, base + 0.15), (wait, base + 0.55)], MARK.filled())
        }))?;
        chart.draw_series(said.iter().enumerate().map(|(at, said)| {
            let base = rows - 1.0 - at as f64;
            Text::new(said.clone(), (longest * 0.01, base + 0.85), label())
        }))?;
        Ok(())
    })
    .map(Some)
}

/// Minutes on an axis that ends at `most` minutes.
fn time(minutes: f64, most: f64) -> String {
    if most < 2.0 {
        format!("{:.0}s", minutes * 60.0)
    } else {
        format!("{minutes:.0}m")
    }
}

fn label() -> TextStyle<'static> {
    ("sans-serif", 20).into_font().color(&TEXT)
}

fn dots(points: &[(f64, f64)], color: RGBColor) -> impl Iterator<Item = Circle<(f64, f64), i32>> {
    let dot = move |&point| Circle::new(point, 3, color.filled());
    points.iter().map(dot)
}

fn path(points: Vec<(f64, f64)>) -> impl Iterator<Item = PathElement<(f64, f64)>> {
    std::iter::once(PathElement::new(points, SECOND.stroke_width(2)))
}

/// With so many pixels for the labels on the left and right.
fn chart<'a>(area: &Area<'a>, left: u32, right: u32, x: Range<f64>, most: f64) -> Drawn<Chart<'a>> {
    let chart = ChartBuilder::on(area)
        .margin(8)
        .x_label_area_size(32)
        .y_label_area_size(left)
        .right_y_label_area_size(right)
        .build_cartesian_2d(x, 0.0..most)?;
    Ok(chart)
}

/// How many labels, whether values can be read off a line at each, and what they say.
type Axis<'a> = (usize, bool, &'a dyn Fn(&f64) -> String);

fn axes(chart: &mut Chart<'_>, x: Axis<'_>, y: Axis<'_>) -> Drawn<()> {
    let mut mesh = chart.configure_mesh();
    if !x.1 {
        mesh.disable_x_mesh();
    }
    if !y.1 {
        mesh.disable_y_mesh();
    }
    mesh.axis_style(LINES)
        .light_line_style(TRANSPARENT)
        .bold_line_style(LINES)
        .label_style(label())
        .x_labels(x.0)
        .y_labels(y.0)
        .x_label_formatter(&x.2)
        .y_label_formatter(&y.2)
        .draw()?;
    Ok(())
}

fn by_month_axes(chart: &mut Chart<'_>, months: &[&Group], unit: &str) -> Drawn<()> {
    let name = |at: &f64| {
        let near = at.round();
        let month = months.get(near as usize);
        let month = month.filter(|_| (at - near).abs() < 0.01);
        month.map_or_else(String::new, |month| month.name.clone())
    };
    let value = |value: &f64| format!("{value:.0}{unit}");
    axes(
        chart,
        (months.len().min(6), false, &name),
        (5, true, &value),
    )
}

fn by_month(months: &[&Group], say: impl Fn(&Group) -> String) -> String {
    let said: Vec<String> = months
        .iter()
        .map(|month| format!("{}: {}", month.name, say(month)))
        .collect();
    format!("{}.", said.join("; "))
}
