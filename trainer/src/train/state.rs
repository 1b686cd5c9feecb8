//! The files of a checkpoint from which a run is resumed.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use crate::safetensors_file::{F32Tensor, write_tensors};
use crate::train::error::TrainError;
use crate::train::files::{failed, replace};
use crate::train::optimizer::{Moments, Optimizer};

const DIR: &str = "training";
const STATE: &str = "state.json";
const MOMENTS: &str = "optimiser.safetensors";

/// The state of a training run at a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct TrainingState {
    /// The number of completed steps.
    pub(super) step: usize,
    /// The number of completed evaluations.
    pub(super) records: usize,
    /// A hash of the training examples.
    pub(super) examples: String,
}

impl TrainingState {
    /// Reads the state from a checkpoint.
    pub(super) fn read(checkpoint: &Path) -> Result<Self, TrainError> {
        let path = checkpoint.join(DIR).join(STATE);
        let text = fs::read(&path).map_err(unreadable(&path))?;
        serde_json::from_slice(&text).map_err(|source| TrainError::Record {
            path,
            line: source.line(),
            source,
        })
    }

    /// Adds the state and the moments of the optimizer to a checkpoint.
    pub(super) fn write(&self, checkpoint: &Path, optimizer: &Optimizer) -> Result<(), TrainError> {
        let dir = checkpoint.join(DIR);
        fs::create_dir_all(&dir).map_err(failed(&dir))?;
        let path = dir.join(MOMENTS);
        let tensors = optimizer.moments()?.into_iter().map(|(name, values)| {
            let shape = vec![values.len()];
            (name, F32Tensor { shape, values })
        });
        write_tensors(&path, tensors, None).map_err(|source| TrainError::Moments {
            path: path.clone(),
            reason: source.to_string(),
        })?;
        let path = dir.join(STATE);
        let text = serde_json::to_vec(self).map_err(std::io::Error::from);
        replace(&path, &text.map_err(failed(&path))?)
    }

    /// Restores the moments of an optimizer from a checkpoint.
    pub(super) fn restore(&self, checkpoint: &Path, optimizer: &mut Optimizer) -> Result<(), TrainError> {
        let path = checkpoint.join(DIR).join(MOMENTS);
        let bytes = fs::read(&path).map_err(unreadable(&path))?;
        let wrong = |reason: String| TrainError::Moments {
            path: path.clone(),
            reason,
        };
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| wrong(error.to_string()))?;
        let elements = |view: TensorView<'_>| -> Vec<f32> {
            let (chunks, _) = view.data().as_chunks::<4>();
            chunks.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect()
        };
        let moments: Moments<'_> = tensors
            .tensors()
            .into_iter()
            .filter(|(_, view)| view.dtype() == Dtype::F32)
            .map(|(name, view)| (name, elements(view).into()))
            .collect();
        match optimizer.restore(self.step, moments)? {
            None => Ok(()),
            Some(name) => Err(wrong(format!("the tensor {name} is missing or of another size"))),
        }
    }
}

/// Removes the files that only a resumed run needs from a checkpoint.
pub(super) fn forget(checkpoint: &Path) -> Result<(), TrainError> {
    let dir: PathBuf = checkpoint.join(DIR);
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(&dir)(error)),
        _ => Ok(()),
    }
}

fn unreadable(path: &Path) -> impl FnOnce(std::io::Error) -> TrainError {
    let path = path.to_owned();
    move |source| TrainError::Read { path, source }
}
