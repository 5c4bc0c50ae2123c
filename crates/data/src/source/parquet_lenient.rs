//! Parquet whose columns of strings hold bytes that are not UTF-8.
//!
//! The reader refuses a whole batch over one such value. Only then is the file read another way:
//! its string columns are taken for bytes, the text is checked row by row, and what passes through
//! gets U+FFFD in place of what is no text.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, StringArray};
use arrow_schema::{ArrowError, DataType, Field, Schema};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::{Repetition, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::file::metadata::{FileMetaData, ParquetMetaData};
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

use crate::source::columns::is_string;

/// Whether this error of the reader is about bytes that are not UTF-8.
pub(crate) fn is_about_utf8(error: &str) -> bool {
    // "encountered non UTF-8 data", "Invalid UTF8 sequence": the reader has no code for it.
    let words = error.to_ascii_lowercase();
    words.contains("utf-8") || words.contains("utf8")
}

/// The same file with its columns of strings declared as bytes.
pub(crate) fn without_strings(
    metadata: &ArrowReaderMetadata,
) -> Result<ArrowReaderMetadata, ParquetError> {
    let file = metadata.metadata().file_metadata();
    let root = file.schema_descr().root_schema();
    let columns = root
        .get_fields()
        .iter()
        .zip(metadata.schema().fields())
        .map(|(column, field)| {
            if is_string(field.data_type()) {
                bytes_column(column)
            } else {
                Ok(Arc::clone(column))
            }
        })
        .collect::<Result<Vec<TypePtr>, ParquetError>>()?;
    let root = Type::group_type_builder(root.name())
        .with_fields(columns)
        .build()?;
    let file = FileMetaData::new(
        file.version(),
        file.num_rows(),
        file.created_by().map(str::to_owned),
        None,
        Arc::new(SchemaDescriptor::new(Arc::new(root))),
        None,
    );
    let fields: Vec<Field> = metadata
        .schema()
        .fields()
        .iter()
        .map(|field| match is_string(field.data_type()) {
            true => field.as_ref().clone().with_data_type(DataType::Binary),
            false => field.as_ref().clone(),
        })
        .collect();
    let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(fields)));
    let groups = metadata.metadata().row_groups().to_vec();
    ArrowReaderMetadata::try_new(Arc::new(ParquetMetaData::new(file, groups)), options)
}

fn bytes_column(column: &TypePtr) -> Result<TypePtr, ParquetError> {
    let facts = column.get_basic_info();
    let repetition = if column.is_optional() {
        Repetition::OPTIONAL
    } else {
        Repetition::REQUIRED
    };
    Type::primitive_type_builder(column.name(), PhysicalType::BYTE_ARRAY)
        .with_repetition(repetition)
        .with_id(facts.has_id().then(|| facts.id()))
        .build()
        .map(Arc::new)
}

/// A column as it was declared: bytes become strings again, others are as they were.
pub(crate) fn as_declared(array: &ArrayRef, declared: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == declared {
        return Ok(Arc::clone(array));
    }
    let lossy: StringArray = array
        .as_binary_opt::<i32>()
        .ok_or_else(|| ArrowError::CastError(format!("{} is no bytes", array.data_type())))?
        .iter()
        .map(|bytes| bytes.map(String::from_utf8_lossy))
        .collect();
    arrow_cast::cast(&lossy, declared)
}
