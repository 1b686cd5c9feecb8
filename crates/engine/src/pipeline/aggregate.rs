//! Tokens and logits to entities, exactly as the `TokenClassificationPipeline` of `transformers` computes them.
//!
//! Its heuristics are reproduced too: which tokens continue a word, and a `word` that the decoder spells.
//! `docs/aggregation.md` lists them.

use std::collections::{BTreeSet, HashSet};

use nerve_inference::{PipelineToken, PipelineTokenizer, TokenizerError};
use nerve_tagging::LabelSet;
use serde::Serialize;
use utoipa::ToSchema;

use crate::pipeline::aggregation::Aggregation;

/// A token or a group of tokens with one label.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Classified {
    /// A token, where nothing is aggregated.
    Token(ClassifiedToken),
    /// A group of neighboring tokens.
    Group(ClassifiedGroup),
}

impl Classified {
    /// The label of a group; `None` for a token.
    pub fn group(&self) -> Option<&str> {
        match self {
            Self::Token(_) => None,
            Self::Group(group) => Some(&group.entity_group),
        }
    }
}

/// A token with its label.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ClassifiedToken {
    /// The label.
    #[schema(example = "B-person")]
    entity: String,
    /// The label's probability.
    #[schema(minimum = 0, maximum = 1)]
    score: f32,
    /// The token's place in the sequence the model reads, special tokens counted.
    index: usize,
    /// The vocabulary entry.
    #[schema(example = "##ama")]
    word: String,
    /// Where it begins in the text, in code points.
    start: usize,
    /// Where it ends: the first code point after it.
    end: usize,
}

/// Neighbouring tokens with one label.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ClassifiedGroup {
    /// The label without its `B-` or `I-`.
    #[schema(example = "person")]
    entity_group: String,
    /// The mean probability of the tokens' or words' labels.
    #[schema(minimum = 0, maximum = 1)]
    score: f32,
    /// The tokens, spelt as text by the tokenizer's decoder; slice the text for what stands there.
    #[schema(example = "barack obama")]
    word: String,
    /// Where it begins in the text, in code points.
    start: usize,
    /// Where it ends: the first code point after it.
    end: usize,
}

/// One sequence of the model: consecutive tokens of a text, and their logits.
pub(crate) struct Chunk<'t> {
    /// The tokens.
    pub(crate) tokens: &'t [PipelineToken],
    /// One row of logits per token, row-major.
    pub(crate) logits: &'t [f32],
}

/// The parameters of the pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineOptions {
    /// How tokens become entities.
    pub strategy: Aggregation,
    /// Labels that are left out; without aggregation, label names with their prefix.
    pub ignored: Vec<String>,
}

impl PipelineOptions {
    /// These options without ignored names that no label or group of the model has, and without repetitions, so that a
    /// long list costs no token its time.
    pub(crate) fn for_labels(mut self, labels: &LabelSet) -> Self {
        let ignored: HashSet<String> = self.ignored.drain(..).collect();
        let names = labels
            .names()
            .iter()
            .flat_map(|label| [label.as_str(), group_name(label)]);
        let known: BTreeSet<&str> = names.filter(|name| ignored.contains(*name)).collect();
        self.ignored = known.into_iter().map(str::to_owned).collect();
        self
    }
}

/// The name of a group of tokens with this label.
fn group_name(label: &str) -> &str {
    label.split_once('-').map_or(label, |(_, group)| group)
}

/// A token or word on its way into a group.
struct Unit<'l> {
    label: &'l str,
    score: f32,
    word: String,
    start: usize,
    end: usize,
}

/// The entities of a text that is read in these chunks.
///
/// The chunks of a text that is longer than the model overlap. Of overlapping entities the longest is kept, of
/// equally long ones the one with the highest score.
pub(crate) fn aggregate(
    tokenizer: &PipelineTokenizer,
    labels: &LabelSet,
    chunks: &[Chunk],
    wanted: &PipelineOptions,
) -> Result<Vec<Classified>, TokenizerError> {
    let ignored = |label: &str| wanted.ignored.iter().any(|ignored| ignored == label);
    if wanted.strategy == Aggregation::None {
        let tokens = chunks
            .iter()
            .flat_map(|chunk| token_answers(tokenizer, labels, chunk));
        let shown = tokens.filter(|token| !ignored(&token.entity));
        return Ok(shown.map(Classified::Token).collect());
    }
    let mut found = Vec::new();
    for chunk in chunks {
        let groups = groups(tokenizer, units(tokenizer, labels, chunk, wanted.strategy)?)?;
        found.extend(groups.into_iter().filter(|group| !ignored(&group.entity_group)));
    }
    if chunks.len() > 1 {
        found = without_overlaps(found);
    }
    Ok(found.into_iter().map(Classified::Group).collect())
}

fn token_answers<'a>(
    tokenizer: &PipelineTokenizer,
    labels: &'a LabelSet,
    chunk: &'a Chunk,
) -> impl Iterator<Item = ClassifiedToken> + 'a {
    let (before, _) = tokenizer.specials();
    let rows = probabilities(chunk.logits, labels.len());
    let token = move |(at, (token, row)): (usize, (&PipelineToken, Vec<f32>))| {
        let (label, score) = highest(&row);
        ClassifiedToken {
            entity: name(labels, label).to_owned(),
            score,
            index: before + at,
            word: token.word.clone(),
            start: token.start,
            end: token.end,
        }
    };
    chunk.tokens.iter().zip(rows).enumerate().map(token)
}

