//! ModernBERT (Warner et al. 2024).

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::activation::Activation;
use crate::family::spec::{
    Architecture, ConfigDefaults, ConfigKeys, EncoderSize, FamilySpec, FieldProblem, FirstPosition,
};

pub(super) const MODERNBERT: FamilySpec = FamilySpec {
    model_type: "modernbert",
    architecture: Architecture::ModernBert,
    class: "ModernBertForTokenClassification",
    prefix: "model.",
    renamed: &[
        ("embeddings.word_embeddings.", "embeddings.tok_embeddings."),
        ("embeddings.LayerNorm.", "embeddings.norm."),
        ("encoder.layer.", "layers."),
        (".attention.LayerNorm.", ".attn_norm."),
        (".attention.", ".attn."),
        (".mlp.LayerNorm.", ".mlp_norm."),
        ("encoder.LayerNorm.", "final_norm."),
        ("head.LayerNorm.", "head.norm."),
    ],
    keys: &ConfigKeys {
        embedding_size: None,
        hidden_size: "hidden_size",
        layers: "num_hidden_layers",
        heads: "num_attention_heads",
        intermediate_size: "intermediate_size",
        activation: "hidden_activation",
        hidden_dropout: "mlp_dropout",
        attention_dropout: "attention_dropout",
        classifier_dropout: Some("classifier_dropout"),
        token_types: None,
        layer_norm_eps: Some("norm_eps"),
    },
    defaults: &ConfigDefaults {
        activation: Activation::Gelu,
        hidden_dropout: 0.0,
        attention_dropout: 0.0,
        classifier_dropout: Some(0.0),
        positions: 8192,
        token_types: 0,
        layer_norm_eps: 1e-5,
    },
    default_pad: 50283,
    first_position: FirstPosition::NoTable,
    position_bias: false,
    wordpiece: false,
    spaced_words: false,
    masked_head: None,
    shares_layers: false,
    check: |fields, size| ModernBert::read(fields, size).map(drop),
};

/// The key of the dropout probability of the embeddings.
pub(crate) const EMBEDDING_DROPOUT: &str = "embedding_dropout";

/// The most positions of which rotations are made. Their number is in no tensor of the file.
const MOST_POSITIONS: usize = 1 << 17;
/// The most numbers of a table of rotations: those of 131,072 positions with heads of 128 numbers.
const MOST_ROTATIONS: usize = MOST_POSITIONS << 7;

/// The fields of `config.json` that only ModernBERT has.
#[derive(Clone, Debug, PartialEq)]
pub struct ModernBert {
    /// Whether the products of attention have biases.
    pub attention_bias: bool,
    /// Whether the products of the gated units have biases.
    pub mlp_bias: bool,
    /// Whether normalizations have biases.
    pub norm_bias: bool,
    /// Whether the dense layer of the head has a bias.
    pub classifier_bias: bool,
    /// The activation of the head.
    pub classifier_activation: Activation,
    /// The dropout probability of the embeddings.
    pub embedding_dropout: f64,
    /// The base of the rotary frequencies in layers that attend to the whole sequence.
    pub global_theta: f64,
    /// The base of the rotary frequencies in layers that attend to a window.
    pub local_theta: f64,
    /// The largest distance from a query to a key in a window.
    reach: usize,
    global: GlobalLayers,
}

/// Which layers attend to the whole sequence.
#[derive(Clone, Debug, PartialEq)]
enum GlobalLayers {
    /// The first layer, and each layer so many after the previous one.
    Every(usize),
    /// The layers whose entry is true.
    Listed(Vec<bool>),
}

