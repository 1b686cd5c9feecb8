//! Event files that TensorBoard reads: the scalars of a run.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use prost::Message;

use crate::report::error::ReportError;

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

/// An event file that grows while a run trains. Every event is given to the system at once, so that TensorBoard shows it.
pub struct EventWriter {
    path: PathBuf,
    file: File,
}

impl EventWriter {
    /// The event file of `dir`, with its events up to the step `done`; what follows them is cut off. A new file is made
    /// if there is none, or if `done` is 0. `wall_time` is in seconds since 1970.
    ///
    /// A directory has one file: TensorBoard would show two of the same run as one run that went back and forth.
    pub fn open(dir: &Path, done: usize, wall_time: f64) -> Result<Self, ReportError> {
        std::fs::create_dir_all(dir).map_err(ReportError::at(dir))?;
        let path = dir.join(FILE);
        let open = || {
            let mut file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)?;
            let mut content = Vec::new();
            if done > 0 {
                file.read_to_end(&mut content)?;
            }
            let kept = length_up_to(&content, done);
            file.set_len(kept)?;
            file.seek(SeekFrom::Start(kept))?;
            Ok((file, kept == 0))
        };
        let (file, is_new) = open().map_err(ReportError::at(&path))?;
        let mut writer = Self { path, file };
        if is_new {
            writer.event(&Event {
                wall_time,
                file_version: Some("brain.Event:2".to_owned()),
                ..Event::default()
            })?;
        }
        Ok(writer)
    }

    /// Adds the scalars of a step; those without a value are left out.
    pub fn scalars(
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

/// The length in bytes of the whole records at the beginning of a file whose step is at most `done`.
fn length_up_to(content: &[u8], done: usize) -> u64 {
    let mut kept = 0;
    while let Some((event, length)) = first_event(&content[kept..]) {
        if event.step > done as i64 {
            break;
        }
        kept += length;
    }
    kept as u64
}

/// The first event of a file's content and the length of its record; `None` if the record is not whole.
fn first_event(content: &[u8]) -> Option<(Event, usize)> {
    let (length, rest) = content.split_first_chunk::<8>()?;
    let (length_checksum, rest) = rest.split_first_chunk::<4>()?;
    if masked_checksum(length).to_le_bytes() != *length_checksum {
        return None;
    }
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (data, rest) = rest.split_at_checked(length)?;
    let (checksum, _) = rest.split_first_chunk::<4>()?;
    if masked_checksum(data).to_le_bytes() != *checksum {
        return None;
    }
    Some((Event::decode(data).ok()?, length + 16))
}

/// CRC-32C, rotated and offset so that a record of records is not taken for one.
fn masked_checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The step and the time of every event of a file, all of which must be whole.
#[cfg(test)]
pub(crate) fn event_times(path: &Path) -> Vec<(i64, f64)> {
    let events = tests::read(path).into_iter();
    events.map(|event| (event.step, event.wall_time)).collect()
}

/// The tag and the value of every scalar of the events of a step.
#[cfg(test)]
pub(crate) fn scalars_of_step(path: &Path, step: i64) -> Vec<(String, f32)> {
    let events = tests::read(path).into_iter().filter(|event| event.step == step);
    let values = events
        .filter_map(|event| event.summary)
        .flat_map(|summary| summary.value);
    values.map(|value| (value.tag, value.simple_value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The events of a file, all of which must be whole.
    pub(super) fn read(path: &Path) -> Vec<Event> {
        let bytes = std::fs::read(path).unwrap();
        let (mut events, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            let (event, length) = first_event(&bytes[at..]).unwrap();
            events.push(event);
            at += length;
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

    const LOSS: [(&str, Option<f64>); 2] = [("train/loss", Some(2.5)), ("dev/loss", None)];

    #[test]
    fn every_event_reads_back_with_its_own_time() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("made/here");
        let mut writer = EventWriter::open(&dir, 0, 1_700_000_000.5).unwrap();
        writer.scalars(1, 1_700_000_001.5, &LOSS).unwrap();
        // Readable while the writer is open.
        let path = dir.join("events.out.tfevents.nerve");
        assert_eq!(read(&path).len(), 2);
        writer
            .scalars(1 << 40, 1_700_000_002.5, &[("dev/loss", Some(0.5))])
            .unwrap();
        let events = read(&path);
        assert_eq!(events[0].file_version.as_deref(), Some("brain.Event:2"));
        let times: Vec<f64> = events.iter().map(|event| event.wall_time).collect();
        assert_eq!(times, [1_700_000_000.5, 1_700_000_001.5, 1_700_000_002.5]);
        assert_eq!(scalars(&events[1]), [("train/loss", 2.5)]);
        assert_eq!((events[1].step, events[2].step), (1, 1 << 40));
        assert_eq!(scalars(&events[2]), [("dev/loss", 0.5)]);
    }

    #[test]
    fn a_resumed_file_ends_with_the_steps_that_were_made() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::open(dir.path(), 0, 1.0).unwrap();
        for step in 1..=3 {
            writer.scalars(step, step as f64, &LOSS).unwrap();
        }
        let path = dir.path().join("events.out.tfevents.nerve");
        let whole = std::fs::read(&path).unwrap();
        let steps = |done: usize| {
            let mut writer = EventWriter::open(dir.path(), done, 9.0).unwrap();
            writer.scalars(done + 1, 10.0, &LOSS).unwrap();
            read(&path).iter().map(|event| event.step).collect::<Vec<_>>()
        };
        assert_eq!(steps(2), [0, 1, 2, 3]);
        // The last record is not whole: a process was killed while it wrote it.
        std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        assert_eq!(steps(3), [0, 1, 2, 4]);
        std::fs::write(&path, b"something else").unwrap();
        assert_eq!(steps(3), [0, 4]);
        assert_eq!(steps(0), [0, 1]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
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
