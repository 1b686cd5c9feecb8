//! ALBERT (Lan et al. 2020), whose layers share their weights.

use serde_json::{Map, Value};

use crate::activation::Activation;
use crate::family::bert::{BERT, DEFAULTS, KEYS};
use crate::family::spec::{ConfigDefaults, ConfigKeys, FamilySpec, FieldProblem, MOST_LAYERS, MaskedHead};

pub(super) const ALBERT: FamilySpec = FamilySpec {
    model_type: "albert",
    class: "AlbertForTokenClassification",
    prefix: "albert.",
    renamed: &[
        ("embeddings_project.", "encoder.embedding_hidden_mapping_in."),
        ("encoder.layer.", "encoder.albert_layer_groups."),
        (".attention.self.", ".attention."),
        (".attention.output.", ".attention."),
        (".intermediate.dense.", ".ffn."),
        (".output.dense.", ".ffn_output."),
        (".output.LayerNorm.", ".full_layer_layer_norm."),
    ],
    keys: &ConfigKeys {
        embedding_size: Some(("embedding_size", 128)),
        classifier_dropout: Some("classifier_dropout_prob"),
        ..KEYS
    },
    defaults: &ConfigDefaults {
        activation: Activation::GeluTanh,
        hidden_dropout: 0.0,
        attention_dropout: 0.0,
        classifier_dropout: Some(0.1),
        ..DEFAULTS
    },
    wordpiece: false,
    masked_head: Some(&MaskedHead {
        dense: "predictions.dense",
        norm: "predictions.LayerNorm",
        bias: "predictions.bias",
        activation: None,
    }),
    shares_layers: true,
    check: |fields, _| SharedLayers::of(fields).map(|_| ()),
    ..BERT
};

/// How layers share their weights: consecutive layers are a group, and each of them applies the same `inner` layers one after the
/// other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SharedLayers {
    /// Groups of layers.
    pub(crate) groups: usize,
    /// Layers with weights of their own in a group.
    pub(crate) inner: usize,
}

impl SharedLayers {
    pub(crate) const GROUPS: &str = "num_hidden_groups";
    const INNER: &str = "inner_group_num";
    /// Reads the fields that only ALBERT has.
    pub(crate) fn of(fields: &Map<String, Value>) -> Result<Self, FieldProblem> {
        let number = |field: &'static str| match fields.get(field) {
            None | Some(Value::Null) => Ok(1),
            Some(stated) => stated
                .as_u64()
                .and_then(|number| usize::try_from(number).ok())
                .filter(|number| (1..=MOST_LAYERS).contains(number))
                .ok_or_else(|| FieldProblem {
                    field,
                    problem: format!("is {stated}, not a number from 1 to {MOST_LAYERS}"),
                }),
        };
        Ok(Self {
            groups: number(Self::GROUPS)?,
            inner: number(Self::INNER)?,
        })
    }

    /// The beginning of the names of the tensors of the layer that is applied at this index, if there are so many `layers`, each of
    /// `inner` ones.
    ///
    /// The quotient is rounded as `transformers` rounds it.
    pub(crate) fn name(self, index: usize, layers: usize) -> String {
        let (layer, inner) = (index / self.inner, index % self.inner);
        let group = (layer as f64 / (layers as f64 / self.groups as f64)) as usize;
        format!("bert.encoder.layer.{group}.albert_layers.{inner}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shared(groups: Value, inner: Value) -> Result<SharedLayers, FieldProblem> {
        let fields = [(SharedLayers::GROUPS, groups), (SharedLayers::INNER, inner)];
        SharedLayers::of(
            &fields
                .map(|(key, value)| (key.to_owned(), value))
                .into_iter()
                .collect(),
        )
    }

    #[test]
    fn layers_of_a_group_have_the_same_names() {
        let names = |groups: u64, inner: u64, layers: usize| -> Vec<String> {
            let shared = shared(groups.into(), inner.into()).unwrap();
            let names = (0..layers * shared.inner).map(|index| shared.name(index, layers));
            let short = |name: String| {
                name.replace("bert.encoder.layer.", "")
                    .replace("albert_layers.", "")
            };
            names.map(short).collect()
        };
        assert_eq!(names(1, 1, 3), ["0.0", "0.0", "0.0"]);
        assert_eq!(names(2, 1, 4), ["0.0", "0.0", "1.0", "1.0"]);
        assert_eq!(names(2, 2, 3), ["0.0", "0.1", "0.0", "0.1", "1.0", "1.1"]);
        // `[int(i / (10 / 6)) for i in range(10)]` of Python.
        let groups: Vec<String> = names(6, 1, 10);
        assert_eq!(
            groups.iter().map(|name| &name[..1]).collect::<String>(),
            "0011233445"
        );
        assert_eq!(
            SharedLayers::of(&Map::new()).unwrap(),
            shared(json!(1), json!(1)).unwrap()
        );
    }

    #[test]
    fn impossible_numbers_are_named() {
        for value in [json!(0), json!(-1), json!(1.5), json!("2"), json!(1u64 << 60)] {
            let problem = shared(value.clone(), json!(1)).unwrap_err();
            assert_eq!(problem.field, "num_hidden_groups");
            assert!(
                problem.problem.contains("not a number from 1"),
                "{}",
                problem.problem
            );
            assert_eq!(shared(json!(1), value).unwrap_err().field, "inner_group_num");
        }
    }
}