impl ModernBert {
    /// The values of the fields of a `config.json` besides those that all families have.
    pub(crate) fn read(fields: &Map<String, Value>, size: EncoderSize) -> Result<Self, FieldProblem> {
        if !size.head.is_multiple_of(2)
            || field::<usize>(fields, "head_dim")?.is_some_and(|head| head != size.head)
        {
            let problem = format!(
                "makes heads of {} numbers; rotary positions need an even number, and `head_dim` must be equal",
                size.head
            );
            return wrong("num_attention_heads", problem);
        }
        if size.positions > MOST_POSITIONS {
            let problem = format!("is {}; at most {MOST_POSITIONS} are supported", size.positions);
            return wrong("max_position_embeddings", problem);
        }
        if size.positions.saturating_mul(size.head) > MOST_ROTATIONS {
            let problem = format!(
                "is {}, with heads of {} numbers; at most {MOST_ROTATIONS} numbers are rotated",
                size.positions, size.head
            );
            return wrong("max_position_embeddings", problem);
        }
        if let Some(scaling) = fields.get("rope_scaling").filter(|value| !value.is_null()) {
            return wrong(
                "rope_scaling",
                format!("is {scaling}; only unscaled rotary positions are supported"),
            );
        }
        let flag = |key| -> Result<bool, FieldProblem> { Ok(field(fields, key)?.unwrap_or(false)) };
        let embedding_dropout: f64 = field(fields, EMBEDDING_DROPOUT)?.unwrap_or(0.0);
        if !(0.0..1.0).contains(&embedding_dropout) {
            return wrong(
                EMBEDDING_DROPOUT,
                format!("is {embedding_dropout}, not in [0, 1)"),
            );
        }
        Ok(Self {
            attention_bias: flag("attention_bias")?,
            mlp_bias: flag("mlp_bias")?,
            norm_bias: flag("norm_bias")?,
            classifier_bias: flag("classifier_bias")?,
            classifier_activation: field(fields, "classifier_activation")?.unwrap_or_default(),
            embedding_dropout,
            global_theta: theta(fields, "full_attention", "global_rope_theta", 160_000.0)?,
            local_theta: theta(fields, "sliding_attention", "local_rope_theta", 10_000.0)?,
            reach: field::<usize>(fields, "local_attention")?.unwrap_or(128) / 2,
            global: global_layers(fields, size.layers)?,
        })
    }

    /// The largest distance from a query to a key in layers with a window; `None` if all layers attend to the whole sequence.
    pub fn window(&self) -> Option<usize> {
        let has_windows = match &self.global {
            GlobalLayers::Every(step) => *step > 1,
            GlobalLayers::Listed(layers) => layers.contains(&false),
        };
        has_windows.then_some(self.reach)
    }

    /// The largest distance from a query to a key that it attends to in this layer; `None` if it attends to the whole sequence.
    pub fn reach(&self, layer: usize) -> Option<usize> {
        let is_global = match &self.global {
            GlobalLayers::Every(step) => layer.is_multiple_of(*step),
            GlobalLayers::Listed(layers) => layers.get(layer).copied().unwrap_or(true),
        };
        (!is_global).then_some(self.reach)
    }
}

fn wrong<T>(field: &'static str, problem: String) -> Result<T, FieldProblem> {
    Err(FieldProblem { field, problem })
}

/// The value of a field; `None` if it is absent or null.
fn field<T: DeserializeOwned>(
    fields: &Map<String, Value>,
    key: &'static str,
) -> Result<Option<T>, FieldProblem> {
    let value = fields.get(key).unwrap_or(&Value::Null);
    Option::<T>::deserialize(value).or_else(|error| wrong(key, format!("is {value}: {error}")))
}

/// The base of the rotary frequencies of a type of attention: of `rope_parameters`, as `transformers` writes it since version 5,
/// else of the older `key`.
fn theta(
    fields: &Map<String, Value>,
    attention: &str,
    key: &'static str,
    absent: f64,
) -> Result<f64, FieldProblem> {
    const NEW: &str = "rope_parameters";
    const TYPES: [&str; 2] = ["full_attention", "sliding_attention"];
    let parameters: Map<String, Value> = field(fields, NEW)?.unwrap_or_default();
    if let Some(unknown) = parameters.keys().find(|key| !TYPES.contains(&key.as_str())) {
        let problem = format!("has `{unknown}`; only full_attention and sliding_attention are supported");
        return wrong(NEW, problem);
    }
    let own = parameters.get(attention).unwrap_or(&Value::Null);
    if !own.is_object() && !own.is_null() {
        return wrong(NEW, format!("has {own} for {attention}, which is no object"));
    }
    for kind in ["rope_type", "type"].iter().filter_map(|key| own.get(key)) {
        if kind != "default" {
            return wrong(
                NEW,
                format!("has the type {kind} for {attention}; only \"default\" is supported"),
            );
        }
    }
    let (key, stated) = match own.get("rope_theta") {
        Some(stated) => (NEW, Some(stated)),
        None => (key, fields.get(key)),
    };
    let Some(stated) = stated else {
        return Ok(absent);
    };
    match stated.as_f64().filter(|theta| theta.is_finite() && *theta > 0.0) {
        Some(theta) => Ok(theta),
        None => wrong(
            key,
            format!("makes the base of {attention} {stated}, which is no positive number"),
        ),
    }
}

