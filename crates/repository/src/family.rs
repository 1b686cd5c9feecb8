//! Model families: BERT and the models that share its encoder, and how their files differ.

use crate::relative_position::BUCKETS;

/// A family of models that differ from BERT in names, positions, token types and position biases only.
///
/// Nerve names tensors as BERT's files do; a family translates them to the names in its own files.
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
}

/// The keys of `config.json` that differ between families; `None` where a family has no such key.
pub struct ConfigKeys {
    pub hidden_size: &'static str,
    pub layers: &'static str,
    pub heads: &'static str,
    pub intermediate_size: &'static str,
    pub activation: &'static str,
    pub hidden_dropout: &'static str,
    pub attention_dropout: &'static str,
    /// If absent, the dropout before the head is `hidden_dropout`.
    pub classifier_dropout: Option<&'static str>,
    /// If absent, the family has no token types.
    pub token_types: Option<&'static str>,
    /// If absent, the epsilon is that of BERT.
    pub layer_norm_eps: Option<&'static str>,
}

struct FamilySpec {
    model_type: &'static str,
    /// The class of the token classifier in `transformers`.
    class: &'static str,
    /// The prefix of the encoder's tensor names in the file of a model with a head.
    prefix: &'static str,
    /// Parts of BERT's tensor names and their replacements, applied in this order.
    renamed: &'static [(&'static str, &'static str)],
    keys: &'static ConfigKeys,
    default_pad: u32,
    first_position: FirstPosition,
    /// Whether all layers add a bias by distance to their attention scores.
    position_bias: bool,
    /// Whether a `vocab.txt` is a WordPiece vocabulary, from which the tokenizer can be made.
    wordpiece: bool,
}

/// The row of the position table for the first token of a sequence.
enum FirstPosition {
    /// A row, whatever the padding token.
    Row(usize),
    /// The row after that of the padding token's id.
    AfterPad,
}

const BERT_KEYS: ConfigKeys = ConfigKeys {
    hidden_size: "hidden_size",
    layers: "num_hidden_layers",
    heads: "num_attention_heads",
    intermediate_size: "intermediate_size",
    activation: "hidden_act",
    hidden_dropout: "hidden_dropout_prob",
    attention_dropout: "attention_probs_dropout_prob",
    classifier_dropout: Some("classifier_dropout"),
    token_types: Some("type_vocab_size"),
    layer_norm_eps: Some("layer_norm_eps"),
};

const BERT: FamilySpec = FamilySpec {
    model_type: "bert",
    class: "BertForTokenClassification",
    prefix: BERT_PREFIX,
    renamed: &[],
    keys: &BERT_KEYS,
    default_pad: 0,
    first_position: FirstPosition::Row(0),
    position_bias: false,
    wordpiece: true,
};

const DISTILBERT: FamilySpec = FamilySpec {
    model_type: "distilbert",
    class: "DistilBertForTokenClassification",
    prefix: "distilbert.",
    renamed: &[
        ("encoder.layer.", "transformer.layer."),
        (".attention.self.query.", ".attention.q_lin."),
        (".attention.self.key.", ".attention.k_lin."),
        (".attention.self.value.", ".attention.v_lin."),
        (".attention.output.dense.", ".attention.out_lin."),
        (".attention.output.LayerNorm.", ".sa_layer_norm."),
        (".intermediate.dense.", ".ffn.lin1."),
        (".output.dense.", ".ffn.lin2."),
        (".output.LayerNorm.", ".output_layer_norm."),
    ],
    keys: &ConfigKeys {
        hidden_size: "dim",
        layers: "n_layers",
        heads: "n_heads",
        intermediate_size: "hidden_dim",
        activation: "activation",
        hidden_dropout: "dropout",
        attention_dropout: "attention_dropout",
        classifier_dropout: None,
        token_types: None,
        layer_norm_eps: None,
    },
    default_pad: 0,
    first_position: FirstPosition::Row(0),
    position_bias: false,
    wordpiece: true,
};

