//! Model families: BERT and the models that share its encoder, and how their files differ.

use serde_json::{Map, Value};

use crate::family::spec::{
    Architecture, ConfigDefaults, ConfigKeys, EncoderSize, FamilySpec, FieldProblem, FirstPosition,
    MaskedHead,
};
use crate::relative_position::BUCKETS;

pub(crate) mod albert;
mod bert;
pub(crate) mod deberta;
mod distilbert;
mod electra;
pub(crate) mod modernbert;
mod mpnet;
mod roberta;
pub(crate) mod spec;

/// A family of models whose files and networks are of one kind.
///
/// Nerve names the tensors of all families as BERT's files do: names begin with `bert.`, the word embedding table is
/// `bert.embeddings.word_embeddings.weight`, the tensors of a layer begin with `bert.encoder.layer.N.`, and the names of
/// normalizations contain `LayerNorm`. A family translates them to the names in its own files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Devlin et al. 2019.
    Bert,
    /// Sanh et al. 2019.
    DistilBert,
    /// Liu et al. 2019; BERTweet (Nguyen et al. 2020) is one.
    Roberta,
    /// Conneau et al. 2020.
    XlmRoberta,
    /// Martin et al. 2020.
    Camembert,
    /// Song et al. 2020.
    Mpnet,
    /// Clark et al. 2020.
    Electra,
    /// Lan et al. 2020.
    Albert,
    /// He et al. 2021: DeBERTa-v3.
    DebertaV2,
    /// Warner et al. 2024.
    ModernBert,
}

const BERT_PREFIX: &str = "bert.";

/// BERT's name, if it had one, for the table `[buckets, heads]` of position biases that all layers share.
pub const POSITION_BIAS: &str = "bert.encoder.relative_attention_bias.weight";

impl Family {
    /// All families.
    pub const ALL: [Self; 10] = [
        Self::Bert,
        Self::DistilBert,
        Self::Roberta,
        Self::XlmRoberta,
        Self::Camembert,
        Self::Mpnet,
        Self::Electra,
        Self::Albert,
        Self::DebertaV2,
        Self::ModernBert,
    ];

