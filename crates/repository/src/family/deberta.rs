//! DeBERTa-v3 (He et al. 2021). Its files have the keys of DeBERTa-v2, whose convolution it does not have.

use serde_json::{Map, Value};

use crate::family::bert;
use crate::family::spec::{Architecture, ConfigDefaults, ConfigKeys, EncoderSize, FamilySpec, FieldProblem};

pub(super) const DEBERTA_V2: FamilySpec = FamilySpec {
    model_type: "deberta-v2",
    architecture: Architecture::Deberta,
    class: "DebertaV2ForTokenClassification",
    prefix: "deberta.",
    renamed: &[
        (".attention.self.query.", ".attention.self.query_proj."),
        (".attention.self.key.", ".attention.self.key_proj."),
        (".attention.self.value.", ".attention.self.value_proj."),
        ("encoder.rel_embeddings.LayerNorm.", "encoder.LayerNorm."),
    ],
    keys: &ConfigKeys {
        classifier_dropout: None,
        ..bert::KEYS
    },
    defaults: &ConfigDefaults {
        token_types: 0,
        layer_norm_eps: 1e-7,
        ..bert::DEFAULTS
    },
    wordpiece: false,
    check: |fields, size| RelativeAttention::of(fields, size).map(drop),
    ..bert::BERT
};

/// The largest number of buckets and of positions. It bounds the tables that are made by distance.
const MOST: usize = 1 << 16;

/// How the distances between tokens enter the attention scores of DeBERTa-v3, as its `config.json` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelativeAttention {
    /// The number of buckets on each side, of which the nearer half is of one distance each; `None` if every distance up to
    /// [`Self::longest`] has its own.
    buckets: Option<usize>,
    /// The distance at which the buckets end.
    longest: usize,
    /// Whether a score has the product of the query with the position key of the distance.
    pub content_to_position: bool,
    /// Whether a score has the product of the key with the position query of the distance.
    pub position_to_content: bool,
    /// Whether position keys and queries are made by the projections of the tokens' keys and queries.
    pub shares_projections: bool,
    /// Whether the relative embeddings are normalized.
    pub is_normalized: bool,
    /// Whether the embeddings of tokens have a position table too.
    pub has_position_table: bool,
}

impl RelativeAttention {
    /// The name of the table `[rows, hidden]` of relative embeddings, which all layers share (see [`crate::Family`]).
    pub const TABLE: &str = "bert.encoder.rel_embeddings.weight";
    /// The name of the normalization of this table.
    pub const NORM: &str = "bert.encoder.rel_embeddings.LayerNorm";

