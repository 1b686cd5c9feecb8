//! The probabilities that teachers give to the words of sentences.

use std::path::PathBuf;

use candle_core::Device;
use nerve_corpus::{Corpus, read_words};
use nerve_inference::Tagger;
use nerve_tagging::{LabelId, LabelSet};

use crate::train::config::TrainConfig;
use crate::train::config::distillation::Distillation;
use crate::train::error::TrainError;
use crate::train::hook::{TeacherProgress, TrainingHook};
use crate::train::notice::Notice;
use crate::train::order;
use crate::train::teacher::error::TeacherError;
use crate::train::teacher::model::TeacherModel;
use crate::train::teacher::probability_sum::ProbabilitySum;
use crate::train::teacher::student_labels::student_order;
use crate::train::teacher::targets_file::{StoredTargets, TARGETS, key, read, write};

/// Sentences that a teacher labels between two reports of its progress.
const SENTENCES: usize = 512;

/// The probabilities that teachers give to the words of the training sentences and of text without labels.
pub(in crate::train) struct TeacherTargets {
    /// The sentences without labels. They are counted after those of the corpus.
    pub(in crate::train) unlabeled: Vec<Vec<String>>,
    /// The number of sentences of the corpus.
    labeled: usize,
    /// For each word of each sentence a distribution over the student's labels; zeros where no teacher has a subword of it.
    rows: Vec<f32>,
    /// For each sentence, the index of its first word, and then the number of all words. A sentence that is not trained on
    /// has no words here.
    first_words: Vec<usize>,
    width: usize,
    key: [u8; 32],
    path: PathBuf,
    /// Whether the file has the probabilities.
    is_kept: bool,
    teachers: Vec<String>,
}

/// Asks the configured teachers for their probabilities, or reads them where the run has kept them; none without teachers.
///
/// `trained` are the sentences of the corpus that are trained on, ascending. `is_begun`: the run has a checkpoint, which was
/// trained with the kept probabilities.
pub(in crate::train) fn distill(
    config: &TrainConfig,
    corpus: &Corpus,
    trained: &[usize],
    labels: &LabelSet,
    device: &Device,
    is_begun: bool,
    hooks: &mut dyn TrainingHook,
) -> Result<Option<TeacherTargets>, TrainError> {
    let Some(distillation) = &config.distillation else {
        return Ok(None);
    };
    let teachers = distillation.teachers.iter();
    let teachers = teachers.map(TeacherModel::find).collect::<Result<Vec<_>, _>>()?;
    let unlabeled = unlabeled(distillation)?;
    let mut sentences = vec![Vec::new(); corpus.sentences.len()];
    for &sentence in trained {
        sentences[sentence].clone_from(&corpus.sentences[sentence].words);
    }
    let labeled = sentences.len();
    sentences.extend_from_slice(&unlabeled);
    let key = key_of(distillation, &teachers, labels, &sentences);
    let path = config.out.join(TARGETS);
    let first_words = first_words(&sentences);
    let count = first_words.last().copied().unwrap_or_default() * labels.len();
    let (rows, is_kept) = match read(&path, &key)? {
        StoredTargets::Values(rows) if rows.len() == count => (rows, true),
        StoredTargets::OtherKey if is_begun => return Err(TeacherError::OtherTargets { path }.into()),
        StoredTargets::Values(_) | StoredTargets::OtherKey | StoredTargets::Missing => {
            let mut sum = ProbabilitySum::new(&first_words, labels.len(), distillation.temperature);
            for teacher in &teachers {
                let mut tagger = teacher.open(device, config.threads)?;
                let order = student_order(&teacher.name, tagger.labels(), labels)?;
                ask(
                    teacher,
                    &mut *tagger,
                    &sentences,
                    |sentence, rows| {
                        sum.add(sentence, rows, &order);
                    },
                    hooks,
                )?;
            }
            (sum.mean(), false)
        }
    };
    Ok(Some(TeacherTargets {
        unlabeled,
        labeled,
        rows,
        first_words,
        width: labels.len(),
        key,
        path,
        is_kept,
        teachers: teachers.into_iter().map(|teacher| teacher.name).collect(),
    }))
}

impl TeacherTargets {
    /// The distributions of the words of a sentence.
    pub(in crate::train) fn rows(&self, sentence: usize) -> &[f32] {
        let first =
            |sentence: usize| self.width * self.first_words.get(sentence).copied().unwrap_or_default();
        self.rows
            .get(first(sentence)..first(sentence + 1))
            .unwrap_or_default()
    }

