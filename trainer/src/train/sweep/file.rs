//! A sweep as a TOML file describes it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use toml::{Table, Value};

use crate::train::config::TrainConfig;
use crate::train::config::error::OptionError;
use crate::train::config::fold::fold_options;
use crate::train::config::seed_options;
use crate::train::options::TrainOptions;
use crate::train::sweep::command_line::text;
use crate::train::sweep::draw::Draw;
use crate::train::sweep::error::SweepError;

/// The longest name of a combination, in characters.
const LONGEST_NAME: usize = 120;
/// The most combinations of a sweep.
const MOST_COMBINATIONS: usize = 100_000;
/// How often a random search may draw a combination that it has already, for each combination that it is to have.
const REPEATS: usize = 100;

/// Which checkpoints of a finished run are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Checkpoints {
    /// The best one, without the state of the optimizer.
    #[default]
    Best,
    /// The best and the last one, as `train` leaves them.
    All,
    /// None.
    None,
}

/// One combination of the values that are tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Combination {
    /// A name for its directory: `dropout=0.1,learning_rate=0.0002`.
    pub name: String,
    /// The options that are tried, and their values here.
    pub values: Table,
    /// All options of the file and of the combination, with `seeds`.
    pub options: TrainOptions,
}

impl Combination {
    /// The options of each of its runs, in directories below `dir`, which is the combination's own.
    pub(super) fn runs(&self, dir: &Path) -> Result<Vec<TrainOptions>, OptionError> {
        let options = TrainOptions {
            out: Some(dir.to_owned()),
            ..self.options.clone()
        };
        if options.seeds.is_some() {
            return seed_options(&options);
        }
        match (options.folds, options.fold) {
            (Some(_), None) => fold_options(&options),
            _ => Ok(vec![options]),
        }
    }
}

/// A sweep, every combination of which is a valid configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    /// The text of the file.
    pub(super) text: String,
    /// The options that all combinations have.
    pub(super) fixed: Table,
    /// Which checkpoints are kept.
    pub checkpoints: Checkpoints,
    /// The options that are tried.
    pub tried: Vec<String>,
    /// The combinations, in the order in which they are trained.
    pub combinations: Vec<Combination>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SweepFile {
    seeds: Option<Vec<u64>>,
    #[serde(default)]
    checkpoints: Checkpoints,
    #[serde(default)]
    options: Table,
    grid: Option<Table>,
    random: Option<RandomSearch>,
}

#[derive(Deserialize)]
struct RandomSearch {
    runs: usize,
    #[serde(default)]
    seed: u64,
    #[serde(flatten)]
    ranges: Table,
}