    /// The relative attention that these fields describe; an error for one that is not DeBERTa-v3's. An absent field has the value
    /// that it has in `transformers`.
    pub(crate) fn of(fields: &Map<String, Value>, size: EncoderSize) -> Result<Self, FieldProblem> {
        let problem = |field: &'static str, problem: String| FieldProblem { field, problem };
        let stated = |field| fields.get(field).filter(|value| !value.is_null());
        let flag = |field, absent: bool| match stated(field) {
            None => Ok(absent),
            Some(Value::Bool(value)) => Ok(*value),
            Some(other) => Err(problem(field, format!("is {other}, not true or false"))),
        };
        // Absent and negative numbers mean none, as -1 does.
        let number = |field| match stated(field).map(|value| (value, value.as_i64())) {
            None => Ok(None),
            Some((_, Some(number))) => match usize::try_from(number) {
                Err(_) | Ok(0) => Ok(None),
                Ok(number) if number <= MOST => Ok(Some(number)),
                Ok(_) => Err(problem(
                    field,
                    format!("is {number}; at most {MOST} is supported"),
                )),
            },
            Some((other, None)) => Err(problem(field, format!("is {other}, not a whole number"))),
        };
        const ON: &str = "relative_attention";
        if !flag(ON, false)? {
            let stated = stated(ON).map_or("missing", |_| "false");
            return Err(problem(ON, format!("is {stated}; only true is supported")));
        }
        const CONVOLUTION: &str = "conv_kernel_size";
        if let Some(size) = number(CONVOLUTION)? {
            let text = format!(
                "is {size}; the convolution of DeBERTa-v2 is not supported, only DeBERTa-v3 without it"
            );
            return Err(problem(CONVOLUTION, text));
        }
        for (field, width) in [
            ("embedding_size", size.hidden),
            ("attention_head_size", size.head),
        ] {
            if number(field)?.is_some_and(|number| number != width) {
                let stated = fields.get(field).cloned().unwrap_or_default();
                return Err(problem(
                    field,
                    format!("is {stated}; only {width} is supported, from hidden_size"),
                ));
            }
        }
        const TERMS: &str = "pos_att_type";
        let terms = terms(stated(TERMS)).map_err(|text| problem(TERMS, text))?;
        const NORM: &str = "norm_rel_ebd";
        let is_normalized = match stated(NORM).map(|value| (value, value.as_str())) {
            None => false,
            Some((_, Some(text))) if text.trim().eq_ignore_ascii_case("layer_norm") => true,
            Some((_, Some(text))) if text.trim().eq_ignore_ascii_case("none") => false,
            Some((other, _)) => {
                let text = format!("is {other}; only \"layer_norm\" and \"none\" are supported");
                return Err(problem(NORM, text));
            }
        };
        if size.positions > MOST {
            let text = format!("is {}; at most {MOST} is supported", size.positions);
            return Err(problem("max_position_embeddings", text));
        }
        const BUCKETS: &str = "position_buckets";
        const LONGEST: &str = "max_relative_positions";
        let (buckets, longest) = (number(BUCKETS)?, number(LONGEST)?);
        if buckets == Some(1) {
            return Err(problem(BUCKETS, "is 1; at least 2 are needed".to_owned()));
        }
        let near = buckets.map_or(0, |buckets| buckets / 2 + 1);
        if let Some(longest) = longest.filter(|&longest| longest <= near && size.positions > near) {
            let text = format!("is {longest}; with {BUCKETS} it must be larger than {near}");
            return Err(problem(LONGEST, text));
        }
        Ok(Self {
            buckets,
            longest: longest.unwrap_or(size.positions),
            content_to_position: terms.contains(&"c2p".to_owned()),
            position_to_content: terms.contains(&"p2c".to_owned()),
            shares_projections: flag("share_att_key", false)?,
            is_normalized,
            has_position_table: flag("position_biased_input", true)?,
        })
    }

    /// The number of terms of a score: the product of query and key, and those with relative positions.
    pub fn terms(&self) -> usize {
        1 + usize::from(self.content_to_position) + usize::from(self.position_to_content)
    }

    /// The number of relative embeddings: as many for keys behind the query as for keys before it.
    pub fn rows(&self) -> usize {
        2 * self.span()
    }

    fn span(&self) -> usize {
        self.buckets.unwrap_or(self.longest)
    }

    /// The row of the relative embeddings for a query that is `distance` tokens behind the key, or before it if `distance` is
    /// negative.
    ///
    /// Up to half of the buckets, each distance has its own row; above, the rows of a direction divide the distances up to
    /// the longest one logarithmically. Farther distances have the last row. As in `transformers`, logarithms are f32: of f64
    /// ones rounded, so that they do not depend on the machine.
    pub fn row(&self, distance: isize) -> usize {
        let span = self.span();
        let length = distance.unsigned_abs();
        let middle = self.buckets.map(|buckets| buckets / 2);
        let away = match middle.filter(|&middle| length > middle) {
            None => length,
            Some(middle) => {
                let log = |x: f32| f64::from(x).ln() as f32;
                let whole = ((self.longest as f64 - 1.0) / middle as f64) as f32;
                let part = log(length as f32 / middle as f32) / log(whole);
                ((part * (middle as f32 - 1.0)).ceil() as usize).saturating_add(middle)
            }
        };
        match distance > 0 {
            true => span.saturating_add(away).min(2 * span - 1),
            false => span.saturating_sub(away),
        }
    }
}

