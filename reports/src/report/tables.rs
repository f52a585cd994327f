//! The report's tables as CSV (RFC 4180) and as LaTeX with booktabs, and its pictures as SVG, one
//! file each.

use super::export;
use crate::document::Document;
use crate::document::export::{csv, latex, slug};
use crate::document::picture::standalone;
use crate::document::table::Table;
use crate::files;
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

/// Writes every picture of a study's report to a directory as `NN-title.svg`, several of one figure
/// as `NN-title-1.svg` and so on; says how many.
///
/// # Errors
/// The system's.
pub fn write_pictures(study: &Study, dir: &Path) -> Result<usize> {
    files::create_dir(dir)?;
    let document = super::document(study);
    let mut count = 0;
    for (i, figure) in export::figures(&document).into_iter().enumerate() {
        let pictures = standalone(&figure.picture);
        for (k, picture) in pictures.iter().enumerate() {
            let own = match pictures.len() {
                1 => String::new(),
                _ => format!("-{}", k + 1),
            };
            let name = format!("{:02}-{}{own}.svg", i + 1, slug(figure.title));
            files::write(&dir.join(name), picture)?;
            count += 1;
        }
    }
    Ok(count)
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
    fn every_picture_of_the_report_is_written_and_stands_alone() {
        let (study, dir) = (testing::study(), tempfile::tempdir().unwrap());
        let count = write_pictures(&study, dir.path()).unwrap();
        let files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert!(count > 8 && files.len() == count, "{count}");
        for file in files {
            let picture = std::fs::read_to_string(file.unwrap().path()).unwrap();
            assert!(picture.starts_with("<svg xmlns=") && picture.ends_with("</svg>\n"));
            assert!(!picture.contains("var(") && !picture.contains("class=\"narrow"));
        }
    }
}
