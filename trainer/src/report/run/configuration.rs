//! A configuration as names and values.

use serde::Serialize;
use serde_json::Value;

/// The fields of a configuration as names and values. Names of nested fields are joined with dots; absent values are
/// left out.
pub fn configuration_rows(configuration: &impl Serialize) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    // A value that cannot be written as JSON has no rows.
    let value = serde_json::to_value(configuration).unwrap_or_default();
    add_rows(&mut rows, String::new(), &value);
    rows
}

fn add_rows(rows: &mut Vec<(String, String)>, name: String, value: &Value) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            for (field, value) in fields {
                let name = if name.is_empty() {
                    field.clone()
                } else {
                    format!("{name}.{field}")
                };
                add_rows(rows, name, value);
            }
        }
        Value::String(text) => rows.push((name, text.clone())),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => rows.push((name, value.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_its_fields() {
        let rows = configuration_rows(&serde_json::json!({"a": {"b": 1, "c": null}, "d": "x", "e": [1, 2]}));
        let expected = [("a.b", "1"), ("d", "x"), ("e", "[1,2]")];
        assert_eq!(
            rows,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }
}
