//! What the thread of an input sends.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::basic::Compression;

/// What the thread of an input sends: its head, then its record batches.
pub(crate) enum Message {
    Head(TableHead),
    Batch(RecordBatch),
}

/// What is known of a table before its rows.
pub(crate) struct TableHead {
    pub(crate) schema: SchemaRef,
    /// The number of rows where that is known.
    pub(crate) rows: Option<u64>,
    /// The compression for a Parquet file of this table.
    pub(crate) compression: Compression,
}

/// Takes what is read; `false` when nobody needs more.
pub(crate) type Take<'t> = &'t mut dyn FnMut(Message) -> bool;
