//! The tensors of an answer, in JSON and as bytes behind it.

use std::io;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::header::HeaderName;
use nerve_engine::{MemoryPermit, TaggedText, Tagger};
use serde::Serialize;

use crate::http::answer::{AnswerChunks, Part, Placeholder, by_writer, text, write_parts};
use crate::http::answer_body::{send, send_json};
use crate::http::error::ApiError;
use crate::http::v2::inference::TaggedTexts;
use crate::http::v2::outputs::{OutputTensorParameters, SelectedOutput};
use crate::http::v2::tensor::{BYTES, OutputName};

/// The length of the JSON of a body whose tensors are bytes behind it.
pub(super) const HEAD_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");
/// The media type of such a body.
pub(super) const BINARY: &str = "application/octet-stream";

/// The tensors to answer with.
pub(super) struct TensorsAnswer {
    pub(super) id: Option<String>,
    pub(super) texts: TaggedTexts,
}

impl TensorsAnswer {
    /// The response. `permit` has what the tagged texts take.
    pub(super) async fn write(
        self,
        tagger: &Arc<Tagger>,
        permit: MemoryPermit,
    ) -> Result<HttpResponse, ApiError> {
        let words = self.texts.words();
        let is_binary = self.texts.selected.iter().any(|selected| selected.binary);
        if !is_binary {
            let json = self.json(tagger, |_| 0)?;
            let chunks = write_parts(tagger, words, AnswerChunks::new(permit), json).await?;
            return Ok(send_json(chunks.finish()?));
        }
        // The JSON has the lengths of the tensors behind it.
        let mut lengths = Vec::with_capacity(self.texts.selected.len());
        let mut behind = AnswerChunks::new(permit);
        for selected in &self.texts.selected {
            let before = behind.len();
            if selected.binary {
                let tensor = self
                    .texts
                    .tagged
                    .iter()
                    .map(|tagged| self.bytes(tagger, tagged, *selected));
                behind = write_parts(tagger, words, behind, tensor.collect()).await?;
            }
            lengths.push(behind.len() - before);
        }
        let head_permit = behind.empty_permit();
        let json = self.json(tagger, |index| lengths.get(index).copied().unwrap_or_default())?;
        let head = write_parts(tagger, words, AnswerChunks::new(head_permit), json).await?;
        let (head, behind) = (head.finish()?, behind.finish()?);
        let mut response = HttpResponse::Ok();
        response.content_type(BINARY);
        response.insert_header((HEAD_LENGTH, head.len()));
        Ok(send(response, head.followed_by(behind)))
    }

    /// The JSON, with the length of the tensor of each output that is sent as bytes.
    fn json(&self, tagger: &Arc<Tagger>, length: impl Fn(usize) -> usize) -> Result<Vec<Part>, ApiError> {
        let model = tagger.model();
        let id = match &self.id {
            Some(id) => format!(",\"id\":{}", json(id)?),
            None => String::new(),
        };
        let mut parts = vec![text(format!(
            "{{\"model_name\":{},\"model_version\":{}{id},\"outputs\":[",
            json(&model.name)?,
            json(&model.version)?
        ))];
        for (index, selected) in self.texts.selected.iter().enumerate() {
            parts.push(text(format!(
                "{}{{\"name\":\"{}\",\"datatype\":\"{BYTES}\",\"shape\":[{}],",
                if index > 0 { "," } else { "" },
                selected.output.name(),
                self.texts.tagged.len()
            )));
            if selected.binary {
                let binary_data_size = length(index);
                let parameters = json(&OutputTensorParameters { binary_data_size })?;
                parts.push(text(format!("\"parameters\":{parameters}}}")));
                continue;
            }
            parts.push(text("\"data\":["));
            for (index, tagged) in self.texts.tagged.iter().enumerate() {
                parts.push(text(if index > 0 { ",\"" } else { "\"" }));
                parts.push(self.element(tagger, tagged, selected.output));
                parts.push(text("\""));
            }
            parts.push(text("]}"));
        }
        parts.push(text("]}"));
        Ok(parts)
    }

    /// Whether the output is the first of each text, which counts its entities.
    fn is_first(&self, output: OutputName) -> bool {
        self.texts
            .selected
            .first()
            .is_some_and(|first| first.output == output)
    }

    /// A text's element of a tensor in JSON: an array inside of a string.
    fn element(&self, tagger: &Arc<Tagger>, tagged: &Arc<TaggedText>, output: OutputName) -> Part {
        let (model, view) = (Arc::clone(tagger), Arc::clone(&self.texts.view));
        let mut array = Vec::new();
        by_writer(
            tagger,
            Arc::clone(tagged),
            &self.texts.view,
            self.is_first(output),
            move |writer, out| {
                let labels = &model.model().labels;
                array.clear();
                let done = match output {
                    OutputName::Entities => writer.entities(labels, &view, &mut array)?,
                    OutputName::Words => writer.words(labels, &mut array)?,
                };
                out.append(|json| {
                    escape(&array, json);
                    Ok(done)
                })
            },
        )
    }

    /// A text's element of a tensor that is sent as bytes: an array after its length.
    fn bytes(&self, tagger: &Arc<Tagger>, tagged: &Arc<TaggedText>, selected: SelectedOutput) -> Part {
        let (model, view) = (Arc::clone(tagger), Arc::clone(&self.texts.view));
        let mut begun: Option<(Placeholder, usize)> = None;
        by_writer(
            tagger,
            Arc::clone(tagged),
            &self.texts.view,
            self.is_first(selected.output),
            move |writer, out| {
                let labels = &model.model().labels;
                let (place, start) = match begun.take() {
                    Some(begun) => begun,
                    None => (out.placeholder()?, out.len()),
                };
                let done = out.append(|bytes| match selected.output {
                    OutputName::Entities => writer.entities(labels, &view, bytes),
                    OutputName::Words => writer.words(labels, bytes),
                })?;
                if done {
                    let length = u32::try_from(out.len() - start).map_err(io::Error::other)?;
                    out.fill(&place, length);
                } else {
                    begun = Some((place, start));
                }
                Ok(done)
            },
        )
    }
}

fn json(value: &impl Serialize) -> Result<String, ApiError> {
    serde_json::to_string(value).map_err(|_| ApiError::Unwritable)
}

/// Appends JSON as the content of a JSON string. JSON has no control characters of its own.
fn escape(json: &[u8], string: &mut Vec<u8>) {
    let special = |byte: &u8| matches!(byte, b'"' | b'\\');
    for part in json.split_inclusive(special) {
        match part.split_last() {
            Some((last, plain)) if special(last) => {
                string.extend_from_slice(plain);
                string.extend_from_slice(&[b'\\', *last]);
            }
            _ => string.extend_from_slice(part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_in_a_string_is_what_the_library_writes() {
        for value in ["", "plain", "a \"b\" \\ \n\u{1}é", "\\\\\"\""] {
            let inner = serde_json::to_string(value).unwrap();
            let mut out = Vec::new();
            escape(inner.as_bytes(), &mut out);
            let whole = format!("\"{}\"", String::from_utf8(out).unwrap());
            assert_eq!(whole, serde_json::to_string(&inner).unwrap());
        }
    }
}
