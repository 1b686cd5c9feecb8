use super::*;
use crate::model::gradients::tests::tiny_config;
use half::{bf16, f16};

/// A directory with a model whose tensors are named, typed and shaped as `edit` leaves them.
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
    Ok(ModelDir::open(dir)?.into_tagger(&labels, None, 4)?.0)
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

#[test]
fn what_is_written_reads_as_the_same_weights() {
    let dir = model(|name, data| Some((name.to_owned(), Dtype::F32, f32_bytes(&data))));
    let labels = LabelSet::iob2(["x"]).unwrap();
    let (tagger, encoder) = ModelDir::open(dir.path())
        .unwrap()
        .into_tagger(&labels, Some(0.3), 4)
        .unwrap();
    let out = dir.path().join("runs/best");
    write_checkpoint(&out, &tagger, &encoder).unwrap();
    // A second write replaces the first.
    write_checkpoint(&out, &tagger, &encoder).unwrap();
    let again = ModelDir::open(&out).unwrap();
    assert_eq!(again.labels().as_ref(), Some(&labels));
    assert_eq!(again.config.hidden_dropout_prob, 0.3);
    let (again, _) = again.into_tagger(&labels, None, 99).unwrap();
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
