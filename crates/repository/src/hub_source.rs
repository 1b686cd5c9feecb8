//! The model of the hub that a bundle or a plain export is from.

use serde::{Deserialize, Serialize};

/// A model of the hub as it is at one commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubSource {
    /// `OWNER/NAME`, or `NAME` alone.
    pub id: String,
    /// The commit, which a branch or a tag was resolved to.
    pub commit: String,
}
