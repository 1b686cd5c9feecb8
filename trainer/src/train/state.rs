//! The files of a checkpoint from which a run is resumed.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use crate::ops::values;
use crate::safetensors_file::{F32Tensor, write_tensors};
use crate::train::average::AveragedWeights;
use crate::train::error::TrainError;
use crate::train::files::{failed, replace};
use crate::train::loss_scale::LossScale;
use crate::train::optimizer::{Moments, Optimizer};

const DIR: &str = "training";
const STATE: &str = "state.json";
const MOMENTS: &str = "optimiser.safetensors";
const AVERAGE: &str = "average.safetensors";

/// The state of a training run at a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct TrainingState {
    /// The number of completed steps.
    pub(super) step: usize,
    /// The number of completed evaluations.
    pub(super) records: usize,
    /// A hash of the training examples.
    pub(super) examples: String,
    /// The seconds that the run has taken, those of earlier processes included. Only `max_time` depends on them.
    #[serde(default)]
    pub(super) seconds: f64,
    /// The number of steps whose weights are in the average.
    #[serde(default)]
    pub(super) averaged: usize,
    /// The scale of the loss, with gradients in fp16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) loss_scale: Option<LossScale>,
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

    /// Adds the state, the moments of the optimizer and the average of the weights to a checkpoint.
    pub(super) fn write(
        &self,
        checkpoint: &Path,
        optimizer: &Optimizer,
        average: Option<&AveragedWeights>,
    ) -> Result<(), TrainError> {
        let dir = checkpoint.join(DIR);
        fs::create_dir_all(&dir).map_err(failed(&dir))?;
        let moments = optimizer.moments()?.into_iter().map(|(name, values)| {
            let shape = vec![values.len()];
            (name, F32Tensor { shape, values })
        });
        write_state_tensors(&dir.join(MOMENTS), moments)?;
        if let Some(average) = average.filter(|average| average.has_begun()) {
            let averages = average.averages()?;
            let tensors = averages.iter().map(|(name, average)| {
                let shape = average.dims().to_vec();
                let values = values(average)?;
                Ok(((*name).to_owned(), F32Tensor { shape, values }))
            });
            let tensors = tensors.collect::<Result<Vec<_>, TrainError>>()?;
            write_state_tensors(&dir.join(AVERAGE), tensors)?;
        }
        self.replace(checkpoint)
    }

    /// Replaces the state in a checkpoint.
    pub(super) fn replace(&self, checkpoint: &Path) -> Result<(), TrainError> {
        let path = checkpoint.join(DIR).join(STATE);
        let text = serde_json::to_vec(self).map_err(std::io::Error::from);
        replace(&path, &text.map_err(failed(&path))?)
    }

    /// Restores the moments of an optimizer and the average of the weights from a checkpoint.
    pub(super) fn restore(
        &self,
        checkpoint: &Path,
        optimizer: &mut Optimizer,
        average: Option<&mut AveragedWeights>,
    ) -> Result<(), TrainError> {
        restore_tensors(&checkpoint.join(DIR).join(MOMENTS), |moments| {
            optimizer.restore(self.step, moments)
        })?;
        match average.filter(|_| self.averaged > 0) {
            Some(average) => restore_tensors(&checkpoint.join(DIR).join(AVERAGE), |averages| {
                average.restore(self.step, self.averaged, averages)
            }),
            None => Ok(()),
        }
    }
}

fn write_state_tensors<V: Deref<Target = [f32]>>(
    path: &Path,
    tensors: impl IntoIterator<Item = (String, F32Tensor<V>)>,
) -> Result<(), TrainError> {
    write_tensors(path, tensors, None).map_err(|source| TrainError::Moments {
        path: path.to_owned(),
        reason: source.to_string(),
    })
}

/// Gives the f32 tensors of a file to `restore`, which returns the name of one that is missing or of another size.
fn restore_tensors(
    path: &Path,
    restore: impl FnOnce(Moments<'_>) -> candle_core::Result<Option<String>>,
) -> Result<(), TrainError> {
    let bytes = fs::read(path).map_err(unreadable(path))?;
    let wrong = |reason: String| TrainError::Moments {
        path: path.to_owned(),
        reason,
    };
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| wrong(error.to_string()))?;
    let elements = |view: TensorView<'_>| -> Vec<f32> {
        let (chunks, _) = view.data().as_chunks::<4>();
        chunks.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect()
    };
    let tensors: Moments<'_> = tensors
        .tensors()
        .into_iter()
        .filter(|(_, view)| view.dtype() == Dtype::F32)
        .map(|(name, view)| (name, elements(view).into()))
        .collect();
    match restore(tensors)? {
        None => Ok(()),
        Some(name) => Err(wrong(format!("the tensor {name} is missing or of another size"))),
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
