//! CSV as RFC 4180 has it, for spreadsheets: a header, CRLF line ends, quotes where needed.
//!
//! Cells are data and come back exactly as they were. That includes a title that starts with `=`: whoever imports
//! untrusted text into a spreadsheet as formulas has to say so there.

use crate::render::fields::Field;
use crate::render::text;
use crate::video::Video;

pub fn header(fields: &[Field]) -> String {
    records([fields.iter().map(|field| field.name())], false)
}

pub fn rows(videos: &[Video], fields: &[Field], for_terminal: bool) -> String {
    let cells = |video| fields.iter().map(move |field| field.of(video).to_text());
    records(videos.iter().map(cells), for_terminal)
}

/// With `for_terminal`, cells are sanitized instead of exact.
pub fn records<R>(records: impl IntoIterator<Item = R>, for_terminal: bool) -> String
where
    R: IntoIterator<Item: AsRef<str>>,
{
    let mut writer = ::csv::WriterBuilder::new()
        .flexible(true)
        .terminator(::csv::Terminator::CRLF)
        .from_writer(Vec::new());
    for record in records {
        let cells = record.into_iter().map(|cell| match for_terminal {
            true => text::sanitize(cell.as_ref()).into_owned(),
            false => cell.as_ref().to_owned(),
        });
        // In memory, of texts, in rows of any length: none of this can fail.
        writer.write_record(cells).ok();
    }
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::samples;

    #[test]
    fn cells_are_quoted_where_needed_and_lines_end_in_crlf() {
        let mut video = samples::unsent();
        video.title = Some("=1+1, \"two\"\nlines".to_owned());
        let fields = [Field::Id, Field::Title, Field::VideoId];
        assert_eq!(header(&fields), "id,title,video_id\r\n");
        assert_eq!(
            rows(&[video], &fields, false),
            "4,\"=1+1, \"\"two\"\"\nlines\",\r\n"
        );
    }

    #[test]
    fn hostile_text_round_trips_except_on_a_terminal() {
        let videos = [samples::hostile()];
        let read_back = |text: &str| {
            let mut reader = ::csv::ReaderBuilder::new()
                .has_headers(false)
                .from_reader(text.as_bytes());
            reader.records().next().unwrap().unwrap()[0].to_owned()
        };
        let exact = rows(&videos, &[Field::Title], false);
        assert_eq!(read_back(&exact), samples::HOSTILE);
        let shown = rows(&videos, &[Field::Title], true);
        assert_eq!(read_back(&shown), text::sanitize(samples::HOSTILE));
    }

    #[test]
    fn no_rows_are_no_text() {
        assert_eq!(rows(&[], Field::LIST, false), "");
    }
}
