//! How a checkpoint that a program opens is exported.

use std::path::PathBuf;

use clap::Args;
use nerve_repository::{FileError, FileInfo, Precision};

use crate::prepare::error::PrepareError;

/// How a checkpoint that a program opens is exported. A program can flatten it into its command line.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckpointOptions {
    /// The arithmetic into which a checkpoint is exported: fp32; fp16, for accelerators; int8, for CPUs, which needs --calibration
    /// [default: fp32].
    #[arg(long, env = "NERVE_PRECISION", value_name = "fp32|fp16|int8")]
    pub precision: Option<Precision>,
    /// Sentences like those to be tagged, on which the int8 ranges of a checkpoint are observed: CoNLL, JSON lines, Parquet, or
    /// one text a line.
    #[arg(long, env = "NERVE_CALIBRATION", value_name = "FILE")]
    pub calibration: Option<PathBuf>,
}

impl CheckpointOptions {
    /// The precision: fp32 unless another is given.
    pub(crate) fn precision(&self) -> Precision {
        self.precision.unwrap_or(Precision::Fp32)
    }

    /// The name of an option that is given.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let precision = self.precision.map(|_| "precision");
        precision.or(self.calibration.as_ref().map(|_| "calibration"))
    }

    /// The hash of the calibration file; none for other precisions than int8, which need none.
    pub(crate) fn calibration_hash(&self) -> Result<Option<String>, PrepareError> {
        match (self.precision(), &self.calibration) {
            (Precision::Int8, Some(file)) => {
                let info = FileInfo::of(file).map_err(FileError::at(file));
                Ok(Some(info.map_err(PrepareError::CalibrationFile)?.sha256))
            }
            (Precision::Int8, None) => Err(PrepareError::NoCalibration),
            (precision, Some(_)) => Err(PrepareError::UselessCalibration { precision }),
            (Precision::Fp32 | Precision::Fp16, None) => Ok(None),
        }
    }
}
