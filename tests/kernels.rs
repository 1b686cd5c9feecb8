//! Nerve's kernels: which bundles they compute, and that they compute what ONNX Runtime does.

use std::fs;
use std::path::{Path, PathBuf};

use nerve_inference::{Device, Kernels, KernelsInUse, Model, OpenOptions, Runtime, SessionOptions};
use nerve_repository::Family;
use serde_json::{Value, json};

use crate::fixture::{binary, copy_files, fail, repository, succeed, tiny, tiny_corpus};
use crate::server::Server;

/// The widths in the fixtures of families, of which no other extent has the same.
const FIXTURE_WIDTHS: [usize; 2] = [16, 24];

/// A random network.
#[derive(Clone, Copy)]
struct Network {
    family: Family,
    /// What follows the name of the family in the name of its fixture.
    variant: &'static str,
    /// The longest sequence of its fixture, in tokens.
    longest: usize,
    layers: usize,
    hidden: usize,
    heads: usize,
    inner: usize,
    activation: &'static str,
    epsilon: f64,
}

const USUAL: Network = Network {
    family: Family::Bert,
    variant: "",
    longest: 40,
    layers: 2,
    hidden: 128,
    heads: 4,
    inner: 208,
    activation: "gelu",
    epsilon: 1e-12,
};

impl Network {
    fn fixture(&self) -> PathBuf {
        let name = format!("{}{}", self.family.model_type(), self.variant);
        repository().join("tests/families/fixtures").join(name)
    }

    /// Writes a checkpoint with the tokenizer of the family's fixture.
    fn write(&self, to: &Path) {
        copy_files(&self.fixture(), to);
        let read = fs::read(to.join("config.json")).unwrap();
        let mut config: Value = serde_json::from_slice(&read).unwrap();
        let fields = [
            (["hidden_size", "dim"], json!(self.hidden)),
            (["intermediate_size", "hidden_dim"], json!(self.inner)),
            (["num_attention_heads", "n_heads"], json!(self.heads)),
            (["num_hidden_layers", "n_layers"], json!(self.layers)),
            (["hidden_act", "activation"], json!(self.activation)),
            (["layer_norm_eps", "layer_norm_eps"], json!(self.epsilon)),
        ];
        for (names, value) in fields {
            for name in names {
                if config.get(name).is_some() {
                    config[name] = value.clone();
                }
            }
        }
        if config.get("embedding_size") == Some(&json!(FIXTURE_WIDTHS[0])) {
            config["embedding_size"] = json!(self.hidden);
        }
        fs::write(to.join("config.json"), config.to_string()).unwrap();
        self.write_tensors(&to.join("model.safetensors"));
    }

    /// Replaces the tensors of a fixture by random ones of the network's widths and depth.
    fn write_tensors(&self, path: &Path) {
        let bytes = fs::read(path).unwrap();
        let length = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
        let fixture: serde_json::Map<String, Value> = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        let mut header = serde_json::Map::new();
        let mut data: Vec<u8> = Vec::new();
        let mut state = 1u64;
        let mut add = |name: String, shape: &[usize]| {
            let begin = data.len();
            let spread = match shape {
                _ if name.contains("embeddings") => 1.0,
                [_, inputs] => 3.0 / (*inputs as f32).sqrt(),
                _ => 0.3,
            };
            let is_norm_weight = shape.len() == 1 && name.ends_with("weight");
            for _ in 0..shape.iter().product() {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let number = (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0;
                let value = f32::from(u8::from(is_norm_weight)) + spread * number;
                data.extend(value.to_le_bytes());
            }
            let offsets = [begin, data.len()];
            header.insert(
                name,
                json!({"dtype": "F32", "shape": shape, "data_offsets": offsets}),
            );
        };
        for (name, tensor) in &fixture {
            let Some(shape) = tensor.get("shape") else {
                continue;
            };
            let mut shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
            if name.contains("relative_attention_bias") {
                shape[1] = self.heads;
            }
            for extent in &mut shape {
                match FIXTURE_WIDTHS.iter().position(|width| width == extent) {
                    Some(0) => *extent = self.hidden,
                    Some(_) => *extent = self.inner,
                    None => {}
                }
            }
            if name.contains(".layer.0.") {
                for layer in 0..self.layers {
                    add(name.replace(".layer.0.", &format!(".layer.{layer}.")), &shape);
                }
            } else if !name.contains(".layer.") {
                add(name.clone(), &shape);
            }
        }
        let header = Value::Object(header).to_string();
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header.bytes());
        file.extend(data);
        fs::write(path, file).unwrap();
    }