impl Sweep {
    /// The sweep in a TOML file. Every option, value and combination is checked.
    pub fn read(path: &Path) -> Result<Self, SweepError> {
        let text = std::fs::read(path)
            .and_then(nerve_tagging::into_text)
            .map_err(|source| SweepError::Read {
                path: path.to_owned(),
                source,
            })?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, SweepError> {
        let file: SweepFile = toml::from_str(text).map_err(|source| SweepError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let check = Check { path };
        for (option, value) in &file.options {
            check.value(option, value)?;
        }
        let combinations = match (&file.grid, &file.random) {
            (Some(grid), None) => check.grid(grid)?,
            (None, Some(random)) => check.random(random)?,
            _ => {
                return Err(SweepError::NoSearch {
                    path: path.to_owned(),
                });
            }
        };
        let tried = file
            .grid
            .iter()
            .chain(file.random.iter().map(|random| &random.ranges));
        let tried: Vec<String> = tried.flat_map(Table::keys).cloned().collect();
        if let Some(option) = tried.iter().find(|option| file.options.contains_key(*option)) {
            return Err(check.values(option, "it is in [options] as well; remove it there"));
        }
        let mut names = HashSet::new();
        let combinations = combinations.into_iter().map(|values| {
            let mut table = file.options.clone();
            table.extend(values.clone());
            let options: TrainOptions = table.try_into().map_err(|source| SweepError::Parse {
                path: path.to_owned(),
                source: Box::new(source),
            })?;
            let combination = Combination {
                name: unused(&name(&values), &mut names),
                values,
                options: TrainOptions {
                    seeds: file.seeds.clone(),
                    ..options
                },
            };
            check.combination(&combination)?;
            Ok(combination)
        });
        Ok(Self {
            combinations: combinations.collect::<Result<_, SweepError>>()?,
            text: text.to_owned(),
            fixed: file.options.clone(),
            checkpoints: file.checkpoints,
            tried,
        })
    }

    /// The options that all combinations of the sweep in a file have, which may be of another version.
    pub(super) fn fixed_options(text: &str) -> Option<Table> {
        let file: Table = toml::from_str(text).ok()?;
        match file.get("options") {
            Some(Value::Table(options)) => Some(options.clone()),
            None => Some(Table::new()),
            Some(_) => None,
        }
    }
}

/// The checks of a file.
struct Check<'f> {
    path: &'f Path,
}

impl Check<'_> {
    /// An error unless an option exists, is the user's to set and takes a value.
    fn value(&self, option: &str, value: &Value) -> Result<(), SweepError> {
        let reason = match option {
            "out" => Some("--out is the directory of the sweep, in which each run has its own"),
            "seeds" => Some("write `seeds = [1, 2, 3]` above the tables, for all combinations"),
            "soup" => Some(
                "a sweep makes no soup; average the best checkpoints of a combination with `nerve-trainer soup`",
            ),
            "evaluate_test" if *value != Value::Boolean(false) => Some(
                "a sweep chooses on dev and never reads test; evaluate the chosen run with `train --evaluate-test`",
            ),
            _ => None,
        };
        if let Some(reason) = reason {
            return Err(SweepError::Reserved {
                path: self.path.to_owned(),
                option: option.to_owned(),
                reason,
            });
        }
        match takes(option, value) {
            Ok(()) => Ok(()),
            Err(reason) if reason.starts_with("unknown field") => Err(SweepError::UnknownOption {
                path: self.path.to_owned(),
                option: option.to_owned(),
            }),
            Err(reason) => Err(SweepError::Value {
                path: self.path.to_owned(),
                option: option.to_owned(),
                value: value.to_string(),
                reason,
            }),
        }
    }

    fn values(&self, option: &str, problem: &'static str) -> SweepError {
        SweepError::Values {
            path: self.path.to_owned(),
            option: option.to_owned(),
            problem,
        }
    }

    /// All combinations of the values; the last option changes first.
    fn grid(&self, grid: &Table) -> Result<Vec<Table>, SweepError> {
        let mut combinations = vec![Table::new()];
        for (option, values) in grid {
            let values = match values {
                Value::Array(values) if !values.is_empty() => values,
                _ => return Err(self.values(option, "give a list of values, such as [1, 2]")),
            };
            for (at, value) in values.iter().enumerate() {
                self.value(option, value)?;
                if values[..at].contains(value) {
                    return Err(self.values(option, "a value is listed twice"));
                }
            }
            let with = |table: &Table, value: &Value| {
                let mut table = table.clone();
                table.insert(option.clone(), value.clone());
                table
            };
            if combinations.len().saturating_mul(values.len()) > MOST_COMBINATIONS {
                return Err(self.values(option, "with this option there are more than 100000 combinations"));
            }
            combinations = combinations
                .iter()
                .flat_map(|table| values.iter().map(move |value| with(table, value)))
                .collect();
        }
        Ok(combinations)
    }

    /// As many different combinations as the search is to have, or all there are if they are fewer. A search of more runs
    /// begins with those of a search of fewer.
    fn random(&self, random: &RandomSearch) -> Result<Vec<Table>, SweepError> {
        let mut draws: Vec<(&String, Draw)> = Vec::new();
        for (option, values) in &random.ranges {
            let takes_fractions = takes(option, &Value::Float(0.5)).is_ok();
            let draw = Draw::of(values, takes_fractions).map_err(|problem| self.values(option, problem))?;
            for value in draw.examples() {
                self.value(option, &value)?;
            }
            draws.push((option, draw));
        }
        if random.runs == 0 || random.runs > MOST_COMBINATIONS {
            return Err(self.values("runs", "it must be from 1 to 100000"));
        }
        let mut generator = StdRng::seed_from_u64(random.seed);
        let mut combinations: Vec<Table> = Vec::new();
        for _ in 0..random.runs.saturating_mul(REPEATS) {
            let drawn: Table = draws
                .iter()
                .map(|(option, draw)| ((*option).clone(), draw.draw(&mut generator)))
                .collect();
            if !combinations.contains(&drawn) {
                combinations.push(drawn);
            }
            if combinations.len() == random.runs {
                break;
            }
        }
        Ok(combinations)
    }

