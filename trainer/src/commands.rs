//! The commands, from arguments to what they print.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, BufReader, BufWriter};
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use nerve_corpus::{Corpus, Entries, Format, ReadOptions};
use nerve_export::{
    Cancellation, CheckpointOptions, Comparison, FoundModel, ModelRequest, PrepareError, ReadyModel,
    checkpoint_dir,
};
use nerve_inference::OpenOptions;
use nerve_repository::ModelAddress;
use nerve_tagging::{Decoding, LabelSet, OrphanRule};
use nerve_trainer::evaluate::{
    self, CheckpointTagger, OutsideBiasChoice, Tagger, WordDifferences, calibrate_with_outside_bias,
    calibration_table, evaluation_table, open_bundle, outside_bias_table, score_files, score_table,
    span_table, types_warning,
};
use nerve_trainer::report::RunReport;
use nerve_trainer::summary::inspect_corpus;
use nerve_trainer::{
    Beginning, End, InputFormat, MOST_THREADS, OutputFormat, Publication, Publisher, Soup, SoupKind,
    SoupRequest, Spread, TerminalProgress, TrainConfig, TrainOptions, TrainingData, fold_configs,
    interrupt_flag, resumed_config, resumed_fold_configs, resumed_seed_configs, seed_configs, tag_file,
    train_folds, train_seeds,
};
use serde::Serialize;

use crate::cli::ModelArgs;

/// How a command ended, if not by an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All is done.
    Done,
    /// It was asked to stop, and has said how to go on.
    Interrupted,
    /// The run was to be published only if better, and is not.
    NotBetter,
}

pub(crate) fn train(
    file: Option<&Path>,
    options: TrainOptions,
    beginning: Beginning,
    publication: Option<Publication>,
) -> Result<Outcome> {
    let options = match file {
        Some(file) => options.over(TrainOptions::read(file)?),
        None => options,
    };
    let mut progress = TerminalProgress::new(interrupt_flag()?);
    if options.seeds.is_some() || options.folds.is_some() && options.fold.is_none() {
        if publication.is_some() {
            return Err(anyhow!(
                "several seeds or folds make several models: publish a run with one seed and no folds"
            ));
        }
        if !train_several(&options, beginning, &mut progress)? {
            eprintln!(
                "stopped. Continue with: {}",
                resume_command(std::env::args_os().skip(1))
            );
            return Ok(Outcome::Interrupted);
        }
        return Ok(Outcome::Done);
    }
    let config = match beginning {
        Beginning::New => TrainConfig::new(options)?,
        Beginning::Resumed => resumed_config(options)?,
    };
    if config.fold.is_some() && publication.is_some() {
        return Err(anyhow!(
            "a model that a fold is held out from has not seen all training sentences: train without --folds to publish"
        ));
    }
    let publisher = publication
        .map(|publication| Publisher::new(publication, &config.splits()?))
        .transpose()?;
    let report = nerve_trainer::train(&config, beginning, &mut [&mut progress])?;
    if report.end == End::Interrupted {
        eprintln!(
            "stopped at step {}. Continue with: {}",
            report.steps.len(),
            resume_command(std::env::args_os().skip(1))
        );
        return Ok(Outcome::Interrupted);
    }
    if report.end == End::OutOfTime {
        let arguments = [
            "train".into(),
            "--out".into(),
            config.out.clone().into_os_string(),
        ];
        eprintln!(
            "stopped at step {}: the run has taken its --max-time. A longer one, earlier parts included, continues it: {} \
             --max-time DURATION",
            report.steps.len(),
            resume_command(arguments.into_iter())
        );
    }
    if let Some(test) = &report.test {
        print!("{}", evaluation_table(&test.evaluation));
    }
    println!("{}", report.best.display());
    if let Some(publisher) = publisher {
        let compared = publisher.publish(&config, &report.best)?;
        eprintln!("{}", compared_line(&compared));
        match compared.published {
            Some(place) => println!("{place}"),
            None => return Ok(Outcome::NotBetter),
        }
    }
    Ok(Outcome::Done)
}

