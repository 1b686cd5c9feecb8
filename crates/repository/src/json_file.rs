//! A JSON object of somebody else's, of which a few fields are read.

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
    /// The file's object.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, path)
    }

    /// The object that a text is; `path` is named in errors.
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

    /// A field's value; `None` where it is absent or null.
    pub fn field<T: DeserializeOwned>(&self, field: &'static str) -> Result<Option<T>, ConfigError> {
        let value = self.fields.get(field).unwrap_or(&Value::Null);
        Option::<T>::deserialize(value).map_err(|source| ConfigError::Field {
            path: self.path.clone(),
            field,
            source,
        })
    }

    /// A field's value, which the file then no longer has; `None` where it is absent or null.
    pub fn take<T: DeserializeOwned>(&mut self, field: &'static str) -> Result<Option<T>, ConfigError> {
        let value = self.field(field)?;
        self.fields.remove(field);
        Ok(value)
    }

    /// A field's value, which the file then no longer has and without which there is no model.
    pub fn take_required<T: DeserializeOwned>(&mut self, field: &'static str) -> Result<T, ConfigError> {
        self.take(field)?.ok_or_else(|| self.wrong(field, "is missing"))
    }

    /// The fields not taken.
    pub fn into_fields(self) -> Map<String, Value> {
        self.fields
    }

    /// The error that a field's value makes no model.
    pub fn wrong(&self, field: &'static str, problem: impl Into<String>) -> ConfigError {
        ConfigError::Value {
            path: self.path.clone(),
            field,
            problem: problem.into(),
        }
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
