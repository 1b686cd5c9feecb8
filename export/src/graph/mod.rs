//! A token classifier as an ONNX graph.

mod attention;
mod embeddings;
mod linear;
mod packing;

use crate::onnx::{Attribute, Axis, Element, GraphBuilder};
use crate::quantize::ActivationRanges;
use nerve_repository::Activation;
use nerve_repository::onnx::SELECTION;
use nerve_repository::{Checkpoint, CheckpointError};

/// The graph's inputs: int64, `[batch, length]` each.
pub(crate) const INPUTS: [&str; 2] = ["input_ids", "attention_mask"];
/// The graph's output: f32, `[batch, length, labels]`, or `[tokens, labels]` of those selected.
pub(crate) const OUTPUT: &str = "logits";

/// Which tokens a graph gives the logits of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogitsOf {
    /// All, padding included: the graph that other programs know.
    #[value(name = "all")]
    EveryToken,
    /// Those that a run asks for: what the last layer does with each token by itself, it does for these alone. In fp32 and int8
    /// the graph is padding-free too: the other layers do it for real tokens alone.
    Selected,
}

/// Which of the tokens that a layer sees it goes on with.
#[derive(Clone, Copy)]
enum Tokens {
    All,
    Selected,
}

/// Which arithmetic the graph's linear layers use.
pub(crate) enum Arithmetic<'a> {
    /// f32 throughout.
    Float,
    /// f32 throughout, with the input of every linear layer as a further output: what calibration observes.
    Observed,
    /// f16 weights and products. The residual stream, its normalisation, the softmax and the classifier stay f32, so that
    /// nothing can overflow and no rounding adds up over the layers.
    Half,
    /// 8-bit integer products with activation ranges fixed beforehand, so that no text's answer depends on another's.
    Int8(&'a ActivationRanges),
}

/// A finished graph.
pub(crate) struct Graph {
    /// The `model.onnx` bytes.
    pub(crate) bytes: Vec<u8>,
    /// The names of its inputs.
    pub(crate) inputs: Vec<String>,
    /// The operators it needs.
    pub(crate) operators: Vec<String>,
    /// Whether its products are of real tokens alone.
    pub(crate) padding_free: bool,
    /// The names of the linear layers' inputs, outputs of the graph where they are observed.
    pub(crate) observed: Vec<String>,
}

/// The graph of a checkpoint (Devlin et al. 2019, *BERT*, with a linear head on the last hidden states).
///
/// The position table has the embedding of token type 0 added to it, where there is one, and the attention scale
/// `1/sqrt(head)` is multiplied into the query weights. Activations between attention blocks are matrices, `[batch * length,
/// hidden]`: the processor's products add the bias themselves then, which is a tenth of the time in f32. Under half precision,
/// which is for accelerators, they are `[batch, length, hidden]`, so that no node computes a shape: such nodes are left to
/// the processor, and a session without that fallback refuses the graph.
///
/// A padding-free graph's matrices are packed, `[real tokens, hidden]`, and padded inside attention alone: the gathers that pad
/// stand in for the transpositions that bring the heads outward, so that batches without padding run as fast as in a padded graph
/// (`bench/graph.py`).
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
    };
    writer.write()?;
    let operators = writer.graph.operators();
    let selection = (logits_of == LogitsOf::Selected).then_some(SELECTION);
    Ok(Graph {
        inputs: INPUTS.into_iter().chain(selection).map(str::to_owned).collect(),
        operators,
        padding_free: writer.is_padding_free(),
        observed: writer.observed,
        bytes: writer.graph.finish(&format!(
            "{}-token-classifier",
            checkpoint.config.family.model_type()
        )),
    })
}

