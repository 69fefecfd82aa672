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

pub(super) struct Plot {
    pub(super) title: &'static str,
    pub(super) text: String,
    /// Every number, where there are many.
    pub(super) detail: String,
    pub(super) svg: String,
}

#[derive(Default)]
pub(super) struct Observed {
    /// Seconds of video, and how long they rendered.
    renders: Vec<(f64, Duration)>,
    sending: Vec<Duration>,
    rendering: Vec<Duration>,
    saving: Vec<Duration>,
}

impl Observed {
    pub(super) fn add(&mut self, video: &Video) {
        let ours = video.idempotency_key.is_some();
        let accepted = video.accepted_at.filter(|_| ours);
        let sent = accepted.map(|at| at.since(video.submitted_at));
        self.sending.extend(sent);
        if !video.is_completed() {
            return;
        }
        let rendered = video.render_time();
        self.rendering.extend(rendered);
        let length = video.duration.filter(|seconds| seconds.is_finite());
        if self.renders.len() < POINTS {
            self.renders.extend(length.zip(rendered));
        }
        let saved = video.file(Asset::Video).and_then(|file| file.saved_at);
        let saved = video.completed_at.zip(saved);
        self.saving.extend(saved.map(|(done, at)| at.since(done)));
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Chart<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Drawn<T> = Result<T, Box<dyn std::error::Error>>;

pub(super) fn all(stats: Option<&Stats>, observed: &Observed) -> Result<Vec<Plot>, Problem> {
    let newest = stats.into_iter().flat_map(|stats| &stats.months);
    let mut months: Vec<&Group> = newest.take(MONTHS).collect();
    months.reverse();
    let draw = || -> Drawn<_> {
        let mut plots = Vec::new();
        if !months.is_empty() {
            plots.push(months_plot(&months)?);
            plots.push(success(&months)?);
        }
        if observed.renders.len() > 1 {
            plots.push(times(&observed.renders)?);
        }
        plots.extend(waiting(observed)?);
        Ok(plots)
    };
    draw().map_err(|error| Problem::new(code::FILE, format!("a plot cannot be drawn: {error}")))
}

fn plot(
    title: &'static str,
    text: String,
    detail: String,
    draw: impl FnOnce(&Area<'_>) -> Drawn<()>,
) -> Drawn<Plot> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    draw(&area)?;
    area.present()?;
    drop(area);
    // For those who do not see it; the title is one of this file's.
    let named = format!("<svg role=\"img\" aria-label=\"{title}\" ");
    Ok(Plot {
        title,
        text,
        detail,
        svg: svg.replacen("<svg ", &named, 1),
    })
}

/// The most, and not nothing: an axis needs a length.
fn top(values: impl Iterator<Item = f64>) -> f64 {
    let most = values.fold(0.0, f64::max);
    if most > 0.0 { most * 1.1 } else { 1.0 }
}

fn minutes(time: Duration) -> f64 {
    time.as_secs_f64() / 60.0
}

fn median(times: impl Iterator<Item = Duration>) -> Option<Duration> {
    let mut sorted: Vec<Duration> = times.collect();
    sorted.sort_unstable();
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}

fn months_plot(months: &[&Group]) -> Drawn<Plot> {
    let delivered: f64 = months.iter().map(|month| month.minutes_delivered).sum();
    let submitted: u64 = months.iter().map(|month| month.submitted).sum();
    let text =
        format!("Bars: {submitted} submissions. Line: {delivered:.1} minutes of video delivered.");
    let detail = by_month(months, |month| {
        format!("{} and {:.1} min", month.submitted, month.minutes_delivered)
    });
    plot("Submissions and minutes by month", text, detail, |area| {
        let ends = -0.5..months.len() as f64 - 0.5;
        let bars = line(months, |month| Some(month.submitted as f64));
        let line = line(months, |month| Some(month.minutes_delivered));
        let most = top(bars.iter().map(|bar| bar.1));
        let longest = top(line.iter().map(|point| point.1));
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
        let bar = |(at, high)| [(at - 0.35, 0.0), (at + 0.35, high)];
        chart.draw_series(
            bars.into_iter()
                .map(|top| Rectangle::new(bar(top), MARK.filled())),
        )?;
        chart.draw_secondary_series(dots(&line, SECOND))?;
        chart.draw_secondary_series(path(line))?;
        Ok(())
    })
}

fn success(months: &[&Group]) -> Drawn<Plot> {
    let rate = |month: &Group| month.success_rate().map(|rate| rate * 100.0);
    let detail = by_month(months, |month| match rate(month) {
        Some(rate) => format!("{rate:.0}%"),
        None => "none ended".to_owned(),
    });
    let line = line(months, rate);
    let text = "Completed, of those that ended.".to_owned();
    plot("Success by month", text, detail, |area| {
        let ends = -0.5..months.len() as f64 - 0.5;
        let mut chart = chart(area, 56, 0, ends, 105.0)?;
        by_month_axes(&mut chart, months, "%")?;
        chart.draw_series(dots(&line, SECOND))?;
        chart.draw_series(path(line))?;
        Ok(())
    })
}

fn times(renders: &[(f64, Duration)]) -> Drawn<Plot> {
    let median = minutes(median(renders.iter().map(|render| render.1)).unwrap_or_default());
    let points: Vec<(f64, f64)> = renders
        .iter()
        .map(|&(x, time)| (x, minutes(time)))
        .collect();
    let slowest = points.iter().map(|point| point.1).fold(0.0, f64::max);
    let text = format!(
        "Minutes of rendering against seconds of video, for {} videos. Half took at most {median:.1} minutes (the line), \
         the slowest {slowest:.1}.",
        points.len()
    );
    plot("Render time by length", text, String::new(), |area| {
        let longest = top(points.iter().map(|point| point.0));
        let most = top(points.iter().map(|point| point.1));
        let mut chart = chart(area, 56, 0, 0.0..longest, most)?;
        let seconds = |seconds: &f64| format!("{seconds:.0}s");
        let minutes = |minutes: &f64| time(*minutes, slowest);
        axes(&mut chart, (6, true, &seconds), (4, true, &minutes))?;
        chart.draw_series(dots(&points, MARK))?;
        chart.draw_series(path(vec![(0.0, median), (longest, median)]))?;
        Ok(())
    })
}

fn waiting(observed: &Observed) -> Drawn<Option<Plot>> {
    let waits = [
        ("to be sent", &observed.sending),
        ("rendering", &observed.rendering),
        ("to be saved", &observed.saving),
    ];
    let waits = waits.into_iter().filter_map(|(name, times)| {
        let wait = median(times.iter().copied())?;
        Some((minutes(wait), format!("{name} {}", human::duration(wait))))
    });
    let (waits, said): (Vec<f64>, Vec<String>) = waits.unzip();
    if waits.is_empty() {
        return Ok(None);
    }
    let text = format!("Half of the videos waited at most: {}.", said.join(", "));
    let plot = plot("Where the waiting goes", text, String::new(), |area| {
        let longest = top(waits.iter().copied());
        let rows = waits.len() as f64;
        let base = |at: usize| rows - 1.0 - at as f64;
        let mut chart = chart(area, 12, 0, 0.0..longest, rows)?;
        let minutes = |minutes: &f64| time(*minutes, longest);
        let nothing = |_: &f64| String::new();
        axes(&mut chart, (6, true, &minutes), (0, false, &nothing))?;
        chart.draw_series(waits.iter().enumerate().map(|(at, wait)| {
            let corners = [(0.0, base(at) + 0.15), (*wait, base(at) + 0.55)];
            Rectangle::new(corners, MARK.filled())
        }))?;
        chart.draw_series(
            said.into_iter()
                .enumerate()
                .map(|(at, said)| Text::new(said, (longest * 0.01, base(at) + 0.85), label())),
        )?;
        Ok(())
    })?;
    Ok(Some(plot))
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
    let labels = months.len().min(6);
    axes(chart, (labels, false, &name), (5, true, &value))
}

fn line(months: &[&Group], value: impl Fn(&Group) -> Option<f64>) -> Vec<(f64, f64)> {
    let months = months.iter().enumerate();
    let points = months.filter_map(|(at, month)| Some((at as f64, value(month)?)));
    points.collect()
}

fn by_month(months: &[&Group], say: impl Fn(&Group) -> String) -> String {
    let said = months
        .iter()
        .map(|month| format!("{}: {}", month.name, say(month)));
    format!("{}.", said.collect::<Vec<_>>().join("; "))
}
