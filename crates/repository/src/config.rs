//! `config.json` of a Hugging Face token classifier: sizes, activation, dropout and labels.

use std::collections::BTreeMap;
use std::path::Path;

use nerve_tagging::LabelSet;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::activation::Activation;
use crate::config_error::ConfigError;
use crate::family::Family;
use crate::family::albert::SharedLayers;
use crate::family::deberta::{RelativeAttention, Sizes};
use crate::family::spec::FieldProblem;
use crate::json_file::JsonFile;
use crate::label_map::id2label;

/// The shape of an encoder and its token-classification head, its fields named as BERT's `config.json` names them.
///
/// Fields that Nerve does not read are kept, so that writing a configuration that was read loses nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// The family, which decides the keys of the fields below.
    pub family: Family,
    /// Class names in `transformers`.
    pub architectures: Vec<String>,
    /// Rows of the word embedding table.
    pub vocab_size: usize,
    /// Width of the rows of the word embedding table; [`Self::hidden_size`] in a family without such a key.
    pub embedding_size: usize,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Encoder layers.
    pub num_hidden_layers: usize,
    /// Attention heads a layer; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Width of the feed-forward layers.
    pub intermediate_size: usize,
    /// The feed-forward activation.
    pub hidden_act: Activation,
    /// Dropout probability of embeddings and sub-layer outputs.
    pub hidden_dropout_prob: f64,
    /// Dropout probability of attention weights.
    pub attention_probs_dropout_prob: f64,
    /// Dropout probability before the head; `hidden_dropout_prob` if absent.
    pub classifier_dropout: Option<f64>,
    /// Rows of the position table; a sequence may be [`Self::max_length`] long.
    pub max_position_embeddings: usize,
    /// Rows of the token type table; 0 if the family has none.
    pub type_vocab_size: usize,
    /// Standard deviation of initial weights.
    pub initializer_range: f64,
    /// Epsilon of every layer normalization.
    pub layer_norm_eps: f64,
    /// Vocabulary id of the padding token.
    pub pad_token_id: u32,
    /// Label names by id; empty for an encoder without a head.
    pub id2label: BTreeMap<String, String>,
    /// Label ids by name.
    pub label2id: BTreeMap<String, usize>,
    /// All other fields of the file.
    pub other: Map<String, Value>,
}

// If absent, as in `transformers`.
const INITIALIZER_RANGE: f64 = 0.02;