/// Trains the seeds or the folds of the options, and prints a table of their scores; `false` if it was interrupted.
fn train_several(
    options: &TrainOptions,
    beginning: Beginning,
    progress: &mut TerminalProgress,
) -> Result<bool> {
    let out = options.out.clone().unwrap_or_default();
    if options.folds.is_some() {
        let configs = match beginning {
            Beginning::New => fold_configs(options)?,
            Beginning::Resumed => resumed_fold_configs(options)?,
        };
        let Some(report) = train_folds(&configs, &out, beginning, &mut [progress])? else {
            return Ok(false);
        };
        let rows = report.folds.iter();
        let rows = rows.map(|fold| (fold.fold.to_string(), fold.dev_f1, fold.test_f1));
        print!("{}", runs_table("fold", rows, report.dev_f1, report.test_f1));
        return Ok(true);
    }
    let configs = match beginning {
        Beginning::New => seed_configs(options)?,
        Beginning::Resumed => resumed_seed_configs(options)?,
    };
    let Some(report) = train_seeds(&configs, &out, beginning, &mut [progress])? else {
        return Ok(false);
    };
    let rows = report.seeds.iter();
    let rows = rows.map(|seed| (seed.seed.to_string(), seed.dev_f1, seed.test_f1));
    print!("{}", runs_table("seed", rows, report.dev_f1, report.test_f1));
    if let Some(kind) = options.soup {
        soup_of_seeds(kind, &configs, &out)?;
    }
    Ok(true)
}

/// The shell command that continues a training that was started with these arguments: the same one with `--resume`, so
/// that every option holds again.
pub(crate) fn resume_command(arguments: impl Iterator<Item = OsString>) -> String {
    let mut arguments: Vec<String> = arguments
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    if !arguments.iter().any(|argument| argument == "--resume") {
        arguments.push("--resume".to_owned());
    }
    // Only a NUL byte cannot be quoted, which no argument has.
    let quoted = shlex::try_join(arguments.iter().map(String::as_str));
    format!("nerve-trainer {}", quoted.unwrap_or_else(|_| arguments.join(" ")))
}

/// What came of publishing, in a line.
fn compared_line(compared: &Comparison) -> String {
    let live = compared.live_f1.map_or_else(String::new, |f1| {
        format!(", that of the live version {:.2}", 100.0 * f1)
    });
    let done = match compared.published {
        Some(_) => "published",
        None => "not published",
    };
    format!(
        "{done}: the bundle's dev entity F1 is {:.2}{live}",
        100.0 * compared.f1
    )
}

/// The name and F1 of each of several runs and their spread, a line each.
fn runs_table(
    kind: &str,
    rows: impl Iterator<Item = (String, f64, Option<f64>)>,
    dev_f1: Spread,
    test_f1: Option<Spread>,
) -> String {
    let percent = |f1: f64| format!("{:8.2}", 100.0 * f1);
    let optional = |f1: Option<f64>| f1.map_or_else(|| format!("{:>8}", "-"), percent);
    let mut table = format!("{:<10}{:>8}{:>8}\n", kind, "dev F1", "test F1");
    let mut row = |name: &str, dev: Option<f64>, test: Option<f64>| {
        table += &format!("{name:<10}{}{}\n", optional(dev), optional(test));
    };
    for (name, dev, test) in rows {
        row(&name, Some(dev), test);
    }
    row("mean", Some(dev_f1.mean), test_f1.map(|spread| spread.mean));
    row(
        "deviation",
        dev_f1.deviation,
        test_f1.and_then(|spread| spread.deviation),
    );
    table
}

pub(crate) fn evaluate(
    model: &ModelArgs,
    decoding: Decoding,
    data: (&Path, &ReadOptions),
    (json, page): (Option<&Path>, Option<&Path>),
) -> Result<()> {
    let mut tagger = open(model, decoding)?;
    let corpus = read_corpus(data, tagger.labels())?;
    let Some(page) = page else {
        let found = evaluate::evaluate(&mut *tagger, &corpus.sentences)?;
        print!("{}", evaluation_table(&found));
        return write_json(json, &found);
    };
    let found = evaluate::evaluate_in_detail(&mut *tagger, &corpus)?;
    print!("{}", evaluation_table(&found.evaluation));
    write_json(json, &found.evaluation)?;
    let evaluated = model.checkpoint.as_ref().or(model.bundle.as_ref());
    let name = evaluated.map_or_else(String::new, ToString::to_string);
    let report = RunReport {
        name,
        dev: Some(found),
        ..RunReport::default()
    };
    fs::write(page, report.html()).map_err(|error| failed("write", page, &error))
}

pub(crate) fn evaluate_raw(
    model: &ModelArgs,
    decoding: Decoding,
    data: (&Path, &ReadOptions),
    json: Option<&Path>,
) -> Result<()> {
    let mut tagger = open(model, decoding)?;
    let corpus = read_corpus(data, tagger.labels())?;
    let found = evaluate::evaluate_raw(&mut *tagger, &corpus)?;
    print!("{}", span_table(&found));
    write_json(json, &found)
}

/// The labeled sentences of a file to evaluate a model with these labels on; prints what the user should know of it.
fn read_corpus((path, read): (&Path, &ReadOptions), labels: &LabelSet) -> Result<Corpus> {
    let corpus = Corpus::read_with(path, read)?;
    warn(&corpus.warnings());
    warn(types_warning(labels, &corpus).as_slice());
    Ok(corpus)
}

