//! A model that a client names.

/// A model that a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedModel<'p> {
    /// Its name.
    pub model: &'p str,
    /// Its version; any where absent.
    pub version: Option<&'p str>,
}
