//! `calibration.json`: the temperature of a checkpoint's probabilities.

use std::path::{Path, PathBuf};

use nerve_tagging::Temperature;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::files::replace_file;

/// The file's name in a checkpoint directory.
const CALIBRATION: &str = "calibration.json";

/// Why a calibration cannot be used.
#[derive(Debug, Error)]
pub enum CalibrationError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The file is not JSON with the expected fields.
    #[error("{}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line, column and field.
        source: serde_json::Error,
    },
    /// The temperature is not a finite number above 0.
    #[error("{}: temperature is {found}; it must be a finite number above 0", path.display())]
    Temperature {
        /// The file.
        path: PathBuf,
        /// The temperature found.
        found: f64,
    },
}

/// The temperature of a checkpoint and the data it was fitted on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The divisor of logits before they become probabilities.
    pub temperature: f64,
    /// The name of the file it was fitted on, without extension: `dev`.
    pub split: String,
    /// The number of words it was fitted on.
    pub words: usize,
    /// The fit of the probabilities without the temperature.
    pub before: Fit,
    /// The fit of the probabilities with the temperature.
    pub after: Fit,
}

/// How well probabilities fit the gold labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// Mean negative log-likelihood of the gold labels, in nats a word.
    pub nll: f64,
    /// Expected calibration error: the mean difference between confidence and accuracy, as a fraction.
    pub ece: f64,
}

impl Calibration {
    /// The calibration in a checkpoint directory; `None` if it has none.
    pub fn read(dir: &Path) -> Result<Option<Self>, CalibrationError> {
        let path = dir.join(CALIBRATION);
        let text = match std::fs::read(&path).and_then(nerve_tagging::into_text) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CalibrationError::Read { path, source }),
        };
        let calibration: Self = match serde_json::from_str(&text) {
            Ok(calibration) => calibration,
            Err(source) => return Err(CalibrationError::Parse { path, source }),
        };
        calibration.checked(&path)?;
        Ok(Some(calibration))
    }

    /// Writes the calibration into a checkpoint directory, replacing an earlier one, and yields the file.
    pub fn write(&self, dir: &Path) -> Result<PathBuf, CalibrationError> {
        let path = dir.join(CALIBRATION);
        self.checked(&path)?;
        let put = || replace_file(&path, &serde_json::to_vec_pretty(self)?);
        match put() {
            Ok(()) => Ok(path),
            Err(source) => Err(CalibrationError::Write { path, source }),
        }
    }

    fn checked(&self, path: &Path) -> Result<Temperature, CalibrationError> {
        Temperature::new(self.temperature).ok_or_else(|| CalibrationError::Temperature {
            path: path.to_owned(),
            found: self.temperature,
        })
    }

    /// The temperature of a checkpoint directory; 1 if it has none.
    pub fn temperature(dir: &Path) -> Result<Temperature, CalibrationError> {
        match Self::read(dir)? {
            Some(calibration) => calibration.checked(&dir.join(CALIBRATION)),
            None => Ok(Temperature::default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::SYNCED;

    fn calibration(temperature: f64) -> Calibration {
        Calibration {
            temperature,
            split: "dev".to_owned(),
            words: 3,
            before: Fit { nll: 0.4, ece: 0.1 },
            after: Fit { nll: 0.3, ece: 0.02 },
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_calibration() {
        let dir = tempfile::tempdir().unwrap();
        let path = calibration(2.0).write(dir.path()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("\u{feff}{text}")).unwrap();
        assert_eq!(Calibration::read(dir.path()).unwrap(), Some(calibration(2.0)));
    }

    #[test]
    fn what_is_written_is_read_and_nothing_is_one() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            Calibration::temperature(dir.path()).unwrap(),
            Temperature::default()
        );
        for temperature in [0.5, 1.847_362_518_372_615_4] {
            let path = calibration(temperature).write(dir.path()).unwrap();
            assert!(path.ends_with("calibration.json"));
            assert_eq!(
                Calibration::read(dir.path()).unwrap(),
                Some(calibration(temperature))
            );
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(SYNCED.take().contains(&dir.path().to_owned()));
    }

    #[test]
    fn a_temperature_that_is_none_is_neither_written_nor_read() {
        let dir = tempfile::tempdir().unwrap();
        for temperature in [0.0, -2.0, f64::NAN] {
            let error = calibration(temperature).write(dir.path()).unwrap_err();
            assert!(matches!(error, CalibrationError::Temperature { .. }), "{error}");
        }
        let path = dir.path().join(CALIBRATION);
        let text = serde_json::to_string(&calibration(2.0)).unwrap();
        std::fs::write(&path, text.replace("2.0", "-2.0")).unwrap();
        let error = Calibration::read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("calibration.json: temperature is -2"), "{error}");
        std::fs::write(&path, "{").unwrap();
        assert!(matches!(
            Calibration::read(dir.path()),
            Err(CalibrationError::Parse { .. })
        ));
    }
}