pub(crate) fn warn(warnings: &[String]) {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
}

pub(crate) fn score(
    gold: (&Path, &ReadOptions),
    predicted: &Path,
    orphans: OrphanRule,
    differences: WordDifferences,
    json: bool,
) -> Result<()> {
    let found = score_files(gold, predicted, orphans, differences)?;
    warn(&found.warnings);
    if let Some(first) = &found.first_difference {
        eprintln!(
            "warning: {} of {} words differ from the gold file's; tags are compared by position. First difference: {first}",
            found.different_words, found.score.words
        );
    }
    if json {
        println!("{}", serde_json::to_string(&found.score)?);
    } else {
        print!("{}", score_table(&found.score));
    }
    Ok(())
}

pub(crate) fn calibrate(
    checkpoint: &Path,
    data: (&Path, &ReadOptions),
    outside_bias: Option<OutsideBiasChoice>,
    max_length: Option<usize>,
    threads: Option<usize>,
) -> Result<()> {
    // `RUN/best` can become another checkpoint meanwhile.
    let resolved = fs::canonicalize(checkpoint);
    let checkpoint = resolved.as_deref().unwrap_or(checkpoint);
    let mut tagger = CheckpointTagger::open(checkpoint, max_length, threads_or_all(threads)?)?;
    let corpus = read_corpus(data, tagger.labels())?;
    let (report, bias) = match outside_bias {
        None => (evaluate::calibrate(&mut tagger, &corpus)?, None),
        Some(choice) => {
            let (scores, report, bias) =
                calibrate_with_outside_bias(checkpoint, &mut tagger, choice, &corpus)?;
            print!("{}", outside_bias_table(&scores));
            if scores.is_at_bound() {
                eprintln!(
                    "warning: the best bias, {:+}, is the last one that is compared; --outside-bias NUMBER sets another",
                    scores.added()
                );
            }
            (report, Some((bias, scores.added())))
        }
    };
    print!("{}", calibration_table(&report));
    let calibration = report.to_calibration(corpus.split_name())?;
    if let Some((bias, added)) = bias {
        println!("{}", bias.write(added)?.display());
    }
    println!("{}", calibration.write(checkpoint)?.display());
    Ok(())
}

pub(crate) fn soup(
    checkpoints: &[PathBuf],
    out: &Path,
    kind: SoupKind,
    data: Option<(&Path, &ReadOptions)>,
    threads: Option<usize>,
) -> Result<()> {
    let data = data
        .map(|(path, read)| Corpus::read_with(path, read))
        .transpose()?;
    warn(&data.as_ref().map(Corpus::warnings).unwrap_or_default());
    let request = SoupRequest {
        checkpoints,
        kind,
        data: data.as_ref(),
        threads: threads_or_all(threads)?,
    };
    let soup = request.write(out)?;
    warn(soup.notice.as_slice());
    print!("{}", soup_table(&soup));
    println!("{}", out.display());
    Ok(())
}

/// Makes the soup of the best checkpoints of several seeds, in place of an earlier one, and prints its scores.
fn soup_of_seeds(kind: SoupKind, configs: &[TrainConfig], out: &Path) -> Result<()> {
    let [first, ..] = configs else {
        return Ok(());
    };
    let splits = first.splits()?;
    let checkpoints: Vec<PathBuf> = configs.iter().map(|config| config.out.join("best")).collect();
    let out = out.join("soup");
    if out.exists() {
        fs::remove_dir_all(&out).map_err(|error| failed("replace", &out, &error))?;
    }
    let request = SoupRequest {
        checkpoints: &checkpoints,
        kind,
        data: Some(&splits.read_train_and_dev()?.1),
        threads: first.threads,
    };
    let soup = request.write(&out)?;
    warn(soup.notice.as_slice());
    print!("{}", soup_table(&soup));
    if let Some(test) = splits.read_test()?.filter(|_| first.evaluate_test) {
        let mut tagger = CheckpointTagger::open(&out, None, first.threads)?;
        print!(
            "{}",
            evaluation_table(&evaluate::evaluate(&mut tagger, &test.sentences)?)
        );
    }
    println!("{}", out.display());
    Ok(())
}

/// The F1 of each checkpoint of a soup and of the soup, a line each.
fn soup_table(soup: &Soup) -> String {
    let percent = |f1: Option<f64>| f1.map_or_else(|| "-".to_owned(), |f1| format!("{:.2}", 100.0 * f1));
    let mut table = format!("{:>8}  checkpoint\n", "F1");
    for ingredient in &soup.ingredients {
        let unused = if ingredient.is_used {
            ""
        } else {
            " (not in the soup)"
        };
        table += &format!(
            "{:>8}  {}{unused}\n",
            percent(ingredient.f1),
            ingredient.path.display()
        );
    }
    let f1 = soup.evaluation.as_ref().map(|found| found.score.entity.f1);
    table + &format!("{:>8}  soup\n", percent(f1))
}

