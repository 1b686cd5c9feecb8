//! Model families: what sets BERT's relatives apart from it, around the one encoder they share.

/// A family of models that are BERT but for names, positions and token types.
///
/// Everything inside of Nerve names tensors as BERT's files do; a family says what its own files call them.
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
}

/// What `config.json` calls the parts of a model's shape that not all families name alike.
///
/// `None` is what a family does not let its configuration decide.
pub struct Keys {
    pub hidden_size: &'static str,
    pub layers: &'static str,
    pub heads: &'static str,
    pub intermediate_size: &'static str,
    pub activation: &'static str,
    pub hidden_dropout: &'static str,
    pub attention_dropout: &'static str,
    /// Without it, the dropout before the head is `hidden_dropout`.
    pub classifier_dropout: Option<&'static str>,
    /// Without it, the family has no token types.
    pub token_types: Option<&'static str>,
    /// Without it, the epsilon is BERT's.
    pub layer_norm_eps: Option<&'static str>,
}

struct Facts {
    model_type: &'static str,
    /// The class of the token classifier in `transformers`.
    class: &'static str,
    /// What stands before the encoder's tensors in the file of a model with a head.
    prefix: &'static str,
    /// Parts of BERT's tensor names and what stands in their place, replaced in this order.
    renamed: &'static [(&'static str, &'static str)],
    keys: &'static Keys,
    default_pad: u32,
    /// Whether positions count from the one after the padding token's id.
    positions_after_pad: bool,
    /// Whether a `vocab.txt` is a WordPiece vocabulary, all that there is to the tokenizer.
    wordpiece: bool,
}

const BERT_KEYS: Keys = Keys {
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

const BERT: Facts = Facts {
    model_type: "bert",
    class: "BertForTokenClassification",
    prefix: BERT_PREFIX,
    renamed: &[],
    keys: &BERT_KEYS,
    default_pad: 0,
    positions_after_pad: false,
    wordpiece: true,
};

const DISTILBERT: Facts = Facts {
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
    keys: &Keys {
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
    positions_after_pad: false,
    wordpiece: true,
};

const ROBERTA: Facts = Facts {
    model_type: "roberta",
    class: "RobertaForTokenClassification",
    prefix: "roberta.",
    renamed: &[],
    keys: &BERT_KEYS,
    default_pad: 1,
    positions_after_pad: true,
    wordpiece: false,
};

const XLM_ROBERTA: Facts = Facts {
    model_type: "xlm-roberta",
    class: "XLMRobertaForTokenClassification",
    ..ROBERTA
};

const CAMEMBERT: Facts = Facts {
    model_type: "camembert",
    class: "CamembertForTokenClassification",
    ..ROBERTA
};

const BERT_PREFIX: &str = "bert.";

impl Family {
    /// All families.
    pub const ALL: [Self; 5] = [
        Self::Bert,
        Self::DistilBert,
        Self::Roberta,
        Self::XlmRoberta,
        Self::Camembert,
    ];

    /// The family that a `config.json` calls `model_type`.
    pub fn of_model_type(model_type: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|family| family.model_type() == model_type)
    }

    /// Its `model_type` in `config.json`.
    pub fn model_type(self) -> &'static str {
        self.facts().model_type
    }

    /// The names that its files give to the tensor that BERT's call `name`: that of a model with a head, then that of an
    /// encoder alone, which lacks the prefix.
    pub fn tensor_names(self, name: &str) -> [String; 2] {
        let facts = self.facts();
        let Some(name) = name.strip_prefix(BERT_PREFIX) else {
            return [name.to_owned(), name.to_owned()];
        };
        let bare = facts
            .renamed
            .iter()
            .fold(name.to_owned(), |name, (bert, own)| name.replace(bert, own));
        [format!("{}{bare}", facts.prefix), bare]
    }

    /// The class of its token classifier in `transformers`.
    pub fn class(self) -> &'static str {
        self.facts().class
    }

    /// What its configuration calls the parts of a model's shape.
    pub fn keys(self) -> &'static Keys {
        self.facts().keys
    }

    /// The id of the padding token where the configuration gives none.
    pub fn default_pad(self) -> u32 {
        self.facts().default_pad
    }

    /// Whether positions count from the one after the padding token's id, and not from 0.
    pub fn positions_after_pad(self) -> bool {
        self.facts().positions_after_pad
    }

    /// Whether a `vocab.txt` is a WordPiece vocabulary, from which the tokenizer can be made.
    pub fn is_wordpiece(self) -> bool {
        self.facts().wordpiece
    }

    fn facts(self) -> &'static Facts {
        match self {
            Self::Bert => &BERT,
            Self::DistilBert => &DISTILBERT,
            Self::Roberta => &ROBERTA,
            Self::XlmRoberta => &XLM_ROBERTA,
            Self::Camembert => &CAMEMBERT,
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
        let [full, _] = Family::DistilBert.tensor_names("bert.embeddings.LayerNorm.weight");
        assert_eq!(full, "distilbert.embeddings.LayerNorm.weight");
        assert_eq!(
            Family::DistilBert.tensor_names("classifier.bias")[0],
            "classifier.bias"
        );
    }
}
