//! A Parquet file to record batches.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_schema::{ArrowError, DataType, Field, Schema, TimeUnit};
use parquet::arrow::ARROW_SCHEMA_META_KEY;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{Compression, Type, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};

use crate::offline::columns::error::TableError;
use crate::offline::columns::message::{Message, TableHead, Take};

/// Bytes of a record batch, as far as the file says how long its rows are.
const BATCH_BYTES: i64 = 2 << 20;
/// Rows of a record batch at most. In files of older programs, values that repeat are longer than the file says, which holds them once.
const BATCH_ROWS: i64 = 256;

/// Reads a Parquet file, one row group after the other, in record batches of bounded length.
pub(crate) fn read_parquet(path: &Path, file: &File, take: Take) -> Result<(), TableError> {
    let failed = |source: ParquetError| TableError::Parquet {
        path: path.to_owned(),
        source,
    };
    let metadata = ArrowReaderMetadata::load(file, ArrowReaderOptions::new())
        .and_then(in_microseconds)
        .map_err(failed)?;
    let head = TableHead {
        schema: metadata.schema().clone(),
        rows: u64::try_from(metadata.metadata().file_metadata().num_rows()).ok(),
        compression: compression(metadata.metadata()),
    };
    if !take(Message::Head(head)) {
        return Ok(());
    }
    for (index, row_group) in metadata.metadata().row_groups().iter().enumerate() {
        let file = file.try_clone().map_err(|error| failed(error.into()))?;
        let batches = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone())
            .with_row_groups(vec![index])
            .with_batch_size(batch_rows(row_group))
            .build()
            .map_err(failed)?;
        for batch in batches {
            let batch = batch.map_err(|error: ArrowError| failed(error.into()))?;
            if !take(Message::Batch(batch)) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The metadata, with times of the type INT96 in microseconds.
///
/// Spark writes such times for any year, of which nanoseconds hold those from 1677 to 2262, and it does not read a file with
/// nanoseconds. A schema in the file, as pyarrow writes it, says the unit itself.
fn in_microseconds(metadata: ArrowReaderMetadata) -> Result<ArrowReaderMetadata, ParquetError> {
    let leaves = metadata.parquet_schema().columns();
    let has_schema = || {
        let entries = metadata.metadata().file_metadata().key_value_metadata();
        entries.is_some_and(|entries| entries.iter().any(|entry| entry.key == ARROW_SCHEMA_META_KEY))
    };
    if leaves.iter().all(|leaf| leaf.physical_type() != Type::INT96) || has_schema() {
        return Ok(metadata);
    }
    let mut leaves = leaves.iter().map(|leaf| leaf.physical_type());
    let fields: Vec<Field> = metadata
        .schema()
        .fields()
        .iter()
        .map(|field| field_in_microseconds(field, &mut leaves))
        .collect();
    let schema = Schema::new_with_metadata(fields, metadata.schema().metadata().clone());
    let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
    ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)
}

/// The field, with the types of its leaves in the file, in order.
fn field_in_microseconds(field: &Field, leaves: &mut impl Iterator<Item = Type>) -> Field {
    let data_type = match field.data_type() {
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| field_in_microseconds(field, leaves));
            DataType::Struct(fields.collect())
        }
        DataType::List(item) => DataType::List(Arc::new(field_in_microseconds(item, leaves))),
        DataType::Map(entries, sorted) => {
            DataType::Map(Arc::new(field_in_microseconds(entries, leaves)), *sorted)
        }
        leaf => match leaves.next() {
            Some(Type::INT96) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            _ => leaf.clone(),
        },
    };
    field.clone().with_data_type(data_type)
}

/// The number of rows of a record batch of this row group.
///
/// A dictionary holds a value once that many rows have. Files that say how long the values of all rows are, as pyarrow 19 and this
/// program write them, are read in batches of that size.
fn batch_rows(row_group: &RowGroupMetaData) -> usize {
    let columns = row_group.columns().iter();
    let values = columns.filter_map(ColumnChunkMetaData::unencoded_byte_array_data_bytes);
    let decoded = values.fold(0, i64::saturating_add);
    let row_bytes = row_group.total_byte_size().max(decoded) / row_group.num_rows().max(1);
    let rows = BATCH_BYTES / row_bytes.max(1);
    usize::try_from(rows.clamp(1, BATCH_ROWS)).unwrap_or(1)
}

/// The compression of the file's first column, or Zstandard if it is one that is no longer written.
fn compression(metadata: &ParquetMetaData) -> Compression {
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let first = metadata
        .row_groups()
        .first()
        .and_then(|row_group| row_group.columns().first());
    match first.map(ColumnChunkMetaData::compression) {
        Some(Compression::LZ4) => Compression::LZ4_RAW,
        Some(Compression::LZO) | None => zstd,
        Some(compression) => compression,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::cast::AsArray;
    use arrow_array::types::TimestampMicrosecondType;
    use arrow_array::{ArrayRef, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;
    use parquet::data_type::{ByteArrayType, Int96, Int96Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    #[test]
    fn values_that_rows_share_count_for_each_row() {
        let value = "a".repeat(1 << 19);
        let values: ArrayRef = Arc::new(StringArray::from(vec![value.as_str(); 40]));
        let batch = RecordBatch::try_from_iter([("text", values)]).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        assert!(
            file.metadata().unwrap().len() < 4 << 20,
            "the file has the value once"
        );
        let mut rows = Vec::new();
        let mut take = |message| {
            if let Message::Batch(batch) = message {
                rows.push(batch.num_rows());
            }
            true
        };
        read_parquet(Path::new("a.parquet"), &file, &mut take).unwrap();
        assert!(rows.iter().all(|&rows| rows <= 4), "{rows:?}");
    }

    #[test]
    fn a_time_of_spark_in_any_year_is_read() {
        let schema = "message spark_schema { required binary text (UTF8); required int96 at; }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let file = tempfile::tempfile().unwrap();
        let properties = Arc::new(WriterProperties::new());
        let mut writer = SerializedFileWriter::new(file.try_clone().unwrap(), schema, properties).unwrap();
        let mut rows = writer.next_row_group().unwrap();
        let mut texts = rows.next_column().unwrap().unwrap();
        let text = [b"x".to_vec().into()];
        texts
            .typed::<ByteArrayType>()
            .write_batch(&text, None, None)
            .unwrap();
        texts.close().unwrap();
        let mut times = rows.next_column().unwrap().unwrap();
        let mut time = Int96::new();
        // Midnight of 9999-12-31 as a Julian day.
        time.set_data(0, 0, 5_373_484);
        times
            .typed::<Int96Type>()
            .write_batch(&[time], None, None)
            .unwrap();
        times.close().unwrap();
        rows.close().unwrap();
        writer.close().unwrap();

        let mut read = Vec::new();
        read_parquet(Path::new("a.parquet"), &file, &mut |message| {
            if let Message::Batch(batch) = message {
                read.push(batch);
            }
            true
        })
        .unwrap();
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        assert_eq!(read[0].schema().field(1).data_type(), &utc);
        let times = read[0].column(1).as_primitive::<TimestampMicrosecondType>();
        assert_eq!(times.value(0), 253_402_214_400_000_000);
    }
}