/// The softmax of each row, in f32 as in the pipeline.
fn probabilities(logits: &[f32], width: usize) -> impl Iterator<Item = Vec<f32>> {
    logits.chunks_exact(width).map(|row| {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut row: Vec<f32> = row.iter().map(|logit| (logit - largest).exp()).collect();
        let total: f32 = row.iter().sum();
        row.iter_mut().for_each(|probability| *probability /= total);
        row
    })
}

/// The index and value of the first maximum.
fn highest(row: &[f32]) -> (usize, f32) {
    let better = |best: (usize, f32), next: (usize, f32)| if next.1 > best.1 { next } else { best };
    row.iter()
        .copied()
        .enumerate()
        .fold((0, f32::NEG_INFINITY), better)
}

fn name(labels: &LabelSet, label: usize) -> &str {
    labels.names().get(label).map_or("", String::as_str)
}

/// The tokens, or the words that the pipeline's heuristic makes of them, with one label each.
fn units<'l>(
    tokenizer: &PipelineTokenizer,
    labels: &'l LabelSet,
    chunk: &Chunk,
    strategy: Aggregation,
) -> Result<Vec<Unit<'l>>, TokenizerError> {
    let rows: Vec<Vec<f32>> = probabilities(chunk.logits, labels.len()).collect();
    let mut units = Vec::new();
    let mut from = 0;
    while from < chunk.tokens.len().min(rows.len()) {
        let later = &chunk.tokens[from + 1..];
        let subwords = match strategy {
            Aggregation::None | Aggregation::Simple => 0,
            Aggregation::First | Aggregation::Average | Aggregation::Max => {
                later.iter().take_while(|token| token.is_subword).count()
            }
        };
        let to = (from + 1 + subwords).min(rows.len());
        let tokens = &chunk.tokens[from..to];
        let (label, score) = decided(&rows[from..to], strategy);
        let word = match strategy {
            Aggregation::None | Aggregation::Simple => tokens[0].word.clone(),
            Aggregation::First | Aggregation::Average | Aggregation::Max => {
                tokenizer.tokens_to_string(tokens.iter().map(|token| token.word.clone()).collect())?
            }
        };
        units.push(Unit {
            label: name(labels, label),
            score,
            word,
            start: tokens[0].start,
            end: tokens[tokens.len() - 1].end,
        });
        from = to;
    }
    Ok(units)
}

/// The label and score of a word, from its tokens' probabilities.
fn decided(rows: &[Vec<f32>], strategy: Aggregation) -> (usize, f32) {
    match strategy {
        Aggregation::None | Aggregation::Simple | Aggregation::First => highest(&rows[0]),
        Aggregation::Max => {
            let surest = rows.iter().map(|row| highest(row));
            let surer = |best: (usize, f32), next: (usize, f32)| if next.1 > best.1 { next } else { best };
            surest.fold((0, f32::NEG_INFINITY), surer)
        }
        Aggregation::Average => {
            let mut mean = vec![0.0; rows[0].len()];
            for row in rows {
                mean.iter_mut().zip(row).for_each(|(sum, p)| *sum += p);
            }
            mean.iter_mut().for_each(|sum| *sum /= rows.len() as f32);
            highest(&mean)
        }
    }
}

/// Groups consecutive units of one label; a `B-` starts a new group.
fn groups(tokenizer: &PipelineTokenizer, units: Vec<Unit>) -> Result<Vec<ClassifiedGroup>, TokenizerError> {
    let mut found = Vec::new();
    let mut run: Vec<Unit> = Vec::new();
    for unit in units {
        let continues = run.last().is_some_and(|last| {
            let ((begins, tag), (_, last_tag)) = (parts(unit.label), parts(last.label));
            tag == last_tag && !begins
        });
        if !continues && !run.is_empty() {
            found.push(group(tokenizer, std::mem::take(&mut run))?);
        }
        run.push(unit);
    }
    if !run.is_empty() {
        found.push(group(tokenizer, run)?);
    }
    Ok(found)
}

/// Whether a label starts an entity, and its type. A label without prefix continues an entity of its own name.
fn parts(label: &str) -> (bool, &str) {
    match (label.strip_prefix("B-"), label.strip_prefix("I-")) {
        (Some(tag), _) => (true, tag),
        (None, Some(tag)) => (false, tag),
        (None, None) => (false, label),
    }
}

fn group(tokenizer: &PipelineTokenizer, run: Vec<Unit>) -> Result<ClassifiedGroup, TokenizerError> {
    let label = run[0].label;
    let total: f64 = run.iter().map(|unit| f64::from(unit.score)).sum();
    Ok(ClassifiedGroup {
        entity_group: group_name(label).to_owned(),
        score: (total / run.len() as f64) as f32,
        start: run[0].start,
        end: run[run.len() - 1].end,
        word: tokenizer.tokens_to_string(run.into_iter().map(|unit| unit.word).collect())?,
    })
}

/// The groups in order of the text, without those that start inside a longer group or one with a higher score.
fn without_overlaps(mut groups: Vec<ClassifiedGroup>) -> Vec<ClassifiedGroup> {
    groups.sort_by_key(|group| group.start);
    let mut kept: Vec<ClassifiedGroup> = Vec::with_capacity(groups.len());
    let length = |group: &ClassifiedGroup| group.end.saturating_sub(group.start);
    for group in groups {
        match kept.last_mut() {
            Some(previous) if group.start < previous.end => {
                let longer = length(&group) > length(previous);
                let surer = length(&group) == length(previous) && group.score > previous.score;
                if longer || surer {
                    *previous = group;
                }
            }
            _ => kept.push(group),
        }
    }
    kept
}
