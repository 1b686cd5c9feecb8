//! The names of labels in `config.json`, by id.

use std::collections::BTreeMap;

use crate::config_error::ConfigError;
use crate::json_file::JsonFile;

/// The label names by decimal id: `id2label`, or the inverse of `label2id` where that is absent; empty where both are.
pub(crate) fn id2label(file: &JsonFile) -> Result<BTreeMap<String, String>, ConfigError> {
    let id2label: Option<BTreeMap<String, String>> = file.field("id2label")?;
    if let Some(id2label) = id2label.filter(|map| !map.is_empty()) {
        return Ok(id2label);
    }
    let label2id: BTreeMap<String, usize> = file.field("label2id")?.unwrap_or_default();
    let count = label2id.len();
    let id2label: BTreeMap<String, String> = label2id
        .into_iter()
        .map(|(label, id)| (id.to_string(), label))
        .collect();
    if id2label.len() != count {
        return Err(file.wrong("label2id", "gives one id to two labels"));
    }
    Ok(id2label)
}