impl ModelConfig {
    /// The validated configuration in a `config.json`.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::of_file(JsonFile::read(path)?)
    }

    /// The validated configuration in a text; errors name `path`.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        Self::of_file(JsonFile::parse(text, path)?)
    }

    fn of_file(mut file: JsonFile) -> Result<Self, ConfigError> {
        let path = file.path().to_owned();
        let family = match file.take::<String>("model_type")? {
            None => Family::Bert,
            Some(model_type) => Family::of_model_type(&model_type).ok_or_else(|| ConfigError::Family {
                path: path.clone(),
                model_type,
            })?,
        };
        let (keys, defaults) = (family.keys(), family.defaults());
        let hidden_size = file.take_required(keys.hidden_size)?;
        let config = Self {
            family,
            architectures: file.take("architectures")?.unwrap_or_default(),
            vocab_size: file.take_required("vocab_size")?,
            embedding_size: match keys.embedding_size {
                Some((key, absent)) => file.take(key)?.unwrap_or(absent),
                None => hidden_size,
            },
            hidden_size,
            num_hidden_layers: file.take_required(keys.layers)?,
            num_attention_heads: file.take_required(keys.heads)?,
            intermediate_size: file.take_required(keys.intermediate_size)?,
            hidden_act: file.take(keys.activation)?.unwrap_or(defaults.activation),
            hidden_dropout_prob: file.take(keys.hidden_dropout)?.unwrap_or(defaults.hidden_dropout),
            attention_probs_dropout_prob: file
                .take(keys.attention_dropout)?
                .unwrap_or(defaults.attention_dropout),
            classifier_dropout: match keys.classifier_dropout {
                Some(key) => file.take(key)?.or(defaults.classifier_dropout),
                None => None,
            },
            max_position_embeddings: file
                .take("max_position_embeddings")?
                .unwrap_or(defaults.positions),
            type_vocab_size: match keys.token_types {
                Some(key) => file.take(key)?.unwrap_or(defaults.token_types),
                None => 0,
            },
            initializer_range: file.take("initializer_range")?.unwrap_or(INITIALIZER_RANGE),
            layer_norm_eps: match keys.layer_norm_eps {
                Some(key) => file.take(key)?.unwrap_or(defaults.layer_norm_eps),
                None => defaults.layer_norm_eps,
            },
            pad_token_id: file.take("pad_token_id")?.unwrap_or(family.default_pad()),
            id2label: {
                let names = id2label(&file)?;
                file.take::<Value>("id2label")?;
                names
            },
            label2id: file.take("label2id")?.unwrap_or_default(),
            other: file.into_fields(),
        };
        config.validate(&path)?;
        Ok(config)
    }

    /// The fields of the `config.json`, under the family's own names.
    pub fn to_fields(&self) -> Map<String, Value> {
        let keys = self.family.keys();
        let optional = [
            (keys.classifier_dropout, self.classifier_dropout.map(Value::from)),
            (keys.token_types, Some(self.type_vocab_size.into())),
            (
                keys.embedding_size.map(|(key, _)| key),
                Some(self.embedding_size.into()),
            ),
            (keys.layer_norm_eps, Some(self.layer_norm_eps.into())),
            (
                Some("architectures"),
                (!self.architectures.is_empty()).then(|| json!(self.architectures)),
            ),
            (
                Some("id2label"),
                (!self.id2label.is_empty()).then(|| json!(self.id2label)),
            ),
            (
                Some("label2id"),
                (!self.label2id.is_empty()).then(|| json!(self.label2id)),
            ),
        ];
        let stated = [
            ("model_type", self.family.model_type().into()),
            ("vocab_size", self.vocab_size.into()),
            (keys.hidden_size, self.hidden_size.into()),
            (keys.layers, self.num_hidden_layers.into()),
            (keys.heads, self.num_attention_heads.into()),
            (keys.intermediate_size, self.intermediate_size.into()),
            (keys.activation, json!(self.hidden_act)),
            (keys.hidden_dropout, self.hidden_dropout_prob.into()),
            (keys.attention_dropout, self.attention_probs_dropout_prob.into()),
            ("max_position_embeddings", self.max_position_embeddings.into()),
            ("initializer_range", self.initializer_range.into()),
            ("pad_token_id", self.pad_token_id.into()),
        ];
        let mut fields = self.other.clone();
        let optional = optional
            .into_iter()
            .filter_map(|(key, value)| Some((key?, value?)));
        fields.extend(
            stated
                .into_iter()
                .chain(optional)
                .map(|(key, value)| (key.to_owned(), value)),
        );
        fields
    }

    /// Checks that the values describe a model; the error names `path`.
    pub fn validate(&self, path: &Path) -> Result<(), ConfigError> {
        const POSITION_TABLE: &str = "max_position_embeddings";
        let keys = self.family.keys();
        let value = |field, problem: String| ConfigError::Value {
            path: path.to_owned(),
            field,
            problem,
        };
        let sizes = [
            ("vocab_size", self.vocab_size),
            (keys.hidden_size, self.hidden_size),
            (keys.layers, self.num_hidden_layers),
            (keys.heads, self.num_attention_heads),
            (keys.intermediate_size, self.intermediate_size),
            (POSITION_TABLE, self.max_position_embeddings),
        ];
        let embedding = keys.embedding_size.map(|(key, _)| (key, self.embedding_size));
        // A family that has no token types unless it is told to may have none.
        let token_types = keys.token_types.map(|key| (key, self.type_vocab_size));
        let token_types = token_types.filter(|_| self.family.defaults().token_types > 0);
        let optional = embedding.into_iter().chain(token_types);
        if let Some((field, _)) = sizes.into_iter().chain(optional).find(|(_, size)| *size == 0) {
            return Err(value(field, "is 0".to_owned()));
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(value(
                keys.heads,
                format!(
                    "is {}, which does not divide {} {}",
                    self.num_attention_heads, keys.hidden_size, self.hidden_size
                ),
            ));
        }
        if self.max_length() == 0 {
            return Err(value(
                POSITION_TABLE,
                format!(
                    "is {}, which leaves no position after the {} unused ones",
                    self.max_position_embeddings,
                    self.first_position()
                ),
            ));
        }
        let probabilities = [
            (Some(keys.hidden_dropout), Some(self.hidden_dropout_prob)),
            (
                Some(keys.attention_dropout),
                Some(self.attention_probs_dropout_prob),
            ),
            (keys.classifier_dropout, self.classifier_dropout),
        ];
        for (field, probability) in probabilities {
            let wrong = probability.filter(|p| !(0.0..1.0).contains(p));
            if let Some((field, p)) = field.zip(wrong) {
                return Err(value(field, format!("is {p}, not in [0, 1)")));
            }
        }
        (self.family.check())(&self.other)
            .map_err(|FieldProblem { field, problem }| value(field, problem))?;
        if self.family.shared_layers(&self.other).is_some() {
            let (groups, layers) = (self.numbered_layers(), self.num_hidden_layers);
            if groups > layers {
                let problem = format!("is {groups}, more than the {layers} of {}", keys.layers);
                return Err(value(SharedLayers::GROUPS, problem));
            }
            let applied = self.layer_count();
            if applied > SharedLayers::MOST {
                let problem = format!(
                    "is {layers}, which makes {applied} layers; at most {} are supported",
                    SharedLayers::MOST
                );
                return Err(value(keys.layers, problem));
            }
        }
        if self.family == Family::DebertaV2 {
            self.relative_attention(path)?;
        }
        match self.other.get("position_embedding_type") {
            Some(kind) if kind != "absolute" => Err(value(
                "position_embedding_type",
                format!("is {kind}; only \"absolute\" is supported"),
            )),
            _ => Ok(()),
        }
    }

    /// The label set of `id2label`, in any scheme; the error names `path`.
    pub fn labels(&self, path: &Path) -> Result<LabelSet, ConfigError> {
        LabelSet::learn_id2label(&self.id2label).map_err(|source| ConfigError::Labels {
            path: path.to_owned(),
            source,
        })
    }

    /// The label set of a token classifier; an error for models of other tasks, which names `path`.
    pub fn classifier_labels(&self, path: &Path) -> Result<LabelSet, ConfigError> {
        if !self.architectures.is_empty() && !self.is_token_classifier() {
            return Err(ConfigError::NotTokenClassifier {
                path: path.to_owned(),
                architectures: self.architectures.clone(),
            });
        }
        if self.id2label.is_empty() {
            return Err(ConfigError::Value {
                path: path.to_owned(),
                field: "id2label",
                problem: "is missing, and so is label2id: the labels have no names".to_owned(),
            });
        }
        self.labels(path)
    }

    fn is_token_classifier(&self) -> bool {
        let mut classes = self.architectures.iter();
        classes.any(|class| class.ends_with("ForTokenClassification"))
    }

    /// The same encoder with a head for these labels.
    pub fn with_labels(mut self, labels: &LabelSet) -> Self {
        self.architectures = vec![self.family.class().to_owned()];
        self.id2label = labels.id2label();
        self.label2id = labels.names().iter().cloned().zip(0..).collect();
        self
    }

    /// The class of `transformers` that opens the checkpoint: of a tagger, or of an encoder alone.
    pub fn auto_class(&self) -> &'static str {
        match self.is_token_classifier() {
            true => "AutoModelForTokenClassification",
            false => "AutoModel",
        }
    }

    /// The row of the position table for the first token of a sequence.
    pub fn first_position(&self) -> usize {
        self.family.first_position(self.pad_token_id)
    }

    /// Longest sequence, special tokens included.
    pub fn max_length(&self) -> usize {
        self.max_position_embeddings.saturating_sub(self.first_position())
    }

    /// How many layers are applied, one after the other.
    pub fn layer_count(&self) -> usize {
        let shared = self.family.shared_layers(&self.other);
        self.num_hidden_layers
            .saturating_mul(shared.map_or(1, |shared| shared.inner))
    }

    /// The beginning of the names of the tensors of the layer that is applied at this index (see [`Family`]). Layers that share
    /// their weights have the same one.
    pub fn layer_name(&self, index: usize) -> String {
        match self.family.shared_layers(&self.other) {
            Some(shared) => shared.name(index, self.num_hidden_layers),
            None => format!("bert.encoder.layer.{index}"),
        }
    }

    /// The number of N in the names `bert.encoder.layer.N.` of tensors: groups where layers share their weights, else layers.
    pub fn numbered_layers(&self) -> usize {
        let shared = self.family.shared_layers(&self.other);
        shared.map_or(self.num_hidden_layers, |shared| shared.groups)
    }

    /// Whether the linear layer `bert.embeddings_project` follows the normalized embeddings.
    pub fn projects_embeddings(&self) -> bool {
        self.family.always_projects() || self.embedding_size != self.hidden_size
    }

    /// How distances enter the attention scores of DeBERTa-v3; an error for another model, which names `path`.
    pub fn relative_attention(&self, path: &Path) -> Result<RelativeAttention, ConfigError> {
        let sizes = Sizes {
            positions: self.max_position_embeddings,
            hidden: self.hidden_size,
            head: self.head_size(),
        };
        RelativeAttention::of(&self.other, sizes).map_err(|FieldProblem { field, problem }| {
            ConfigError::Value {
                path: path.to_owned(),
                field,
                problem,
            }
        })
    }

    /// Width of one attention head.
    pub fn head_size(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }
}

