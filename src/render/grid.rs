//! Cells in aligned columns that never exceed the width of the terminal, so that no line wraps.

use anstyle::Style;

use crate::render::style::{self, paint};
use crate::render::text;

const GAP: usize = 2;
/// A column that must be cut below this is not worth its place.
const MIN_CUT: usize = 8;
const MORE: &str = "…";

pub(in crate::render) struct Cell {
    text: String,
    tone: Style,
    is_path: bool,
}

impl Cell {
    pub(in crate::render) fn new(text: impl Into<String>, tone: Style) -> Self {
        Self {
            text: text.into(),
            tone,
            is_path: false,
        }
    }

    /// A cell whose directories go first when it is too long.
    pub(in crate::render) fn path(text: impl Into<String>, tone: Style) -> Self {
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

pub(in crate::render) struct Grid<'a> {
    pub(in crate::render) headers: Vec<&'a str>,
    pub(in crate::render) rows: Vec<Vec<Cell>>,
}

impl Grid<'_> {
    pub(in crate::render) fn drop(&mut self, header: &str) {
        if let Some(at) = self.headers.iter().position(|found| *found == header) {
            self.headers.remove(at);
            self.rows.iter_mut().for_each(|row| drop(row.remove(at)));
        }
    }

    pub(in crate::render) fn render(&self, width: usize) -> String {
        let widths = self.widths(width);
        let mut out = String::new();
        let mut line = |cells: &mut dyn Iterator<Item = (String, Style)>| {
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
        let last = widths.len().saturating_sub(1);
        let is_cut = self.headers.len() > widths.len();
        let title = |(at, (title, &width)): (usize, (&&str, &usize))| {
            let title = match width.checked_sub(GAP).filter(|_| is_cut && at == last) {
                Some(own) => format!("{} {MORE}", text::fit(title, own)),
                None => text::fit(title, width),
            };
            (title, style::HEADING)
        };
        line(&mut self.headers.iter().zip(&widths).enumerate().map(title));
        for row in &self.rows {
            let cells = row.iter().zip(&widths);
            line(&mut cells.map(|(cell, &width)| (cell.fit(width), cell.tone)));
        }
        out
    }

    pub(in crate::render) fn fits(&self, width: usize) -> bool {
        let wanted = self.natural(width);
        wanted.iter().sum::<usize>() + GAP * wanted.len().saturating_sub(1) <= width
    }

    /// What each column would take if there were room, and at most the whole width.
    fn natural(&self, width: usize) -> Vec<usize> {
        let headers = self.headers.iter();
        let mut natural: Vec<_> = headers.map(|header| text::width(header)).collect();
        for row in &self.rows {
            for (column, cell) in natural.iter_mut().zip(row) {
                // No cell can use more than the terminal; a megabyte is not measured to its end.
                *column = (*column).max(text::width(&cell.fit(width)));
            }
        }
        natural
    }

    /// The widths of the columns that are shown: the last ones are dropped as long as some column would be cut too short.
    fn widths(&self, width: usize) -> Vec<usize> {
        let mut natural = self.natural(width);
        loop {
            let gaps = GAP * natural.len().saturating_sub(1);
            let shared = share(&natural, width.saturating_sub(gaps));
            let mut both = shared.iter().zip(&natural);
            let too_short = both.any(|(&got, &wanted)| got < wanted && got < MIN_CUT);
            if natural.len() <= 1 || !too_short {
                return shared;
            }
            natural.pop();
        }
    }
}

/// Divides `available` columns fairly: whoever wants less than an equal share gets all of it, the others share the
/// rest equally.
fn share(wanted: &[usize], available: usize) -> Vec<usize> {
    let mut shared = wanted.to_vec();
    let mut order: Vec<_> = shared.iter_mut().collect();
    order.sort_by_key(|wanted| **wanted);
    let (mut left, mut takers) = (available, wanted.len());
    for wanted in order {
        *wanted = (*wanted).min(left / takers);
        left -= *wanted;
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
        let cell = |text: &str| Cell::new(text, style::PLAIN);
        let rows = [vec![cell("12345678"), cell("abcdefgh"), cell("ABCDEFGH")]];
        let grid = Grid {
            headers: vec!["one", "two", "three"],
            rows: rows.into(),
        };
        let table = grid.render(20);
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
                let cell = |(i, text)| if i % 2 == 0 { Cell::path(text, style::DIM) } else { Cell::new(text, style::PLAIN) };
                row.into_iter().enumerate().map(cell).collect()
            };
            let rows: Vec<_> = texts.into_iter().map(cells).collect();
            let grid = Grid { headers: vec!["ID", "STATUS", "TITLE", "AGE"], rows };
            let table = strip_str(&grid.render(width)).to_string();
            prop_assert_eq!(table.lines().count(), grid.rows.len() + 1);
            for line in table.lines() {
                prop_assert!(line.width() <= width, "{line:?}");
                prop_assert!(!line.contains(text::is_harmful));
            }
        }
    }
}
