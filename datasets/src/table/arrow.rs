//! Arrow's files: what `datasets` keeps in its cache and writes by `save_to_disk`.

use std::io::{BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::{ArrowError, DataType, SchemaRef};
use serde_json::{Map, Number, Value};

use super::budget::Budget;
use super::guard::guarded;
use super::{Columns, Each, Row, class_names};
use crate::error::Place;
use crate::{Error, Result};

/// What a file in Arrow's other format begins with; a stream does not.
const MAGIC: &[u8; 6] = b"ARROW1";

/// Bytes behind a file's footer: its length, and the magic number again.
const END: u64 = 10;

/// What the library reads.
type Read<T> = std::result::Result<T, ArrowError>;

type Batches = Box<dyn Iterator<Item = Read<RecordBatch>>>;

/// Hands every row over, with the columns of `wanted` that the file has.
pub(super) fn read(path: &Path, wanted: &[&str], each: &mut Each<'_>) -> Result<()> {
    let unreadable = |e: ArrowError| Error::Table {
        path: path.to_owned(),
        message: e.to_string(),
    };
    let (schema, mut batches) = guarded(path, || open(path))??.map_err(unreadable)?;
    let text = schema.metadata().get("huggingface");
    let columns = Columns {
        all: schema.fields().iter().map(|f| f.name().clone()).collect(),
        classes: class_names(text.map_or("", String::as_str)),
    };
    for field in schema.fields() {
        if wanted.contains(&field.name().as_str()) && !readable(field.data_type()) {
            return Err(super::unreadable(path, field.name(), field.data_type()));
        }
    }
    if !columns.all.iter().any(|c| wanted.contains(&c.as_str())) {
        return Err(super::without_columns(path, wanted, &columns));
    }
    let size = std::fs::metadata(path)
        .map_err(|e| Error::io(path, e))?
        .len();
    let (mut number, mut budget) = (0, Budget::of(path, size));
    while let Some(batch) = guarded(path, || batches.next())? {
        let batch = batch.map_err(unreadable)?;
        let arrays = columns.all.iter().zip(batch.columns());
        let wanted: Vec<(&String, &ArrayRef)> = arrays
            .filter(|(name, _)| wanted.contains(&name.as_str()))
            .collect();
        for i in 0..batch.num_rows() {
            number += 1;
            let values = wanted.iter().map(|(name, a)| {
                let mut left = Left {
                    budget: &mut budget,
                    column: name,
                };
                Ok(((*name).clone(), left.value(a, i)?))
            });
            let values = guarded(path, || values.collect::<Result<_>>())??;
            each(Ok(Row {
                path,
                place: Place::Row(number),
                columns: &columns,
                values,
            }))?;
        }
    }
    Ok(())
}

/// The schema and the batches, of either format.
fn open(path: &Path) -> Result<Read<(SchemaRef, Batches)>> {
    let io = |e| Error::io(path, e);
    let mut file = std::fs::File::open(path).map_err(io)?;
    let mut start = Vec::new();
    let mut head = (&mut file).take(MAGIC.len() as u64);
    head.read_to_end(&mut start).map_err(io)?;
    if start == MAGIC {
        check_blocks(path, &mut file)?;
    }
    file.rewind().map_err(io)?;
    let file = BufReader::new(file);
    Ok(match start == MAGIC {
        true => FileReader::try_new(file, None).map(|r| (r.schema(), Box::new(r) as Batches)),
        false => StreamReader::try_new(file, None).map(|r| (r.schema(), Box::new(r) as Batches)),
    })
}

/// Checks that the blocks of a file are in it: the library makes room for a block before it reads
/// it. What is no footer is the library's to say.
fn check_blocks(path: &Path, file: &mut std::fs::File) -> Result<()> {
    let io = |e| Error::io(path, e);
    let damaged = |message: String| Error::Table {
        path: path.to_owned(),
        message: format!("the file is damaged: {message}"),
    };
    let size = file.seek(SeekFrom::End(0)).map_err(io)?;
    let Some(end) = size.checked_sub(END) else {
        return Err(damaged("it ends early".into()));
    };
    file.seek(SeekFrom::Start(end)).map_err(io)?;
    let mut length = [0; 4];
    file.read_exact(&mut length).map_err(io)?;
    let length = u32::from_le_bytes(length).into();
    let Some(start) = end.checked_sub(length) else {
        return Err(damaged(format!(
            "a footer of {length} bytes in a file of {size}"
        )));
    };
    let mut footer = Vec::new();
    file.seek(SeekFrom::Start(start)).map_err(io)?;
    file.take(length).read_to_end(&mut footer).map_err(io)?;
    let Ok(footer) = arrow_ipc::root_as_footer(&footer) else {
        return Ok(());
    };
    let blocks = [footer.dictionaries(), footer.recordBatches()];
    for block in blocks.iter().flatten().flat_map(|all| all.iter()) {
        let sizes = [
            block.offset(),
            block.metaDataLength().into(),
            block.bodyLength(),
        ];
        let end = sizes
            .iter()
            .try_fold(0_u64, |sum, n| sum.checked_add(u64::try_from(*n).ok()?));
        if end.is_none_or(|end| end > size) {
            return Err(damaged(format!(
                "a block of {} and {} bytes at {} in a file of {size}",
                block.metaDataLength(),
                block.bodyLength(),
                block.offset()
            )));
        }
    }
    Ok(())
}

/// Whether a column can be read as texts, numbers, and lists and groups of them.
fn readable(kind: &DataType) -> bool {
    match kind {
        DataType::List(inner) | DataType::LargeList(inner) => readable(inner.data_type()),
        DataType::Struct(fields) => fields.iter().all(|f| readable(f.data_type())),
        DataType::Null | DataType::Boolean => true,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Float32 | DataType::Float64 => true,
        other => other.is_integer(),
    }
}

/// What may still be read of a file, and the column that it is read of.
struct Left<'a, 'b> {
    budget: &'a mut Budget<'b>,
    column: &'a str,
}

impl Left<'_, '_> {
    fn value(&mut self, array: &dyn Array, i: usize) -> Result<Value> {
        self.budget.take(1, 0, self.column)?;
        if array.is_null(i) {
            return Ok(Value::Null);
        }
        match array.data_type() {
            DataType::Utf8 => self.text(array.as_string::<i32>().value(i)),
            DataType::LargeUtf8 => self.text(array.as_string::<i64>().value(i)),
            DataType::Utf8View => self.text(array.as_string_view().value(i)),
            DataType::List(_) => self.list(&array.as_list::<i32>().value(i)),
            DataType::LargeList(_) => self.list(&array.as_list::<i64>().value(i)),
            DataType::Struct(_) => {
                let group = array.as_struct();
                let members = group.fields().iter().zip(group.columns());
                let members = members.map(|(f, a)| Ok((f.name().clone(), self.value(a, i)?)));
                Ok(members.collect::<Result<Map<String, Value>>>()?.into())
            }
            _ => Ok(number(array, i)),
        }
    }

    fn text(&mut self, text: &str) -> Result<Value> {
        self.budget.take(0, text.len() as u64, self.column)?;
        Ok(text.into())
    }

    fn list(&mut self, items: &ArrayRef) -> Result<Value> {
        (0..items.len()).map(|k| self.value(items, k)).collect()
    }
}

fn number(array: &dyn Array, i: usize) -> Value {
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(i).into(),
        DataType::Int8 => array.as_primitive::<Int8Type>().value(i).into(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(i).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(i).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(i).into(),
        DataType::UInt8 => array.as_primitive::<UInt8Type>().value(i).into(),
        DataType::UInt16 => array.as_primitive::<UInt16Type>().value(i).into(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(i).into(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(i).into(),
        DataType::Float32 => {
            Number::from_f64(array.as_primitive::<Float32Type>().value(i).into()).into()
        }
        DataType::Float64 => Number::from_f64(array.as_primitive::<Float64Type>().value(i)).into(),
        // the rest is refused before any row is read
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::NullArray;
    use arrow_ipc::writer::FileWriter;
    use arrow_schema::{Field, Schema};
    use std::sync::Arc;

    fn file(rows: usize) -> Vec<u8> {
        let schema = Arc::new(Schema::new(vec![Field::new("text", DataType::Null, true)]));
        let column: ArrayRef = Arc::new(NullArray::new(rows));
        let batch = RecordBatch::try_new(schema.clone(), vec![column]).unwrap();
        let mut writer = FileWriter::try_new(Vec::new(), &schema).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        writer.into_inner().unwrap()
    }

    fn rows(bytes: &[u8]) -> std::result::Result<usize, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.arrow");
        std::fs::write(&path, bytes).unwrap();
        let mut rows = 0;
        let read = read(&path, &["text"], &mut |_| {
            rows += 1;
            Ok(())
        });
        read.map(|()| rows).map_err(|e| e.to_string())
    }

    #[test]
    fn rows_that_take_no_room_are_bounded_by_the_size_of_the_file() {
        assert_eq!(rows(&file(1000)).unwrap(), 1000);
        let e = rows(&file(1 << 40)).unwrap_err();
        assert!(
            e.contains("field `text`: expected at most 16 values"),
            "{e}"
        );
    }

    #[test]
    fn a_block_outside_of_the_file_is_refused_before_there_is_room_for_it() {
        let mut bytes = file(3);
        // the length of the first block's body, of 8 bytes, is the last of a footer's block
        let end = bytes.len() - 10;
        let length = u32::from_le_bytes(bytes[end..end + 4].try_into().unwrap()) as usize;
        let start = end - length;
        let footer = arrow_ipc::root_as_footer(&bytes[start..end]).unwrap();
        let block = *footer.recordBatches().unwrap().get(0);
        let place = bytes[start..end]
            .windows(24)
            .position(|w| w == block.0)
            .unwrap()
            + start;
        bytes[place + 16..place + 24].copy_from_slice(&(1_i64 << 40).to_le_bytes());
        let e = rows(&bytes).unwrap_err();
        assert!(e.contains("the file is damaged: a block of"), "{e}");
        let e = rows(b"ARROW1").unwrap_err();
        assert!(e.contains("it ends early"), "{e}");
    }
}
