//! What the fuzz targets share.

pub mod files;

/// Has a panic that is caught end nothing: libFuzzer's own hook would end the process at once.
///
/// One that is not caught ends it all the same.
pub fn allow_caught_panics() {
    std::panic::set_hook(Box::new(|_| ()));
}
