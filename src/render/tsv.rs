//! Tab-separated values: what a pipe gets. One row is one line and no cell contains a tab, whatever a title says.

use crate::render::fields::Field;
use crate::render::text;
use crate::video::Video;

pub fn row(video: &Video, fields: &[Field]) -> String {
    let cells = fields.iter().map(|field| field.of(video).to_text());
    let cells: Vec<_> = cells
        .map(|cell| text::sanitize(&cell).into_owned())
        .collect();
    cells.join("\t")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::samples;

    #[test]
    fn a_listing_row() {
        assert_eq!(
            row(&samples::saved(), Field::LIST),
            "1\t5e0a7c\tcompleted\t2025-11-24T13:00:00Z\t2025-11-24T13:06:00Z\tLaunch teaser\t\
             /home/ada/work/output/5e0a.mp4"
        );
        assert_eq!(row(&samples::unsent(), Field::SUBMIT), "4\t\tunsent");
    }

    #[test]
    fn a_hostile_row_has_as_many_cells_as_any() {
        let row = row(&samples::hostile(), Field::ALL);
        assert_eq!(row.split('\t').count(), Field::ALL.len());
        assert_eq!(row.lines().count(), 1);
        assert!(!row.replace('\t', "").contains(text::is_harmful));
    }
}
