//! The encoders of the model families: one folder for each kind.

mod bert;
mod deberta;

use nerve_repository::{CheckpointError, Family};

use crate::graph::writer::Writer;

/// The input of the classifier: f32 `[batch * length, hidden]`, `[batch, length, hidden]` in half precision, or `[tokens, hidden]`
/// of the selected tokens.
pub(super) fn states(writer: &mut Writer<'_>) -> Result<String, CheckpointError> {
    match writer.checkpoint.config.family {
        Family::Bert
        | Family::DistilBert
        | Family::Roberta
        | Family::XlmRoberta
        | Family::Camembert
        | Family::Mpnet
        | Family::Electra
        | Family::Albert => bert::states(writer),
        Family::DebertaV2 => deberta::states(writer),
    }
}
