//! What differs between the files of model families.

use serde_json::{Map, Value};
use thiserror::Error;

use crate::activation::Activation;

/// The most layers of a model, applied one after the other: far above those of every published one.
pub(crate) const MOST_LAYERS: usize = 256;

/// How the files of a family differ from BERT's.
pub(crate) struct FamilySpec {
    pub(crate) model_type: &'static str,
    pub(crate) architecture: Architecture,
    /// The class of the token classifier in `transformers`.
    pub(crate) class: &'static str,
    /// The prefix of the encoder's tensor names in the file of a model with a head.
    pub(crate) prefix: &'static str,
    /// Parts of Nerve's tensor names and their replacements, applied in this order.
    pub(crate) renamed: &'static [(&'static str, &'static str)],
    pub(crate) keys: &'static ConfigKeys,
    pub(crate) defaults: &'static ConfigDefaults,
    pub(crate) default_pad: u32,
    pub(crate) first_position: FirstPosition,
    /// Whether all layers add a bias by distance to their attention scores.
    pub(crate) position_bias: bool,
    /// Whether a `vocab.txt` is a WordPiece vocabulary, from which the tokenizer can be made.
    pub(crate) wordpiece: bool,
    /// Whether a byte-level tokenizer reads given words as after a space, whatever its `tokenizer.json` says. RoBERTa's class in
    /// `transformers` refuses given words otherwise; a tokenizer without a class of its own follows the file.
    pub(crate) spaced_words: bool,
    /// The head that predicts masked tokens; `None` if Nerve does not train it.
    pub(crate) masked_head: Option<&'static MaskedHead>,
    /// Whether layers may share their weights, and a linear layer always follows the normalized embeddings.
    pub(crate) shares_layers: bool,
    /// Checks the fields that only this family has.
    pub(crate) check: fn(&Map<String, Value>, EncoderSize) -> Result<(), FieldProblem>,
}

/// The kind of a family's encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Normalization after each sub-layer, and positions in a table or as a bias of scores (Devlin et al. 2019).
    Bert,
    /// Disentangled attention (He et al. 2021).
    Deberta,
    /// Normalization before each sub-layer, rotary positions, windows and gated units (Warner et al. 2024).
    ModernBert,
}

/// The sizes of an encoder that fields of a family depend on.
#[derive(Clone, Copy)]
pub(crate) struct EncoderSize {
    pub(crate) layers: usize,
    /// The width of the hidden states.
    pub(crate) hidden: usize,
    /// The width of a head.
    pub(crate) head: usize,
    pub(crate) positions: usize,
}

/// A field of `config.json` whose value describes no model that Nerve supports.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("config.json: {field} {problem}")]
pub struct FieldProblem {
    /// The field.
    pub field: &'static str,
    /// What is wrong with its value; follows the name of the field.
    pub problem: String,
}

/// The keys of `config.json` that differ between families; `None` where a family has no such key.
pub struct ConfigKeys {
    /// The width of the word embeddings, with the value of an absent key.
    pub embedding_size: Option<(&'static str, usize)>,
    pub hidden_size: &'static str,
    pub layers: &'static str,
    pub heads: &'static str,
    pub intermediate_size: &'static str,
    pub activation: &'static str,
    pub hidden_dropout: &'static str,
    pub attention_dropout: &'static str,
    /// If absent, the dropout before the head is the default one.
    pub classifier_dropout: Option<&'static str>,
    /// If absent, the family has no token types.
    pub token_types: Option<&'static str>,
    /// If absent, the epsilon is the default one.
    pub layer_norm_eps: Option<&'static str>,
}

/// The values of absent keys, as in `transformers`.
pub struct ConfigDefaults {
    pub activation: Activation,
    pub hidden_dropout: f64,
    pub attention_dropout: f64,
    /// `None` where it is that of hidden states.
    pub classifier_dropout: Option<f64>,
    pub positions: usize,
    pub token_types: usize,
    pub layer_norm_eps: f64,
}

/// The row of the position table for the first token of a sequence.
pub(crate) enum FirstPosition {
    /// A row, whatever the padding token.
    Row(usize),
    /// The row after that of the padding token's id.
    AfterPad,
    /// The family has no position table.
    NoTable,
}

/// The names, in a family's files, of the head that predicts masked tokens. The decoder's weight is the word embedding table.
pub struct MaskedHead {
    /// The dense layer, without `.weight` and `.bias`.
    pub dense: &'static str,
    /// The layer normalization, without `.weight` and `.bias`.
    pub norm: &'static str,
    /// The bias of the decoder.
    pub bias: &'static str,
    /// The activation after the dense layer; `None` if it is that of the layers.
    pub activation: Option<Activation>,
}
