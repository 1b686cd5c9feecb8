//! Models on disk: checkpoints, bundles, stores of versions and plain exports, each with one reader; models and data sets of the hub.

mod activation;
mod address;
mod cache_dir;
mod calibration;
mod checkpoint;
mod checkpoint_hash;
mod config;
mod config_error;
mod dataset_address;
mod family;
mod file_info;
mod files;
mod hex;
pub mod hub;
mod hub_source;
mod json_file;
mod label_map;
mod locate;
mod manifest;
mod max_length;
pub mod onnx;
mod plain;
mod precision;
mod publication;
pub mod relative_position;
mod remote;
pub mod rotary;
mod shards;
mod store;
mod tokenizer_config;
mod version;

pub use activation::Activation;
pub use address::{AddressError, HubModel, ModelAddress};
pub use cache_dir::{NoCacheDir, cache_dir};
pub use calibration::{Calibration, CalibrationError, Fit};
pub use checkpoint::{Checkpoint, CheckpointError, TRANSITIONS, Weight, read_weights};
pub use checkpoint_hash::checkpoint_hash;
pub use config::ModelConfig;
pub use config_error::ConfigError;
pub use dataset_address::HubDataset;
pub use family::deberta::RelativeAttention;
pub use family::modernbert::ModernBert;
pub use family::spec::{Architecture, FieldProblem, MaskedHead};
pub use family::{Family, POSITION_BIAS};
pub use file_info::FileInfo;
pub use files::{
    FileError, UNFINISHED, create_dir_synced, parent, rename_synced, replace_file, set_readable, sync,
    write_synced,
};
pub use hex::hex;
pub use hub_source::HubSource;
pub use json_file::JsonFile;
pub use locate::{LocateError, Located, ModelKind, locate, onnx_files, plain_graph};
pub use manifest::{
    BundleEvaluation, FILES, FORMAT_VERSION, GraphInfo, MANIFEST, Manifest, ManifestError, TOKENIZER_CONFIG,
};
pub use max_length::MaxLength;
pub use plain::{PlainConfig, plain_version};
pub use precision::{Precision, PrecisionError};
pub use publication::{Publication, PublishError, StoreAddress};
pub use remote::error::RemoteError;
pub use remote::mirror::{CachedVersion, StoreMirror};
pub use shards::{ShardError, WEIGHTS, WEIGHTS_INDEX, shards};
pub use store::{LockedStore, StoreError, check_store, publish};
pub use tokenizer_config::TokenizerConfig;
