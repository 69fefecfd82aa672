//! What `list --stats` prints.

use std::time::Duration;

use super::Context;
use crate::error::Result;
use crate::render::{csv, human, text};
use crate::store::{Filter, Group, RenderTimes, Stats, Store};

/// Columns of a tag; further ones, and further tags, are in JSON and CSV.
const NAME: usize = 24;
const MOST: usize = 10;
/// Each as wide as its column.
const HEADINGS: [&str; 6] = [
    "SUBMITTED",
    "COMPLETED",
    "FAILED",
    "SUCCESS",
    "MINUTES",
    "DELIVERED",
];

/// One object with `--json`, a line for each group with `--csv`, else a few lines that are the same on a terminal and in
/// a pipe.
pub(super) fn print(store: &Store, filter: &Filter, csv: bool, context: &Context) -> Result<()> {
    let stats = store.read(|tx| tx.stats(filter))?;
    let screen = &context.screen;
    if context.screen.json {
        screen.json_row(&stats);
    } else if csv {
        let records = csv_records(&stats);
        screen.block(&csv::records(records, screen.out_is_terminal));
    } else {
        screen.block(&lines(&stats));
    }
    Ok(())
}

fn csv_records(stats: &Stats) -> Vec<[String; 8]> {
    let header =
        "by,name,submitted,completed,failed,success_rate,minutes_submitted,minutes_delivered";
    let mut names = header.split(',').map(str::to_owned);
    let mut records = vec![std::array::from_fn(|_| names.next().unwrap_or_default())];
    let groups = stats.months.iter().chain(&stats.tags).chain(&stats.kinds);
    records.extend(groups.map(|group| {
        [
            group.by.to_owned(),
            group.name.clone(),
            group.submitted.to_string(),
            group.completed.to_string(),
            group.failed.to_string(),
            group
                .success_rate()
                .map_or_else(String::new, |rate| rate.to_string()),
            group.minutes_submitted.to_string(),
            group.minutes_delivered.to_string(),
        ]
    }));
    records
}

fn lines(stats: &Stats) -> String {
    let (videos, statuses) = (stats.videos, human::counts(&stats.by_status));
    let colon = if statuses.is_empty() { "" } else { ": " };
    let (unfinished, rendering) = (stats.unfinished, rendering(&stats.rendering));
    let (bytes, count) = (human::bytes(stats.bytes), stats.files);
    let files = if count == 1 { "file" } else { "files" };
    let mut out = format!(
        "videos     {videos}{colon}{statuses}
unfinished {unfinished}
rendering  {rendering}
on disk    {bytes} in {count} {files}
"
    );
    out.push_str(&table("MONTH", &stats.months));
    out.push_str(&table("TAG", &stats.tags));
    // A table of one line repeats what stands above.
    if stats.kinds.len() > 1 {
        out.push_str(&table("KIND", &stats.kinds));
    }
    out
}

fn rendering(times: &RenderTimes) -> String {
    let count = times.count;
    let few = |longest| {
        let longest = human::duration(Duration::from_millis(longest));
        format!("up to {longest} (too few to say what is usual: {count})")
    };
    match (human::usual(times), times.p90.map(few)) {
        (Some(usual), _) => format!("{usual} (from {count} videos)"),
        (None, Some(few)) => few,
        (None, None) => "no video is completed yet".to_owned(),
    }
}

