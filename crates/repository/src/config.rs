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
use crate::family::deberta::RelativeAttention;
use crate::family::modernbert::{EMBEDDING_DROPOUT, ModernBert};
use crate::family::spec::{Architecture, EncoderSize, FieldProblem, MOST_LAYERS};
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
                None => defaults.classifier_dropout,
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
        (self.family.check())(&self.other, self.size())
            .map_err(|FieldProblem { field, problem }| value(field, problem))?;
        let (groups, layers) = (self.numbered_layers(), self.num_hidden_layers);
        if groups > layers {
            let problem = format!("is {groups}, more than the {layers} of {}", keys.layers);
            return Err(value(SharedLayers::GROUPS, problem));
        }
        // Before the weights are read, whose size does not bound the layers that share them.
        let applied = self.layer_count();
        if applied > MOST_LAYERS {
            let problem =
                format!("is {layers}, which makes {applied} layers; at most {MOST_LAYERS} are supported");
            return Err(value(keys.layers, problem));
        }
        if self.pad_token_id as usize >= self.vocab_size {
            let problem = format!(
                "is {}, which is no id of a vocabulary of {}",
                self.pad_token_id, self.vocab_size
            );
            return Err(value("pad_token_id", problem));
        }
        let epsilon = self.layer_norm_eps;
        if !(epsilon.is_finite() && epsilon >= 0.0) {
            let field = keys.layer_norm_eps.unwrap_or("layer_norm_eps");
            return Err(value(field, format!("is {epsilon}, not 0 or a positive number")));
        }
        match self.other.get("position_embedding_type") {
            Some(kind) if kind != "absolute" && self.family.has_position_table() => Err(value(
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

    /// The fields that only ModernBERT has. An error for values that [`Self::validate`] refuses.
    pub fn modern_bert(&self) -> Result<ModernBert, FieldProblem> {
        ModernBert::read(&self.other, self.size())
    }

    fn size(&self) -> EncoderSize {
        EncoderSize {
            layers: self.num_hidden_layers,
            hidden: self.hidden_size,
            head: self.head_size(),
            positions: self.max_position_embeddings,
        }
    }

    /// The same encoder with its first layers alone.
    pub fn with_layers(mut self, layers: usize) -> Self {
        self.num_hidden_layers = layers;
        if let Some(Value::Array(types)) = self.other.get_mut("layer_types") {
            types.truncate(layers);
        }
        self
    }

    /// Sets the dropout probabilities of hidden states, embeddings included, and of attention weights; an absent one stays.
    pub fn set_dropout(&mut self, hidden: Option<f64>, attention: Option<f64>) {
        if let Some(hidden) = hidden {
            self.hidden_dropout_prob = hidden;
            if self.family.architecture() == Architecture::ModernBert {
                self.other.insert(EMBEDDING_DROPOUT.to_owned(), hidden.into());
            }
        }
        self.attention_probs_dropout_prob = attention.unwrap_or(self.attention_probs_dropout_prob);
    }

    /// Whether the network has no dropout anywhere.
    pub fn drops_nothing(&self) -> bool {
        let hidden = self.hidden_dropout_prob;
        let embedding = self.other.get(EMBEDDING_DROPOUT).and_then(Value::as_f64);
        let classifier = self.classifier_dropout.unwrap_or(hidden);
        [
            hidden,
            self.attention_probs_dropout_prob,
            classifier,
            embedding.unwrap_or(0.0),
        ] == [0.0; 4]
    }

    /// The row of the position table for the first token of a sequence; 0 if the family has none.
    pub fn first_position(&self) -> usize {
        self.family.first_position(self.pad_token_id)
    }

    /// Longest sequence, special tokens included.
    pub fn max_length(&self) -> usize {
        self.max_position_embeddings.saturating_sub(self.first_position())
    }

    /// How many layers are applied, one after the other.
    pub fn layer_count(&self) -> usize {
        let inner = self.shared_layers().map_or(1, |shared| shared.inner);
        self.num_hidden_layers.saturating_mul(inner)
    }

    /// The beginning of the names of the tensors of the layer that is applied at this index (see [`Family`]). Layers that share
    /// their weights have the same one.
    pub fn layer_name(&self, index: usize) -> String {
        match self.shared_layers() {
            Some(shared) => shared.name(index, self.num_hidden_layers),
            None => format!("bert.encoder.layer.{index}"),
        }
    }

    /// The number of N in the names `bert.encoder.layer.N.` of tensors: groups where layers share their weights, else layers.
    pub fn numbered_layers(&self) -> usize {
        self.shared_layers()
            .map_or(self.num_hidden_layers, |shared| shared.groups)
    }

    /// How the layers share weights; `None` if each layer has its own. [`Self::validate`] refuses fields that say neither.
    fn shared_layers(&self) -> Option<SharedLayers> {
        let shares = self.family.shares_layers();
        shares.then(|| SharedLayers::of(&self.other).ok()).flatten()
    }

    /// Whether the linear layer `bert.embeddings_project` follows the normalized embeddings.
    pub fn projects_embeddings(&self) -> bool {
        self.family.shares_layers() || self.embedding_size != self.hidden_size
    }

    /// How distances enter the attention scores of DeBERTa-v3. An error for values that [`Self::validate`] refuses.
    pub fn relative_attention(&self) -> Result<RelativeAttention, FieldProblem> {
        RelativeAttention::of(&self.other, self.size())
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
mod tests;
