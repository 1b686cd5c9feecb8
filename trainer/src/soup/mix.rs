//! The making of a soup.

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::Error;
use nerve_corpus::Corpus;
use nerve_inference::evaluate;
use nerve_repository::{Calibration, TRANSITIONS};
use nerve_tagging::Evaluation;

use crate::evaluate::calibration::calibrate;
use crate::evaluate::checkpoint::CheckpointTagger;
use crate::model::checkpoint::{ModelDir, write_checkpoint};
use crate::report::card::{CardName, ModelCard, last_parts};
use crate::soup::error::SoupError;
use crate::soup::ingredient::Ingredient;
use crate::soup::kind::SoupKind;

/// The checkpoints of a soup and how they are mixed.
#[derive(Clone, Copy, Debug)]
pub struct SoupRequest<'r> {
    /// The directories of the checkpoints, at least two.
    pub checkpoints: &'r [PathBuf],
    /// Which of them are in the soup.
    pub kind: SoupKind,
    /// Labeled sentences to evaluate on and to fit the temperature on; needed for a greedy soup.
    pub data: Option<&'r Corpus>,
    /// Threads.
    pub threads: usize,
}

/// A checkpoint that was given for a soup.
#[derive(Clone, Debug, PartialEq)]
pub struct SoupIngredient {
    /// Its directory.
    pub path: PathBuf,
    /// Its entity F1, if there are sentences to evaluate on.
    pub f1: Option<f64>,
    /// Whether its weights are in the soup.
    pub is_used: bool,
}

/// A soup that was made.
#[derive(Clone, Debug)]
pub struct Soup {
    /// The checkpoints: in the order given, or by their F1 for a greedy soup.
    pub ingredients: Vec<SoupIngredient>,
    /// Its evaluation, if there are sentences to evaluate on.
    pub evaluation: Option<Evaluation>,
    /// The temperature that is fitted to it.
    pub temperature: Option<f64>,
    /// Why it has no temperature.
    pub notice: Option<String>,
}