    /// Exports the network in int8 and returns the bundle's path.
    fn export(&self, dir: &Path) -> PathBuf {
        let (checkpoint, bundle) = (dir.join("checkpoint"), dir.join("bundle"));
        self.write(&checkpoint);
        tiny_corpus(dir);
        export(
            &checkpoint,
            &bundle,
            dir,
            &["--max-length", &self.longest.to_string()],
        );
        bundle
    }
}

fn export(checkpoint: &Path, bundle: &Path, corpus: &Path, further: &[&str]) {
    succeed(
        binary("nerve-export")
            .args(["--precision", "int8"])
            .args(further)
            .arg("--checkpoint")
            .arg(checkpoint)
            .arg("--out")
            .arg(bundle)
            .arg("--calibration")
            .arg(corpus.join("dev.conll")),
    );
}

fn open(bundle: &Path, kernels: Kernels) -> Model {
    let options = OpenOptions {
        kernels,
        ..OpenOptions::default()
    };
    Model::open_with(bundle, &options).unwrap()
}

/// The logits of the fixture's sequences in one batch.
fn logits(network: &Network, bundle: &Path, kernels: Kernels) -> Vec<f32> {
    let model = open(bundle, kernels);
    let is_nerve = matches!(model.info().kernels, KernelsInUse::Nerve { .. });
    assert_eq!(is_nerve, kernels == Kernels::Nerve);
    let runtime = Runtime::load(None).unwrap();
    let mut session = model.session(&runtime, &SessionOptions::default()).unwrap();
    let read = fs::read(network.fixture().join("expected.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_slice(&read).unwrap();
    let ids: Vec<Vec<u32>> = cases
        .iter()
        .map(|case| serde_json::from_value(case["ids"].clone()).unwrap())
        .collect();
    let batch: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    let logits = session.run(&batch).unwrap();
    let mut all = Vec::new();
    for (sequence, ids) in ids.iter().enumerate() {
        (0..ids.len()).for_each(|at| all.extend_from_slice(logits.row(sequence, at).unwrap()));
    }
    all
}

fn mean_square(values: impl Iterator<Item = f32>) -> f64 {
    let squares: Vec<f64> = values.map(|x| f64::from(x).powi(2)).collect();
    squares.iter().sum::<f64>() / squares.len() as f64
}

/// Where both round an activation to another integer, all further numbers differ by about a rounding.
const DIFFERENCE: f64 = 0.02;

#[test]
fn networks_of_every_family_have_the_logits_of_the_plain_graph() {
    let mut networks: Vec<Network> = Family::ALL
        .into_iter()
        .filter(|family| *family != Family::DebertaV2)
        .map(|family| Network { family, ..USUAL })
        .collect();
    networks.extend([
        Network { layers: 1, ..USUAL },
        Network {
            family: Family::Mpnet,
            layers: 1,
            hidden: 768,
            heads: 12,
            inner: 96,
            ..USUAL
        },
        // With distances that share a position bias.
        Network {
            family: Family::Mpnet,
            variant: "-long",
            longest: 300,
            ..USUAL
        },
        // With embeddings as wide as the hidden states, which ELECTRA does not project.
        Network {
            family: Family::Electra,
            variant: "-wide",
            ..USUAL
        },
        // With three layers in two groups of two inner layers each.
        Network {
            family: Family::Albert,
            variant: "-groups",
            layers: 3,
            ..USUAL
        },
        Network {
            layers: 5,
            hidden: 96,
            heads: 3,
            inner: 80,
            ..USUAL
        },
        Network {
            heads: 2,
            activation: "relu",
            ..USUAL
        },
        Network {
            activation: "gelu_new",
            ..USUAL
        },
        Network {
            epsilon: 0.5,
            ..USUAL
        },
        Network {
            hidden: 32,
            heads: 1,
            inner: 16,
            ..USUAL
        },
    ]);
    for network in networks {
        let dir = tempfile::tempdir().unwrap();
        let bundle = network.export(dir.path());
        let plain = logits(&network, &bundle, Kernels::OnnxRuntime);
        let ours = logits(&network, &bundle, Kernels::Nerve);
        assert_eq!(plain.len(), ours.len());
        let difference = mean_square(plain.iter().zip(&ours).map(|(a, b)| a - b)).sqrt();
        let spread = mean_square(plain.iter().copied()).sqrt();
        let Network {
            family,
            layers,
            hidden,
            ..
        } = network;
        println!("{family:?} {layers} x {hidden}: {}", difference / spread);
        assert!(spread > 0.1, "{family:?}: {spread}");
        assert!(
            difference < DIFFERENCE * spread,
            "{family:?}, {layers} layers, {hidden} wide: {difference} of {spread}"
        );
    }
}

/// The reason why a model is left to ONNX Runtime; that it is an error with `nerve`.
fn reason(path: &Path, device: Device) -> String {
    let options = |kernels| OpenOptions {
        kernels,
        device,
        ..OpenOptions::default()
    };
    let model = Model::open_with(path, &options(Kernels::Auto)).unwrap();
    let KernelsInUse::OnnxRuntime { reason } = model.info().kernels.clone() else {
        panic!("{}", model.info().kernels);
    };
    let error = Model::open_with(path, &options(Kernels::Nerve)).err().unwrap();
    let message = error.to_string();
    assert!(
        message.contains(&reason) && message.contains("--kernels auto"),
        "{message}"
    );
    reason
}

#[test]
fn other_models_run_on_onnx_runtime_and_have_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let all = dir.path().join("all");
    let corpus = tiny().path("corpus");
    let every_token = ["--max-length", "40", "--logits", "all"];
    export(&tiny().checkpoint(), &all, &corpus, &every_token);
    let odd = Network { inner: 40, ..USUAL }.export(dir.path());
    let of_deberta = tempfile::tempdir().unwrap();
    let deberta = Network {
        family: Family::DebertaV2,
        ..USUAL
    };
    let deberta = deberta.export(of_deberta.path());
    for (path, device, expected) in [
        (tiny().bundle("fp32"), Device::Cpu, "the model is fp32, not int8"),
        (tiny().bundle("fp16"), Device::Cpu, "the model is fp16, not int8"),
        (tiny().bundle("int8"), Device::Cpu, "32 dimensions in 2 heads"),
        (tiny().bundle("int8"), Device::Cuda(0), "the model runs on cuda:0"),
        (all, Device::Cpu, "--logits selected"),
        (odd, Device::Cpu, "40 dimensions"),
        (deberta, Device::Cpu, "disentangled (DeBERTa)"),
        (
            repository().join("tests/plain/fixtures/bert-iob2"),
            Device::Cpu,
            "plain export",
        ),
    ] {
        let reason = reason(&path, device);
        assert!(reason.contains(expected), "{reason}");
    }
}

#[test]
fn every_program_takes_the_kernels_and_refuses_the_impossible() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = USUAL.export(dir.path());
    let (corpus, text) = (dir.path().join("dev.conll"), dir.path().join("text.txt"));
    fs::write(&text, "In New York I met Bob").unwrap();
    let commands = |bundle: &Path, kernels: &str| {
        let with = |program: &str, arguments: &[&str], paths: &[&Path]| {
            let mut command = binary(program);
            command.args(arguments).args(paths).args(["--kernels", kernels]);
            command
        };
        [
            with("nerve-export", &["verify"], &[bundle]),
            with(
                "nerve-trainer",
                &["evaluate", "--data"],
                &[&corpus, Path::new("--bundle"), bundle],
            ),
            with("nerve-trainer", &["tag", "--bundle"], &[bundle, &text]),
            with("nerve-server", &["tag", "--model"], &[bundle, &text]),
        ]
    };
    for kernels in ["auto", "nerve", "onnxruntime"] {
        for command in &mut commands(&bundle, kernels) {
            succeed(command);
        }
    }
    for command in &mut commands(&bundle, "auto") {
        let message = fail(command.env("NERVE_INSTRUCTION_SET", "sse"));
        assert!(message.contains("`sse` is not an instruction set"), "{message}");
    }
    for command in &mut commands(&tiny().bundle("fp32"), "nerve") {
        let message = fail(command);
        assert!(message.contains("the model is fp32, not int8"), "{message}");
    }
    let found: Value = serde_json::from_str(&succeed(&mut commands(&bundle, "nerve")[0])).unwrap();
    assert_eq!(found["kernels"]["name"], "nerve", "{found}");
    assert!(found["kernels_agreement"].as_f64().unwrap() >= 0.99, "{found}");
    let found: Value = serde_json::from_str(&succeed(&mut commands(&bundle, "onnxruntime")[0])).unwrap();
    assert_eq!(found["kernels_agreement"], Value::Null, "{found}");
    for (kernels, name) in [("auto", "nerve"), ("onnxruntime", "onnxruntime")] {
        let server = Server::start(&bundle, &["--kernels", kernels]);
        let words = json!({"words": ["In", "New", "York"]});
        assert_eq!(server.post("/ner", &words).status, 200, "{name}");
    }
    let message = fail(
        binary("nerve-server")
            .args([
                "--listen",
                "127.0.0.1:0",
                "--device",
                "cuda",
                "--kernels",
                "nerve",
                "--model",
            ])
            .arg(&bundle),
    );
    assert!(message.contains("the model runs on cuda:0"), "{message}");
}