pub(crate) fn inspect(
    data: &TrainingData,
    base: Option<&str>,
    max_length: Option<usize>,
    json: bool,
) -> Result<()> {
    let found = inspect_corpus(data, base, max_length)?;
    if json {
        println!("{}", serde_json::to_string(&found)?);
        return Ok(());
    }
    println!("{}", found.summary);
    warn(&found.warnings);
    for note in &found.notes {
        eprintln!("{note}");
    }
    Ok(())
}

pub(crate) fn tag(
    model: &ModelArgs,
    decoding: Decoding,
    (path, input, read): (&Path, Option<InputFormat>, ReadOptions),
    output: OutputFormat,
) -> Result<()> {
    let mut tagger = open(model, decoding)?;
    let (reader, path): (Box<dyn BufRead>, &Path) = if path == Path::new("-") {
        (Box::new(io::stdin().lock()), Path::new("standard input"))
    } else {
        let file = fs::File::open(path).map_err(|error| failed("read", path, &error))?;
        (Box::new(BufReader::new(file)), path)
    };
    let entries = match input {
        Some(format) => Entries::new(reader, path, format.into()),
        None => Entries::detect(reader, path, Format::Text)?,
    };
    let entries = entries.with_options(read);
    let mut out = BufWriter::new(io::stdout().lock());
    Ok(tag_file(&mut *tagger, entries, &mut out, output)?)
}

pub(crate) fn threads_or_all(threads: Option<usize>) -> Result<usize> {
    match threads {
        None => Ok(std::thread::available_parallelism().map_or(1, usize::from)),
        Some(threads @ 1..=MOST_THREADS) => Ok(threads),
        Some(threads) => anyhow::bail!("--threads is {threads}; it must be from 1 to {MOST_THREADS}"),
    }
}

fn open(model: &ModelArgs, decoding: Decoding) -> Result<Box<dyn Tagger>> {
    let threads = threads_or_all(model.threads)?;
    match (&model.checkpoint, &model.bundle) {
        (Some(checkpoint), _) => {
            let dir = checkpoint_dir(checkpoint)?.path;
            let tagger = CheckpointTagger::open(&dir, model.max_length, threads)?;
            Ok(Box::new(tagger.with_decoding(decoding)))
        }
        (None, Some(address)) => {
            let library = model.onnxruntime.as_deref();
            let ready = ready_model(address, model)?;
            let plain = OpenOptions {
                kernels: model.kernels,
                onnx_file: model.onnx_file.clone(),
                splitter: model.splitter,
                source: ready.source,
                ..OpenOptions::default()
            };
            let (tagger, kernels) = open_bundle(&ready.path, &plain, library, threads)?;
            eprintln!("kernels: {kernels}");
            Ok(Box::new(tagger.with_decoding(decoding)))
        }
        (None, None) => anyhow::bail!("either --checkpoint or --bundle is needed"),
    }
}

/// The bundle, store or plain export at an address; a checkpoint is exported.
fn ready_model(address: &ModelAddress, model: &ModelArgs) -> Result<ReadyModel> {
    let request = ModelRequest {
        address: address.clone(),
        onnx_file: model.onnx_file.clone(),
        splitter: model.splitter,
        options: CheckpointOptions::default(),
    };
    Ok(match request.find()? {
        FoundModel::Ready(ready) => ready,
        FoundModel::Store(url) => return Err(PrepareError::ObjectStore { url: url.to_string() }.into()),
        FoundModel::Checkpoint(checkpoint) => {
            let path = checkpoint.export_cached(model.onnxruntime.as_deref(), &Cancellation::default())?;
            eprintln!("bundle of the checkpoint: {}", path.display());
            ReadyModel { path, source: None }
        }
    })
}

fn write_json(path: Option<&Path>, figures: &impl Serialize) -> Result<()> {
    let Some(path) = path else {
        return Ok(());
    };
    let text = serde_json::to_vec_pretty(figures)?;
    fs::write(path, text).map_err(|error| failed("write", path, &error))
}

pub(crate) fn failed(action: &str, path: &Path, error: &io::Error) -> anyhow::Error {
    anyhow!("cannot {action} {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_continues_has_every_option_quoted_and_resumes_once() {
        let of = |arguments: &[&str]| resume_command(arguments.iter().map(OsString::from));
        assert_eq!(
            of(&[
                "train",
                "--out",
                "my run",
                "--publish",
                "store",
                "--only-if-better"
            ]),
            "nerve-trainer train --out 'my run' --publish store --only-if-better --resume"
        );
        assert_eq!(of(&["train", "--resume"]), "nerve-trainer train --resume");
    }
}