/// The kinds of products with relative positions: names in a list, or in a text between bars.
fn terms(stated: Option<&Value>) -> Result<Vec<String>, String> {
    let supported = "only \"c2p\", \"p2c\" and both are supported, in a list or as \"p2c|c2p\"";
    let names: Option<Vec<String>> = match stated {
        Some(Value::String(text)) => {
            let names = text.split('|').map(|name| name.trim().to_lowercase());
            Some(names.collect())
        }
        Some(Value::Array(names)) => names
            .iter()
            .map(|name| name.as_str().map(str::to_owned))
            .collect(),
        Some(_) => None,
        None => return Err(format!("is missing; {supported}")),
    };
    let is_known = |name: &String| ["c2p", "p2c"].contains(&name.as_str());
    match names.filter(|names| !names.is_empty() && names.iter().all(is_known)) {
        Some(names) => Ok(names),
        None => Err(format!("is {}; {supported}", stated.cloned().unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    const SIZE: EncoderSize = EncoderSize {
        layers: 12,
        positions: 512,
        hidden: 768,
        head: 64,
    };

    /// The fields of `microsoft/deberta-v3-base` with others.
    fn read(others: &Value) -> Result<RelativeAttention, FieldProblem> {
        let mut fields = json!({
            "relative_attention": true, "position_buckets": 256, "norm_rel_ebd": "layer_norm", "share_att_key": true,
            "pos_att_type": "p2c|c2p", "max_relative_positions": -1, "position_biased_input": false,
        });
        let fields = fields.as_object_mut().unwrap();
        fields.extend(others.as_object().unwrap().clone());
        RelativeAttention::of(fields, SIZE)
    }

    #[test]
    fn options_are_read_as_transformers_reads_them() {
        let published = read(&json!({})).unwrap();
        let expected = RelativeAttention {
            buckets: Some(256),
            longest: 512,
            content_to_position: true,
            position_to_content: true,
            shares_projections: true,
            is_normalized: true,
            has_position_table: false,
        };
        assert_eq!(
            (published, published.rows(), published.terms()),
            (expected, 512, 3)
        );
        for others in [
            json!({"pos_att_type": ["c2p", "p2c"]}),
            json!({"pos_att_type": "C2P | p2c", "norm_rel_ebd": " Layer_Norm"}),
            json!({"conv_kernel_size": 0, "embedding_size": 768, "attention_head_size": 64}),
            json!({"conv_kernel_size": null, "max_relative_positions": null}),
        ] {
            assert_eq!(read(&others).unwrap(), published);
        }
        let absent = RelativeAttention::of(
            json!({"relative_attention": true, "pos_att_type": ["c2p"]})
                .as_object()
                .unwrap(),
            SIZE,
        );
        let expected = RelativeAttention {
            buckets: None,
            position_to_content: false,
            shares_projections: false,
            is_normalized: false,
            has_position_table: true,
            ..expected
        };
        assert_eq!(absent.unwrap(), expected);
        assert_eq!((expected.rows(), expected.terms()), (1024, 2));
    }

    #[test]
    fn what_is_not_supported_names_its_field() {
        for (field, value) in [
            ("relative_attention", json!(false)),
            ("relative_attention", json!(null)),
            ("relative_attention", json!("yes")),
            ("conv_kernel_size", json!(3)),
            ("pos_att_type", json!("p2p")),
            ("pos_att_type", json!("")),
            ("pos_att_type", json!([])),
            ("pos_att_type", json!(["c2p", 1])),
            ("pos_att_type", json!(null)),
            ("norm_rel_ebd", json!("batch_norm")),
            ("norm_rel_ebd", json!(1)),
            ("share_att_key", json!(1)),
            ("position_buckets", json!(1)),
            ("position_buckets", json!(1e300)),
            ("position_buckets", json!(1_u64 << 40)),
            ("position_buckets", json!("256")),
            ("max_relative_positions", json!(129)),
            ("max_relative_positions", json!(u64::MAX)),
            ("embedding_size", json!(128)),
            ("attention_head_size", json!(32)),
            ("position_biased_input", json!("no")),
        ] {
            let problem = read(&json!({field: value})).unwrap_err();
            assert_eq!(problem.field, field, "{value}");
        }
        let fields = json!({"relative_attention": true, "pos_att_type": "c2p"});
        let size = EncoderSize {
            positions: 1 << 40,
            ..SIZE
        };
        let problem = RelativeAttention::of(fields.as_object().unwrap(), size).unwrap_err();
        assert_eq!(problem.field, "max_position_embeddings");
    }

    #[derive(Deserialize)]
    struct Rows {
        position_buckets: i64,
        max_relative_positions: i64,
        /// Of the distances from -600 to 600.
        rows: Vec<usize>,
    }

    #[test]
    fn rows_are_those_of_transformers() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/families/deberta_rows.json"
        );
        let all: Vec<Rows> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        for expected in all {
            let read = read(&json!({
                "position_buckets": expected.position_buckets,
                "max_relative_positions": expected.max_relative_positions,
            }))
            .unwrap();
            let found: Vec<usize> = (-600..=600).map(|distance| read.row(distance)).collect();
            assert_eq!(found, expected.rows, "{read:?}");
            let farthest = [isize::MIN, isize::MAX].map(|distance| read.row(distance));
            assert!(farthest.iter().all(|row| *row < read.rows()), "{farthest:?}");
        }
    }
}
