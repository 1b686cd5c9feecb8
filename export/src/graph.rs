//! A token classifier as an ONNX graph.

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::config::Activation;
use crate::onnx::{Attribute, Axis, Element, GraphBuilder};
use crate::quantize::{ActivationRanges, QuantizedMatrix, quantize_rows};

/// The graph's inputs: int64, `[batch, length]` each.
pub(crate) const INPUTS: [&str; 2] = ["input_ids", "attention_mask"];
/// The graph's output: f32, `[batch, length, labels]`.
pub(crate) const OUTPUT: &str = "logits";

/// What is added to the attention score of a padded key. Any score this low leaves the softmax as an exact 0, so that
/// padding changes no bit of a real token's result, and it stays finite in half precision.
const MASKED: f32 = -10_000.0;

/// Which arithmetic the graph's linear layers use.
pub(crate) enum Arithmetic<'a> {
    /// f32 throughout.
    Float,
    /// f32 throughout, with the input of every linear layer as a further output: what calibration observes.
    Observed,
    /// 8-bit integer products with activation ranges fixed beforehand, so that no text's answer depends on another's.
    Int8(&'a ActivationRanges),
}

/// A finished graph.
pub(crate) struct Graph {
    /// The `model.onnx` bytes.
    pub(crate) bytes: Vec<u8>,
    /// The operators it needs.
    pub(crate) operators: Vec<String>,
    /// The names of the linear layers' inputs, outputs of the graph where they are observed.
    pub(crate) observed: Vec<String>,
}

