//! What the pages of a Parquet file say that they hold, before any is read: the library makes room
//! for as much as a page's header asks for.
//!
//! ```text
//! column chunk: a header, its page, the next header, …
//! header: a structure of Thrift's; 2: bytes unpacked, 3: bytes packed,
//!         5, 7, 8: {1: values} of a page of data, a dictionary, a page of data of version 2
//! ```

use std::io::{Read as _, Seek as _};
use std::path::Path;

use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use super::budget::Budget;
use super::guard::guarded;
use super::thrift;
use crate::{Error, Result};

/// Checks the pages of the columns that are wanted.
///
/// # Errors
/// A page is not inside of the file, or says that it holds more than the file's size allows.
pub(super) fn check(path: &Path, metadata: &ParquetMetaData, wanted: &[&str]) -> Result<()> {
    let io = |e| Error::io(path, e);
    let mut file = std::fs::File::open(path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    let mut budget = Budget::of(path, size);
    for chunk in metadata
        .row_groups()
        .iter()
        .flat_map(|group| group.columns())
    {
        let column = chunk
            .column_path()
            .parts()
            .first()
            .map_or("", String::as_str);
        if !wanted.contains(&column) {
            continue;
        }
        let (start, length) = guarded(path, || chunk.byte_range())?;
        if start.checked_add(length).is_none_or(|end| end > size) {
            return Err(damaged(path, chunk, "it is not inside of the file"));
        }
        let mut bytes = Vec::new();
        file.seek(std::io::SeekFrom::Start(start)).map_err(io)?;
        (&mut file)
            .take(length)
            .read_to_end(&mut bytes)
            .map_err(io)?;
        let mut left = &bytes[..];
        while !left.is_empty() {
            let page = header(&mut left);
            let page = page.ok_or_else(|| damaged(path, chunk, "a page's header is none"))?;
            budget.take(page.values, page.unpacked, column)?;
            let rest = usize::try_from(page.packed)
                .ok()
                .and_then(|n| left.get(n..));
            left = rest.ok_or_else(|| damaged(path, chunk, "a page is cut off"))?;
        }
    }
    Ok(())
}

fn damaged(path: &Path, chunk: &ColumnChunkMetaData, what: &str) -> Error {
    Error::Table {
        path: path.to_owned(),
        message: format!(
            "field `{}`: the file is damaged: {what}",
            chunk.column_path().string()
        ),
    }
}

/// What a page's header says.
#[derive(Default)]
struct Page {
    unpacked: u64,
    packed: u64,
    values: u64,
}

fn header(left: &mut &[u8]) -> Option<Page> {
    let mut page = Page::default();
    thrift::structure(left, &mut |path, n| {
        let to = match path {
            [2] => &mut page.unpacked,
            [3] => &mut page.packed,
            [5 | 7 | 8, 1] => &mut page.values,
            _ => return Some(()),
        };
        // what asks for something has to be from 0 on
        *to = u64::try_from(n).ok()?;
        Some(())
    })?;
    Some(page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::data_type::{ByteArray, ByteArrayType};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    use std::sync::Arc;

    #[test]
    fn a_header_says_its_sizes_and_what_is_cut_off_is_none() {
        // 1: i32 0, 2: i32 300, 3: i32 70, 5: {1: i32 9, 2: i32 0, 5: {1: binary "x"}}, then a page
        let bytes = [
            0x15, 0x00, 0x15, 0xD8, 0x04, 0x15, 0x8C, 0x01, 0x2C, 0x15, 0x12, 0x15, 0x00, 0x3C,
            0x18, 0x01, b'x', 0x00, 0x00, 0x00, 7,
        ];
        let mut left = &bytes[..];
        let page = header(&mut left).unwrap();
        assert_eq!(
            (page.unpacked, page.packed, page.values, left),
            (300, 70, 9, &[7][..])
        );
        for end in 0..bytes.len() - 1 {
            assert!(header(&mut &bytes[..end]).is_none(), "{end}");
        }
        // a size below 0
        assert!(header(&mut &[0x25, 0x01, 0x00][..]).is_none());
    }

    fn message(rows: usize) -> Option<String> {
        let schema =
            Arc::new(parse_message_type("message m { required binary t (UTF8); }").unwrap());
        let properties = Arc::new(WriterProperties::builder().build());
        let mut file = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
        let mut group = file.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let texts = vec![ByteArray::from("the same"); rows];
        column
            .typed::<ByteArrayType>()
            .write_batch(&texts, None, None)
            .unwrap();
        column.close().unwrap();
        group.close().unwrap();
        let bytes = file.into_inner().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.parquet");
        std::fs::write(&path, bytes).unwrap();
        let mut found = 0;
        let read = super::super::parquet::read(&path, &["t"], &mut |row| {
            found += usize::from(row?.text("t")? == "the same");
            Ok(())
        });
        assert!(read.is_err() || found == rows);
        read.err().map(|e| e.to_string())
    }

    #[test]
    fn a_text_that_stands_in_a_million_rows_of_a_small_file_is_refused() {
        assert_eq!(message(50_000), None);
        let e = message(1_000_000).unwrap();
        assert!(e.contains("field `t`: expected at most 16 values"), "{e}");
    }
}