struct Writer<'a> {
    checkpoint: &'a Checkpoint,
    arithmetic: Arithmetic<'a>,
    logits_of: LogitsOf,
    graph: GraphBuilder,
    observed: Vec<String>,
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
        self.mask();
        let mut states = self.embeddings()?;
        for layer in 0..self.checkpoint.config.num_hidden_layers {
            states = self.layer(layer, &states)?;
        }
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

    /// The shapes that activations are given: `shape.heads` with an axis of heads, `shape.rows` without; `shape.logits` where
    /// they are matrices, padding included; what else packed ones need. A 0 keeps the axis that is there.
    fn shapes(&mut self) {
        let config = &self.checkpoint.config;
        let (hidden, heads, head) = (
            config.hidden_size as i64,
            config.num_attention_heads as i64,
            config.head_size() as i64,
        );
        if !self.is_of_rows() {
            self.graph.i64s("shape.heads", &[0, 0, heads, head]);
            self.graph.i64s("shape.rows", &[0, 0, hidden]);
            if self.logits_of == LogitsOf::Selected {
                self.graph.i64s("shape.flat", &[-1, hidden]);
            }
            return;
        }
        self.graph.i64s("shape.rows", &[-1, hidden]);
        self.graph.op("Shape", &[INPUTS[0]], &[], "shape.batch_length");
        if self.is_padding_free() {
            return self.packing();
        }
        let labels = self.checkpoint.labels.len() as i64;
        self.shape_ending_in("shape.heads", &[heads, head]);
        self.shape_ending_in("shape.logits", &[labels]);
    }

    /// The shape of the batch's sequences with these last axes.
    fn shape_ending_in(&mut self, name: &str, last: &[i64]) {
        let last = self.graph.i64s(&format!("{name}.last"), last);
        let axis = [("axis", Attribute::Int(0))];
        self.graph
            .op("Concat", &["shape.batch_length", &last], &axis, name);
    }

    /// The activations of the tokens asked for; as a matrix, where those are selected.
    fn of_tokens(&mut self, activations: &str, tokens: Tokens) -> String {
        if matches!(tokens, Tokens::All) {
            return activations.to_owned();
        }
        let (rows, indices) = if self.is_padding_free() {
            (activations.to_owned(), "packed.selected")
        } else {
            let flat = format!("{activations}.flat");
            self.graph.op("Reshape", &[activations, "shape.flat"], &[], &flat);
            (flat, SELECTION)
        };
        self.rows_of(&rows, indices, &format!("{activations}.selected"))
    }

    fn layer(&mut self, index: usize, states: &str) -> Result<String, CheckpointError> {
        let config = &self.checkpoint.config;
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let name = format!("bert.encoder.layer.{index}");
        // Nothing after the last attention looks from one token at another.
        let tokens = match self.logits_of {
            LogitsOf::Selected if index + 1 == config.num_hidden_layers => Tokens::Selected,
            LogitsOf::Selected | LogitsOf::EveryToken => Tokens::All,
        };
        let mixed = self.attention(&format!("{name}.attention.self"), states, tokens)?;
        let states = self.of_tokens(states, tokens);
        let rows = self.layer_input(&mixed);
        let projected = self.linear(
            &format!("{name}.attention.output.dense"),
            &rows,
            [hidden, hidden],
            1.0,
        )?;
        let sum = self.residual(&projected, &states, &format!("{name}.attention.sum"));
        let attended = self.layer_norm(&format!("{name}.attention.output.LayerNorm"), &sum)?;

        let operand = self.as_operand(&attended);
        let input = self.layer_input(&operand);
        let widened = self.linear(
            &format!("{name}.intermediate.dense"),
            &input,
            [hidden, inner],
            1.0,
        )?;
        let activated = self.activation(&widened, &format!("{name}.activated"));
        let activated = self.layer_input(&activated);
        let narrowed = self.linear(&format!("{name}.output.dense"), &activated, [inner, hidden], 1.0)?;
        let sum = self.residual(&narrowed, &attended, &format!("{name}.sum"));
        self.layer_norm(&format!("{name}.output.LayerNorm"), &sum)
    }

    /// A linear layer's output added to the f32 residual stream.
    fn residual(&mut self, output: &str, states: &str, name: &str) -> String {
        let output = self.as_f32(output);
        self.graph.op("Add", &[&output, states], &[], name)
    }

    fn activation(&mut self, input: &str, output: &str) -> String {
        match self.checkpoint.config.hidden_act {
            Activation::Gelu => self.graph.op("Gelu", &[input], &[], output),
            Activation::GeluTanh => self.graph.op(
                "Gelu",
                &[input],
                &[("approximate", Attribute::Text("tanh"))],
                output,
            ),
            Activation::Relu => self.graph.op("Relu", &[input], &[], output),
        }
    }

    fn layer_norm(&mut self, name: &str, input: &str) -> Result<String, CheckpointError> {
        let width = self.checkpoint.config.hidden_size;
        let weight = self.checkpoint.tensor(&format!("{name}.weight"), &[width])?;
        let bias = self.checkpoint.tensor(&format!("{name}.bias"), &[width])?;
        let weight = self.graph.f32s(&format!("{name}.weight"), &[width], weight);
        let bias = self.graph.f32s(&format!("{name}.bias"), &[width], bias);
        let epsilon = self.checkpoint.config.layer_norm_eps as f32;
        let attributes = [
            ("axis", Attribute::Int(-1)),
            ("epsilon", Attribute::Float(epsilon)),
        ];
        Ok(self
            .graph
            .op("LayerNormalization", &[input, &weight, &bias], &attributes, name))
    }

    /// Whether activations between attention blocks are matrices.
    fn is_of_rows(&self) -> bool {
        !self.is_half()
    }

    /// Whether activations between attention blocks are of real tokens alone.
    fn is_padding_free(&self) -> bool {
        self.is_of_rows() && self.logits_of == LogitsOf::Selected
    }

    fn is_half(&self) -> bool {
        matches!(self.arithmetic, Arithmetic::Half)
    }

    /// A value of the linear layers as f32: itself, but under half precision.
    fn as_f32(&mut self, name: &str) -> String {
        self.converted(name, Element::F32, "f32")
    }

    /// An f32 value as what the linear layers compute with: itself, but under half precision.
    fn as_operand(&mut self, name: &str) -> String {
        self.converted(name, Element::F16, "f16")
    }

    fn converted(&mut self, name: &str, element: Element, suffix: &str) -> String {
        if !self.is_half() {
            return name.to_owned();
        }
        let to = [("to", Attribute::Int(element as i64))];
        self.graph.op("Cast", &[name], &to, &format!("{name}.{suffix}"))
    }
}