fn table(name: &str, groups: &[Group]) -> String {
    if groups.is_empty() {
        return String::new();
    }
    let shown = match name {
        "MONTH" => groups,
        _ => &groups[..groups.len().min(MOST)],
    };
    let names = shown.iter().map(|group| text::fit(&group.name, NAME));
    let names: Vec<String> = names.collect();
    let width = names.iter().map(|name| text::shown_width(name)).max();
    let width = width.unwrap_or_default().max(7);
    let line = |name: &str, cells: [String; 6]| {
        let cells = HEADINGS.iter().zip(cells);
        let cells = cells.map(|(heading, cell)| format!("  {cell:>0$}", heading.len()));
        text::pad(name, width) + &cells.collect::<String>()
    };
    let mut out = format!("\n{}\n", line(name, HEADINGS.map(str::to_owned)));
    for (group, name) in shown.iter().zip(&names) {
        // Rounded down: only what never failed is at 100%.
        let success = group
            .success_rate()
            .map(|rate| format!("{}%", (rate * 100.0).floor()));
        let cells = [
            group.submitted.to_string(),
            group.completed.to_string(),
            group.failed.to_string(),
            success.unwrap_or_default(),
            format!("{:.1}", group.minutes_submitted),
            format!("{:.1}", group.minutes_delivered),
        ];
        out.push_str(&line(name, cells));
        out.push('\n');
    }
    if shown.len() < groups.len() {
        let more = groups.len() - shown.len();
        out.push_str(&format!("… {more} more: --csv, --json\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::json;
    use insta::assert_snapshot;

    fn stats() -> Stats {
        let group = |by, name: &str, submitted, minutes| Group {
            by,
            name: name.to_owned(),
            submitted,
            completed: submitted - 1,
            failed: 1,
            minutes_submitted: minutes + 0.5,
            minutes_delivered: minutes,
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
            months: vec![
                group("month", "2025-11", 140, 230.54),
                group("month", "2025-10", 65, 1.0),
            ],
            tags: vec![group("tag", "launch \x1b[2J", 60, 9.5)],
            kinds: vec![
                group("kind", "video", 200, 231.0),
                group("kind", "agent", 5, 0.54),
            ],
            files: 190,
            bytes: 3_200_000_000,
        }
    }

    #[test]
    fn numbers_for_a_person() {
        assert_snapshot!(lines(&stats()), @r"
        videos     205: 190 completed, 12 failed, 3 \x1b[2J
        unfinished 3
        rendering  usually 8m, nine of ten within 14m (from 190 videos)
        on disk    3.2 GB in 190 files

        MONTH    SUBMITTED  COMPLETED  FAILED  SUCCESS  MINUTES  DELIVERED
        2025-11        140        139       1      99%    231.0      230.5
        2025-10         65         64       1      98%      1.5        1.0

        TAG             SUBMITTED  COMPLETED  FAILED  SUCCESS  MINUTES  DELIVERED
        launch \x1b[2J         60         59       1      98%     10.0        9.5

        KIND     SUBMITTED  COMPLETED  FAILED  SUCCESS  MINUTES  DELIVERED
        video          200        199       1      99%    231.5      231.0
        agent            5          4       1      80%      1.0        0.5
        ");
    }

    #[test]
    fn numbers_of_nothing() {
        assert_snapshot!(lines(&Stats::default()), @r"
        videos     0
        unfinished 0
        rendering  no video is completed yet
        on disk    0 B in 0 files
        ");
    }

    #[test]
    fn numbers_for_a_script() {
        assert_snapshot!(json::to_line(&stats()).unwrap(), @r#"{"videos":205,"unfinished":3,"by_status":{"completed":190,"failed":12,"\u001b[2J":3},"render_seconds":{"count":190,"p50":482.0,"p90":840.0},"months":[{"month":"2025-11","submitted":140,"completed":139,"failed":1,"success_rate":0.9928571428571429,"minutes_submitted":231.04,"minutes_delivered":230.54},{"month":"2025-10","submitted":65,"completed":64,"failed":1,"success_rate":0.9846153846153847,"minutes_submitted":1.5,"minutes_delivered":1.0}],"tags":[{"tag":"launch \u001b[2J","submitted":60,"completed":59,"failed":1,"success_rate":0.9833333333333333,"minutes_submitted":10.0,"minutes_delivered":9.5}],"kinds":[{"kind":"video","submitted":200,"completed":199,"failed":1,"success_rate":0.995,"minutes_submitted":231.5,"minutes_delivered":231.0},{"kind":"agent","submitted":5,"completed":4,"failed":1,"success_rate":0.8,"minutes_submitted":1.04,"minutes_delivered":0.54}],"files":190,"bytes":3200000000}"#);
    }
}