    /// The family with this `model_type` in `config.json`.
    pub fn of_model_type(model_type: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|family| family.model_type() == model_type)
    }

    /// The kind of its encoder.
    pub fn architecture(self) -> Architecture {
        self.spec().architecture
    }

    /// The `model_type` in `config.json`.
    pub fn model_type(self) -> &'static str {
        self.spec().model_type
    }

    /// The names in this family's files of the tensor that BERT's files call `name`: first in a model with a head, then in an
    /// encoder alone, where the prefix is absent.
    pub fn tensor_names(self, name: &str) -> [String; 2] {
        let spec = self.spec();
        let (prefix, bare) = match name.strip_prefix(BERT_PREFIX) {
            Some(bare) => (spec.prefix, bare),
            None => ("", name),
        };
        let bare = spec
            .renamed
            .iter()
            .fold(bare.to_owned(), |name, (bert, own)| name.replace(bert, own));
        [format!("{prefix}{bare}"), bare]
    }

    /// The class of the token classifier in `transformers`.
    pub fn class(self) -> &'static str {
        self.spec().class
    }

    /// The keys of its `config.json`.
    pub fn keys(self) -> &'static ConfigKeys {
        self.spec().keys
    }

    /// The values of keys that are absent in its `config.json`.
    pub fn defaults(self) -> &'static ConfigDefaults {
        self.spec().defaults
    }

    /// The check of the fields of `config.json` that only this family has.
    pub(crate) fn check(self) -> fn(&Map<String, Value>, EncoderSize) -> Result<(), FieldProblem> {
        self.spec().check
    }

    /// The names of the head that predicts masked tokens; `None` if Nerve does not train it in this family.
    pub fn masked_head(self) -> Option<&'static MaskedHead> {
        self.spec().masked_head
    }

    /// Whether layers may share their weights, and a linear layer always follows the normalized embeddings.
    pub(crate) fn shares_layers(self) -> bool {
        self.spec().shares_layers
    }

    /// The id of the padding token if the configuration has none.
    pub fn default_pad(self) -> u32 {
        self.spec().default_pad
    }

    /// The row of the position table for the first token of a sequence, if `pad` is the id of the padding token.
    pub fn first_position(self, pad: u32) -> usize {
        match self.spec().first_position {
            FirstPosition::Row(row) => row,
            FirstPosition::AfterPad => pad as usize + 1,
            FirstPosition::NoTable => 0,
        }
    }

    /// Whether it has a table of positions.
    pub fn has_position_table(self) -> bool {
        !matches!(self.spec().first_position, FirstPosition::NoTable)
    }

    /// The rows of the table [`POSITION_BIAS`]; `None` for a family without position biases.
    pub fn position_buckets(self) -> Option<usize> {
        self.spec().position_bias.then_some(BUCKETS)
    }

    /// Whether a `vocab.txt` is a WordPiece vocabulary, from which the tokenizer can be made.
    pub fn is_wordpiece(self) -> bool {
        self.spec().wordpiece
    }

    /// Whether a byte-level tokenizer reads given words as after a space, whatever its `tokenizer.json` says.
    pub fn spaces_words(self) -> bool {
        self.spec().spaced_words
    }

    fn spec(self) -> &'static FamilySpec {
        match self {
            Self::Bert => &bert::BERT,
            Self::DistilBert => &distilbert::DISTILBERT,
            Self::Roberta => &roberta::ROBERTA,
            Self::XlmRoberta => &roberta::XLM_ROBERTA,
            Self::Camembert => &roberta::CAMEMBERT,
            Self::Mpnet => &mpnet::MPNET,
            Self::Electra => &electra::ELECTRA,
            Self::Albert => &albert::ALBERT,
            Self::DebertaV2 => &deberta::DEBERTA_V2,
            Self::ModernBert => &modernbert::MODERNBERT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_type_names_its_family() {
        for family in Family::ALL {
            assert_eq!(Family::of_model_type(family.model_type()), Some(family));
        }
        assert_eq!(Family::of_model_type("t5"), None);
    }

    #[test]
    fn tensors_have_the_names_of_their_familys_files() {
        let layer = "bert.encoder.layer.11";
        let renamed = [
            ("attention.self.key.bias", "attention.k_lin.bias"),
            ("attention.output.dense.weight", "attention.out_lin.weight"),
            ("attention.output.LayerNorm.bias", "sa_layer_norm.bias"),
            ("output.dense.weight", "ffn.lin2.weight"),
            ("output.LayerNorm.weight", "output_layer_norm.weight"),
        ];
        for (part, own) in renamed {
            let name = format!("{layer}.{part}");
            let [full, bare] = Family::DistilBert.tensor_names(&name);
            assert_eq!(full, format!("distilbert.transformer.layer.11.{own}"));
            assert_eq!(bare, format!("transformer.layer.11.{own}"));
            let [full, bare] = Family::XlmRoberta.tensor_names(&name);
            assert_eq!(full, format!("roberta.encoder.layer.11.{part}"));
            assert_eq!(bare, format!("encoder.layer.11.{part}"));
            assert_eq!(Family::Bert.tensor_names(&name)[0], name);
        }
        let renamed = [
            ("attention.self.query.weight", "attention.attn.q.weight"),
            ("attention.self.key.bias", "attention.attn.k.bias"),
            ("attention.self.value.bias", "attention.attn.v.bias"),
            ("attention.output.dense.weight", "attention.attn.o.weight"),
            ("attention.output.LayerNorm.bias", "attention.LayerNorm.bias"),
            ("output.LayerNorm.bias", "output.LayerNorm.bias"),
        ];
        for (part, own) in renamed {
            let [full, bare] = Family::Mpnet.tensor_names(&format!("{layer}.{part}"));
            assert_eq!(full, format!("mpnet.encoder.layer.11.{own}"));
            assert_eq!(bare, format!("encoder.layer.11.{own}"));
        }
        let group = "bert.encoder.layer.1.albert_layers.0";
        let renamed = [
            ("attention.self.query.weight", "attention.query.weight"),
            ("attention.output.dense.bias", "attention.dense.bias"),
            ("attention.output.LayerNorm.weight", "attention.LayerNorm.weight"),
            ("intermediate.dense.weight", "ffn.weight"),
            ("output.dense.weight", "ffn_output.weight"),
            ("output.LayerNorm.bias", "full_layer_layer_norm.bias"),
        ];
        for (part, own) in renamed {
            let [full, bare] = Family::Albert.tensor_names(&format!("{group}.{part}"));
            assert_eq!(
                bare,
                format!("encoder.albert_layer_groups.1.albert_layers.0.{own}")
            );
            assert_eq!(full, format!("albert.{bare}"));
        }
        let projection = "bert.embeddings_project.weight";
        let [full, _] = Family::Albert.tensor_names(projection);
        assert_eq!(full, "albert.encoder.embedding_hidden_mapping_in.weight");
        let [full, bare] = Family::Electra.tensor_names(projection);
        assert_eq!(
            (full.as_str(), bare.as_str()),
            ("electra.embeddings_project.weight", "embeddings_project.weight")
        );
        for (part, own) in [
            ("attention.self.query.weight", "attention.self.query_proj.weight"),
            ("attention.self.key.bias", "attention.self.key_proj.bias"),
            ("attention.self.value.bias", "attention.self.value_proj.bias"),
            (
                "attention.self.pos_key_proj.bias",
                "attention.self.pos_key_proj.bias",
            ),
            ("attention.output.dense.weight", "attention.output.dense.weight"),
        ] {
            let [full, bare] = Family::DebertaV2.tensor_names(&format!("{layer}.{part}"));
            assert_eq!(full, format!("deberta.encoder.layer.11.{own}"));
            assert_eq!(bare, format!("encoder.layer.11.{own}"));
        }
        let renamed = [
            (
                "bert.embeddings.word_embeddings.weight",
                "model.embeddings.tok_embeddings.weight",
            ),
            ("bert.embeddings.LayerNorm.weight", "model.embeddings.norm.weight"),
            (
                "bert.encoder.layer.11.attention.LayerNorm.weight",
                "model.layers.11.attn_norm.weight",
            ),
            (
                "bert.encoder.layer.11.attention.Wqkv.bias",
                "model.layers.11.attn.Wqkv.bias",
            ),
            (
                "bert.encoder.layer.11.mlp.LayerNorm.bias",
                "model.layers.11.mlp_norm.bias",
            ),
            (
                "bert.encoder.layer.11.mlp.Wi.weight",
                "model.layers.11.mlp.Wi.weight",
            ),
            ("bert.encoder.LayerNorm.weight", "model.final_norm.weight"),
            ("head.LayerNorm.weight", "head.norm.weight"),
            ("head.dense.weight", "head.dense.weight"),
        ];
        for (name, own) in renamed {
            let [full, bare] = Family::ModernBert.tensor_names(name);
            assert_eq!(
                (full.as_str(), bare.as_str()),
                (own, own.trim_start_matches("model."))
            );
        }
        let [full, _] = Family::Mpnet.tensor_names(POSITION_BIAS);
        assert_eq!(full, "mpnet.encoder.relative_attention_bias.weight");
        let [full, _] = Family::DistilBert.tensor_names("bert.embeddings.LayerNorm.weight");
        assert_eq!(full, "distilbert.embeddings.LayerNorm.weight");
        assert_eq!(
            Family::DistilBert.tensor_names("classifier.bias")[0],
            "classifier.bias"
        );
    }
}
