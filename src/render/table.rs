//! The tables that a terminal gets: `list` with what a person wants to know, and any choice of `--fields`.

use std::collections::HashMap;

use crate::render::fields::{Field, is_stalled};
use crate::render::grid::{Cell, Grid};
use crate::render::style::{self, status_tone};
use crate::render::{View, human, text};
use crate::video::{Asset, FileState, Phase, RowId, Video};

/// HeyGen's words are shorter; a longer one, whatever it is, shall not take the title's place.
const MAX_STATUS: usize = 16;
const SCRIPT_WORDS: usize = 12;
const MAX_SCRIPT: usize = 48;

/// One line per video: number, status, title, age, and what became of it (the file, the reason, the error, the row
/// that submits it again); date and tags where `wide` or where nothing need be cut for them.
pub fn list(videos: &[Video], retries: &HashMap<RowId, RowId>, wide: bool, view: &View) -> String {
    let row = |video: &Video| {
        let at = video.submitted_at;
        vec![
            Cell::new(video.id.to_string(), style::DIM),
            Cell::new(text::fit(video.status(), MAX_STATUS), status_tone(video)),
            title(video),
            Cell::new(human::age_or_date(at, view.now, view.local), style::DIM),
            Cell::new(human::clock_minute(at, view.local), style::DIM),
            Cell::new(video.tags.join(","), style::PLAIN),
            result(video, retries, view),
        ]
    };
    let headings = ["ID", "STATUS", "TITLE", "AGE", "DATE", "TAGS", "RESULT"];
    let mut grid = Grid::new(headings, videos.iter().map(row));
    if videos.iter().all(|video| video.tags.is_empty()) {
        grid.drop("TAGS");
    }
    if !grid.fits(view.width) {
        let least: &[&str] = if wide { &["AGE"] } else { &["DATE", "TAGS"] };
        least.iter().for_each(|heading| grid.drop(heading));
    }
    grid.render(view.width)
}

pub fn fields_table(videos: &[Video], fields: &[Field], view: &View) -> String {
    let cells = |video| {
        let cell = |&field| field_cell(field, video, view);
        fields.iter().map(cell).collect()
    };
    let headings = fields.iter().map(|field| field.name());
    Grid::new(headings, videos.iter().map(cells)).render(view.width)
}

fn field_cell(field: Field, video: &Video, view: &View) -> Cell {
    let path = |path| Cell::path(view.shorten(path), style::PLAIN);
    let tone = match (field, video.saved_path()) {
        (Field::Path, Some(saved)) => return path(saved),
        (Field::OutputDir, _) => return path(&video.output_dir),
        (Field::Id | Field::VideoId, _) => style::DIM,
        (Field::Status, _) => status_tone(video),
        _ => style::PLAIN,
    };
    Cell::new(field.of(video).to_text(), tone)
}

fn title(video: &Video) -> Cell {
    match (video.title.as_deref(), video.script.as_deref()) {
        (Some(title), _) if !title.trim().is_empty() => Cell::new(title, style::PLAIN),
        (_, script) => {
            let words = script.unwrap_or_default().split_whitespace();
            let words: Vec<_> = words.take(SCRIPT_WORDS).collect();
            Cell::new(text::fit(&words.join(" "), MAX_SCRIPT), style::DIM)
        }
    }
}

/// What became of it, in order of how much it matters: another try, what is wrong, how far it got, the file.
fn result(video: &Video, retries: &HashMap<RowId, RowId>, view: &View) -> Cell {
    if let Some(retry) = retries.get(&video.id) {
        Cell::new(format!("retried as {retry}"), style::DIM)
    } else if let Some(trouble) = trouble(video, view) {
        Cell::new(trouble, style::BAD)
    } else if video.may_recover() {
        Cell::new("may recover", style::RENDERING)
    } else if let Some(progress) = video.progress.filter(|_| video.is_rendering()) {
        Cell::new(format!("{progress}%"), style::RENDERING)
    } else if video.is_completed() {
        file(video, view)
    } else {
        Cell::new("", style::PLAIN)
    }
}

