//! Model files that somebody else wrote: each function puts hostile bytes in the place of one file of a good model, opens the
//! model and uses it. Anything but a panic is fine.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use nerve_inference::{Model, Runtime, SessionOptions, TextTokenizer};
use nerve_repository::ModelConfig;
use tempfile::TempDir;

/// Texts of every kind that tokenizers stumble over.
const TEXTS: [&str; 8] = [
    "",
    "Barack Obama met Beyoncé in São Paulo.",
    "[SEP] </s> [MASK] <unk> ##ing",
    "\u{1f600} 👩\u{200d}👧 e\u{301} \u{200d} \u{feff}",
    " \t\r\n\u{a0}\u{3000} ",
    "東京 is 日本",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "\u{0}\u{1}\u{7f}\u{ffff}\u{10ffff}",
];

/// The models of `tests/plain/`.
fn fixtures() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(1);
    root.unwrap_or(Path::new(".")).join("tests/plain/fixtures")
}

/// A copy of a good model's files, to put others between.
struct Copy(TempDir);

impl Copy {
    fn of(model: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for entry in fs::read_dir(fixtures().join(model)).expect("the fixture") {
            let from = entry.expect("an entry").path();
            if from.is_file() {
                fs::copy(&from, dir.path().join(from.file_name().unwrap_or_default())).expect("a copy");
            }
        }
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn put(&self, file: &str, bytes: &[u8]) {
        fs::write(self.path().join(file), bytes).expect("a file in a temporary directory");
    }
}

thread_local! {
    static TOKENIZER: Copy = Copy::of("bert-iob2");
    static CONFIG: Copy = Copy::of("bert-iob2");
    static TOKENIZER_CONFIG: Copy = Copy::of("bert-iob2");
    static MANIFEST: Copy = Copy::of("bert-iob2");
    static GRAPH: Copy = Copy::of("graphs");
}

/// `tokenizer.json`.
pub fn tokenizer(bytes: &[u8]) {
    TOKENIZER.with(|model| {
        model.put("tokenizer.json", bytes);
        if let Ok(tokenizer) = TextTokenizer::open_dir(model.path()) {
            read_texts(&tokenizer);
        }
        if let Ok(model) = Model::open(model.path()) {
            classify_texts(&model);
        }
    });
}

/// `config.json`, and `tokenizer_config.json` beside it, of bundles and of plain exports.
pub fn config(bytes: &[u8]) {
    let path = Path::new("config.json");
    if let Some(config) = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| ModelConfig::parse(text, path).ok())
    {
        let _labels = config.labels(path);
        let _length = config.max_length();
    }
    CONFIG.with(|model| {
        model.put("config.json", bytes);
        if let Ok(model) = Model::open(model.path()) {
            classify_texts(&model);
        }
    });
    TOKENIZER_CONFIG.with(|model| {
        model.put("tokenizer_config.json", bytes);
        if let Ok(model) = Model::open(model.path()) {
            classify_texts(&model);
        }
    });
}

/// `manifest.json`.
pub fn manifest(bytes: &[u8]) {
    MANIFEST.with(|model| {
        model.put("manifest.json", bytes);
        if let Ok(model) = Model::open(model.path()) {
            classify_texts(&model);
        }
    });
}

/// `model.onnx`, as far as it is read before ONNX Runtime reads it.
pub fn graph(bytes: &[u8]) {
    GRAPH.with(|model| {
        model.put("model.onnx", bytes);
        let _either = Model::open(model.path());
    });
}

/// `model.onnx`, read by ONNX Runtime and run; `ORT_DYLIB_PATH` names its library.
pub fn session(bytes: &[u8]) {
    static RUNTIME: OnceLock<Arc<Runtime>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| Runtime::load(None).expect("ONNX Runtime"));
    GRAPH.with(|model| {
        model.put("model.onnx", bytes);
        let Ok(model) = Model::open(model.path()) else {
            return;
        };
        if let Ok(mut session) = model.session(runtime, &SessionOptions::default()) {
            let _either = session.run(&[&[2, 5, 6, 3], &[2, 3]]);
        }
    });
}

/// Every way to read a text; each part of it that is answered lies within it.
fn read_texts(tokenizer: &TextTokenizer) {
    for text in TEXTS {
        let words: Vec<&str> = text.split(' ').collect();
        let _subwords = tokenizer.encode_words(&words);
        for token in tokenizer.encode_tokens(&words).unwrap_or_default() {
            let word = words.get(token.word).copied();
            assert!(
                word.is_some_and(|word| token.span.slice(word).is_some()),
                "{token:?} in {words:?}"
            );
        }
        let texts = [tokenizer.encode_text(text), tokenizer.encode_text_tokens(text)];
        for (spans, _) in texts.into_iter().flatten() {
            assert!(
                spans.iter().all(|span| span.slice(text).is_some()),
                "{spans:?} in {text:?}"
            );
        }
    }
}

/// The texts as the `transformers` pipeline reads them.
fn classify_texts(model: &Model) {
    read_texts(model.tokenizer());
    let tokenizer = model.pipeline_tokenizer();
    for text in TEXTS {
        if let Ok(read) = tokenizer.encode(text) {
            let length = text.chars().count();
            assert!(
                read.tokens
                    .iter()
                    .all(|token| token.start <= token.end && token.end <= length)
            );
            let words = read.tokens.into_iter().map(|token| token.word).collect();
            let _text = tokenizer.tokens_to_string(words);
        }
    }
}
