//! The bias of the label `O` in the classifier of a checkpoint.

use std::path::{Path, PathBuf};

use nerve_repository::WEIGHTS;
use nerve_tagging::LabelId;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};
use thiserror::Error;

/// The bias of the classifier.
const BIAS: &str = "classifier.bias";
/// The key of the file's metadata that has the trained bias of `O`, where the bias is another.
const TRAINED: &str = "trained_outside_bias";

/// Why the bias of `O` cannot be read or written.
#[derive(Debug, Error)]
pub enum OutsideBiasError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}; weights in shards must first be saved as one file of this name", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The file is not in the format of safetensors, or cannot be written in it.
    #[error("{}: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The error of the safetensors library.
        source: SafeTensorError,
    },
    /// The bias has another type than f32.
    #[error("{}: `{BIAS}` has type {found}, and the bias of O can be changed in f32; save the model in float32", path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// The type of the tensor.
        found: Dtype,
    },
    /// The trained bias that the metadata has is not a number.
    #[error("{}: `{TRAINED}` of the metadata is `{found}`, which is not a number", path.display())]
    Trained {
        /// The file.
        path: PathBuf,
        /// The value found.
        found: String,
    },
    /// The file cannot be replaced.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
}

/// The bias of `O` in the weights of a checkpoint.
#[derive(Debug)]
pub struct OutsideBias {
    path: PathBuf,
    file: Vec<u8>,
    /// The elements of the bias, as bytes.
    bias: Vec<u8>,
    /// Where the element of `O` is in them.
    offset: usize,
    trained: f32,
}

impl OutsideBias {
    /// The bias in the `model.safetensors` of a directory; `outside` is the label `O`.
    pub fn read(dir: &Path, outside: LabelId) -> Result<Self, OutsideBiasError> {
        let path = dir.join(WEIGHTS);
        let file = match std::fs::read(&path) {
            Ok(file) => file,
            Err(source) => return Err(OutsideBiasError::Read { path, source }),
        };
        let read = || -> Result<_, SafeTensorError> {
            let (_, metadata) = SafeTensors::read_metadata(&file)?;
            let view = SafeTensors::deserialize(&file)?.tensor(BIAS)?;
            let trained = metadata
                .metadata()
                .as_ref()
                .and_then(|keys| keys.get(TRAINED).cloned());
            Ok((view.dtype(), view.data().to_vec(), trained))
        };
        let (found, bias, trained) = match read() {
            Ok(found) => found,
            Err(source) => return Err(OutsideBiasError::Format { path, source }),
        };
        if found != Dtype::F32 {
            return Err(OutsideBiasError::Type { path, found });
        }
        let offset = 4 * outside.0;
        let Some(current) = bias.get(offset..).and_then(|bytes| bytes.first_chunk()) else {
            let source = SafeTensorError::TensorNotFound(format!("{BIAS} of label {}", outside.0));
            return Err(OutsideBiasError::Format { path, source });
        };
        let trained = match trained {
            None => f32::from_le_bytes(*current),
            Some(found) => match found.parse() {
                Ok(trained) if f32::is_finite(trained) => trained,
                _ => return Err(OutsideBiasError::Trained { path, found }),
            },
        };
        Ok(Self {
            path,
            file,
            bias,
            offset,
            trained,
        })
    }

    /// The bias that was trained.
    pub fn trained(&self) -> f32 {
        self.trained
    }

    /// What is added to the trained bias: 0 in a checkpoint as it was trained.
    pub fn added(&self) -> f32 {
        let current = self.bias[self.offset..]
            .first_chunk()
            .map_or(self.trained, |bytes| f32::from_le_bytes(*bytes));
        current - self.trained
    }