/// The layers that attend to the whole sequence: by `layer_types`, as `transformers` writes it since version 5, else by the older
/// `global_attn_every_n_layers`.
fn global_layers(fields: &Map<String, Value>, layers: usize) -> Result<GlobalLayers, FieldProblem> {
    const NEW: &str = "layer_types";
    const OLD: &str = "global_attn_every_n_layers";
    let Some(types) = field::<Vec<String>>(fields, NEW)? else {
        let step: usize = field(fields, OLD)?.unwrap_or(3);
        return match step {
            0 => wrong(OLD, "is 0".to_owned()),
            step => Ok(GlobalLayers::Every(step)),
        };
    };
    if types.len() != layers {
        return wrong(NEW, format!("has {} entries for {layers} layers", types.len()));
    }
    let is_global = |name: &String| match name.as_str() {
        "full_attention" => Ok(true),
        "sliding_attention" => Ok(false),
        _ => wrong(
            NEW,
            format!("has `{name}`; only full_attention and sliding_attention are supported"),
        ),
    };
    types
        .iter()
        .map(is_global)
        .collect::<Result<_, _>>()
        .map(GlobalLayers::Listed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(fields: Value) -> Result<ModernBert, FieldProblem> {
        let Value::Object(fields) = fields else {
            panic!("{fields}")
        };
        let size = EncoderSize {
            layers: 4,
            hidden: 32,
            head: 8,
            positions: 8192,
        };
        ModernBert::read(&fields, size)
    }

    #[test]
    fn absent_fields_are_those_of_transformers() {
        let found = read(json!({})).unwrap();
        assert_eq!((found.global_theta, found.local_theta), (160_000.0, 10_000.0));
        let reaches: Vec<_> = (0..4).map(|layer| found.reach(layer)).collect();
        assert_eq!(reaches, [None, Some(64), Some(64), None]);
        assert!(!found.attention_bias && !found.mlp_bias && !found.norm_bias && !found.classifier_bias);
    }

    #[test]
    fn old_and_new_keys_say_the_same() {
        let old = json!({"global_attn_every_n_layers": 2, "local_attention": 5, "global_rope_theta": 100,
            "local_rope_theta": 10.0});
        let types = ["full_attention", "sliding_attention"].repeat(2);
        let new = json!({"local_attention": 5, "layer_types": types, "global_rope_theta": 7, "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 100.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10}}});
        let (old, new) = (read(old).unwrap(), read(new).unwrap());
        assert_eq!((old.global_theta, old.local_theta), (100.0, 10.0));
        assert_eq!(
            (old.global_theta, old.local_theta),
            (new.global_theta, new.local_theta)
        );
        for layer in 0..4 {
            assert_eq!(old.reach(layer), new.reach(layer));
        }
        assert_eq!((old.reach(0), old.reach(1)), (None, Some(2)));
    }

    #[test]
    fn what_is_not_supported_names_its_field() {
        for (field, fields) in [
            ("attention_bias", json!({"attention_bias": 1})),
            ("classifier_activation", json!({"classifier_activation": "silu"})),
            ("embedding_dropout", json!({"embedding_dropout": 1.0})),
            ("embedding_dropout", json!({"embedding_dropout": -0.1})),
            (
                "global_attn_every_n_layers",
                json!({"global_attn_every_n_layers": 0}),
            ),
            ("global_rope_theta", json!({"global_rope_theta": 0})),
            ("head_dim", json!({"head_dim": -1})),
            ("layer_types", json!({"layer_types": ["full_attention"]})),
            ("layer_types", json!({"layer_types": vec!["linear_attention"; 4]})),
            ("local_attention", json!({"local_attention": -2})),
            ("local_rope_theta", json!({"local_rope_theta": null})),
            ("num_attention_heads", json!({"head_dim": 4})),
            ("rope_parameters", json!({"rope_parameters": {"rope_theta": 1.0}})),
            (
                "rope_parameters",
                json!({"rope_parameters": {"full_attention": {"rope_type": "yarn"}}}),
            ),
            (
                "rope_parameters",
                json!({"rope_parameters": {"full_attention": {"rope_theta": "x"}}}),
            ),
            (
                "rope_scaling",
                json!({"rope_scaling": {"rope_type": "linear", "factor": 2.0}}),
            ),
        ] {
            let problem = read(fields.clone()).unwrap_err();
            assert_eq!(problem.field, field, "{fields}: {problem}");
        }
        let of_size = |head, positions| {
            let size = EncoderSize {
                layers: 1,
                hidden: 32,
                head,
                positions,
            };
            ModernBert::read(&Map::new(), size).unwrap_err().field
        };
        assert_eq!(of_size(7, 10), "num_attention_heads");
        assert_eq!(of_size(8, usize::MAX), "max_position_embeddings");
        assert_eq!(of_size(1 << 40, 8192), "max_position_embeddings");
    }
}