    /// The most probable label of each word of a sentence; `None` for a word without a distribution. The lowest label wins a tie.
    pub(in crate::train) fn labels(&self, sentence: usize) -> Vec<Option<LabelId>> {
        let rows = self.rows(sentence).chunks_exact(self.width);
        rows.map(most_probable).collect()
    }

    /// Keeps the probabilities in the run, for a run that is resumed.
    pub(in crate::train) fn keep(&self) -> Result<(), TrainError> {
        match self.is_kept {
            true => Ok(()),
            false => write(&self.path, &self.key, &self.rows),
        }
    }

    /// What the user is told of the teachers.
    pub(in crate::train) fn notice(&self, labels: &LabelSet) -> Notice {
        let has_entity = |sentence: &usize| {
            let mut found = self.labels(*sentence).into_iter().flatten();
            found.any(|label| label != labels.outside())
        };
        let end = self.labeled + self.unlabeled.len();
        let is_read = |sentence: &usize| !self.rows(*sentence).is_empty();
        Notice::Teachers {
            teachers: self.teachers.clone(),
            sentences: (0..self.labeled).filter(is_read).count(),
            with_entities: (0..self.labeled).filter(has_entity).count(),
            unlabeled: self.unlabeled.len(),
            unlabeled_with_entities: (self.labeled..end).filter(has_entity).count(),
        }
    }
}

fn most_probable(row: &[f32]) -> Option<LabelId> {
    let best = row.iter().enumerate().reduce(|best, next| match next.1 > best.1 {
        true => next,
        false => best,
    });
    best.filter(|(_, probability)| **probability > 0.0)
        .map(|(label, _)| LabelId(label))
}

/// The sentences of the files without labels, as many as are configured.
fn unlabeled(distillation: &Distillation) -> Result<Vec<Vec<String>>, TeacherError> {
    let mut sentences = Vec::new();
    for path in &distillation.unlabeled {
        sentences.extend(read_words(path).map_err(|error| TeacherError::Unlabeled(Box::new(error)))?);
    }
    let Some(size) = distillation.unlabeled_sentences else {
        return Ok(sentences);
    };
    let drawn = order::unlabeled(sentences.len(), size);
    Ok(drawn
        .into_iter()
        .map(|at| std::mem::take(&mut sentences[at]))
        .collect())
}

fn key_of(
    distillation: &Distillation,
    teachers: &[TeacherModel],
    labels: &LabelSet,
    sentences: &[Vec<String>],
) -> [u8; 32] {
    let temperature = distillation.temperature.to_le_bytes();
    let mut parts: Vec<&[u8]> = vec![&temperature];
    parts.extend(labels.names().iter().map(String::as_bytes));
    for teacher in teachers {
        parts.extend([&b"\n"[..], teacher.hash.as_bytes()]);
    }
    for words in sentences {
        parts.push(b"\n");
        parts.extend(words.iter().map(String::as_bytes));
    }
    key(parts)
}

fn first_words(sentences: &[Vec<String>]) -> Vec<usize> {
    let mut first_words = vec![0];
    let mut count = 0;
    for words in sentences {
        count += words.len();
        first_words.push(count);
    }
    first_words
}

/// Gives the logits of every sentence to `take`.
fn ask(
    teacher: &TeacherModel,
    tagger: &mut dyn Tagger,
    sentences: &[Vec<String>],
    mut take: impl FnMut(usize, &[Option<Vec<f32>>]),
    hooks: &mut dyn TrainingHook,
) -> Result<(), TrainError> {
    for (at, asked) in sentences.chunks(SENTENCES).enumerate() {
        if hooks.stop().is_some() {
            return Err(TeacherError::Stopped.into());
        }
        let tagged = tagger.tag(asked).map_err(|source| TeacherError::Tag {
            teacher: teacher.name.clone(),
            source: Box::new(source),
        })?;
        let logits = tagged.logits.ok_or_else(|| TeacherError::NoLogits {
            teacher: teacher.name.clone(),
        })?;
        for (index, rows) in logits.iter().enumerate() {
            take(at * SENTENCES + index, rows);
        }
        hooks.on_teacher(&TeacherProgress {
            teacher: &teacher.name,
            labeled: at * SENTENCES + asked.len(),
            sentences: sentences.len(),
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_probable_label_is_the_first_of_equal_ones() {
        assert_eq!(most_probable(&[0.2, 0.4, 0.4]), Some(LabelId(1)));
        assert_eq!(most_probable(&[0.0; 3]), None);
    }
}
