//! What `list --stats` prints.

use std::time::Duration;

use super::Context;
use crate::error::Error;
use crate::render::{human, text};
use crate::store::{Filter, Month, RenderTimes, Stats, Store};

/// Columns of a month's line, and of the bar that follows it where there is room.
const MONTH_LINE: usize = 50;
const BAR: usize = 24;
/// Fewer render times than this are no basis for "usually".
const FEW: u64 = 5;

/// One object with `--json`, else a few lines that are the same on a terminal and in a pipe.
pub(super) fn print(store: &Store, filter: &Filter, context: &Context) -> Result<(), Error> {
    let stats = store.read(|tx| tx.stats(filter))?;
    if context.globals.json {
        context.screen.json_row(&stats);
    } else {
        let room = match context.screen.out_is_terminal {
            true => context.screen.width.saturating_sub(MONTH_LINE).min(BAR),
            false => 0,
        };
        context.screen.block(&lines(&stats, room));
    }
    Ok(())
}

fn lines(stats: &Stats, room: usize) -> String {
    let statuses: Vec<_> = stats
        .by_status
        .iter()
        .map(|(status, count)| format!("{count} {}", text::fit(status, 30)))
        .collect();
    let mut out = format!("{:<11}{}", "videos", stats.videos);
    if !statuses.is_empty() {
        out.push_str(&format!(": {}", statuses.join(", ")));
    }
    out.push_str(&format!("\n{:<11}{}\n", "unfinished", stats.unfinished));
    out.push_str(&format!(
        "{:<11}{}\n",
        "rendering",
        rendering(&stats.rendering)
    ));
    out.push_str(&format!(
        "{:<11}{} in {} {}\n",
        "on disk",
        human::bytes(stats.bytes),
        stats.files,
        if stats.files == 1 { "file" } else { "files" }
    ));
    if !stats.months.is_empty() {
        out.push('\n');
        let heading = ["MONTH", "SUBMITTED", "COMPLETED", "FAILED", "MINUTES"];
        out.push_str(&month_line(&heading.map(str::to_owned)));
        let most = stats.months.iter().map(|month| month.submitted).max();
        let most = most.unwrap_or_default();
        for month in &stats.months {
            let line = month_line(&cells(month));
            let bar = bar(month.submitted, most, room);
            out.push_str(format!("{} {bar}", line.trim_end()).trim_end());
            out.push('\n');
        }
    }
    out
}

fn rendering(times: &RenderTimes) -> String {
    let length = |millis| human::duration(Duration::from_millis(millis));
    match (times.p50, times.p90) {
        (Some(p50), Some(p90)) if times.count >= FEW => format!(
            "usually {}, nine of ten within {} (from {} videos)",
            length(p50),
            length(p90),
            times.count
        ),
        (_, Some(longest)) => format!(
            "up to {} (too few to say what is usual: {})",
            length(longest),
            times.count
        ),
        _ => "no video is completed yet".to_owned(),
    }
}

fn cells(month: &Month) -> [String; 5] {
    [
        month.month.clone(),
        month.submitted.to_string(),
        month.completed.to_string(),
        month.failed.to_string(),
        format!("{:.1}", month.minutes),
    ]
}

/// The submissions of a month as a bar beside its line, in eighths of a column.
fn bar(submitted: u64, most: u64, room: usize) -> String {
    if room < BAR / 2 {
        return String::new();
    }
    let eighths = u128::from(submitted) * 8 * room as u128 / u128::from(most.max(1));
    let eighths = usize::try_from(eighths).unwrap_or_default();
    let end = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let end = end.get(eighths % 8).copied().unwrap_or_default();
    format!(" {}{end}", "█".repeat(eighths / 8))
}

fn month_line([month, submitted, completed, failed, minutes]: &[String; 5]) -> String {
    format!("{month:<7}  {submitted:>9}  {completed:>9}  {failed:>6}  {minutes:>8}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::json;
    use insta::assert_snapshot;

    fn stats() -> Stats {
        let month = |month: &str, submitted, minutes| Month {
            month: month.to_owned(),
            submitted,
            completed: submitted - 1,
            failed: 1,
            minutes,
        };
        Stats {
            videos: 205,
            by_status: vec![
                ("completed".to_owned(), 190),
                ("failed".to_owned(), 12),
                ("\x1b[2J".to_owned(), 3),
            ],
            unfinished: 3,
            rendering: RenderTimes {
                count: 190,
                p50: Some(482_000),
                p90: Some(840_000),
            },
            months: vec![month("2025-11", 140, 230.54), month("2025-10", 65, 1.0)],
            files: 190,
            bytes: 3_200_000_000,
        }
    }

    #[test]
    fn numbers_for_a_person() {
        assert_snapshot!(lines(&stats(), 0), @r"
        videos     205: 190 completed, 12 failed, 3 \x1b[2J
        unfinished 3
        rendering  usually 8m, nine of ten within 14m (from 190 videos)
        on disk    3.2 GB in 190 files

        MONTH    SUBMITTED  COMPLETED  FAILED   MINUTES
        2025-11        140        139       1     230.5
        2025-10         65         64       1       1.0
        ");
    }

    #[test]
    fn months_have_bars_where_somebody_looks() {
        let shown = lines(&stats(), 24);
        assert!(shown.lines().rev().take(2).all(|line| line.contains('█')));
        assert!(shown.ends_with("1.0  ███████████▏\n"), "{shown}");
    }

    #[test]
    fn numbers_of_nothing() {
        assert_snapshot!(lines(&Stats::default(), 0), @r"
        videos     0
        unfinished 0
        rendering  no video is completed yet
        on disk    0 B in 0 files
        ");
    }

    #[test]
    fn numbers_for_a_script() {
        assert_snapshot!(json::to_line(&stats()).unwrap(), @r#"{"videos":205,"unfinished":3,"by_status":{"completed":190,"failed":12,"\u001b[2J":3},"render_seconds":{"count":190,"p50":482.0,"p90":840.0},"months":[{"month":"2025-11","submitted":140,"completed":139,"failed":1,"minutes":230.54},{"month":"2025-10","submitted":65,"completed":64,"failed":1,"minutes":1.0}],"files":190,"bytes":3200000000}"#);
    }
}
