//! Compares every model family with `transformers`, on the fixtures of `tests/families/make_fixtures.py`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nerve_inference::TextTokenizer;
use nerve_repository::Family;
use nerve_tagging::{LabelSet, Subwords, WindowLimits, WordIndex, windows};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::model::bert::BertTagger;
use crate::model::checkpoint::{ModelDir, write_checkpoint};
use crate::model::packed::Packed;
use crate::ops::values;

/// The largest accepted difference of a logit from that of `transformers`.
const TOLERANCE: f32 = 1e-4;

fn fixture(family: Family) -> PathBuf {
    named_fixture(family.model_type())
}

fn named_fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/families/fixtures")
        .join(name)
}

/// The output of `transformers` for one sentence of given words.
#[derive(Deserialize)]
struct Case {
    words: Vec<String>,
    ids: Vec<u32>,
    word_ids: Vec<Option<usize>>,
    logits: Vec<Vec<f32>>,
}

fn cases(family: Family) -> Vec<Case> {
    cases_in(&fixture(family))
}

fn cases_in(dir: &Path) -> Vec<Case> {
    let text = std::fs::read(dir.join("expected.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// The tagger of a directory, with the head of the directory.
fn open(dir: &Path) -> (BertTagger, TextTokenizer) {
    let model = ModelDir::open(dir).unwrap();
    let labels = model.labels().unwrap();
    model.into_tagger(&labels, 1).unwrap()
}

/// The largest difference between the logits of all cases, run in one batch, and the expected logits.
fn difference(tagger: &BertTagger, cases: &[Case]) -> f32 {
    let logits = tagger
        .logits(&Packed::new(cases.iter().map(|case| &case.ids)))
        .unwrap();
    let found = values(&logits).unwrap();
    let expected: Vec<f32> = cases.iter().flat_map(|case| case.logits.concat()).collect();
    assert_eq!(found.len(), expected.len());
    let apart = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    apart.fold(0.0, f32::max)
}

#[test]
fn logits_are_those_of_transformers() {
    for family in Family::ALL {
        let (tagger, _) = open(&fixture(family));
        let apart = difference(&tagger, &cases(family));
        println!("{family:?}: {apart:e}");
        assert!(apart < TOLERANCE, "{family:?}: {apart}");
    }
}

#[test]
fn other_options_and_distances_that_share_a_row_have_the_logits_of_transformers() {
    for name in [
        "mpnet-long",
        "deberta-v2-long",
        "deberta-v2-own",
        "deberta-v2-c2p",
        "deberta-v2-p2c",
    ] {
        let dir = named_fixture(name);
        let apart = difference(&open(&dir).0, &cases_in(&dir));
        println!("{name}: {apart:e}");
        assert!(apart < TOLERANCE, "{name}: {apart}");
    }
}

#[test]
fn narrow_embeddings_and_shared_layers_have_the_logits_of_transformers() {
    for name in ["electra-wide", "albert-groups"] {
        let dir = named_fixture(name);
        let apart = difference(&open(&dir).0, &cases_in(&dir));
        println!("{name}: {apart:e}");
        assert!(apart < TOLERANCE, "{name}: {apart}");
        let (tagger, encoder) = open(&dir);
        let out = tempfile::tempdir().unwrap();
        let out = out.path().join("written");
        write_checkpoint(&out, &tagger, &encoder, 40).unwrap();
        assert_eq!(tensor_names(&out), tensor_names(&dir));
        assert_eq!(config(&out), config(&dir));
    }
}

/// A checkpoint of any size beside the `expected.json` that `transformers` computes for it.
#[test]
fn logits_of_a_given_checkpoint_are_those_of_transformers() {
    let Some(dir) = std::env::var_os("NERVE_REFERENCE_DIR") else {
        eprintln!("skipped: NERVE_REFERENCE_DIR names no checkpoint with an expected.json");
        return;
    };
    let cases = cases_in(dir.as_ref());
    let apart = difference(&open(dir.as_ref()).0, &cases);
    let logits = cases.iter().flat_map(|case| case.logits.iter().flatten());
    let largest = logits.fold(0f32, |largest, x| largest.max(x.abs()));
    println!("{apart:e}, of at most {largest}");
    assert!(apart < TOLERANCE * largest.max(1.0), "{apart}");
}

#[test]
fn given_words_have_the_ids_and_word_ids_of_transformers() {
    for family in Family::ALL {
        let encoder = TextTokenizer::open_dir(&fixture(family)).unwrap();
        for case in cases(family) {
            let subwords = encoder.encode_words(&case.words).unwrap();
            let limits = WindowLimits::for_encoder(40, 2).unwrap();
            let window = &windows(&subwords, limits)[0];
            assert_eq!(encoder.window_ids(&subwords, window), case.ids, "{family:?}");
            let word_ids: Vec<usize> = case.word_ids.into_iter().flatten().collect();
            assert_eq!(words_of(&subwords), word_ids, "{family:?}");
        }
    }
}

/// The index of the word of each subword.
fn words_of(subwords: &Subwords) -> Vec<usize> {
    (0..subwords.word_count())
        .flat_map(|word| subwords.of_word(WordIndex(word)).map(move |_| word))
        .collect()
}

fn tensor_names(dir: &Path) -> Vec<String> {
    let bytes = std::fs::read(dir.join("model.safetensors")).unwrap();
    let mut names: Vec<String> = SafeTensors::deserialize(&bytes)
        .unwrap()
        .names()
        .into_iter()
        .map(str::to_owned)
        .collect();
    names.sort();
    names
}

fn config(dir: &Path) -> Map<String, Value> {
    let text = std::fs::read(dir.join("config.json")).unwrap();
    let mut fields: Map<String, Value> = serde_json::from_slice(&text).unwrap();
    // An absent field and a null field are equivalent. `architectures` depends on the program that wrote the file.
    fields.retain(|key, value| !value.is_null() && key != "architectures");
    fields
}

#[test]
fn what_is_written_is_the_familys_own() {
    let names = Family::ALL.map(Family::model_type);
    for name in names.into_iter().chain(["deberta-v2-own"]) {
        let fixture = named_fixture(name);
        let (tagger, encoder) = open(&fixture);
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("written");
        write_checkpoint(&out, &tagger, &encoder, 40).unwrap();
        assert_eq!(tensor_names(&out), tensor_names(&fixture), "{name}");
        assert_eq!(config(&out), config(&fixture), "{name}");
        assert!(
            difference(&open(&out).0, &cases_in(&fixture)) < TOLERANCE,
            "{name}"
        );
    }
}

#[test]
fn transformers_is_told_how_the_words_were_read() {
    let written = |family| {
        let (tagger, encoder) = open(&fixture(family));
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("written");
        write_checkpoint(&out, &tagger, &encoder, 40).unwrap();
        let text = std::fs::read(out.join("tokenizer_config.json")).unwrap();
        let again = TextTokenizer::open_dir(&out).unwrap();
        for case in cases(family) {
            assert_eq!(
                again.encode_words(&case.words).unwrap(),
                encoder.encode_words(&case.words).unwrap()
            );
        }
        serde_json::from_slice::<Value>(&text).unwrap()
    };
    assert_eq!(written(Family::Bert)["do_lower_case"], false);
    assert_eq!(written(Family::DistilBert)["do_lower_case"], true);
    assert_eq!(written(Family::Mpnet)["do_lower_case"], true);
    assert_eq!(written(Family::Roberta)["add_prefix_space"], true);
    assert_eq!(
        written(Family::XlmRoberta),
        serde_json::json!({"model_max_length": 40})
    );
}

/// Copies a fixture and renames its tensors with `rename`; a tensor for which it yields `None` is left out.
fn renamed(family: Family, rename: impl Fn(&str) -> Option<String>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in ["config.json", "tokenizer.json"] {
        std::fs::copy(fixture(family).join(file), dir.path().join(file)).unwrap();
    }
    let bytes = std::fs::read(fixture(family).join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let kept: BTreeMap<String, TensorView> = file
        .iter()
        .filter_map(|(name, view)| Some((rename(name)?, view)))
        .collect();
    let kept = kept.iter().map(|(name, view)| {
        (
            name,
            TensorView::new(Dtype::F32, view.shape().to_vec(), view.data()).unwrap(),
        )
    });
    safetensors::serialize_to_file(kept, None, &dir.path().join("model.safetensors")).unwrap();
    dir
}

#[test]
fn an_encoder_without_prefix_is_a_base_with_a_fresh_head() {
    for family in Family::ALL {
        let (known, _) = open(&fixture(family));
        // Without the head, and with the layer normalization parameters named as in old files.
        let bare = renamed(family, |name| {
            let (_, bare) = name
                .split_once('.')
                .filter(|(prefix, _)| *prefix != "classifier")?;
            Some(
                bare.replace("LayerNorm.weight", "LayerNorm.gamma")
                    .replace("LayerNorm.bias", "LayerNorm.beta"),
            )
        });
        let path = bare.path().join("config.json");
        let mut fields = config(bare.path());
        fields.insert("torch_dtype".to_owned(), "bfloat16".into());
        std::fs::write(&path, serde_json::to_vec(&fields).unwrap()).unwrap();
        let labels = LabelSet::iob2(["thing"]).unwrap();
        let base = ModelDir::open(bare.path()).unwrap();
        let (tagger, _) = base.into_tagger(&labels, 3).unwrap();
        let batch = Packed::new(cases(family).iter().map(|case| &case.ids));
        let states = |tagger: &BertTagger| values(&tagger.hidden_states(&batch).unwrap()).unwrap().to_vec();
        assert_eq!(states(&tagger), states(&known), "{family:?}");
        assert_eq!(tagger.logits(&batch).unwrap().dims()[1], labels.len());
        let class = &tagger.config().architectures[0];
        assert!(class.ends_with("ForTokenClassification"), "{class}");
        // The trained weights are f32.
        assert!(!tagger.config().other.contains_key("torch_dtype"));
    }
}

#[test]
fn a_tensor_that_is_missing_has_its_familys_name() {
    let lacking = "distilbert.transformer.layer.1.ffn.lin2.weight";
    let dir = renamed(Family::DistilBert, |name| {
        (name != lacking).then(|| name.to_owned())
    });
    let model = ModelDir::open(dir.path()).unwrap();
    let labels = model.labels().unwrap();
    let error = model.into_tagger(&labels, 1).err().unwrap().to_string();
    assert!(error.contains(lacking), "{error}");
}