impl SoupRequest<'_> {
    /// An error if there is something at `out`, or if a greedy soup has no sentences to be chosen on.
    fn check(&self, out: &Path) -> Result<(), SoupError> {
        if self.checkpoints.len() < 2 {
            return Err(SoupError::TooFew(self.checkpoints.len()));
        }
        let real = |path: &PathBuf| fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        let mut seen = Vec::new();
        for path in self.checkpoints {
            if seen.contains(&real(path)) {
                return Err(SoupError::Twice(path.clone()));
            }
            seen.push(real(path));
        }
        if self.kind == SoupKind::Greedy && self.data.is_none() {
            return Err(SoupError::NoData);
        }
        match out.exists() {
            true => Err(SoupError::Exists(out.to_owned())),
            false => Ok(()),
        }
    }

    /// Makes the soup and writes it as a checkpoint with a model card, and a temperature if there are sentences to fit it on.
    pub fn write(&self, out: &Path) -> Result<Soup, SoupError> {
        self.check(out)?;
        let opened = self.checkpoints.iter().map(|path| Ingredient::open(path));
        let opened = opened.collect::<Result<Vec<_>, _>>()?;
        for other in &opened[1..] {
            opened[0].check_same(other)?;
        }
        let mut ranked = Vec::with_capacity(opened.len());
        for ingredient in &opened {
            ranked.push((ingredient, self.f1(&[ingredient])?));
        }
        let used = match self.kind {
            SoupKind::Uniform => opened.iter().collect(),
            SoupKind::Greedy => {
                ranked.sort_by(|(_, one), (_, other)| other.unwrap_or(0.0).total_cmp(&one.unwrap_or(0.0)));
                self.chosen(&ranked)?
            }
        };
        let mut tagger = self.mean(&used)?;
        let evaluation = match self.data {
            Some(data) => Some(evaluate(&mut tagger, &data.sentences)?),
            None => None,
        };
        let calibration = self.calibration(&mut tagger, out)?;
        write_checkpoint(out, tagger.network(), tagger.tokenizer(), opened[0].max_length)?;
        if let Ok(calibration) = &calibration {
            calibration.write(out)?;
        }
        let ingredient = |(ingredient, f1): &(&Ingredient, Option<f64>)| SoupIngredient {
            path: ingredient.path.clone(),
            f1: *f1,
            is_used: used.iter().any(|used| used.path == ingredient.path),
        };
        let soup = Soup {
            ingredients: ranked.iter().map(ingredient).collect(),
            evaluation,
            temperature: calibration
                .as_ref()
                .ok()
                .map(|calibration| calibration.temperature),
            notice: calibration.err(),
        };
        soup.card(self.kind, self.data, out).write(out)?;
        Ok(soup)
    }

    /// The checkpoints of a greedy soup, of those that are sorted by F1: each one with which the soup is not worse.
    fn chosen<'i>(&self, ranked: &[(&'i Ingredient, Option<f64>)]) -> Result<Vec<&'i Ingredient>, SoupError> {
        let mut chosen: Vec<&Ingredient> = Vec::new();
        let mut best = None;
        for (ingredient, own) in ranked {
            chosen.push(ingredient);
            let f1 = match chosen.len() {
                1 => *own,
                _ => self.f1(&chosen)?,
            };
            if f1 >= best {
                best = f1;
            } else {
                chosen.pop();
            }
        }
        Ok(chosen)
    }

    /// The tagger whose weights are the mean of those of some checkpoints, at least one.
    fn mean(&self, ingredients: &[&Ingredient]) -> Result<CheckpointTagger, SoupError> {
        let [first, others @ ..] = ingredients else {
            return Err(SoupError::TooFew(0));
        };
        let tagger = CheckpointTagger::open(&first.path, first.max_length, self.threads)?;
        for (at, other) in others.iter().enumerate() {
            let added = 1.0 / (at + 2) as f64;
            let (network, _) = ModelDir::open(&other.path)?.into_tagger(&other.labels, 0)?;
            let has_transitions =
                [tagger.network(), &network].map(|network| network.parameters().get(TRANSITIONS).is_some());
            if has_transitions[0] != has_transitions[1] {
                return Err(SoupError::Different {
                    paths: [first.path.clone(), other.path.clone()],
                    what: format!("`{TRANSITIONS}` of model.safetensors"),
                    values: has_transitions.map(|has| if has { "present" } else { "absent" }.to_owned()),
                });
            }
            for (name, mean) in tagger.network().parameters().iter() {
                let weights = network
                    .parameters()
                    .get(name)
                    .ok_or_else(|| Error::Msg(format!("{} has no parameter {name}", other.path.display())))?;
                let kept = (mean.as_tensor().detach() * (1.0 - added))?;
                mean.set(&(kept + (weights.as_tensor().detach() * added)?)?)?;
            }
        }
        Ok(tagger)
    }

    /// The entity F1 of the mean of some checkpoints, if there are sentences to evaluate on.
    fn f1(&self, ingredients: &[&Ingredient]) -> Result<Option<f64>, SoupError> {
        match self.data {
            Some(data) => {
                let found = evaluate(&mut self.mean(ingredients)?, &data.sentences)?;
                Ok(Some(found.score.entity.f1))
            }
            None => Ok(None),
        }
    }

    /// The calibration of a soup that is written to `out`, or why it has none.
    fn calibration(
        &self,
        tagger: &mut CheckpointTagger,
        out: &Path,
    ) -> Result<Result<Calibration, String>, SoupError> {
        let Some(data) = self.data else {
            return Ok(Err(format!(
                "the soup has no temperature, because those of its checkpoints are not its own; fit one with: \
                 nerve-trainer calibrate --checkpoint {} --data FILE",
                out.display()
            )));
        };
        let found = calibrate(tagger, data)?.to_calibration(data.split_name());
        Ok(found.map_err(|reason| reason.to_string()))
    }
}

impl Soup {
    fn card(&self, kind: SoupKind, data: Option<&Corpus>, out: &Path) -> ModelCard {
        let name = out.file_name().unwrap_or(out.as_os_str()).to_string_lossy();
        let of = |ingredient: &SoupIngredient| {
            let shown = last_parts(&ingredient.path.to_string_lossy());
            let used = if ingredient.is_used { "used" } else { "not used" };
            (shown, used.to_owned())
        };
        let used = self
            .ingredients
            .iter()
            .filter(|ingredient| ingredient.is_used)
            .count();
        ModelCard {
            name: name.into_owned(),
            dataset: data.map_or_else(CardName::default, |corpus| {
                CardName::of(&corpus.path.to_string_lossy(), None)
            }),
            dev: self.evaluation.clone(),
            temperature: self.temperature,
            selection: Some(match used {
                1 => {
                    format!("Its weights are those of one checkpoint: the {kind} model soup takes no other.")
                }
                _ => {
                    format!("Its weights are the mean of those of {used} checkpoints (a {kind} model soup).")
                }
            }),
            configuration: self.ingredients.iter().map(of).collect(),
            ..ModelCard::default()
        }
    }
}

#[cfg(test)]
mod tests;