fn trouble(video: &Video, view: &View) -> Option<String> {
    let text = match (video.phase, &video.last_error) {
        (Phase::Unknown, _) => "no answer came; perhaps created".to_owned(),
        (Phase::Missing, _) => "HeyGen does not have it".to_owned(),
        _ if video.ended_badly() => failure(video),
        _ if view.is_another_accounts(video) => "belongs to another account".to_owned(),
        (_, Some(error)) => format!("{}: {}", error.code, error.message),
        _ if !is_stalled(video) => return None,
        _ => match video.accepted_at.map(|since| view.now.since(since)) {
            Some(length) => format!("stalled: {} so far", human::duration(length)),
            None => "stalled".to_owned(),
        },
    };
    Some(text)
}

fn file(video: &Video, view: &View) -> Cell {
    let Some(file) = video.file(Asset::Video).or(video.files.first()) else {
        return Cell::new("", style::PLAIN);
    };
    let path = file.path.as_deref().map(|path| view.shorten(path));
    let path = path.unwrap_or_default();
    match file.state {
        FileState::Saved => Cell::path(path, style::PLAIN),
        FileState::Gone => Cell::path(format!("gone: {path}"), style::BAD),
        FileState::Unavailable => Cell::new(format!("{} unavailable", file.asset), style::DIM),
        FileState::Wanted | FileState::Publishing => Cell::new("not saved yet", style::SAVING),
        FileState::Partial => {
            let part = file.part.as_ref().map(|part| (part.bytes, part.total));
            let (have, total) = part.unwrap_or_default();
            let total = total.unwrap_or(0);
            let text = match have.saturating_mul(100).checked_div(total) {
                Some(percent) => format!("{percent}% of {}", human::bytes(total)),
                None => format!("{} so far", human::bytes(have)),
            };
            Cell::new(text, style::SAVING)
        }
    }
}