impl Serialize for ModelConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_fields().serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = r#"{"vocab_size": 10, "hidden_size": 8, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 16, "use_cache": true}"#;

    fn read(text: &str) -> Result<ModelConfig, ConfigError> {
        ModelConfig::parse(text, Path::new("config.json"))
    }

    #[test]
    fn defaults_are_bert_and_unknown_fields_survive() {
        let config = read(MINIMAL).unwrap();
        assert_eq!(config.layer_norm_eps, 1e-12);
        assert_eq!(config.hidden_act, Activation::Gelu);
        assert_eq!((config.family, config.max_length()), (Family::Bert, 512));
        let text = serde_json::to_string(&config).unwrap();
        assert!(text.contains(r#""use_cache":true"#));
        assert_eq!(read(&text).unwrap(), config);
    }

    #[test]
    fn labels_are_named_by_either_map_in_any_scheme() {
        let of = |map: &str| read(&MINIMAL.replace("\"use_cache\": true", map));
        let labels = |map: &str| of(map).unwrap().labels(Path::new("config.json"));
        let names = |map: &str| labels(map).unwrap().names().to_vec();
        assert_eq!(
            names(r#""label2id": {"B-a": 1, "O": 0, "I-a": 2}"#),
            ["O", "B-a", "I-a"]
        );
        let written = of(r#""label2id": {"O": 0, "B-a": 1}"#).unwrap().to_fields();
        assert_eq!(written["id2label"], json!({"0": "O", "1": "B-a"}));
        for (scheme, map) in [
            ("Io", r#""id2label": {"0": "O", "1": "I-a"}"#),
            (
                "Iob1",
                r#""id2label": {"0": "O", "1": "I-a", "2": "B-a", "3": "I-b"}"#,
            ),
            (
                "Iobes",
                r#""id2label": {"0": "O", "1": "B-a", "2": "E-a", "3": "S-a"}"#,
            ),
            (
                "Iobes",
                r#""id2label": {"0": "O", "1": "B-a", "2": "L-a", "3": "U-a"}"#,
            ),
            ("Plain", r#""id2label": {"0": "O", "1": "PER"}"#),
        ] {
            assert_eq!(format!("{:?}", labels(map).unwrap().scheme()), scheme);
        }
        assert!(labels(r#""id2label": {"0": "LABEL_0", "1": "LABEL_1"}"#).is_err());
        let twice = of(r#""label2id": {"O": 0, "B-a": 0}"#).unwrap_err().to_string();
        assert!(twice.contains("label2id gives one id to two labels"), "{twice}");
        assert!(of(r#""x": 0"#).unwrap().id2label.is_empty());
    }

    #[test]
    fn models_of_other_tasks_are_no_token_classifiers() {
        let labels = |fields: &str| {
            let config = read(&MINIMAL.replace("\"use_cache\": true", fields)).unwrap();
            config.classifier_labels(Path::new("config.json"))
        };
        let error = |fields: &str| labels(fields).unwrap_err().to_string();
        let map = r#""id2label": {"0": "O", "1": "B-a"}"#;
        assert!(labels(map).is_ok());
        assert!(
            labels(&format!(
                r#"{map}, "architectures": ["BertForTokenClassification"]"#
            ))
            .is_ok()
        );
        let other = error(&format!(r#"{map}, "architectures": ["BertForMaskedLM"]"#));
        assert!(
            other.contains("BertForMaskedLM, not a token classifier"),
            "{other}"
        );
        let unnamed = error(r#""architectures": ["BertForTokenClassification"]"#);
        assert!(unnamed.contains("config.json: id2label is missing"), "{unnamed}");
    }

    const DISTILBERT: &str = r#"{"model_type": "distilbert", "vocab_size": 10, "dim": 8, "n_layers": 1, "n_heads": 2,
        "hidden_dim": 16, "activation": "relu", "dropout": 0.2, "attention_dropout": 0.3, "seq_classif_dropout": 0.4,
        "sinusoidal_pos_embds": false}"#;

    #[test]
    fn distilbert_has_keys_of_its_own_and_writes_them() {
        let config = read(DISTILBERT).unwrap();
        assert_eq!((config.hidden_size, config.intermediate_size), (8, 16));
        assert_eq!(config.hidden_act, Activation::Relu);
        assert_eq!(
            (config.hidden_dropout_prob, config.attention_probs_dropout_prob),
            (0.2, 0.3)
        );
        assert_eq!((config.classifier_dropout, config.type_vocab_size), (None, 0));
        let fields = config.to_fields();
        assert_eq!(
            (&fields["dim"], &fields["seq_classif_dropout"]),
            (&json!(8), &json!(0.4))
        );
        assert!(!fields.contains_key("hidden_size") && !fields.contains_key("type_vocab_size"));
        assert_eq!(read(&serde_json::to_string(&config).unwrap()).unwrap(), config);
    }

    #[test]
    fn roberta_positions_start_after_the_padding_tokens_id() {
        let of = |fields: &str| {
            let fields =
                format!(r#""model_type": "roberta", "max_position_embeddings": 130, {fields} "x": 0"#);
            read(&MINIMAL.replace("\"use_cache\": true", &fields))
        };
        let config = of("").unwrap();
        assert_eq!(
            (config.pad_token_id, config.first_position(), config.max_length()),
            (1, 2, 128)
        );
        assert_eq!(of(r#""pad_token_id": 5,"#).unwrap().max_length(), 124);
        let error = of(r#""pad_token_id": 129,"#).unwrap_err().to_string();
        assert!(error.contains("max_position_embeddings is 130"), "{error}");
    }

    #[test]
    fn mpnet_has_32_buckets_and_positions_from_row_2() {
        let of = |fields: &str| {
            let fields = format!(r#""model_type": "mpnet", "max_position_embeddings": 130, {fields} "x": 0"#);
            read(&MINIMAL.replace("\"use_cache\": true", &fields))
        };
        for fields in [
            "",
            r#""pad_token_id": 0,"#,
            r#""relative_attention_num_buckets": 32,"#,
        ] {
            let config = of(fields).unwrap();
            assert_eq!((config.first_position(), config.max_length()), (2, 128));
            assert_eq!((config.type_vocab_size, config.classifier_dropout), (0, None));
            assert_eq!(read(&serde_json::to_string(&config).unwrap()).unwrap(), config);
        }
        let error = of(r#""relative_attention_num_buckets": 64,"#).unwrap_err();
        assert!(
            error.to_string().contains("relative_attention_num_buckets is 64"),
            "{error}"
        );
    }

    #[test]
    fn narrow_embeddings_and_shared_layers_have_fields_of_their_own() {
        let of = |fields: &str| read(&MINIMAL.replace("\"use_cache\": true", fields));
        let electra = of(r#""model_type": "electra""#).unwrap();
        assert_eq!((electra.embedding_size, electra.classifier_dropout), (128, None));
        assert!(electra.projects_embeddings());
        assert!(
            !of(r#""model_type": "electra", "embedding_size": 8"#)
                .unwrap()
                .projects_embeddings()
        );
        let albert = of(r#""model_type": "albert", "embedding_size": 8, "inner_group_num": 2"#).unwrap();
        assert_eq!(
            (albert.hidden_dropout_prob, albert.classifier_dropout),
            (0.0, Some(0.1))
        );
        assert_eq!(albert.hidden_act, Activation::GeluTanh);
        assert!(albert.projects_embeddings());
        assert_eq!((albert.layer_count(), albert.numbered_layers()), (2, 1));
        assert_eq!(read(&serde_json::to_string(&albert).unwrap()).unwrap(), albert);
        for (fields, expected) in [
            (
                r#""model_type": "electra", "embedding_size": 0"#,
                "embedding_size is 0",
            ),
            (
                r#""model_type": "electra", "embedding_size": -4"#,
                "embedding_size: ",
            ),
            (
                r#""model_type": "electra", "is_decoder": true"#,
                "is_decoder is true",
            ),
            (
                r#""model_type": "albert", "inner_group_num": 0"#,
                "inner_group_num is 0",
            ),
            (
                r#""model_type": "albert", "inner_group_num": 1e99"#,
                "inner_group_num is 1e",
            ),
            (
                r#""model_type": "albert", "num_hidden_groups": 2"#,
                "num_hidden_groups is 2, more than the 1",
            ),
            (
                r#""model_type": "albert", "classifier_dropout_prob": 1.5"#,
                "classifier_dropout_prob is 1.5",
            ),
        ] {
            let error = of(fields).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let deep = MINIMAL.replace(
            "\"num_hidden_layers\": 1",
            "\"num_hidden_layers\": 99999999999999",
        );
        let deep = deep.replace("\"use_cache\": true", r#""model_type": "albert""#);
        let error = read(&deep).unwrap_err().to_string();
        assert!(error.contains("at most 1024 are supported"), "{error}");
    }

    #[test]
    fn what_makes_no_model_names_its_field() {
        let edited = |from: &str, to: &str| read(&MINIMAL.replace(from, to)).unwrap_err().to_string();
        assert!(
            edited("\"num_attention_heads\": 2", "\"num_attention_heads\": 3")
                .contains("num_attention_heads")
        );
        assert!(edited("\"hidden_size\": 8", "\"hidden_size\": 0").contains("hidden_size is 0"));
        assert!(edited("\"use_cache\": true", "\"model_type\": \"t5\"").contains("t5"));
        assert!(edited("\"use_cache\": true", "\"hidden_act\": \"silu\"").contains("silu"));
        assert!(
            edited("\"use_cache\": true", "\"hidden_dropout_prob\": 1.0").contains("hidden_dropout_prob")
        );
        assert!(edited("\"vocab_size\": 10,", "").contains("vocab_size is missing"));
        let edited = |from: &str, to: &str| read(&DISTILBERT.replace(from, to)).unwrap_err().to_string();
        assert!(
            edited("\"n_heads\": 2", "\"n_heads\": 3").contains("n_heads is 3, which does not divide dim 8")
        );
        assert!(edited("\"dim\": 8,", "").contains("dim is missing"));
        assert!(edited("\"dim\": 8", "\"dim\": -8").contains("dim: "));
        assert!(edited("\"dropout\": 0.2", "\"dropout\": 1").contains(": dropout is 1"));
    }
}
