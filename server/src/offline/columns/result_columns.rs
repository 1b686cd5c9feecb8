//! The results of rows as columns.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use arrow_array::builder::StringBuilder;
use arrow_array::types::{Float32Type, Int64Type};
use arrow_array::{ArrayRef, ListArray, PrimitiveArray, RecordBatch, StructArray};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use nerve_engine::EntityAnswer;

use crate::offline::columns::error::TableError;

const ENTITIES: &str = "entities";
const ERROR: &str = "error";

/// The fields of an entity.
static ENTITY_FIELDS: LazyLock<Fields> = LazyLock::new(|| {
    Fields::from(vec![
        Field::new("type", DataType::Utf8, false),
        Field::new("text", DataType::Utf8, false),
        Field::new("start", DataType::Int64, false),
        Field::new("end", DataType::Int64, false),
        Field::new("score", DataType::Float32, false),
    ])
});

/// An entity as the item of a list.
static ENTITY: LazyLock<FieldRef> = LazyLock::new(|| {
    let entity = DataType::Struct(ENTITY_FIELDS.clone());
    Arc::new(Field::new_list_field(entity, false))
});

/// Keys of metadata under which Spark and Hugging Face list a table's columns. Their readers would hide the results, or refuse
/// the table, since these are not in the list.
const LISTS_OF_COLUMNS: [&str; 2] = ["org.apache.spark.sql.parquet.row.metadata", "huggingface"];

/// The schema of a table with the columns of the results at its end.
pub(crate) fn schema_with_results(input: &Schema, path: &Path) -> Result<SchemaRef, TableError> {
    for column in [ENTITIES, ERROR] {
        if input.fields().iter().any(|field| field.name() == column) {
            let path = path.to_owned();
            return Err(TableError::NameTaken { path, column });
        }
    }
    let mut fields = input.fields().to_vec();
    fields.push(Arc::new(Field::new(
        ENTITIES,
        DataType::List(Arc::clone(&ENTITY)),
        true,
    )));
    fields.push(Arc::new(Field::new(ERROR, DataType::Utf8, true)));
    let mut metadata = input.metadata().clone();
    metadata.retain(|key, _| !LISTS_OF_COLUMNS.contains(&key.as_str()));
    Ok(Arc::new(Schema::new_with_metadata(fields, metadata)))
}

/// The results of the rows of a record batch.
pub(crate) struct ResultColumns {
    types: StringBuilder,
    texts: StringBuilder,
    starts: Vec<i64>,
    ends: Vec<i64>,
    scores: Vec<f32>,
    /// The number of entities before each row, and of all.
    offsets: Vec<i32>,
    has_entities: NullBufferBuilder,
    errors: StringBuilder,
}

impl ResultColumns {
    /// The results of no row.
    pub(crate) fn new() -> Self {
        Self {
            types: StringBuilder::new(),
            texts: StringBuilder::new(),
            starts: Vec::new(),
            ends: Vec::new(),
            scores: Vec::new(),
            offsets: vec![0],
            has_entities: NullBufferBuilder::new(0),
            errors: StringBuilder::new(),
        }
    }

    /// Adds a row that has these entities.
    pub(crate) fn add_entities(&mut self, entities: &[EntityAnswer]) -> Result<(), TableError> {
        for entity in entities {
            append(&mut self.types, entity.entity_type)?;
            append(&mut self.texts, entity.text)?;
            self.starts.push(entity.start as i64);
            self.ends.push(entity.end as i64);
            self.scores.push(entity.score);
        }
        self.errors.append_null();
        self.end_row(true)
    }

    /// Adds a row that has no text.
    pub(crate) fn add_null(&mut self) -> Result<(), TableError> {
        self.errors.append_null();
        self.end_row(false)
    }

    /// Adds a row that was not tagged.
    pub(crate) fn add_error(&mut self, error: &str) -> Result<(), TableError> {
        append(&mut self.errors, error)?;
        self.end_row(false)
    }

    fn end_row(&mut self, has_entities: bool) -> Result<(), TableError> {
        self.has_entities.append(has_entities);
        let entities = i32::try_from(self.scores.len()).map_err(|_| TableError::BatchTooLarge)?;
        self.offsets.push(entities);
        Ok(())
    }

    /// The record batch of these rows with their results.
    pub(crate) fn with_results(
        self,
        batch: &RecordBatch,
        schema: SchemaRef,
    ) -> Result<RecordBatch, ArrowError> {
        let Self {
            mut types,
            mut texts,
            starts,
            ends,
            scores,
            offsets,
            mut has_entities,
            mut errors,
        } = self;
        let entities: Vec<ArrayRef> = vec![
            Arc::new(types.finish()),
            Arc::new(texts.finish()),
            Arc::new(PrimitiveArray::<Int64Type>::from(starts)),
            Arc::new(PrimitiveArray::<Int64Type>::from(ends)),
            Arc::new(PrimitiveArray::<Float32Type>::from(scores)),
        ];
        let entities = StructArray::try_new(ENTITY_FIELDS.clone(), entities, None)?;
        let entities = ListArray::try_new(
            Arc::clone(&ENTITY),
            OffsetBuffer::new(offsets.into()),
            Arc::new(entities),
            has_entities.finish(),
        )?;
        let mut columns = batch.columns().to_vec();
        columns.push(Arc::new(entities));
        columns.push(Arc::new(errors.finish()));
        RecordBatch::try_new(schema, columns)
    }
}

/// Appends a string, unless the column's offsets cannot count its bytes.
fn append(to: &mut StringBuilder, text: &str) -> Result<(), TableError> {
    if to.values_slice().len().saturating_add(text.len()) > i32::MAX as usize {
        return Err(TableError::BatchTooLarge);
    }
    to.append_value(text);
    Ok(())
}