    /// Replaces the file by one whose bias is the sum of the trained one and `added`, and yields its path. Its metadata keep the
    /// trained bias.
    pub fn write(mut self, added: f32) -> Result<PathBuf, OutsideBiasError> {
        if added == self.added() {
            return Ok(self.path);
        }
        let path = self.path;
        self.bias[self.offset..][..4].copy_from_slice(&(self.trained + added).to_le_bytes());
        let changed = || -> Result<Vec<u8>, SafeTensorError> {
            let (_, metadata) = SafeTensors::read_metadata(&self.file)?;
            let mut metadata = metadata.metadata().clone().unwrap_or_default();
            match added {
                0.0 => metadata.remove(TRAINED),
                _ => metadata.insert(TRAINED.to_owned(), self.trained.to_string()),
            };
            let mut tensors = SafeTensors::deserialize(&self.file)?.tensors();
            for (name, view) in &mut tensors {
                if name == BIAS {
                    *view = TensorView::new(Dtype::F32, view.shape().to_vec(), &self.bias)?;
                }
            }
            safetensors::serialize(tensors, Some(metadata))
        };
        let changed = match changed() {
            Ok(changed) => changed,
            Err(source) => return Err(OutsideBiasError::Format { path, source }),
        };
        match nerve_repository::replace_file(&path, &changed) {
            Ok(()) => Ok(path),
            Err(source) => Err(OutsideBiasError::Write { path, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory whose `model.safetensors` has the bias 1.1, 0.25, -2 in this type, and a tensor before and after it.
    fn checkpoint(dtype: Dtype) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let bytes = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        let (first, bias) = (bytes(&[1.0, 2.0]), bytes(&[1.1, 0.25, -2.0]));
        let of_bias = match dtype {
            Dtype::F32 => &bias[..],
            _ => &bias[..6],
        };
        let tensors = [
            ("a.weight", TensorView::new(Dtype::F32, vec![2], &first).unwrap()),
            (BIAS, TensorView::new(dtype, vec![3], of_bias).unwrap()),
            ("z.count", TensorView::new(Dtype::I64, vec![1], &first).unwrap()),
        ];
        let metadata = [("format".to_owned(), "pt".to_owned())].into();
        safetensors::serialize_to_file(tensors, Some(metadata), &dir.path().join(WEIGHTS)).unwrap();
        dir
    }

    fn read(dir: &Path) -> OutsideBias {
        OutsideBias::read(dir, LabelId(0)).unwrap()
    }

    #[test]
    fn the_trained_bias_is_kept_and_restored_to_the_last_bit() {
        let dir = checkpoint(Dtype::F32);
        let path = dir.path().join(WEIGHTS);
        let trained = std::fs::read(&path).unwrap();
        assert_eq!(read(dir.path()).added(), 0.0);
        for added in [-0.75, 0.3] {
            assert_eq!(read(dir.path()).write(added).unwrap(), path);
            let changed = std::fs::read(&path).unwrap();
            let bias = SafeTensors::deserialize(&changed)
                .unwrap()
                .tensor(BIAS)
                .unwrap()
                .data()
                .to_vec();
            let elements: Vec<f32> = bias
                .as_chunks()
                .0
                .iter()
                .map(|x| f32::from_le_bytes(*x))
                .collect();
            assert_eq!(elements, [1.1 + added, 0.25, -2.0]);
            assert!((read(dir.path()).added() - added).abs() < 1e-6);
        }
        read(dir.path()).write(0.0).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), trained);
        // A file that need not change is not written.
        let modified = || std::fs::metadata(&path).unwrap().modified().unwrap();
        let before = modified();
        assert_eq!(read(dir.path()).write(0.0).unwrap(), path);
        assert_eq!(modified(), before);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_changed_is_an_error_that_names_the_file() {
        let error = |dir: &Path, label| OutsideBias::read(dir, LabelId(label)).unwrap_err().to_string();
        let half = checkpoint(Dtype::F16);
        let message = error(half.path(), 0);
        assert!(message.contains("`classifier.bias` has type F16"), "{message}");
        let dir = checkpoint(Dtype::F32);
        assert!(error(dir.path(), 3).contains("classifier.bias of label 3"));
        let path = dir.path().join(WEIGHTS);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        read(dir.path()).write(-1.0).unwrap();
        let changed = std::fs::read(&path).unwrap();
        assert!(text(&changed).contains("\"trained_outside_bias\":\"1.1\""));
        for found in ["1x1", "NaN", "inf"] {
            let value = changed.windows(3).position(|bytes| bytes == b"1.1").unwrap();
            let mut broken = changed.clone();
            broken[value..][..3].copy_from_slice(found.as_bytes());
            std::fs::write(&path, broken).unwrap();
            let message = error(dir.path(), 0);
            let expected =
                format!("`trained_outside_bias` of the metadata is `{found}`, which is not a number");
            assert!(message.contains(&expected), "{message}");
        }
        std::fs::write(&path, &changed[..20]).unwrap();
        assert!(error(dir.path(), 0).contains("model.safetensors"));
        std::fs::remove_file(&path).unwrap();
        let message = error(dir.path(), 0);
        assert!(
            message.contains("cannot read") && message.contains("as one file"),
            "{message}"
        );
    }
}
