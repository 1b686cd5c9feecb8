//! `README.md` beside a checkpoint: a model card as the Hugging Face hub reads it (Mitchell et al. 2019).

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::evaluate::Evaluation;
use crate::evaluate::report::score_table;
use crate::report::error::{ReportError, write};

/// The content of a model card.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelCard {
    /// The model's name.
    pub name: String,
    /// The license's SPDX identifier, such as `apache-2.0`; `None` if it is unknown.
    pub license: Option<String>,
    /// The language's code, such as `en`.
    pub language: Option<String>,
    /// The model it was fine-tuned from.
    pub base_model: Option<CardName>,
    /// The models whose probabilities it learned.
    pub teachers: Vec<CardName>,
    /// The corpus it was trained and evaluated on.
    pub dataset: CardName,
    /// Whether it was trained to label every subword of a word instead of the first alone.
    pub every_subword: bool,
    /// Its evaluation on the dev split.
    pub dev: Option<Evaluation>,
    /// Its evaluation on the test split.
    pub test: Option<Evaluation>,
    /// The fitted temperature that its logits are divided by.
    pub temperature: Option<f64>,
    /// How the checkpoint was chosen, as a sentence.
    pub selection: Option<String>,
    /// The training's configuration: names and values.
    pub configuration: Vec<(String, String)>,
}

/// The name of a model or a corpus on a card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CardName {
    /// The name in the text, such as `WNUT 17`.
    pub name: String,
    /// The identifier on the hub for the front matter, such as `wnut_17`; `None` if it is not on the hub.
    pub id: Option<String>,
}

impl CardName {
    /// The name of something with this identifier. Without one, `name` is a path, which is shortened.
    pub fn of(name: &str, id: Option<String>) -> Self {
        Self {
            name: if id.is_some() {
                name.to_owned()
            } else {
                last_parts(name)
            },
            id,
        }
    }
}

/// The last two parts of a path: enough to recognize it, without the directories above.
pub fn last_parts(path: &str) -> String {
    let of = |path: &str| {
        let parts = path.split('/').filter(|part| !["", "."].contains(part));
        let parts: Vec<&str> = parts.collect();
        let last = &parts[parts.len().saturating_sub(2)..];
        let named = !last.is_empty() && !last.contains(&"..");
        named.then(|| last.join("/"))
    };
    // A path like `.` has no name of its own.
    let whole = || of(&Path::new(path).canonicalize().ok()?.to_string_lossy());
    of(path).or_else(whole).unwrap_or_else(|| path.to_owned())
}

impl ModelCard {
    /// Writes the card as `README.md` into a checkpoint directory and returns its path.
    pub fn write(&self, dir: &Path) -> Result<PathBuf, ReportError> {
        write(dir.join("README.md"), &self.markdown())
    }

    /// The card: YAML front matter, then Markdown.
    pub fn markdown(&self) -> String {
        format!("---\n{}---\n\n{}", self.front_matter(), self.body())
    }

    /// The YAML front matter. It is written field by field: its few fields do not justify a YAML crate.
    fn front_matter(&self) -> String {
        let mut yaml = String::new();
        // Writing to a string cannot fail, here and below.
        let mut field = |name: &str, value: &str| {
            let _ = writeln!(yaml, "{name}: {}", quoted(value));
        };
        if let Some(license) = &self.license {
            field("license", license);
        }
        if let Some(language) = &self.language {
            field("language", language);
        }
        let base = self.base_model.as_ref().and_then(|base| base.id.as_ref());
        if let Some(base) = base.filter(|base| is_hub_id(base)) {
            field("base_model", base);
        }
        field("library_name", "transformers");
        field("pipeline_tag", "token-classification");
        if let Some(dataset) = &self.dataset.id {
            let _ = write!(yaml, "datasets:\n- {}\n", quoted(dataset));
        }
        yaml.push_str("metrics:\n- precision\n- recall\n- f1\n- accuracy\n");
        yaml.push_str("tags:\n- token-classification\n- named-entity-recognition\n");
        let splits = self.splits();
        if splits.is_empty() {
            return yaml;
        }
        let _ = write!(yaml, "model-index:\n- name: {}\n  results:\n", quoted(&self.name));
        for (split, found) in splits {
            let split = if split == "dev" { "validation" } else { split };
            let _ = write!(
                yaml,
                "  - task:\n      type: token-classification\n      name: Named entity recognition\n\
                 \x20   dataset:\n      name: {}\n      type: {}\n      split: {split}\n    metrics:\n",
                quoted(&self.dataset.name),
                // The hub requires a type. A corpus that is not on the hub has only its name.
                quoted(self.dataset.id.as_ref().unwrap_or(&self.dataset.name))
            );
            let score = &found.score;
            for (metric, name, value) in [
                ("f1", "Entity F1", score.entity.f1),
                ("precision", "Entity precision", score.entity.precision),
                ("recall", "Entity recall", score.entity.recall),
                ("f1", "Surface-form F1", score.surface.f1),
                ("accuracy", "Token accuracy", score.token_accuracy),
            ] {
                let _ = write!(
                    yaml,
                    "    - type: {metric}\n      name: {name}\n      value: {value:.4}\n"
                );
            }
        }
        yaml
    }

