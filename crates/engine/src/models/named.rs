//! The model that a request names.

/// The model that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedModel<'p> {
    /// The model's name.
    pub model: &'p str,
    /// The model's version; any version if absent.
    pub version: Option<&'p str>,
}
