//! Untrusted model files. Each function replaces one file of a valid model by the given bytes, opens the model and uses it.
//! Every result except a panic is accepted.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use nerve_inference::{Model, Runtime, SessionOptions, TextTokenizer};
use nerve_repository::ModelConfig;
use tempfile::TempDir;

/// Texts with characters that are difficult for tokenizers.
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

/// A copy of a valid model whose files can be replaced.
struct Copy(TempDir);

impl Copy {
    fn of(model: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be created");
        for entry in fs::read_dir(fixtures().join(model)).expect("fixtures can be read") {
            let from = entry.expect("a directory entry can be read").path();
            if from.is_file() {
                fs::copy(&from, dir.path().join(from.file_name().unwrap_or_default()))
                    .expect("a file can be copied");
            }
        }
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn put(&self, file: &str, bytes: &[u8]) {
        fs::write(self.path().join(file), bytes).expect("a temporary file can be written");
    }
}

thread_local! {
    static TOKENIZER: Copy = Copy::of("bert-iob2");
    static BERTWEET: Copy = Copy(tempfile::tempdir().expect("a temporary directory can be created"));
    static CONFIG: Copy = Copy::of("bert-iob2");
    static TOKENIZER_CONFIG: Copy = Copy::of("bert-iob2");
    static MANIFEST: Copy = Copy::of("bert-iob2");
    static GRAPH: Copy = Copy::of("graphs");
}

/// Reads `tokenizer.json`, and BERTweet's `bpe.codes` and `vocab.txt`, which an empty line divides.
pub fn tokenizer(bytes: &[u8]) {
    BERTWEET.with(|model| {
        let division = bytes.windows(2).position(|pair| pair == b"\n\n");
        let (codes, vocabulary) = bytes.split_at(division.map_or(bytes.len(), |at| at + 1));
        model.put("bpe.codes", codes);
        model.put("vocab.txt", vocabulary.strip_prefix(b"\n").unwrap_or(vocabulary));
        if let Ok(tokenizer) = TextTokenizer::open_dir(model.path()) {
            check_texts(&tokenizer);
        }
    });
    TOKENIZER.with(|model| {
        model.put("tokenizer.json", bytes);
        if let Ok(tokenizer) = TextTokenizer::open_dir(model.path()) {
            check_texts(&tokenizer);
        }
        if let Ok(model) = Model::open(model.path()) {
            check_all_texts(&model);
        }
    });
}

/// Reads `config.json` and `tokenizer_config.json`.
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
            check_all_texts(&model);
        }
    });
    TOKENIZER_CONFIG.with(|model| {
        model.put("tokenizer_config.json", bytes);
        if let Ok(model) = Model::open(model.path()) {
            check_all_texts(&model);
        }
    });
}

/// Reads `manifest.json`.
pub fn manifest(bytes: &[u8]) {
    MANIFEST.with(|model| {
        model.put("manifest.json", bytes);
        if let Ok(model) = Model::open(model.path()) {
            check_all_texts(&model);
        }
    });
}

/// Reads those parts of `model.onnx` that Nerve parses itself.
pub fn graph(bytes: &[u8]) {
    GRAPH.with(|model| {
        model.put("model.onnx", bytes);
        let _result = Model::open(model.path());
    });
}

/// Opens and runs `model.onnx` in ONNX Runtime, whose library `ORT_DYLIB_PATH` names.
pub fn session(bytes: &[u8]) {
    static RUNTIME: OnceLock<Arc<Runtime>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| Runtime::load(None).expect("ORT_DYLIB_PATH names ONNX Runtime"));
    GRAPH.with(|model| {
        model.put("model.onnx", bytes);
        let Ok(model) = Model::open(model.path()) else {
            return;
        };
        if let Ok(mut session) = model.session(runtime, &SessionOptions::default()) {
            let _result = session.run(&[&[2, 5, 6, 3], &[2, 3]]);
        }
    });
}

/// Tokenizes the texts in every way and checks that all spans lie within the text.
fn check_texts(tokenizer: &TextTokenizer) {
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

/// Tokenizes the texts as `/ner` and as the `transformers` pipeline does, and checks the offsets.
fn check_all_texts(model: &Model) {
    check_texts(model.tokenizer());
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
