//! What a request to the hub is about.

use std::fmt::{self, Display, Formatter};

use crate::address::HubModel;
use crate::dataset_address::HubDataset;

/// What a repository of the hub holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepositoryKind {
    /// A model.
    Model,
    /// A data set.
    Dataset,
}

impl RepositoryKind {
    /// Its name in addresses of the API, and at the start of names in the cache.
    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
        }
    }

    /// The revision if none is named: the branch on which the hub keeps data sets as Parquet files.
    pub(super) fn default_revision(self) -> &'static str {
        match self {
            Self::Model => "main",
            Self::Dataset => "refs/convert/parquet",
        }
    }

    /// What stands before the id in addresses of pages and files.
    pub(super) fn prefix(self) -> &'static [&'static str] {
        match self {
            Self::Model => &[],
            Self::Dataset => &["datasets"],
        }
    }
}

impl Display for RepositoryKind {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Model => "model",
            Self::Dataset => "data set",
        })
    }
}

/// A repository of the hub at a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubRepository {
    /// What it holds.
    pub kind: RepositoryKind,
    /// `OWNER/NAME`, or `NAME` alone.
    pub id: String,
    /// A branch, tag or commit; the default of its kind if absent.
    pub revision: Option<String>,
}

impl From<&HubModel> for HubRepository {
    fn from(HubModel { id, revision }: &HubModel) -> Self {
        Self {
            kind: RepositoryKind::Model,
            id: id.clone(),
            revision: revision.clone(),
        }
    }
}

impl From<&HubDataset> for HubRepository {
    fn from(dataset: &HubDataset) -> Self {
        Self {
            kind: RepositoryKind::Dataset,
            id: dataset.id.clone(),
            revision: dataset.revision.clone(),
        }
    }
}

impl Display for HubRepository {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        match &self.revision {
            Some(revision) => write!(to, "{}@{revision}", self.id),
            None => write!(to, "{}", self.id),
        }
    }
}
