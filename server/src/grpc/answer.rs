//! Tagged texts to the message that answers with them, written in short steps.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nerve_engine::{AnswerWriter, MemoryPermit, TaggedText, Tagger};

use crate::grpc::proto::model_infer_response::InferOutputTensor;
use crate::grpc::proto::{InferTensorContents, ModelInferResponse};
use crate::http::error::ApiError;
use crate::http::v2::inference::TaggedTexts;
use crate::http::v2::tensor::{BYTES, OutputName};
use crate::trace;

/// An answer is held as a message, and again as the bytes that are sent.
const COPIES: usize = 2;

/// The elements of an output that are written.
#[derive(Default)]
struct Column {
    /// Each element after its length, if the answer is raw.
    raw: Vec<u8>,
    typed: Vec<Vec<u8>>,
    /// The element that is being written.
    element: Vec<u8>,
}

/// An answer that is being written, and its memory.
struct Writing {
    tagger: Arc<Tagger>,
    texts: TaggedTexts,
    is_raw: bool,
    columns: Vec<Column>,
    /// The texts that are written.
    done: usize,
    /// The writer of the current text, and the index of the output it writes.
    current: Option<(AnswerWriter<Arc<TaggedText>>, usize)>,
    permit: MemoryPermit,
    failed: Option<ApiError>,
    took: Duration,
}

/// The answer of tagged texts, and the permit with its memory. Many words are written on the tokenizer threads, so that the
/// threads that serve connections are not held up.
pub(crate) async fn write_answer(
    texts: TaggedTexts,
    tagger: &Arc<Tagger>,
    id: String,
    is_raw: bool,
    permit: MemoryPermit,
) -> Result<(ModelInferResponse, MemoryPermit), ApiError> {
    let words = texts.words();
    let writing = Writing {
        tagger: Arc::clone(tagger),
        is_raw,
        columns: texts.selected.iter().map(|_| Column::default()).collect(),
        texts,
        done: 0,
        current: None,
        permit,
        failed: None,
        took: Duration::ZERO,
    };
    let span = trace::decode();
    let step = move |writing: &mut Writing| {
        let _decoding = span.enter();
        let began = Instant::now();
        let done = writing.step().unwrap_or_else(|failed| {
            writing.failed = Some(failed);
            true
        });
        writing.took += began.elapsed();
        done
    };
    let written = tagger.run_in_steps(words, writing, step).await;
    let written = written.map_err(|_panicked| ApiError::Unwritable)?;
    tagger.metrics().decoded(written.took);
    written.message(id)
}

impl Writing {
    /// Writes more. True once all is written.
    fn step(&mut self) -> Result<bool, ApiError> {
        let Some(tagged) = self.texts.tagged.get(self.done) else {
            return Ok(true);
        };
        let (writer, index) = self.current.get_or_insert_with(|| {
            let writer = self.tagger.answer_writer(Arc::clone(tagged), &self.texts.view);
            (writer, 0)
        });
        let column = self.columns.get_mut(*index).zip(self.texts.selected.get(*index));
        let Some((column, selected)) = column else {
            // Every output of this text is written.
            (self.current, self.done) = (None, self.done + 1);
            return Ok(false);
        };
        let (labels, before) = (&self.tagger.model().labels, column.element.len());
        let written: io::Result<bool> = match selected.output {
            OutputName::Entities => writer.entities(labels, &self.texts.view, &mut column.element),
            OutputName::Words => writer.words(labels, &mut column.element),
        };
        let is_complete = written.map_err(|_| ApiError::Unwritable)?;
        let more = column.element.len() - before + size_of::<Vec<u8>>();
        self.permit.grow(COPIES * more)?;
        if is_complete {
            column.end_element(self.is_raw)?;
            *index += 1;
        }
        Ok(false)
    }

    /// The written message.
    fn message(mut self, id: String) -> Result<(ModelInferResponse, MemoryPermit), ApiError> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        let held: usize = self.texts.tagged.iter().map(|tagged| tagged.bytes()).sum();
        self.permit.shrink_to(self.permit.bytes().saturating_sub(held));
        let texts = i64::try_from(self.texts.tagged.len()).map_err(|_| ApiError::Unwritable)?;
        let (mut outputs, mut raw_output_contents) = (Vec::new(), Vec::new());
        for (selected, column) in self.texts.selected.iter().zip(self.columns) {
            let contents = InferTensorContents {
                bytes_contents: column.typed,
                ..InferTensorContents::default()
            };
            outputs.push(InferOutputTensor {
                name: selected.output.name().to_owned(),
                datatype: BYTES.to_owned(),
                shape: vec![texts],
                parameters: HashMap::new(),
                contents: (!self.is_raw).then_some(contents),
            });
            if self.is_raw {
                raw_output_contents.push(column.raw);
            }
        }
        let model = self.tagger.model();
        let message = ModelInferResponse {
            model_name: model.name.clone(),
            model_version: model.version.clone(),
            id,
            parameters: HashMap::new(),
            outputs,
            raw_output_contents,
        };
        Ok((message, self.permit))
    }
}

impl Column {
    fn end_element(&mut self, is_raw: bool) -> Result<(), ApiError> {
        let element = std::mem::take(&mut self.element);
        if is_raw {
            let length = u32::try_from(element.len()).map_err(|_| ApiError::Unwritable)?;
            self.raw.extend_from_slice(&length.to_le_bytes());
            self.raw.extend_from_slice(&element);
        } else {
            self.typed.push(element);
        }
        Ok(())
    }
}