    /// An error unless every run of a combination is a valid configuration.
    fn combination(&self, combination: &Combination) -> Result<(), SweepError> {
        let failed = |source| SweepError::Combination {
            path: self.path.to_owned(),
            name: combination.name.clone(),
            source: Box::new(source),
        };
        for run in combination.runs(&PathBuf::from("sweep")).map_err(failed)? {
            TrainConfig::new(run).map_err(failed)?;
        }
        Ok(())
    }
}

/// The reason why an option does not take a value.
fn takes(option: &str, value: &Value) -> Result<(), String> {
    let table = Table::from_iter([(option.to_owned(), value.clone())]);
    match table.try_into::<TrainOptions>() {
        Ok(_) => Ok(()),
        Err(error) => Err(error.message().to_owned()),
    }
}

/// A name that can be that of a directory and depends on the values alone. Where it leaves something of them out, it ends in a
/// hash that tells them from others.
fn name(values: &Table) -> String {
    let all: Vec<String> = values
        .iter()
        .map(|(option, value)| format!("{option}={}", text(value)))
        .collect();
    let allowed = |letter: char| match letter {
        '=' | ',' | '.' | '_' | '-' => letter,
        letter if letter.is_alphanumeric() => letter,
        _ => '-',
    };
    let whole = all.join(",");
    let mut name: String = whole.chars().map(allowed).take(LONGEST_NAME).collect();
    if name != whole {
        let hash = Sha256::digest(whole.as_bytes());
        name += &format!("-{:02x}{:02x}{:02x}{:02x}", hash[0], hash[1], hash[2], hash[3]);
    }
    // No name begins with a dot, since every option begins with a letter.
    match name.is_empty() {
        true => "defaults".to_owned(),
        false => name,
    }
}

