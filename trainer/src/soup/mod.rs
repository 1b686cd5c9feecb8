//! Model soups (Wortsman et al. 2022): one checkpoint whose weights are the mean of those of several.

mod error;
mod ingredient;
pub(crate) mod kind;
mod mix;

pub use error::SoupError;
pub use kind::SoupKind;
pub use mix::{Soup, SoupIngredient, SoupRequest};
