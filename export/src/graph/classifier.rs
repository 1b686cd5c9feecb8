//! The graph of a token classifier.

use std::collections::BTreeMap;

use nerve_repository::onnx::SELECTION;
use nerve_repository::{Checkpoint, CheckpointError};

use crate::graph::families;
use crate::graph::options::{Arithmetic, LogitsOf};
use crate::graph::writer::{INPUTS, OUTPUT, Writer};
use crate::onnx::builder::{Axis, Element, GraphBuilder};

/// A finished graph.
pub(crate) struct Graph {
    /// The `model.onnx` bytes.
    pub(crate) bytes: Vec<u8>,
    /// The names of its inputs.
    pub(crate) inputs: Vec<String>,
    /// The operators it uses.
    pub(crate) operators: Vec<String>,
    /// Whether it computes real tokens alone.
    pub(crate) padding_free: bool,
    /// The names of the linear layers' inputs; outputs of the graph if they are observed.
    pub(crate) observed: Vec<String>,
    /// The weight by which an input is multiplied first, by the name of the input. Inputs of the same weight are smoothed alike.
    pub(crate) weights_of_inputs: BTreeMap<String, String>,
}

/// The graph of a checkpoint (Devlin et al. 2019, *BERT*, with a linear head on the last hidden states).
///
/// The embedding of token type 0 is added to the position table, and the attention scale `1/sqrt(head)` is multiplied into the
/// query weights. Activations between attention blocks are matrices, `[batch * length, hidden]`, since matrix products on the CPU
/// then add the bias themselves, which saves a tenth of the time in f32. In half precision, which is for accelerators, they are
/// `[batch, length, hidden]`, so that no node computes a shape: such nodes run on the CPU only, and a session without CPU
/// fallback refuses the graph.
///
/// The matrices of a padding-free graph are packed, `[real tokens, hidden]`, and padded inside attention only. The gathers that
/// pad replace the transpositions that move the heads to the first axis, so that batches without padding run as fast as in a
/// padded graph (`bench/graph.py`).
pub(crate) fn build(
    checkpoint: &Checkpoint,
    arithmetic: Arithmetic,
    logits_of: LogitsOf,
) -> Result<Graph, CheckpointError> {
    let mut writer = Writer {
        checkpoint,
        arithmetic,
        logits_of,
        graph: GraphBuilder::default(),
        observed: Vec::new(),
        weights_of_inputs: BTreeMap::new(),
    };
    writer.write()?;
    let operators = writer.graph.operators();
    let selection = (logits_of == LogitsOf::Selected).then_some(SELECTION);
    Ok(Graph {
        inputs: INPUTS.into_iter().chain(selection).map(str::to_owned).collect(),
        operators,
        padding_free: writer.is_padding_free(),
        observed: writer.observed,
        weights_of_inputs: writer.weights_of_inputs,
        bytes: writer.graph.finish(&format!(
            "{}-token-classifier",
            checkpoint.config.family.model_type()
        )),
    })
}

impl Writer<'_> {
    fn write(&mut self) -> Result<(), CheckpointError> {
        let batch_length = [Axis::Dynamic("batch"), Axis::Dynamic("length")];
        for name in INPUTS {
            self.graph.input(name, Element::I64, &batch_length);
        }
        if self.logits_of == LogitsOf::Selected {
            let tokens = [Axis::Dynamic("tokens")];
            self.graph.input(SELECTION, Element::I64, &tokens);
        }
        self.shapes();
        let states = families::states(self)?;
        self.classifier(&states)?;
        let [batch, length] = batch_length;
        let labels = Axis::Fixed(self.checkpoint.labels.len());
        match self.logits_of {
            LogitsOf::EveryToken => self.graph.output(OUTPUT, Element::F32, &[batch, length, labels]),
            LogitsOf::Selected => {
                let tokens = Axis::Dynamic("tokens");
                self.graph.output(OUTPUT, Element::F32, &[tokens, labels]);
            }
        }
        if matches!(self.arithmetic, Arithmetic::Observed) {
            for name in &self.observed {
                let axes = ["rows", "width"].map(Axis::Dynamic);
                self.graph.output(name, Element::F32, &axes);
            }
        }
        Ok(())
    }
}
