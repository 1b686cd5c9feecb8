use super::*;
use crate::model::gradients::tests::tiny_config;
use half::{bf16, f16};
use safetensors::tensor::{Dtype, TensorView};

/// A model directory whose tensors have the names, types and elements that `edit` gives them.
fn model(edit: impl Fn(&str, Vec<f32>) -> Option<(String, Dtype, Vec<u8>)>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let config = tiny_config();
    let vocab = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\nd\ne\nf\ng\n";
    std::fs::write(dir.path().join("vocab.txt"), vocab).unwrap();
    std::fs::write(
        dir.path().join("config.json"),
        serde_json::to_vec(&config).unwrap(),
    )
    .unwrap();
    let mut tensors = Vec::new();
    for (name, shape, data) in initial(&config, &parameter_shapes(&config, 3), 4) {
        if let Some((name, dtype, bytes)) = edit(&name, data) {
            tensors.push((name, shape, dtype, bytes));
        }
    }
    let views = tensors
        .iter()
        .map(|(name, shape, dtype, bytes)| (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    let path = dir.path().join("model.safetensors");
    safetensors::serialize_to_file(views, None, &path).unwrap();
    dir
}

fn f32_bytes(data: &[f32]) -> Vec<u8> {
    data.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn elements(tagger: &BertTagger, name: &str) -> Vec<f32> {
    values(tagger.parameters().get(name).unwrap()).unwrap().to_vec()
}

fn open(dir: &Path) -> Result<BertTagger, CheckpointError> {
    let labels = LabelSet::iob2(["x"]).unwrap();
    Ok(ModelDir::open(dir)?.into_tagger(&labels, 4)?.0)
}

const QUERY: &str = "bert.encoder.layer.1.attention.self.query.weight";

#[test]
fn prefixes_and_half_precisions_are_read() {
    let plain = model(|name, data| Some((name.to_owned(), Dtype::F32, f32_bytes(&data))));
    let bare = |name: &str| name.strip_prefix("bert.").unwrap_or(name).to_owned();
    let halves = model(|name, data| {
        let bytes = data
            .iter()
            .flat_map(|&x| f16::from_f32(x).to_le_bytes())
            .collect();
        Some((bare(name), Dtype::F16, bytes))
    });
    let brains = model(|name, data| {
        let bytes = data
            .iter()
            .flat_map(|&x| bf16::from_f32(x).to_le_bytes())
            .collect();
        Some((bare(name), Dtype::BF16, bytes))
    });
    let expected = elements(&open(plain.path()).unwrap(), QUERY);
    for (dir, tolerance) in [(halves, 1e-3), (brains, 1e-2)] {
        let found = elements(&open(dir.path()).unwrap(), QUERY);
        let apart = expected.iter().zip(&found).map(|(a, b)| (a - b).abs());
        assert!(apart.fold(0.0, f32::max) < tolerance);
    }
}

#[test]
fn a_tensor_that_is_missing_or_misshapen_is_named() {
    let missing =
        model(|name, data| (name != QUERY).then(|| (name.to_owned(), Dtype::F32, f32_bytes(&data))));
    let error = open(missing.path()).err().unwrap().to_string();
    assert!(error.contains(QUERY) && error.contains("missing"), "{error}");
    let dir = model(|name, data| Some((name.to_owned(), Dtype::F32, f32_bytes(&data))));
    let config = ModelConfig {
        intermediate_size: 32,
        ..tiny_config()
    };
    std::fs::write(
        dir.path().join("config.json"),
        serde_json::to_vec(&config).unwrap(),
    )
    .unwrap();
    let error = open(dir.path()).err().unwrap().to_string();
    assert!(
        error.contains("intermediate.dense") && error.contains("[16]"),
        "{error}"
    );
}

/// Divides the weights of a model directory into two shards with an index, which `edit` may change.
fn shard(dir: &Path, edit: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>)) {
    let whole = dir.join("model.safetensors");
    let bytes = std::fs::read(&whole).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut map = serde_json::Map::new();
    for (at, file) in [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]
    .iter()
    .enumerate()
    {
        let part = || {
            tensors
                .iter()
                .enumerate()
                .filter(|(number, _)| number % 2 == at)
                .map(|(_, tensor)| tensor)
        };
        safetensors::serialize_to_file(part(), None, &dir.join(file)).unwrap();
        map.extend(part().map(|(name, _)| (name.to_owned(), serde_json::json!(file))));
    }
    std::fs::remove_file(whole).unwrap();
    edit(&mut map);
    let index = serde_json::json!({"metadata": {"total_size": 1}, "weight_map": map});
    std::fs::write(dir.join("model.safetensors.index.json"), index.to_string()).unwrap();
}

#[test]
fn sharded_weights_are_those_of_one_file() {
    let of = || model(|name, data| Some((name.to_owned(), Dtype::F32, f32_bytes(&data))));
    let (whole, sharded) = (of(), of());
    shard(sharded.path(), |_| ());
    let (whole, sharded) = (open(whole.path()).unwrap(), open(sharded.path()).unwrap());
    for (name, _) in whole.parameters().iter() {
        assert_eq!(elements(&whole, name), elements(&sharded, name), "{name}");
    }
}

#[test]
fn damaged_shards_name_their_tensor_and_file() {
    let error = |edit: &dyn Fn(&mut serde_json::Map<String, serde_json::Value>), damage: &dyn Fn(&Path)| {
        let dir = model(|name, data| Some((name.to_owned(), Dtype::F32, f32_bytes(&data))));
        shard(dir.path(), |map| edit(map));
        damage(dir.path());
        open(dir.path()).err().unwrap().to_string()
    };
    let first = "model-00001-of-00002.safetensors";
    let intact: &dyn Fn(&Path) = &|_| ();
    let absent = error(&|_| (), &|dir| std::fs::remove_file(dir.join(first)).unwrap());
    assert!(
        absent.contains(first) && absent.contains("no such file") && absent.contains("tensor `"),
        "{absent}"
    );
    for name in [
        "../model.safetensors",
        "/etc/passwd",
        "a/b.safetensors",
        "weights.bin",
    ] {
        let refused = error(&|map| drop(map.insert("x".to_owned(), name.into())), intact);
        assert!(
            refused.contains(name) && refused.contains("same directory"),
            "{refused}"
        );
    }
    let missing = error(
        &|map| drop(map.insert("extra.weight".to_owned(), first.into())),
        intact,
    );
    assert!(
        missing.contains(first) && missing.contains("tensor `extra.weight` is missing"),
        "{missing}"
    );
    let twice = error(&|_| (), &|dir| {
        let second = dir.join("model-00002-of-00002.safetensors");
        let bytes = std::fs::read(&second).unwrap();
        let own = std::fs::read(dir.join(first)).unwrap();
        let (own, other) = (
            safetensors::SafeTensors::deserialize(&own).unwrap(),
            safetensors::SafeTensors::deserialize(&bytes).unwrap(),
        );
        safetensors::serialize_to_file(own.iter().take(1).chain(other.iter()), None, &second).unwrap();
    });
    assert!(
        twice.contains("model-00002") && twice.contains("is also in") && twice.contains(first),
        "{twice}"
    );
    assert!(error(&|map| map.clear(), intact).contains("weight_map is empty"));
    let cut = error(&|_| (), &|dir| std::fs::write(dir.join(first), b"x").unwrap());
    assert!(
        cut.contains(first) && cut.contains("not a safetensors file"),
        "{cut}"
    );
}

#[test]
fn a_head_of_any_scheme_is_kept() {
    let dir = model(|name, data| Some((name.to_owned(), Dtype::F32, f32_bytes(&data))));
    let path = dir.path().join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["id2label"] = serde_json::json!({"0": "PER", "1": "O", "2": "LOC"});
    std::fs::write(&path, config.to_string()).unwrap();
    let model = ModelDir::open(dir.path()).unwrap();
    let labels = model.config.labels(&path).unwrap();
    let bytes = std::fs::read(dir.path().join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let (tagger, _) = model.into_tagger(&labels, 7).unwrap();
    let kept = elements(&tagger, "classifier.weight");
    assert_eq!(f32_bytes(&kept), file.tensor("classifier.weight").unwrap().data());
}

#[test]
fn what_is_written_reads_as_the_same_weights() {
    let dir = model(|name, data| Some((name.to_owned(), Dtype::F32, f32_bytes(&data))));
    let labels = LabelSet::iob2(["x"]).unwrap();
    let (tagger, tokenizer) = ModelDir::open(dir.path())
        .unwrap()
        .with_dropout(Some(0.3), Some(0.2))
        .into_tagger(&labels, 4)
        .unwrap();
    let out = dir.path().join("runs/best");
    write_checkpoint(&out, &tagger, &tokenizer, 7).unwrap();
    // The second call replaces the first checkpoint.
    write_checkpoint(&out, &tagger, &tokenizer, 7).unwrap();
    let again = ModelDir::open(&out).unwrap();
    assert_eq!(again.labels().as_ref(), Some(&labels));
    assert_eq!(
        (
            again.config.hidden_dropout_prob,
            again.config.attention_probs_dropout_prob
        ),
        (0.3, 0.2)
    );
    let max_length = nerve_repository::MaxLength::of_checkpoint(&out).unwrap();
    assert_eq!(max_length.tokens(), 7);
    let (again, _) = again.into_tagger(&labels, 99).unwrap();
    for (name, _) in tagger.parameters().iter() {
        assert_eq!(elements(&again, name), elements(&tagger, name), "{name}");
    }
    assert_eq!(std::fs::read_dir(dir.path().join("runs")).unwrap().count(), 1);
    assert_eq!(nerve_repository::Checkpoint::open(&out).unwrap().labels, labels);
}

#[test]
fn a_vocabulary_larger_than_the_table_is_refused() {
    let dir = model(|name, data| Some((name.to_owned(), Dtype::F32, f32_bytes(&data))));
    let vocab = std::fs::read_to_string(dir.path().join("vocab.txt")).unwrap();
    std::fs::write(dir.path().join("vocab.txt"), vocab + "h\n").unwrap();
    assert!(matches!(
        ModelDir::open(dir.path()),
        Err(CheckpointError::Vocabulary {
            tokens: 13,
            rows: 12,
            ..
        })
    ));
}

#[test]
fn a_head_for_other_types_keeps_the_rows_of_the_labels_in_common() {
    let dir = model(|name, data| Some((name.to_owned(), Dtype::F32, f32_bytes(&data))));
    let path = dir.path().join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["id2label"] = serde_json::json!({"0": "B-x", "1": "O", "2": "I-x"});
    std::fs::write(&path, serde_json::to_vec(&config).unwrap()).unwrap();
    let rows = |labels: &LabelSet| {
        let tagger = ModelDir::open(dir.path())
            .unwrap()
            .into_tagger(labels, 5)
            .unwrap()
            .0;
        let weight = elements(&tagger, "classifier.weight");
        let rows: Vec<Vec<f32>> = weight.chunks_exact(8).map(<[f32]>::to_vec).collect();
        labels
            .names()
            .iter()
            .cloned()
            .zip(rows)
            .collect::<BTreeMap<_, _>>()
    };
    let own = rows(&LabelSet::from_names(["B-x", "O", "I-x"]).unwrap());
    let more = rows(&LabelSet::iob2(["a", "x"]).unwrap());
    for name in ["O", "B-x", "I-x"] {
        assert_eq!(more[name], own[name], "{name}");
    }
    assert!(own.values().all(|row| *row != more["B-a"] && *row != more["I-a"]));
}

/// The peak memory of the process in bytes since the last reset.
#[cfg(target_os = "linux")]
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

/// The test runs in its own process, so that the memory of other tests is not counted. Only Linux resets the peak.
#[cfg(target_os = "linux")]
#[test]
fn writing_a_checkpoint_takes_little_memory() {
    const ALONE: &str = "NERVE_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let name = "model::checkpoint::tests::writing_a_checkpoint_takes_little_memory";
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(ALONE, "1")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        return;
    }
    let config = ModelConfig {
        hidden_size: 512,
        num_hidden_layers: 12,
        intermediate_size: 1024,
        ..tiny_config()
    };
    let labels = LabelSet::iob2(["x"]).unwrap();
    let config = config.with_labels(&labels);
    let drawn = initial(&config, &parameter_shapes(&config, labels.len()), 1);
    let weights: usize = drawn.iter().map(|(_, _, data)| 4 * data.len()).sum();
    let tagger = BertTagger::new(config, Parameters::new(drawn, &Device::Cpu).unwrap()).unwrap();
    let dir = model(|name, data| Some((name.to_owned(), Dtype::F32, f32_bytes(&data))));
    let tokenizer = TextTokenizer::open_dir(dir.path()).unwrap();
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak();
    write_checkpoint(&dir.path().join("out"), &tagger, &tokenizer, 7).unwrap();
    let more = peak() - before;
    assert!(
        weights > 90 << 20 && more < weights / 4,
        "{more} bytes for {weights} of weights"
    );
}
