//! The encoders of the model families: one folder for each kind.

mod bert;
mod deberta;
mod modernbert;

use nerve_repository::{Architecture, CheckpointError};

use crate::graph::writer::Writer;

/// The input of the classifier: f32 `[batch * length, hidden]`, `[batch, length, hidden]` in half precision, or `[tokens, hidden]`
/// of the selected tokens.
pub(super) fn states(writer: &mut Writer<'_>) -> Result<String, CheckpointError> {
    match writer.checkpoint.config.family.architecture() {
        Architecture::Bert => bert::states(writer),
        Architecture::Deberta => deberta::states(writer),
        Architecture::ModernBert => modernbert::states(writer),
    }
}
