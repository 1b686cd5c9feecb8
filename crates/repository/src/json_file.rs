//! A JSON object of which a few fields are read, with errors that name file and field.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::config_error::ConfigError;

/// The fields of a JSON file.
pub struct JsonFile {
    path: PathBuf,
    fields: Map<String, Value>,
}

impl JsonFile {
    /// The object in a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read(path)
            .and_then(nerve_tagging::into_text)
            .map_err(|source| ConfigError::Read {
                path: path.to_owned(),
                source,
            })?;
        Self::parse(&text, path)
    }

    /// The object in a text; errors name `path`.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let fields = serde_json::from_str(text).map_err(|source| ConfigError::Parse {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            fields,
        })
    }

    /// The value of a field; `None` if it is absent or null.
    pub fn field<T: DeserializeOwned>(&self, field: &'static str) -> Result<Option<T>, ConfigError> {
        let value = self.fields.get(field).unwrap_or(&Value::Null);
        Option::<T>::deserialize(value).map_err(|source| ConfigError::Field {
            path: self.path.clone(),
            field,
            source,
        })
    }

    /// Removes a field and yields its value; `None` if it is absent or null.
    pub fn take<T: DeserializeOwned>(&mut self, field: &'static str) -> Result<Option<T>, ConfigError> {
        let value = self.field(field)?;
        self.fields.remove(field);
        Ok(value)
    }

    /// Removes a field that must be there and yields its value.
    pub fn take_required<T: DeserializeOwned>(&mut self, field: &'static str) -> Result<T, ConfigError> {
        self.take(field)?.ok_or_else(|| self.wrong(field, "is missing"))
    }

    /// The fields that were not removed.
    pub fn into_fields(self) -> Map<String, Value> {
        self.fields
    }

    /// The error that the value of a field describes no model.
    pub fn wrong(&self, field: &'static str, problem: impl Into<String>) -> ConfigError {
        ConfigError::Value {
            path: self.path.clone(),
            field,
            problem: problem.into(),
        }
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_file_and_utf_16_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "\u{feff}{\"a\": 1}").unwrap();
        assert_eq!(
            JsonFile::read(file.path()).unwrap().field::<u8>("a").unwrap(),
            Some(1)
        );
        std::fs::write(file.path(), b"\xff\xfe{\0}\0").unwrap();
        let problem = JsonFile::read(file.path()).map(drop).unwrap_err().to_string();
        assert!(problem.contains("UTF-16; convert it to UTF-8"), "{problem}");
    }
}
