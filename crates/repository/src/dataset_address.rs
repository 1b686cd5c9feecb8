//! The name of a data set of the hub.

use std::fmt::{self, Display, Formatter};

use crate::address::HubModel;

/// A data set of the hub: `OWNER/NAME`, and optionally `@` and a branch, tag or commit, and `:` and a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubDataset {
    /// `OWNER/NAME`.
    pub id: String,
    /// A branch, tag or commit with Parquet files; the branch `refs/convert/parquet` if absent.
    pub revision: Option<String>,
    /// One of its configurations; the only one if absent.
    pub config: Option<String>,
}

impl HubDataset {
    /// The data set of this name; none if the text does not have the form of one, as a path with a leading `.` or `/`.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, config) = match text.rsplit_once(':') {
            Some((name, config)) => (name, Some(config)),
            None => (text, None),
        };
        let is_config =
            |config: &str| !config.is_empty() && !config.starts_with('.') && !config.contains(['/', '\\']);
        let HubModel { id, revision } = HubModel::parse(name)?;
        (id.contains('/') && config.is_none_or(is_config)).then(|| Self {
            id,
            revision,
            config: config.map(str::to_owned),
        })
    }
}

impl Display for HubDataset {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        write!(to, "{}", self.id)?;
        if let Some(revision) = &self.revision {
            write!(to, "@{revision}")?;
        }
        match &self.config {
            Some(config) => write!(to, ":{config}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_a_revision_and_a_configuration() {
        let parse = |text: &str| {
            let found = HubDataset::parse(text)?;
            assert_eq!(found.to_string(), text);
            Some((found.id, found.revision, found.config))
        };
        let of = |id: &str, revision: Option<&str>, config: Option<&str>| {
            Some((
                id.to_owned(),
                revision.map(str::to_owned),
                config.map(str::to_owned),
            ))
        };
        assert_eq!(parse("tner/wnut2017"), of("tner/wnut2017", None, None));
        assert_eq!(parse("a/b:en-US.1"), of("a/b", None, Some("en-US.1")));
        assert_eq!(
            parse("a/b@refs/pr/1:x y"),
            of("a/b", Some("refs/pr/1"), Some("x y"))
        );
        for text in [
            "conll2003",
            "./a/b",
            "/a/b",
            "a/b/c",
            "a/b:",
            "a/b:../c",
            "a/b:c/d",
            "a/b@",
            "~/a",
            "s3://a/b",
            "a/",
        ] {
            assert_eq!(HubDataset::parse(text), None, "{text}");
        }
    }
}
