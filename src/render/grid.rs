//! Cells in aligned columns that never exceed the width of the terminal, so that no line wraps.

use crate::render::style::{Tone, paint};
use crate::render::text;

const GAP: usize = 2;
/// A column that must be cut below this is not worth its place.
const MIN_CUT: usize = 8;
/// Heads a table whose last columns did not fit.
const MORE: &str = "…";

/// One cell: text as it was received, and what it means.
pub(in crate::render) struct Cell {
    text: String,
    tone: Tone,
    is_path: bool,
}

impl Cell {
    pub(in crate::render) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            text: text.into(),
            tone,
            is_path: false,
        }
    }

    /// A cell whose directories go first when it is too long.
    pub(in crate::render) fn path(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            is_path: true,
            ..Self::new(text, tone)
        }
    }

    fn fit(&self, width: usize) -> String {
        if self.is_path {
            text::fit_path(&self.text, width)
        } else {
            text::fit(&self.text, width)
        }
    }
}

/// `rows` under `headers`, one line each with its line end, no line wider than `width`.
pub(in crate::render) fn render(headers: &[&str], rows: &[Vec<Cell>], width: usize) -> String {
    let widths = widths(headers, rows, width);
    let mut out = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = (String, Tone)>| {
        // Only what is followed by another cell is padded.
        let mut owed = 0;
        for ((text, tone), &width) in cells.zip(&widths) {
            if !text.is_empty() {
                out.push_str(&" ".repeat(owed));
                owed = 0;
                out.push_str(&paint(&text, tone));
            }
            owed += width.saturating_sub(text::shown_width(&text)) + GAP;
        }
        out.push('\n');
    };
    let dropped = headers.len() > widths.len();
    let titles = headers.iter().take(widths.len()).zip(&widths);
    let mut titles: Vec<_> = titles
        .map(|(title, &width)| (text::fit(title, width), Tone::Heading))
        .collect();
    let beside_more = widths.last().and_then(|width| width.checked_sub(GAP));
    if let (true, Some(own), Some(last)) = (dropped, beside_more, titles.last_mut()) {
        last.0 = format!("{} {MORE}", text::fit(&last.0, own));
    }
    line(&mut titles.into_iter());
    for row in rows {
        let cells = row.iter().zip(&widths);
        line(&mut cells.map(|(cell, &width)| (cell.fit(width), cell.tone)));
    }
    out
}

/// Whether no cell would be cut.
pub(in crate::render) fn fits(headers: &[&str], rows: &[Vec<Cell>], width: usize) -> bool {
    let wanted = natural(headers, rows, width);
    wanted.iter().sum::<usize>() + GAP * wanted.len().saturating_sub(1) <= width
}

/// What each column would take if there were room, and at most the whole width.
fn natural(headers: &[&str], rows: &[Vec<Cell>], width: usize) -> Vec<usize> {
    let mut natural: Vec<_> = headers.iter().map(|header| text::width(header)).collect();
    for row in rows {
        for (column, cell) in natural.iter_mut().zip(row) {
            // No cell can use more than the terminal; a megabyte is not measured to its end.
            *column = (*column).max(text::width(&cell.fit(width)));
        }
    }
    natural
}

/// The widths of the columns that are shown: the last ones are dropped as long as some column would be cut too short.
fn widths(headers: &[&str], rows: &[Vec<Cell>], width: usize) -> Vec<usize> {
    let mut natural = natural(headers, rows, width);
    loop {
        let gaps = GAP * natural.len().saturating_sub(1);
        let shared = share(&natural, width.saturating_sub(gaps));
        let too_short = shared
            .iter()
            .zip(&natural)
            .any(|(&got, &wanted)| got < wanted && got < MIN_CUT);
        if natural.len() <= 1 || !too_short {
            return shared;
        }
        natural.pop();
    }
}

/// Divides `available` columns fairly: whoever wants less than an equal share gets all of it, the others share the
/// rest equally.
fn share(wanted: &[usize], available: usize) -> Vec<usize> {
    let mut order: Vec<_> = wanted.iter().copied().enumerate().collect();
    order.sort_by_key(|&(index, wanted)| (wanted, index));
    let mut shared = vec![0; wanted.len()];
    let (mut left, mut takers) = (available, wanted.len());
    for (index, wanted) in order {
        let got = wanted.min(left / takers.max(1));
        if let Some(share) = shared.get_mut(index) {
            *share = got;
        }
        left -= got;
        takers -= 1;
    }
    shared
}

#[cfg(test)]
mod tests {
    use super::*;
    use anstream::adapter::strip_str;
    use proptest::prelude::*;
    use unicode_width::UnicodeWidthStr as _;

    #[test]
    fn short_columns_get_what_they_want_and_long_ones_share() {
        for (wanted, available, shared) in [
            (&[2, 5, 8][..], 20, &[2, 5, 8][..]),
            (&[2, 90, 8, 90], 50, &[2, 20, 8, 20]),
            (&[2, 90, 12], 50, &[2, 36, 12]),
            (&[9, 9], 0, &[0, 0]),
            (&[], 10, &[]),
        ] {
            assert_eq!(share(wanted, available), shared);
        }
    }

    #[test]
    fn columns_that_do_not_fit_are_announced() {
        let cell = |text: &str| Cell::new(text, Tone::Plain);
        let rows = [vec![cell("12345678"), cell("abcdefgh"), cell("ABCDEFGH")]];
        let table = render(&["one", "two", "three"], &rows, 20);
        assert_eq!(
            strip_str(&table).to_string(),
            "one       two …\n12345678  abcdefgh\n"
        );
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_terminal(
            texts in prop::collection::vec(prop::collection::vec("\\PC{0,40}|.{0,20}", 4), 0..6),
            width in 0_usize..120,
        ) {
            let cells = |row: Vec<String>| -> Vec<_> {
                let cell = |(i, text)| if i % 2 == 0 { Cell::path(text, Tone::Dim) } else { Cell::new(text, Tone::Plain) };
                row.into_iter().enumerate().map(cell).collect()
            };
            let rows: Vec<_> = texts.into_iter().map(cells).collect();
            let table = render(&["ID", "STATUS", "TITLE", "AGE"], &rows, width);
            let table = strip_str(&table).to_string();
            prop_assert_eq!(table.lines().count(), rows.len() + 1);
            for line in table.lines() {
                prop_assert!(line.width() <= width, "{line:?}");
                prop_assert!(!line.contains(text::is_harmful));
            }
        }
    }
}
