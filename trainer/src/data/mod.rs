//! The files of the corpus that a training names.

pub(crate) mod error;
pub(crate) mod open;

pub use error::DataError;
pub use open::hub_dataset;
