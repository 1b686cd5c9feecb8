//! The names of numbered tags that a Parquet file of Hugging Face `datasets` has in its metadata.

use serde_json::Value;

use crate::read_options::TagNames;

/// The key of the metadata.
pub(crate) const METADATA_KEY: &str = "huggingface";

/// The names of the `ClassLabel` of a column, from the JSON under [`METADATA_KEY`]; `None` if the column has none.
///
/// A list of class labels is `{"feature": {"names": [...], "_type": "ClassLabel"}, "_type": "Sequence"}`, or `List` in later
/// versions, or a JSON array of the feature.
pub(crate) fn class_labels(metadata: &str, column: &str) -> Result<Option<TagNames>, String> {
    let metadata: Value = serde_json::from_str(metadata)
        .map_err(|error| format!("its `{METADATA_KEY}` metadata is not JSON: {error}"))?;
    let Some(mut feature) = metadata.pointer("/info/features").and_then(|all| all.get(column)) else {
        return Ok(None);
    };
    while let Some(inner) = feature.get("feature").or_else(|| feature.get(0)) {
        feature = inner;
    }
    let Some(names) = feature.get("names") else {
        return Ok(None);
    };
    let names: Option<Vec<String>> = names.as_array().and_then(|names| {
        names
            .iter()
            .map(|name| name.as_str().map(str::to_owned))
            .collect()
    });
    let names = names.and_then(TagNames::new);
    match names {
        Some(names) => Ok(Some(names)),
        None => Err(format!(
            "the `names` of column `{column}` in its `{METADATA_KEY}` metadata are not a list of names"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_that_datasets_wrote_is_read() {
        let label = r#"{"num_classes": 2, "names": ["O", "B-x"], "id": null, "_type": "ClassLabel"}"#;
        for feature in [
            format!(r#"{{"feature": {label}, "length": -1, "id": null, "_type": "Sequence"}}"#),
            format!(r#"{{"_type": "List", "feature": {label}}}"#),
            format!(r#"{{"_type": "LargeList", "feature": {label}}}"#),
            format!("[{label}]"),
        ] {
            let metadata = format!(r#"{{"info": {{"features": {{"ner_tags": {feature}}}}}}}"#);
            let names = class_labels(&metadata, "ner_tags").unwrap().unwrap();
            assert_eq!(
                (names.resolve(1), names.resolve(2).is_err()),
                (Ok("B-x".to_owned()), true),
                "{feature}"
            );
            assert_eq!(class_labels(&metadata, "tags").unwrap(), None);
        }
        let numbers = r#"{"info": {"features": {"tags": {"feature": {"dtype": "int32", "_type": "Value"}, "_type": "Sequence"}}}}"#;
        assert_eq!(class_labels(numbers, "tags").unwrap(), None);
    }

    #[test]
    fn unusable_metadata_are_errors() {
        assert!(class_labels("{", "tags").unwrap_err().contains("not JSON"));
        for names in ["[1]", "[]", "{}", "[\"\"]"] {
            let metadata = format!(r#"{{"info": {{"features": {{"tags": {{"names": {names}}}}}}}}}"#);
            let error = class_labels(&metadata, "tags").unwrap_err();
            assert!(error.contains("not a list of names"), "{names}: {error}");
        }
    }
}
