//! Event files that TensorBoard reads: the scalars of a run.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use prost::Message;

use super::error::ReportError;
use super::point::{EvaluationPoint, StepPoint};

/// TensorBoard reads what has `tfevents` in its name.
const FILE: &str = "events.out.tfevents.nerve";

/// `tensorflow.Event`, as far as scalars need it.
#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

/// `tensorflow.Summary`.
#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<SummaryValue>,
}

/// `tensorflow.Summary.Value`.
#[derive(Clone, PartialEq, Message)]
struct SummaryValue {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, tag = "2")]
    simple_value: f32,
}

/// An event file that grows as a run goes on.
pub struct EventWriter {
    path: PathBuf,
    file: BufWriter<File>,
}

impl EventWriter {
    /// The event file of `dir`, which is made if it is not there; `wall_time` is in seconds since 1970.
    ///
    /// A directory has one file: TensorBoard would show two of the same run as one run that went back and forth.
    pub fn create(dir: &Path, wall_time: f64) -> Result<Self, ReportError> {
        std::fs::create_dir_all(dir).map_err(ReportError::at(dir))?;
        let path = dir.join(FILE);
        let file = File::create(&path).map_err(ReportError::at(&path))?;
        let mut writer = Self {
            path,
            file: BufWriter::new(file),
        };
        writer.event(&Event {
            wall_time,
            file_version: Some("brain.Event:2".to_owned()),
            ..Event::default()
        })?;
        Ok(writer)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds the scalars of a step.
    pub fn step(&mut self, point: &StepPoint, wall_time: f64) -> Result<(), ReportError> {
        let scalars = [
            ("train/loss", Some(point.loss)),
            ("train/learning_rate", Some(point.learning_rate)),
            ("train/gradient_norm", Some(point.gradient_norm)),
        ];
        self.scalars(point.step, wall_time, &scalars)
    }

    /// Adds the scalars of an evaluation, and gives the system all that was added so far.
    pub fn evaluation(&mut self, point: &EvaluationPoint, wall_time: f64) -> Result<(), ReportError> {
        let scalars = [
            ("dev/entity_f1", Some(point.f1)),
            ("dev/precision", Some(point.precision)),
            ("dev/recall", Some(point.recall)),
            ("dev/surface_f1", Some(point.surface_f1)),
            ("dev/token_accuracy", Some(point.token_accuracy)),
            ("dev/loss", point.dev_loss),
        ];
        self.scalars(point.step, wall_time, &scalars)?;
        self.flush()
    }

    /// Gives the system all that was added so far.
    pub fn flush(&mut self) -> Result<(), ReportError> {
        self.file.flush().map_err(ReportError::at(&self.path))
    }

    fn scalars(
        &mut self,
        step: usize,
        wall_time: f64,
        scalars: &[(&str, Option<f64>)],
    ) -> Result<(), ReportError> {
        let present = scalars.iter().filter_map(|(tag, value)| {
            Some(SummaryValue {
                tag: (*tag).to_owned(),
                simple_value: (*value)? as f32,
            })
        });
        self.event(&Event {
            wall_time,
            step: step as i64,
            file_version: None,
            summary: Some(Summary {
                value: present.collect(),
            }),
        })
    }

    /// Adds a record of the TFRecord format: length, its checksum, data, its checksum.
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        let data = event.encode_to_vec();
        let length = (data.len() as u64).to_le_bytes();
        let mut record = Vec::with_capacity(data.len() + 16);
        record.extend(length);
        record.extend(masked_checksum(&length).to_le_bytes());
        record.extend(&data);
        record.extend(masked_checksum(&data).to_le_bytes());
        self.file.write_all(&record).map_err(ReportError::at(&self.path))
    }
}

/// Writes a finished run's event file into `dir` and yields the file; all events have the one `wall_time`.
pub fn write_events(
    dir: &Path,
    steps: &[StepPoint],
    evaluations: &[EvaluationPoint],
    wall_time: f64,
) -> Result<PathBuf, ReportError> {
    let mut writer = EventWriter::create(dir, wall_time)?;
    for point in steps {
        writer.step(point, wall_time)?;
    }
    for point in evaluations {
        writer.evaluation(point, wall_time)?;
    }
    writer.flush()?;
    Ok(writer.path)
}

/// CRC-32C, rotated and offset so that a record of records is not taken for one.
fn masked_checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The events of a file, every length and checksum found right.
    fn read(path: &Path) -> Vec<Event> {
        let bytes = std::fs::read(path).unwrap();
        let mut rest = &bytes[..];
        let mut events = Vec::new();
        while !rest.is_empty() {
            let (length, after) = rest.split_at(8);
            let (length_checksum, after) = after.split_at(4);
            assert_eq!(masked_checksum(length).to_le_bytes(), length_checksum);
            let (data, after) = after.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
            let (checksum, after) = after.split_at(4);
            assert_eq!(masked_checksum(data).to_le_bytes(), checksum);
            events.push(Event::decode(data).unwrap());
            rest = after;
        }
        events
    }

    fn scalars(event: &Event) -> Vec<(&str, f32)> {
        let values = &event.summary.as_ref().unwrap().value;
        values
            .iter()
            .map(|value| (value.tag.as_str(), value.simple_value))
            .collect()
    }

    #[test]
    fn every_frame_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let step = StepPoint {
            step: 1,
            loss: 2.5,
            learning_rate: 0.25,
            gradient_norm: 4.0,
        };
        let evaluation = EvaluationPoint {
            step: 3,
            precision: 0.5,
            recall: 0.25,
            f1: 0.375,
            ..EvaluationPoint::default()
        };
        let with_loss = EvaluationPoint {
            dev_loss: Some(0.5),
            step: 1 << 40,
            ..evaluation
        };
        let made = dir.path().join("made/here");
        let path = write_events(&made, &[step], &[evaluation, with_loss], 1_700_000_000.5).unwrap();
        assert!(path.ends_with("events.out.tfevents.nerve"));
        let events = read(&path);
        assert_eq!(events.len(), 4);
        assert_eq!(events[0].file_version.as_deref(), Some("brain.Event:2"));
        assert!(events.iter().all(|event| event.wall_time == 1_700_000_000.5));
        assert_eq!(events[1].step, 1);
        assert_eq!(
            scalars(&events[1]),
            [
                ("train/loss", 2.5),
                ("train/learning_rate", 0.25),
                ("train/gradient_norm", 4.0)
            ]
        );
        assert!(scalars(&events[2]).starts_with(&[
            ("dev/entity_f1", 0.375),
            ("dev/precision", 0.5),
            ("dev/recall", 0.25)
        ]));
        assert!(scalars(&events[2]).iter().all(|(tag, _)| *tag != "dev/loss"));
        assert_eq!(events[3].step, 1 << 40);
        assert!(scalars(&events[3]).contains(&("dev/loss", 0.5)));
        let first = std::fs::read(&path).unwrap();
        write_events(&made, &[step], &[evaluation, with_loss], 1_700_000_000.5).unwrap();
        assert_eq!(first, std::fs::read(&path).unwrap());
        write_events(&made, &[step], &[evaluation], 1_800_000_000.0).unwrap();
        assert_eq!(std::fs::read_dir(&made).unwrap().count(), 1);
    }

    #[test]
    fn the_checksum_is_the_one_tensorflow_writes() {
        // The header of every event file whose first record is 24 bytes long, as `tensorboard` writes it.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(
            masked_checksum(&24_u64.to_le_bytes()).to_le_bytes(),
            [0xa3, 0x7f, 0x4b, 0x22]
        );
    }
}
