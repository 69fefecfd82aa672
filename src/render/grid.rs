//! Cells in aligned columns that never exceed the width of the terminal, so that no line wraps.

use std::iter;

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

pub(in crate::render) struct Grid {
    /// Headings first.
    rows: Vec<Vec<Cell>>,
}

impl Grid {
    pub(in crate::render) fn new(
        headings: impl IntoIterator<Item = &'static str>,
        rows: impl IntoIterator<Item = Vec<Cell>>,
    ) -> Self {
        let headings = headings.into_iter();
        let headings = headings.map(|heading| Cell::new(heading, style::HEADING));
        Self {
            rows: iter::once(headings.collect()).chain(rows).collect(),
        }
    }

    pub(in crate::render) fn drop(&mut self, heading: &str) {
        let headings = self.rows.first().into_iter().flatten();
        if let Some(at) = headings.into_iter().position(|cell| cell.text == heading) {
            self.rows.iter_mut().for_each(|row| drop(row.remove(at)));
        }
    }

    fn columns(&self) -> usize {
        self.rows.first().map_or(0, Vec::len)
    }

    pub(in crate::render) fn render(&self, width: usize) -> String {
        let widths = self.widths(width);
        let mut out = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (at, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                let is_last = at + 1 == widths.len() && widths.len() < row.len();
                let text = match width.checked_sub(GAP) {
                    Some(own) if number == 0 && is_last => format!("{} {MORE}", cell.fit(own)),
                    _ => cell.fit(width),
                };
                line += &paint(&text, cell.tone);
                line += &" ".repeat((width + GAP).saturating_sub(text::shown_width(&text)));
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }

    pub(in crate::render) fn fits(&self, width: usize) -> bool {
        let wanted = self.natural(width);
        wanted.iter().sum::<usize>() + GAP * wanted.len().saturating_sub(1) <= width
    }

    /// What each column would take if there were room, and at most the whole width.
    fn natural(&self, width: usize) -> Vec<usize> {
        let mut natural = vec![0; self.columns()];
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
        let grid = Grid::new(["one", "two", "three"], rows);
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
            let count = texts.len();
            let cells = |row: Vec<String>| -> Vec<_> {
                let cell = |(i, text)| if i % 2 == 0 { Cell::path(text, style::DIM) } else { Cell::new(text, style::PLAIN) };
                row.into_iter().enumerate().map(cell).collect()
            };
            let rows = texts.into_iter().map(cells);
            let grid = Grid::new(["ID", "STATUS", "TITLE", "AGE"], rows);
            let table = strip_str(&grid.render(width)).to_string();
            prop_assert_eq!(table.lines().count(), count + 1);
            for line in table.lines() {
                prop_assert!(line.width() <= width, "{line:?}");
                prop_assert!(!line.contains(text::is_harmful));
            }
        }
    }
}
