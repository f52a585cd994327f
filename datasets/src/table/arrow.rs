//! Arrow's files: what `datasets` keeps in its cache and writes by `save_to_disk`.

use std::io::{BufReader, Read as _, Seek as _};
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

use super::guard::guarded;
use super::{Columns, Each, Row, class_names};
use crate::error::Place;
use crate::{Error, Result};

/// What a file in Arrow's other format begins with; a stream does not.
const MAGIC: &[u8; 6] = b"ARROW1";

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
    let mut number = 0;
    while let Some(batch) = guarded(path, || batches.next())? {
        let batch = batch.map_err(unreadable)?;
        let arrays: Vec<(&String, &ArrayRef)> = columns.all.iter().zip(batch.columns()).collect();
        for i in 0..batch.num_rows() {
            number += 1;
            let wanted = arrays
                .iter()
                .filter(|(name, _)| wanted.contains(&name.as_str()));
            let values = wanted.map(|(name, a)| ((*name).clone(), value(a, i)));
            let values = guarded(path, || values.collect())?;
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
    file.rewind().map_err(io)?;
    let file = BufReader::new(file);
    Ok(match start == MAGIC {
        true => FileReader::try_new(file, None).map(|r| (r.schema(), Box::new(r) as Batches)),
        false => StreamReader::try_new(file, None).map(|r| (r.schema(), Box::new(r) as Batches)),
    })
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

fn value(array: &dyn Array, i: usize) -> Value {
    if array.is_null(i) {
        return Value::Null;
    }
    let list = |items: ArrayRef| (0..items.len()).map(|k| value(&items, k)).collect();
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
        DataType::Utf8 => array.as_string::<i32>().value(i).into(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(i).into(),
        DataType::Utf8View => array.as_string_view().value(i).into(),
        DataType::List(_) => list(array.as_list::<i32>().value(i)),
        DataType::LargeList(_) => list(array.as_list::<i64>().value(i)),
        DataType::Struct(_) => {
            let group = array.as_struct();
            let members = group.fields().iter().zip(group.columns());
            let members = members.map(|(field, a)| (field.name().clone(), value(a, i)));
            members.collect::<Map<String, Value>>().into()
        }
        // the rest is refused before any row is read
        _ => Value::Null,
    }
}