/// The graph of a checkpoint (Devlin et al. 2019, *BERT*, with a linear head on the last hidden states).
///
/// All activations between attention blocks are `[batch * length, hidden]`; the position table begins with the first
/// token's row and has the embedding of token type 0 added to it, where there is one; and the attention scale
/// `1/sqrt(head)` is multiplied into the query weights.
pub(crate) fn build(checkpoint: &Checkpoint, arithmetic: Arithmetic) -> Result<Graph, CheckpointError> {
    let mut writer = Writer {
        checkpoint,
        arithmetic,
        graph: GraphBuilder::default(),
        observed: Vec::new(),
    };
    writer.write()?;
    let operators = writer.graph.operators();
    Ok(Graph {
        operators,
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
    graph: GraphBuilder,
    observed: Vec<String>,
}

/// A linear layer's input: its f32 name and, under integer arithmetic, its quantised twin, made once and shared.
struct LayerInput {
    name: String,
    quantized: Option<Quantized>,
}

struct Quantized {
    value: String,
    scale_name: String,
    zero_name: String,
    scale: f32,
}

impl Writer<'_> {
    fn write(&mut self) -> Result<(), CheckpointError> {
        let config = &self.checkpoint.config;
        let batch_length = [Axis::Dynamic("batch"), Axis::Dynamic("length")];
        for name in INPUTS {
            self.graph.input(name, Element::I64, &batch_length);
        }
        let hidden = config.hidden_size;
        self.graph.i64s("shape.rows", &[-1, hidden as i64]);
        self.graph.op("Shape", &[INPUTS[0]], &[], "shape.batch_length");
        self.graph.i64s(
            "shape.head",
            &[config.num_attention_heads as i64, config.head_size() as i64],
        );
        let axis = [("axis", Attribute::Int(0))];
        self.graph.op(
            "Concat",
            &["shape.batch_length", "shape.head"],
            &axis,
            "shape.heads",
        );
        self.mask();
        let mut states = self.embeddings()?;
        for layer in 0..config.num_hidden_layers {
            states = self.layer(layer, &states)?;
        }
        let labels = self.checkpoint.labels.len();
        let weight = transposed(
            self.checkpoint.tensor("classifier.weight", &[labels, hidden])?,
            labels,
            hidden,
        );
        let bias = self.checkpoint.tensor("classifier.bias", &[labels])?;
        let rows = self.float_linear("classifier", &states, &weight, bias, [hidden, labels]);
        self.graph.i64s("shape.labels", &[labels as i64]);
        self.graph.op(
            "Concat",
            &["shape.batch_length", "shape.labels"],
            &axis,
            "shape.logits",
        );
        self.graph.op("Reshape", &[&rows, "shape.logits"], &[], OUTPUT);
        let [batch, length] = batch_length;
        self.graph
            .output(OUTPUT, Element::F32, &[batch, length, Axis::Fixed(labels)]);
        if matches!(self.arithmetic, Arithmetic::Observed) {
            for name in &self.observed {
                self.graph.output(
                    name,
                    Element::F32,
                    &[Axis::Dynamic("rows"), Axis::Dynamic("width")],
                );
            }
        }
        Ok(())
    }

    /// The additive attention mask, `[batch, 1, 1, length]`: 0 for real keys, [`MASKED`] for padding.
    fn mask(&mut self) {
        self.graph.op(
            "Cast",
            &[INPUTS[1]],
            &[("to", Attribute::Int(Element::F32 as i64))],
            "mask.float",
        );
        self.graph.f32s("mask.one", &[], &[1.0]);
        self.graph.f32s("mask.value", &[], &[MASKED]);
        self.graph.i64s("mask.axes", &[1, 2]);
        self.graph
            .op("Sub", &["mask.one", "mask.float"], &[], "mask.padding");
        self.graph
            .op("Mul", &["mask.padding", "mask.value"], &[], "mask.scores");
        self.graph
            .op("Unsqueeze", &["mask.scores", "mask.axes"], &[], "mask");
    }

    /// The normalised sum of word, position and type embeddings, `[batch * length, hidden]`.
    fn embeddings(&mut self) -> Result<String, CheckpointError> {
        let config = &self.checkpoint.config;
        let (vocab, hidden, positions) = (
            config.vocab_size,
            config.hidden_size,
            config.max_position_embeddings,
        );
        let prefix = "bert.embeddings";
        let table = self
            .checkpoint
            .tensor(&format!("{prefix}.word_embeddings.weight"), &[vocab, hidden])?;
        match self.arithmetic {
            Arithmetic::Float | Arithmetic::Observed => {
                self.graph.f32s("embeddings.table", &[vocab, hidden], table);
                self.graph.op(
                    "Gather",
                    &["embeddings.table", INPUTS[0]],
                    &[],
                    "embeddings.words",
                );
            }
            Arithmetic::Int8(_) => {
                let (rows, scales) = quantize_rows(table, hidden);
                self.graph.i8s("embeddings.table", &[vocab, hidden], &rows);
                self.graph.f32s("embeddings.scales", &[vocab, 1], &scales);
                self.graph.op(
                    "Gather",
                    &["embeddings.table", INPUTS[0]],
                    &[],
                    "embeddings.integers",
                );
                let to_float = [("to", Attribute::Int(Element::F32 as i64))];
                self.graph
                    .op("Cast", &["embeddings.integers"], &to_float, "embeddings.floats");
                self.graph.op(
                    "Gather",
                    &["embeddings.scales", INPUTS[0]],
                    &[],
                    "embeddings.row_scales",
                );
                self.graph.op(
                    "Mul",
                    &["embeddings.floats", "embeddings.row_scales"],
                    &[],
                    "embeddings.words",
                );
            }
        }
        let table = self.checkpoint.tensor(
            &format!("{prefix}.position_embeddings.weight"),
            &[positions, hidden],
        )?;
        let mut table = table[config.first_position() * hidden..].to_vec();
        if config.type_vocab_size > 0 {
            let types = self.checkpoint.tensor(
                &format!("{prefix}.token_type_embeddings.weight"),
                &[config.type_vocab_size, hidden],
            )?;
            for row in table.chunks_exact_mut(hidden) {
                row.iter_mut()
                    .zip(types)
                    .for_each(|(position, token_type)| *position += token_type);
            }
        }
        self.graph.f32s(
            "embeddings.position_table",
            &[config.max_length(), hidden],
            &table,
        );
        self.graph.i64s("shape.zero", &[0]);
        self.graph.i64s("shape.one", &[1]);
        self.graph.i64s("shape.two", &[2]);
        let slice = ["shape.batch_length", "shape.one", "shape.two"];
        self.graph.op("Slice", &slice, &[], "shape.length");
        let slice = ["embeddings.position_table", "shape.zero", "shape.length"];
        self.graph.op("Slice", &slice, &[], "embeddings.positions");
        self.graph.op(
            "Add",
            &["embeddings.words", "embeddings.positions"],
            &[],
            "embeddings.sum",
        );
        self.graph.op(
            "Reshape",
            &["embeddings.sum", "shape.rows"],
            &[],
            "embeddings.rows",
        );
        self.layer_norm(&format!("{prefix}.LayerNorm"), "embeddings.rows")
    }

    fn layer(&mut self, index: usize, states: &str) -> Result<String, CheckpointError> {
        let config = &self.checkpoint.config;
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let name = format!("bert.encoder.layer.{index}");
        let input = self.layer_input(states);
        let scale = 1.0 / (config.head_size() as f32).sqrt();
        let square = [hidden, hidden];
        let attention = format!("{name}.attention.self");
        let query = self.linear(&format!("{attention}.query"), &input, square, scale)?;
        let key = self.linear(&format!("{attention}.key"), &input, square, 1.0)?;
        let value = self.linear(&format!("{attention}.value"), &input, square, 1.0)?;
        let query = self.heads(&query, &[0, 2, 1, 3]);
        let key = self.heads(&key, &[0, 2, 3, 1]);
        let value = self.heads(&value, &[0, 2, 1, 3]);
        let scores = self
            .graph
            .op("MatMul", &[&query, &key], &[], &format!("{attention}.scores"));
        let masked = self
            .graph
            .op("Add", &[&scores, "mask"], &[], &format!("{attention}.masked"));
        let axis = [("axis", Attribute::Int(-1))];
        let weights = self
            .graph
            .op("Softmax", &[&masked], &axis, &format!("{attention}.weights"));
        let mixed = self
            .graph
            .op("MatMul", &[&weights, &value], &[], &format!("{attention}.mixed"));
        let order = [("perm", Attribute::Ints(&[0, 2, 1, 3]))];
        let merged = self
            .graph
            .op("Transpose", &[&mixed], &order, &format!("{attention}.merged"));
        let rows = self.graph.op(
            "Reshape",
            &[&merged, "shape.rows"],
            &[],
            &format!("{attention}.rows"),
        );
        let rows = self.layer_input(&rows);
        let projected = self.linear(&format!("{name}.attention.output.dense"), &rows, square, 1.0)?;
        let sum = self.graph.op(
            "Add",
            &[&projected, states],
            &[],
            &format!("{name}.attention.sum"),
        );
        let attended = self.layer_norm(&format!("{name}.attention.output.LayerNorm"), &sum)?;

        let input = self.layer_input(&attended);
        let widened = self.linear(
            &format!("{name}.intermediate.dense"),
            &input,
            [hidden, inner],
            1.0,
        )?;
        let activated = self.activation(&widened, &format!("{name}.activated"));
        let activated = self.layer_input(&activated);
        let narrowed = self.linear(&format!("{name}.output.dense"), &activated, [inner, hidden], 1.0)?;
        let sum = self
            .graph
            .op("Add", &[&narrowed, &attended], &[], &format!("{name}.sum"));
        self.layer_norm(&format!("{name}.output.LayerNorm"), &sum)
    }

    /// `[batch * length, hidden]` to four axes, one of them the heads, in the order asked for.
    fn heads(&mut self, rows: &str, order: &[i64]) -> String {
        let split = self
            .graph
            .op("Reshape", &[rows, "shape.heads"], &[], &format!("{rows}.split"));
        self.graph.op(
            "Transpose",
            &[&split],
            &[("perm", Attribute::Ints(order))],
            &format!("{rows}.heads"),
        )
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

    /// Declares a value the input of linear layers: observed, or quantised once for all of them.
    fn layer_input(&mut self, name: &str) -> LayerInput {
        self.observed.push(name.to_owned());
        let Arithmetic::Int8(ranges) = &self.arithmetic else {
            return LayerInput {
                name: name.to_owned(),
                quantized: None,
            };
        };
        let affine = ranges.affine(name);
        let scale_name = self.graph.f32s(&format!("{name}.scale"), &[], &[affine.scale]);
        let zero_name = self.graph.u8_scalar(&format!("{name}.zero"), affine.zero_point);
        let value = self.graph.op(
            "QuantizeLinear",
            &[name, &scale_name, &zero_name],
            &[],
            &format!("{name}.quantized"),
        );
        let quantized = Quantized {
            value,
            scale_name,
            zero_name,
            scale: affine.scale,
        };
        LayerInput {
            name: name.to_owned(),
            quantized: Some(quantized),
        }
    }

    /// `input * weight^T + bias`, both multiplied by `scale` beforehand; `[from, to]` are the widths.
    fn linear(
        &mut self,
        name: &str,
        input: &LayerInput,
        [from, to]: [usize; 2],
        scale: f32,
    ) -> Result<String, CheckpointError> {
        let weight = self.checkpoint.tensor(&format!("{name}.weight"), &[to, from])?;
        let bias = self.checkpoint.tensor(&format!("{name}.bias"), &[to])?;
        let mut weight = transposed(weight, to, from);
        weight.iter_mut().for_each(|w| *w *= scale);
        let bias: Vec<f32> = bias.iter().map(|b| b * scale).collect();
        Ok(match &input.quantized {
            None => self.float_linear(name, &input.name, &weight, &bias, [from, to]),
            Some(quantized) => self.integer_linear(name, quantized, &weight, &bias, [from, to]),
        })
    }

    fn float_linear(
        &mut self,
        name: &str,
        input: &str,
        weight: &[f32],
        bias: &[f32],
        [from, to]: [usize; 2],
    ) -> String {
        let weight = self.graph.f32s(&format!("{name}.weight"), &[from, to], weight);
        let bias = self.graph.f32s(&format!("{name}.bias"), &[to], bias);
        self.graph.op("Gemm", &[input, &weight, &bias], &[], name)
    }

    fn integer_linear(
        &mut self,
        name: &str,
        input: &Quantized,
        weight: &[f32],
        bias: &[f32],
        [from, to]: [usize; 2],
    ) -> String {
        let matrix = QuantizedMatrix::per_column(weight, to);
        let bias: Vec<i32> = bias
            .iter()
            .zip(&matrix.scales)
            .map(|(bias, scale)| (bias / (input.scale * scale)).round() as i32)
            .collect();
        let weight = self
            .graph
            .i8s(&format!("{name}.weight"), &[from, to], &matrix.values);
        let scales = self
            .graph
            .f32s(&format!("{name}.weight.scales"), &[to], &matrix.scales);
        let zeros = self
            .graph
            .i8s(&format!("{name}.weight.zeros"), &[to], &vec![0; to]);
        let bias = self.graph.i32s(&format!("{name}.bias"), &[to], &bias);
        let inputs = [
            &input.value,
            &input.scale_name,
            &input.zero_name,
            &weight,
            &scales,
            &zeros,
            &bias,
        ];
        self.graph
            .contrib("QGemm", &inputs.map(String::as_str), &[], name)
    }
}

/// A row-major `[rows, columns]` matrix with its axes exchanged.
fn transposed(matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut turned = vec![0.0; matrix.len()];
    for (row, values) in matrix.chunks_exact(columns).enumerate() {
        for (column, value) in values.iter().enumerate() {
            turned[column * rows + row] = *value;
        }
    }
    turned
}
