//! `nerve-server tag`: the lines of a file or the rows of a table, tagged by the code that answers streams.

mod bulk;
pub(crate) mod columns;
mod conll;
mod html;
mod input;
mod line_results;
mod lines;
mod output;
mod progress;
pub(crate) mod tag;
pub(crate) mod tally;
pub(crate) mod work;
mod writer;
