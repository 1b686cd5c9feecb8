//! Splits and tokenizes texts of hostile patterns, and prints the time per byte beside that of ordinary words.
//!
//! `cargo bench --workspace --bench hostile -- [BYTES] [PATTERN ...]`. Each text repeats one pattern without end; the default
//! is a megabyte. The columns are the ways in which a text becomes tokens: by the three splitters with the default model's
//! WordPiece, by the tokenizer's own words with a byte-level BPE and a Unigram model, and as `POST /` does. A time is the
//! least of three, in nanoseconds per byte; the ratio to ordinary words follows in brackets. The exit status is 1 if a
//! ratio is above 4 and the time above 1 µs per byte.
#![allow(clippy::expect_used)]

use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use nerve_inference::{PipelineTokenizer, TextTokenizer};
use nerve_tagging::{ByteSpan, split_corpus, split_whitespace};

const BYTES: usize = 1_000_000;
const RUNS: usize = 3;
const MOST_RATIO: f64 = 4.0;
const MOST_NANOSECONDS: f64 = 1000.0;

/// Patterns beside each ASCII punctuation mark, with their names.
const PATTERNS: [(&str, &str); 47] = [
    ("one word of a letter", "a"),
    ("letters with spaces", "a "),
    (
        "99 letters",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ",
    ),
    (
        "99 unlike letters",
        "qjxzvkwqpyjfbgqmzxjvkqwpzyxgbjfqvkzmwxjqypvbzkgfxqjwmvzqkpxjybgvfqzkwjxmqpvzbyjkxgqfwvzjqmkpxbyzvjg ",
    ),
    ("a%", "a%"),
    ("a1.", "a1."),
    ("a.", "a."),
    ("a-", "a-"),
    ("a@", "a@"),
    ("a'", "a'"),
    ("a_", "a_"),
    ("ab.com", "ab.com"),
    ("ab.com/", "ab.com/"),
    ("www.", "www."),
    ("http://", "http://"),
    ("http://.,", "http://., "),
    (":)", ":)"),
    ("-_", "-_"),
    ("^.", "^."),
    ("xD", "xD"),
    ("&amp;", "&amp;"),
    ("&a", "&a"),
    ("%41%42", "%41%42"),
    ("1", "1"),
    ("1 ", "1 "),
    ("1,", "1,"),
    ("1:2 ", "1:2 "),
    (
        "base64",
        "TWFuIGlzIGRpc3Rpbmd1aXNoZWQ+/sIG5vdCBvbmx5IGJ5IGhpcyByZWFzb24/",
    ),
    ("a long link", "https://example.com/a/b?c=d&e=f,"),
    ("addresses", "a.b+c@d-e.co.uk,"),
    ("mentions", "@ab#cd"),
    ("é", "é"),
    ("combining marks", "e\u{301}\u{302}\u{303}"),
    ("marks alone", "\u{301}"),
    ("ideographs", "漢字"),
    ("zero as an ideograph", "〇"),
    ("kana", "かな"),
    ("Thai", "สวัสดี"),
    ("Arabic", "مرحبا "),
    ("joined emoji", "👩\u{200d}👩\u{200d}👧"),
    ("emoji", "😀"),
    ("flags", "🇬🇧"),
    ("zero-width spaces", "a\u{200b}"),
    ("right to left", "\u{202e}a\u{202c}"),
    ("NUL", "\0"),
    ("line breaks", "\r\n"),
    ("no-break spaces", "\u{a0}"),
];

