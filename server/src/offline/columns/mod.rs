//! Tables: the rows of Arrow IPC streams and Parquet files, tagged, with their entities as a column.

mod arrow_input;
pub(crate) mod error;
mod ipc_messages;
mod message;
mod parquet_input;
mod result_columns;
mod results;
mod rows;
pub(crate) mod source;
mod strings;
pub(crate) mod tag;
pub(crate) mod text_column;
mod writer;
