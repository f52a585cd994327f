//! Parquet, by the `parquet` crate's records.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{ConvertedType, Type as Physical};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::{Field, Row as Record};
use parquet::schema::types::Type;
use serde_json::{Map, Number, Value};

use super::budget::Budget;
use super::guard::guarded;
use super::{Columns, Each, Row, class_names, thrift};
use crate::error::Place;
use crate::{Error, Result};

/// Hands every row over, with the columns of `wanted` that the file has.
pub(super) fn read(path: &Path, wanted: &[&str], each: &mut Each<'_>) -> Result<()> {
    let unreadable = |e: ParquetError| Error::Table {
        path: path.to_owned(),
        message: words(&e),
    };
    let mut file = std::fs::File::open(path).map_err(|e| Error::io(path, e))?;
    check_footer(path, &mut file)?;
    let reader = guarded(path, || SerializedFileReader::new(file))?.map_err(unreadable)?;
    let metadata = reader.metadata().file_metadata();
    let schema = metadata.schema_descr().root_schema();
    let own = metadata.key_value_metadata().into_iter().flatten();
    let text = own
        .filter(|kv| kv.key == "huggingface")
        .find_map(|kv| kv.value.as_deref());
    let columns = Columns {
        all: schema
            .get_fields()
            .iter()
            .map(|f| f.name().to_owned())
            .collect(),
        classes: class_names(text.unwrap_or_default()),
    };
    let fields = schema.get_fields().iter();
    let fields: Vec<Arc<Type>> = fields
        .filter(|f| wanted.contains(&f.name()))
        .cloned()
        .collect();
    for field in &fields {
        readable(path, field.name(), field)?;
    }
    if fields.is_empty() {
        return Err(super::without_columns(path, wanted, &columns));
    }
    super::pages::check(path, reader.metadata(), wanted)?;
    let projection = Type::group_type_builder(schema.name())
        .with_fields(fields)
        .build();
    let projection = projection.map_err(unreadable)?;
    let mut rows = guarded(path, || reader.get_row_iter(Some(projection)))?.map_err(unreadable)?;
    let size = std::fs::metadata(path).map_err(|e| Error::io(path, e))?;
    let mut budget = Budget::of(path, size.len());
    for number in 1.. {
        let Some(record) = guarded(path, || rows.next())? else {
            break;
        };
        let values = record_values(record.map_err(unreadable)?);
        for (column, value) in &values {
            budget.take(0, texts(value), column)?;
        }
        each(Ok(Row {
            path,
            place: Place::Row(number),
            columns: &columns,
            values,
        }))?;
    }
    Ok(())
}

/// Checks that the footer is what it should be, as far as the library needs that: a structure that
/// ends where it says (`footer, its length in 4 bytes, PAR1`). What is no Parquet file at all is
/// left to the library's words.
///
/// # Errors
/// It is none.
fn check_footer(path: &Path, file: &mut std::fs::File) -> Result<()> {
    let io = |e| Error::io(path, e);
    let size = file.metadata().map_err(io)?.len();
    let Some(end) = size.checked_sub(8) else {
        return Ok(());
    };
    file.seek(SeekFrom::Start(end)).map_err(io)?;
    let (mut length, mut mark) = ([0; 4], [0; 4]);
    file.read_exact(&mut length).map_err(io)?;
    file.read_exact(&mut mark).map_err(io)?;
    let length = u64::from(u32::from_le_bytes(length));
    if &mark != b"PAR1" || length > end {
        return Ok(());
    }
    file.seek(SeekFrom::Start(end - length)).map_err(io)?;
    let mut footer = Vec::new();
    file.take(length).read_to_end(&mut footer).map_err(io)?;
    thrift::structure(&mut &footer[..], &mut |_, _| Some(())).ok_or_else(|| Error::Table {
        path: path.to_owned(),
        message: "the file is damaged: its footer is no description of a table".into(),
    })
}

/// The library's message, with advice where there is one.
fn words(e: &ParquetError) -> String {
    let message = e.to_string();
    let known = ["ZSTD", "BROTLI", "LZ4", "LZO"];
    match known
        .iter()
        .any(|codec| message.to_uppercase().contains(codec))
    {
        true => format!("{message}; expected snappy, gzip or no compression: write the file again"),
        false => message,
    }
}

/// Whether all of a column can be read as texts, numbers, and lists and groups of them.
fn readable(path: &Path, column: &str, part: &Type) -> Result<()> {
    if !part.is_primitive() {
        let mut inner = part.get_fields().iter();
        return inner.try_for_each(|f| readable(path, column, f));
    }
    let (physical, converted) = (
        part.get_physical_type(),
        part.get_basic_info().converted_type(),
    );
    let text = [
        ConvertedType::UTF8,
        ConvertedType::JSON,
        ConvertedType::ENUM,
    ];
    let known = match physical {
        Physical::BYTE_ARRAY => text.contains(&converted),
        Physical::INT32 | Physical::INT64 => !matches!(
            converted,
            ConvertedType::DECIMAL
                | ConvertedType::DATE
                | ConvertedType::TIME_MILLIS
                | ConvertedType::TIME_MICROS
                | ConvertedType::TIMESTAMP_MILLIS
                | ConvertedType::TIMESTAMP_MICROS
        ),
        Physical::BOOLEAN | Physical::FLOAT | Physical::DOUBLE => true,
        Physical::INT96 | Physical::FIXED_LEN_BYTE_ARRAY => false,
    };
    match known {
        true => Ok(()),
        false => {
            let kind = format!("{physical} ({converted})");
            Err(super::unreadable(path, column, kind))
        }
    }
}

/// Bytes of texts in a value.
fn texts(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Array(items) => items.iter().map(texts).sum(),
        Value::Object(members) => members.values().map(texts).sum(),
        _ => 0,
    }
}

fn record_values(record: Record) -> Map<String, Value> {
    let values = record.into_columns().into_iter();
    values.map(|(name, field)| (name, value(field))).collect()
}

fn value(field: Field) -> Value {
    match field {
        Field::Bool(b) => b.into(),
        Field::Byte(n) => n.into(),
        Field::Short(n) => n.into(),
        Field::Int(n) => n.into(),
        Field::Long(n) => n.into(),
        Field::UByte(n) => n.into(),
        Field::UShort(n) => n.into(),
        Field::UInt(n) => n.into(),
        Field::ULong(n) => n.into(),
        Field::Float(x) => Number::from_f64(x.into()).into(),
        Field::Double(x) => Number::from_f64(x).into(),
        Field::Str(s) => s.into(),
        Field::Group(record) => record_values(record).into(),
        Field::ListInternal(list) => list.elements().iter().cloned().map(value).collect(),
        // the rest is refused before any row is read
        _ => Value::Null,
    }
}
