//! The original study's figures of a checkpoint, and of a tagger that answers `O` everywhere.

use nerve_corpus::Corpus;
use nerve_tagging::{LabelSet, SubwordLabels};
use nerve_trainer::evaluate::{CheckpointTagger, Tagger, TaggerError};
use nerve_trainer::model::Packed;
use nerve_trainer::{Example, examples};
use serde::Serialize;

use crate::error::StudyError;
use crate::positions::Positions;
use crate::weighted::{TokenConfusion, WeightedFigures};

/// Windows of a forward pass.
const PASS_WINDOWS: usize = 16;

/// The original study's figures of a tagger, and of one that answers `O` everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PaddedEvaluation {
    /// The tagger's.
    pub tagger: WeightedFigures,
    /// Those of answering `O` everywhere.
    pub outside: WeightedFigures,
}

/// The original study's figures of a checkpoint on a corpus, every subword labeled, all positions at once.
///
/// Special tokens count with what the checkpoint gives them. Padding, which the network does not see, counts as answered
/// `O`.
pub fn evaluate_padded(tagger: &CheckpointTagger, corpus: &Corpus) -> Result<PaddedEvaluation, StudyError> {
    let (labels, tokenizer) = (tagger.labels(), tagger.tokenizer());
    let outside = labels.outside().0;
    let examples = examples(corpus, tokenizer, labels, tagger.limits(), SubwordLabels::All)?;
    let positions = Positions::of(&examples, tokenizer.specials());
    let mut found = TokenConfusion::new(labels.len());
    for pass in examples.chunks(PASS_WINDOWS) {
        let packed = Packed::new(pass.iter().map(|example| &example.ids));
        let logits = tagger.network().logits(&packed).map_err(TaggerError::from)?;
        let rows: Vec<Vec<f32>> = logits.to_vec2().map_err(TaggerError::from)?;
        let mut given = rows.iter().map(|row| {
            let best = (0..row.len()).reduce(|best, at| if row[at] > row[best] { at } else { best });
            best.unwrap_or(outside) as u32
        });
        for example in pass {
            let given: Vec<u32> = given.by_ref().take(example.ids.len()).collect();
            positions.count(&mut found, example, &given);
        }
    }
    let everywhere = outside_everywhere(&examples.iter().collect::<Vec<_>>(), &positions, labels);
    Ok(PaddedEvaluation {
        tagger: found.weighted(outside),
        outside: everywhere.weighted(outside),
    })
}

/// What answering `O` everywhere gives these examples.
pub(crate) fn outside_everywhere(
    examples: &[&Example],
    positions: &Positions,
    labels: &LabelSet,
) -> TokenConfusion {
    let mut confusion = TokenConfusion::new(labels.len());
    let outside = labels.outside().0 as u32;
    for example in examples {
        positions.count(&mut confusion, example, &vec![outside; example.ids.len()]);
    }
    confusion
}

/// The figures as a table.
pub fn padded_table(found: &PaddedEvaluation) -> String {
    let mut table = format!("{:12}  precision  accuracy      F1\n", "");
    for (name, figures) in [("tagger", found.tagger), ("O everywhere", found.outside)] {
        let [precision, accuracy, f1] =
            [figures.precision, figures.accuracy, figures.f1].map(|share| 100.0 * share);
        table += &format!("{name:12}  {precision:9.2}  {accuracy:8.2}  {f1:6.2}\n");
    }
    table
}
