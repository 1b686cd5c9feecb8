//! `nerve-server tag`: the lines of a file, tagged by the code that answers streams.

mod conll;
mod html;
mod input;
mod output;
mod progress;
pub(crate) mod tag;
pub(crate) mod work;
mod writer;