/// A way in which a text becomes tokens. Yields the number of tokens.
type Way<'t> = (&'static str, Box<dyn Fn(&str) -> usize + 't>);

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let open = |dir: &str| TextTokenizer::open_dir(&root.join(dir)).expect("the tokenizer opens");
    let word_piece = open("models/default");
    let bpe = open("tests/plain/fixtures/roberta");
    let unigram = open("tests/plain/fixtures/xlm-roberta");
    let [as_pipeline, bpe_as_pipeline] =
        [&word_piece, &bpe].map(|tokenizer| PipelineTokenizer::new(tokenizer, 512));
    let given = |split: fn(&str) -> Vec<ByteSpan>, text: &str| {
        let spans = split(text);
        let words: Vec<&str> = spans.iter().filter_map(|span| span.slice(text)).collect();
        word_piece
            .encode_words(&words)
            .expect("words are encoded")
            .ids()
            .len()
    };
    let own = |tokenizer: &TextTokenizer, text: &str| {
        let (_, subwords) = tokenizer.encode_text(text).expect("a text is encoded");
        subwords.ids().len()
    };
    let pipeline = |tokenizer: &PipelineTokenizer, text: &str| {
        tokenizer.encode(text).expect("a text is encoded").ids.len()
    };
    let ways: [Way; 8] = [
        ("split", Box::new(|text| split_corpus(text).len())),
        ("corpus", Box::new(|text| given(split_corpus, text))),
        ("whitespace", Box::new(|text| given(split_whitespace, text))),
        ("bert", Box::new(|text| own(&word_piece, text))),
        ("BPE", Box::new(|text| own(&bpe, text))),
        ("Unigram", Box::new(|text| own(&unigram, text))),
        ("/ WordPiece", Box::new(|text| pipeline(&as_pipeline, text))),
        ("/ BPE", Box::new(|text| pipeline(&bpe_as_pipeline, text))),
    ];

    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .peekable();
    let bytes = arguments.next_if(|bytes| bytes.parse::<usize>().is_ok());
    let bytes = bytes.and_then(|bytes| bytes.parse().ok()).unwrap_or(BYTES);
    let chosen: Vec<String> = arguments.collect();
    let titles: String = ways.iter().map(|(title, _)| format!("{title:>16}")).collect();
    println!("{:24}{titles}", format!("{bytes} bytes"));
    let ordinary = row("ordinary words", &ordinary_words(bytes), &ways, None);
    let marks = (b'!'..=b'~').filter(u8::is_ascii_punctuation);
    let marks = marks.map(|mark| char::from(mark).to_string());
    let marks: Vec<(String, String)> = marks.map(|mark| (mark.clone(), mark)).collect();
    let named = PATTERNS
        .iter()
        .map(|(name, unit)| ((*name).to_owned(), (*unit).to_owned()));
    let mut exceeds = false;
    for (name, unit) in marks.into_iter().chain(named) {
        if chosen.is_empty() || chosen.contains(&name) {
            let text = unit.repeat(bytes / unit.len());
            let times = row(&name, &text, &ways, Some(&ordinary));
            let mut both = times.iter().zip(&ordinary);
            exceeds |= both.any(|(time, usual)| *time > MOST_NANOSECONDS && time / usual > MOST_RATIO);
        }
    }
    ExitCode::from(u8::from(exceeds))
}

/// Measures and prints a row, and returns its nanoseconds per byte.
fn row(name: &str, text: &str, ways: &[Way], ordinary: Option<&[f64]>) -> Vec<f64> {
    print!("{name:24}");
    let mut times = Vec::new();
    for (at, (_, tokens)) in ways.iter().enumerate() {
        let mut least = f64::INFINITY;
        for _ in 0..RUNS {
            let began = Instant::now();
            black_box(tokens(text));
            let took = began.elapsed().as_secs_f64();
            least = least.min(took * 1e9 / text.len() as f64);
            if took > 1.0 {
                break;
            }
        }
        let usual = ordinary
            .and_then(|ordinary| ordinary.get(at))
            .copied()
            .unwrap_or(least);
        print!("{:>9.1} ({:>4.1})", least, least / usual);
        times.push(least);
    }
    println!();
    times
}

/// Sentences of English words, frequent ones and rare ones, from the vocabulary of the default model.
fn ordinary_words(bytes: usize) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/default/tokenizer.json");
    let json = std::fs::read_to_string(path).expect("the tokenizer is readable");
    let json: serde_json::Value = serde_json::from_str(&json).expect("the tokenizer is JSON");
    let vocabulary = json["model"]["vocab"]
        .as_object()
        .expect("the model has a vocabulary");
    let mut words: Vec<(&str, u64)> = vocabulary
        .iter()
        .filter(|(word, _)| word.bytes().all(|byte| byte.is_ascii_lowercase()))
        .filter_map(|(word, id)| Some((word.as_str(), id.as_u64()?)))
        .collect();
    words.sort_by_key(|(_, id)| *id);
    let mut text = String::with_capacity(bytes + 32);
    let mut state = 1_u64;
    while text.len() < bytes {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // Frequent words have low ids.
        let uniform = (state >> 40) as f64 / (1_u64 << 24) as f64;
        let (word, _) = words[(uniform.powi(3) * words.len() as f64) as usize];
        text.push_str(word);
        text.push_str(if state >> 60 == 0 { ". " } else { " " });
    }
    text.truncate(bytes);
    text
}
