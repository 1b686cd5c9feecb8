//! The lines of a file to a file of answers, by the code that answers streams.

mod conll;
mod html;
mod input;
mod output;
mod progress;
pub(crate) mod tag;
pub(crate) mod work;
mod writer;