/// The name, with a number where it is taken.
fn unused(name: &str, names: &mut HashSet<String>) -> String {
    let mut candidate = name.to_owned();
    let mut number = 2;
    while !names.insert(candidate.clone()) {
        candidate = format!("{name}-{number}");
        number += 1;
    }
    candidate
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &str = "[options]\ndata = \"corpus\"\nbase = \"some/base\"\n";

    fn parse(text: &str) -> Result<Sweep, String> {
        Sweep::parse(Path::new("s.toml"), text).map_err(|error| error.to_string())
    }

    fn names(text: &str) -> Vec<String> {
        let sweep = parse(text).unwrap();
        sweep.combinations.into_iter().map(|of| of.name).collect()
    }

    #[test]
    fn a_grid_has_all_combinations() {
        let text = format!(
            "seeds = [1, 2]\n{OPTIONS}[grid]\nlearning_rate = [1e-4, 2e-4]\nepochs = [3]\nschedule = [\"linear\", \"cosine\"]\n"
        );
        let expected = [
            "epochs=3,learning_rate=0.0001,schedule=linear",
            "epochs=3,learning_rate=0.0001,schedule=cosine",
            "epochs=3,learning_rate=0.0002,schedule=linear",
            "epochs=3,learning_rate=0.0002,schedule=cosine",
        ];
        assert_eq!(names(&text), expected);
        let sweep = parse(&text).unwrap();
        assert_eq!(sweep.tried, ["epochs", "learning_rate", "schedule"]);
        let runs = sweep.combinations[3].runs(Path::new("out")).unwrap();
        let outs: Vec<&Path> = runs.iter().flat_map(|run| run.out.as_deref()).collect();
        assert_eq!(outs, [Path::new("out/seed-1"), Path::new("out/seed-2")]);
        assert_eq!(
            (runs[1].seed, runs[1].learning_rate, runs[1].epochs),
            (Some(2), Some(2e-4), Some(3))
        );
    }

    #[test]
    fn a_random_search_of_more_runs_begins_with_those_of_fewer() {
        let search = |runs: usize, seed: u64| {
            names(&format!(
                "{OPTIONS}[random]\nruns = {runs}\nseed = {seed}\nlearning_rate = {{ low = 1e-5, high = 1e-3, log = true }}\n\
                 batch_size = [8, 16]\nepochs = {{ low = 2, high = 9 }}\n"
            ))
        };
        let (fewer, more) = (search(4, 7), search(9, 7));
        assert_eq!((fewer.len(), more.len()), (4, 9));
        assert_eq!(fewer, more[..4]);
        assert_ne!(fewer, search(4, 8));
        let few = names(&format!("{OPTIONS}[random]\nruns = 50\nbatch_size = [8, 16]\n"));
        assert_eq!(few.len(), 2);
    }

    #[test]
    fn mistakes_are_named_before_anything_is_trained() {
        let with = |text: &str| format!("{OPTIONS}{text}");
        for (text, expected) in [
            (with("lerning_rate = 1\n[grid]\n"), "no option `lerning_rate`"),
            (with("[grid]\nlerning_rate = [1]\n"), "no option `lerning_rate`"),
            (
                with("[random]\nruns = 1\nlerning_rate = [1]\n"),
                "no option `lerning_rate`",
            ),
            (
                with("[grid]\nepochs = [\"many\"]\n"),
                "`epochs` cannot be \"many\": invalid type",
            ),
            (
                with("[grid]\nschedule = [\"linaer\"]\n"),
                "`schedule` cannot be \"linaer\"",
            ),
            (with("epochs = 2.5\n[grid]\n"), "`epochs` cannot be 2.5"),
            (
                with("[random]\nruns = 1\nepochs = { low = 1.5, high = 3.0 }\n"),
                "`epochs` cannot be 1.5",
            ),
            (with("[grid]\nepochs = 3\n"), "`epochs`: give a list"),
            (
                with("[grid]\nepochs = [3, 3]\n"),
                "`epochs`: a value is listed twice",
            ),
            (
                with("[grid]\nepochs = [0]\n"),
                "epochs=0: `epochs` is 0; it must be from 1",
            ),
            (
                with("[grid]\nmomentum = [0.9]\n"),
                "momentum=0.9: `momentum` has no effect",
            ),
            (
                with("epochs = 2\n[grid]\nepochs = [3]\n"),
                "it is in [options] as well",
            ),
            (with("out = \"x\"\n[grid]\n"), "`out` cannot be set here"),
            (with("seeds = [1]\n[grid]\n"), "`seeds` cannot be set here"),
            (with("evaluate_test = true\n[grid]\n"), "never reads test"),
            (
                with("[grid]\nevaluate_test = [false, true]\n"),
                "never reads test",
            ),
            (with(""), "either the table [grid] or the table [random]"),
            (
                with("[grid]\n[random]\nruns = 1\n"),
                "either the table [grid] or the table [random]",
            ),
            (
                with("[random]\nruns = 0\n"),
                "`runs`: it must be from 1 to 100000",
            ),
            (
                with("[random]\nruns = 1000000000000\n"),
                "`runs`: it must be from 1 to 100000",
            ),
            (
                with(&format!(
                    "[grid]\nbatch_size = {0:?}\nepochs = {0:?}\n",
                    (1..=400).collect::<Vec<_>>()
                )),
                "more than 100000 combinations",
            ),
            (
                format!("seeds = [1, 2]\n{OPTIONS}soup = \"greedy\"\n[grid]\n"),
                "`soup` cannot be set here",
            ),
            (format!("seed = [1]\n{OPTIONS}[grid]\n"), "unknown field `seed`"),
            (
                format!("seeds = [1, 1]\n{OPTIONS}[grid]\n"),
                "`seeds` has 1 twice",
            ),
            (
                format!("seeds = [1]\n{OPTIONS}folds = 3\n[grid]\n"),
                "`folds` and `seeds` are both given",
            ),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(
                error.contains(expected) && error.contains("s.toml"),
                "{text}\n{error}"
            );
        }
    }

    #[test]
    fn names_are_those_of_directories_and_differ() {
        let long = "b".repeat(200);
        let text = format!("{OPTIONS}[grid]\nvocab = [\"../a b\"]\nfreeze = [[\"{long}1\"], [\"{long}2\"]]\ninit = [\"scratch\"]\n")
            .replace("base = \"some/base\"\n", "");
        let names = names(&text);
        assert_eq!(names.len(), 2);
        assert_ne!(names[0], names[1]);
        assert!(
            names
                .iter()
                .all(|name| !name.contains(['/', ' ', '[']) && name.len() < 130)
        );
        assert_eq!(super::tests::names(&format!("{OPTIONS}[grid]\n")), ["defaults"]);
        // The name of a combination does not depend on the others.
        let of = |values: &str| super::tests::names(&format!("{OPTIONS}[grid]\nselect_by = [{values}]\n"));
        let (one, both) = (of("\"a-b\""), of("\"a/b\", \"a-b\""));
        assert!(both[0] != both[1] && both[1] == one[0], "{both:?} {one:?}");
    }
}
