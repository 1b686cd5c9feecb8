//! Tables: record batches of Arrow streams and Parquet files, with the entities of each row's text added as columns.

pub(crate) mod error;
mod results;
mod rows;
pub(crate) mod source;
mod strings;
pub(crate) mod tag;
pub(crate) mod text_column;
mod writer;