pub(crate) fn failure(video: &Video) -> String {
    let known = [&video.failure_code, &video.failure_message];
    let known: Vec<&str> = known.into_iter().flatten().map(String::as_str).collect();
    known.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::samples;
    use anstream::adapter::strip_str;
    use insta::assert_snapshot;

    fn list(videos: &[Video], view: &View) -> String {
        strip_str(&super::list(videos, &HashMap::new(), false, view)).to_string()
    }

    fn fields_table(videos: &[Video], fields: &[Field], view: &View) -> String {
        strip_str(&super::fields_table(videos, fields, view)).to_string()
    }

    #[test]
    fn a_listing_on_a_narrow_terminal() {
        assert_snapshot!(list(&samples::all(), &samples::view(60)), @r#"
        ID      STATUS          TITLE           AGE  RESULT
        123456  pro\x1b[31mce…  =cmd\x1b[2J…    3h   network\x1b_er…
        7       completed       Keynote         1h   50% of 90.0 MB
        6       unknown                         3h   no answer came…
        5       processing      新製品のご案内  3h   stalled: 3h 00…
        4       unsent          Onboarding, p…  5m   insufficient_c…
        3       processing      Onboarding, p…  6m
        2       failed          Quarterly res…  3h   script_too_lon…
        1       completed       Launch teaser   3h   output/5e0a.mp4
        "#);
    }

    #[test]
    fn a_listing_on_an_ordinary_terminal() {
        assert_snapshot!(list(&samples::all(), &samples::view(80)), @r#"
        ID      STATUS            TITLE                    AGE  RESULT
        123456  pro\x1b[31mcess…  =cmd\x1b[2J\x1b]0;pwne…  3h   network\x1b_error: =cmd…
        7       completed         Keynote                  1h   50% of 90.0 MB
        6       unknown                                    3h   no answer came; perhaps…
        5       processing        新製品のご案内           3h   stalled: 3h 00m so far
        4       unsent            Onboarding, part 2       5m   insufficient_credit: He…
        3       processing        Onboarding, part 1       6m
        2       failed            Quarterly results for …  3h   script_too_long: Script…
        1       completed         Launch teaser            3h   output/5e0a.mp4
        "#);
    }

    #[test]
    fn a_listing_on_a_wide_terminal() {
        assert_snapshot!(list(&samples::all(), &samples::view(140)), @r#"
        ID      STATUS            TITLE                                                  AGE  RESULT
        123456  pro\x1b[31mcess…  =cmd\x1b[2J\x1b]0;pwned\x07 two\nlines\ttab \u{202e}…  3h   network\x1b_error: =cmd\x1b[2J\x1b]0;pwned\x07 two\nl…
        7       completed         Keynote                                                1h   50% of 90.0 MB
        6       unknown                                                                  3h   no answer came; perhaps created
        5       processing        新製品のご案内                                         3h   stalled: 3h 00m so far
        4       unsent            Onboarding, part 2                                     5m   insufficient_credit: HeyGen refused for now: not enou…
        3       processing        Onboarding, part 1                                     6m
        2       failed            Quarterly results for everyone                         3h   script_too_long: Script too long for selected avatar
        1       completed         Launch teaser                                          3h   output/5e0a.mp4
        "#);
    }

    #[test]
    fn a_listing_without_hostile_rows_wastes_no_space() {
        let videos = [samples::rendering(), samples::saved()];
        assert_snapshot!(list(&videos, &samples::view(80)), @r"
        ID  STATUS      TITLE               AGE  RESULT
        3   processing  Onboarding, part 1  6m
        1   completed   Launch teaser       3h   output/5e0a.mp4
        ");
    }

    #[test]
    fn colours_change_no_text() {
        let videos = [samples::failed(), samples::saved()];
        let plain = list(&videos, &samples::view(80));
        let colored = super::list(&videos, &HashMap::new(), false, &samples::view(80));
        assert_snapshot!(colored.replace('\x1b', "␛"), @r#"
        ␛[1mID␛[0m  ␛[1mSTATUS␛[0m     ␛[1mTITLE␛[0m                          ␛[1mAGE␛[0m  ␛[1mRESULT␛[0m
        ␛[2m2␛[0m   ␛[31mfailed␛[0m     Quarterly results for everyo…  ␛[2m3h␛[0m   ␛[31mscript_too_long: Script too …␛[0m
        ␛[2m1␛[0m   ␛[32mcompleted␛[0m  Launch teaser                  ␛[2m3h␛[0m   output/5e0a.mp4
        "#);
        assert_eq!(strip_str(&colored).to_string(), plain);
    }

    #[test]
    fn chosen_fields() {
        let fields = [Field::Id, Field::Status, Field::Path, Field::SubmittedAt];
        assert_snapshot!(fields_table(&samples::all(), &fields, &samples::view(80)), @r#"
        id      status                      path             submitted_at
        123456  pro\x1b[31mcess\u{202e}ing                   2025-11-24T13:00:00Z
        7       completed                                    2025-11-24T14:40:00Z
        6       unknown                                      2025-11-24T13:00:00Z
        5       processing                                   2025-11-24T13:00:00Z
        4       unsent                                       2025-11-24T15:55:00Z
        3       processing                                   2025-11-24T15:54:00Z
        2       failed                                       2025-11-24T13:00:00Z
        1       completed                   output/5e0a.mp4  2025-11-24T13:00:00Z
        "#);
    }

    #[test]
    fn all_fields_at_once_do_not_wrap() {
        let view = samples::view(100);
        let table = fields_table(&samples::all(), Field::ALL, &view);
        assert!(table.lines().all(|line| text::shown_width(line) <= 100));
        assert!(table.lines().next().unwrap().ends_with('…'));
    }

    #[test]
    fn a_megabyte_title_is_one_short_line() {
        let mut video = samples::rendering();
        video.title = Some("日\x1b".repeat(250_000));
        let table = list(&[video], &samples::view(80));
        assert_eq!(table.lines().count(), 2);
        assert!(table.len() < 400);
    }

    #[test]
    fn files_that_are_not_simply_saved() {
        for (state, shown) in [
            (FileState::Gone, "gone: output/5e0a.mp4"),
            (FileState::Unavailable, "video unavailable"),
            (FileState::Publishing, "not saved yet"),
            (FileState::Partial, "0 B so far"),
        ] {
            let mut video = samples::saved();
            video.files[0].state = state;
            let table = list(&[video], &samples::view(80));
            assert!(table.trim_end().ends_with(shown), "{table}");
        }
    }

    #[test]
    fn no_videos_are_only_a_header() {
        assert_eq!(
            list(&[], &samples::view(80)),
            "ID  STATUS  TITLE  AGE  DATE  RESULT\n"
        );
    }
}