    fn splits(&self) -> Vec<(&'static str, &Evaluation)> {
        let splits = [("dev", &self.dev), ("test", &self.test)];
        splits
            .into_iter()
            .filter_map(|(name, found)| Some((name, found.as_ref()?)))
            .collect()
    }

    fn body(&self) -> String {
        let mut text = format!("# {}\n\n", line(&self.name));
        let subwords = match self.every_subword {
            true => "every subword of each word, of which the first is read",
            false => "the first subword of each word",
        };
        let _ = write!(
            text,
            "Finds named entities in text: a token classifier that labels {subwords}, IOB2."
        );
        if let Some(base) = &self.base_model {
            let _ = write!(text, " Fine-tuned from `{}`", line(&base.name));
            if !self.dataset.name.is_empty() {
                let _ = write!(text, " on {}", line(&self.dataset.name));
            }
            text.push('.');
        }
        if !self.teachers.is_empty() {
            let names: Vec<String> = self
                .teachers
                .iter()
                .map(|teacher| format!("`{}`", line(&teacher.name)))
                .collect();
            let _ = write!(text, " Distilled from {} (Hinton et al. 2015).", names.join(", "));
        }
        text.push_str("\n\n");
        for (split, found) in self.splits() {
            let _ = write!(
                text,
                "## {split} scores\n\nIn hundredths; `micro` is over all entities.\n\n"
            );
            let _ = write!(text, "```\n{}```\n\n", score_table(&found.score));
        }
        if let Some(temperature) = self.temperature {
            let _ = write!(
                text,
                "Probabilities are calibrated on the dev split with logits divided by {temperature:.4} (`calibration.json`); \
                 `transformers` does not do so by itself.\n\n"
            );
        }
        if let Some(selection) = &self.selection {
            let _ = write!(text, "{}\n\n", line(selection));
        }
        text.push_str("## Use\n\n```python\nfrom transformers import pipeline\n\n");
        text.push_str(
            "tagger = pipeline(\"token-classification\", model=\"DIR\", aggregation_strategy=\"first\")\n",
        );
        text.push_str("tagger(\"Barack Obama visited Berlin\")\n```\n\n");
        text.push_str("Or export it with `nerve-export` and serve it with `nerve-server`.\n");
        if !self.configuration.is_empty() {
            text.push_str("\n## Training\n\n| option | value |\n|---|---|\n");
            for (name, value) in &self.configuration {
                let _ = writeln!(text, "| {} | {} |", cell(name), cell(value));
            }
        }
        text
    }
}

/// A YAML string. Every JSON string is one.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether a name can be a model on the hub: `name` or `owner/name`.
fn is_hub_id(name: &str) -> bool {
    let part = |part: &str| {
        let ends_well = !part.starts_with(['-', '.']) && !part.ends_with(['-', '.']);
        let letters = part
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter));
        !part.is_empty() && ends_well && letters
    };
    name.split('/').count() <= 2 && name.split('/').all(part)
}

/// Text that stays on one line.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cell(text: &str) -> String {
    line(text)
        .replace('\\', "\\\\")
        .replace('|', "\\|")
        .replace('<', "&lt;")
}

#[cfg(test)]
mod tests;