const ROBERTA: FamilySpec = FamilySpec {
    model_type: "roberta",
    class: "RobertaForTokenClassification",
    prefix: "roberta.",
    renamed: &[],
    keys: &BERT_KEYS,
    default_pad: 1,
    first_position: FirstPosition::AfterPad,
    position_bias: false,
    wordpiece: false,
};

const XLM_ROBERTA: FamilySpec = FamilySpec {
    model_type: "xlm-roberta",
    class: "XLMRobertaForTokenClassification",
    ..ROBERTA
};

const CAMEMBERT: FamilySpec = FamilySpec {
    model_type: "camembert",
    class: "CamembertForTokenClassification",
    ..ROBERTA
};

const MPNET: FamilySpec = FamilySpec {
    model_type: "mpnet",
    class: "MPNetForTokenClassification",
    prefix: "mpnet.",
    renamed: &[
        (".attention.self.query.", ".attention.attn.q."),
        (".attention.self.key.", ".attention.attn.k."),
        (".attention.self.value.", ".attention.attn.v."),
        (".attention.output.dense.", ".attention.attn.o."),
        (".attention.output.LayerNorm.", ".attention.LayerNorm."),
    ],
    keys: &ConfigKeys {
        classifier_dropout: None,
        token_types: None,
        ..BERT_KEYS
    },
    default_pad: 1,
    // `transformers` counts from behind the id 1, whatever `pad_token_id` is.
    first_position: FirstPosition::Row(2),
    position_bias: true,
    wordpiece: false,
};

const BERT_PREFIX: &str = "bert.";

/// BERT's name, if it had one, for the table `[buckets, heads]` of position biases that all layers share.
pub const POSITION_BIAS: &str = "bert.encoder.relative_attention_bias.weight";

impl Family {
    /// All families.
    pub const ALL: [Self; 6] = [
        Self::Bert,
        Self::DistilBert,
        Self::Roberta,
        Self::XlmRoberta,
        Self::Camembert,
        Self::Mpnet,
    ];

    /// The family with this `model_type` in `config.json`.
    pub fn of_model_type(model_type: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|family| family.model_type() == model_type)
    }

    /// The `model_type` in `config.json`.
    pub fn model_type(self) -> &'static str {
        self.spec().model_type
    }

    /// The names in this family's files of the tensor that BERT's files call `name`: first in a model with a head, then in an
    /// encoder alone, where the prefix is absent.
    pub fn tensor_names(self, name: &str) -> [String; 2] {
        let spec = self.spec();
        let Some(name) = name.strip_prefix(BERT_PREFIX) else {
            return [name.to_owned(), name.to_owned()];
        };
        let bare = spec
            .renamed
            .iter()
            .fold(name.to_owned(), |name, (bert, own)| name.replace(bert, own));
        [format!("{}{bare}", spec.prefix), bare]
    }

    /// The class of the token classifier in `transformers`.
    pub fn class(self) -> &'static str {
        self.spec().class
    }

    /// The keys of its `config.json`.
    pub fn keys(self) -> &'static ConfigKeys {
        self.spec().keys
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
        }
    }

    /// The rows of the table [`POSITION_BIAS`]; `None` for a family without position biases.
    pub fn position_buckets(self) -> Option<usize> {
        self.spec().position_bias.then_some(BUCKETS)
    }

    /// Whether a `vocab.txt` is a WordPiece vocabulary, from which the tokenizer can be made.
    pub fn is_wordpiece(self) -> bool {
        self.spec().wordpiece
    }

    fn spec(self) -> &'static FamilySpec {
        match self {
            Self::Bert => &BERT,
            Self::DistilBert => &DISTILBERT,
            Self::Roberta => &ROBERTA,
            Self::XlmRoberta => &XLM_ROBERTA,
            Self::Camembert => &CAMEMBERT,
            Self::Mpnet => &MPNET,
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
