//! The report's tables as CSV (RFC 4180) and as LaTeX with booktabs, one file each, and its
//! pictures.

use super::export;
use crate::document::Document;
use crate::document::export::{csv, latex, slug};
use crate::document::picture::standalone;
use crate::document::table::Table;
use crate::files;
use crate::pictures::Picture;
use crate::study::Study;
use anyhow::Result;
use std::path::Path;

/// Writes every table of a study's report to a directory as `NN-caption.csv` and `.tex`.
///
/// # Errors
/// The system's.
pub fn write(study: &Study, dir: &Path) -> Result<()> {
    files::create_dir(dir)?;
    for (i, table) in of(&super::document(study)).into_iter().enumerate() {
        let name = format!("{:02}-{}", i + 1, slug(&table.caption));
        files::write(&dir.join(format!("{name}.csv")), &csv(table))?;
        files::write(&dir.join(format!("{name}.tex")), &latex(table))?;
    }
    Ok(())
}

/// Every picture of a study's report, called `NN-title`, several of one figure `NN-title-1` and so
/// on.
pub fn pictures(study: &Study) -> Vec<Picture> {
    let document = super::document(study);
    let mut all = Vec::new();
    for (i, figure) in export::figures(&document).into_iter().enumerate() {
        let pictures = standalone(&figure.picture);
        let count = pictures.len();
        for (k, svg) in pictures.into_iter().enumerate() {
            let own = match count {
                1 => String::new(),
                _ => format!("-{}", k + 1),
            };
            let name = format!("{:02}-{}{own}", i + 1, slug(figure.title));
            all.push(Picture { name, svg });
        }
    }
    all
}

/// The tables of a page that have rows, in order.
fn of(document: &Document) -> Vec<&Table> {
    let all = export::of(document).into_iter().map(|(_, table)| table);
    all.filter(|table| !table.rows.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing;

    #[test]
    fn every_table_of_the_report_is_written_in_both_forms() {
        let (study, dir) = (testing::study(), tempfile::tempdir().unwrap());
        write(&study, dir.path()).unwrap();
        let tables = of(&super::super::document(&study)).len();
        let names: Vec<String> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        assert!(tables > 5 && names.len() == 2 * tables, "{names:?}");
        let text = std::fs::read_to_string(dir.path().join("01-methods-side-by-side.csv"));
        let first = names
            .iter()
            .find(|n| n.contains("methods-side-by-side.csv"));
        assert!(text.is_ok() || first.is_some(), "{names:?}");
    }

    #[test]
    fn every_picture_of_the_report_has_a_name_and_stands_alone() {
        let all = pictures(&testing::study());
        let names: std::collections::BTreeSet<&str> = all.iter().map(|p| p.name.as_str()).collect();
        assert!(all.len() > 8 && names.len() == all.len(), "{names:?}");
        for picture in all.iter().map(|p| &p.svg) {
            assert!(picture.starts_with("<svg xmlns=") && picture.ends_with("</svg>\n"));
            assert!(!picture.contains("var(") && !picture.contains("class=\"narrow"));
        }
    }
}
