//! BERTweet's files against the Python class of `transformers`, whose ids `tests/families/make_bertweet_fixtures.py` stored.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use nerve_tagging::WordIndex;
use proptest::prelude::*;
use serde_json::Value;

use super::TextTokenizer;
use crate::pipeline_tokenizer::PipelineTokenizer;
use crate::tokenizer_error::TokenizerError;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/families/fixtures/bertweet")
}

/// A directory of these merges and pieces.
fn dir_of(codes: &str, vocabulary: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("bpe.codes"), codes).unwrap();
    fs::write(dir.path().join("vocab.txt"), vocabulary).unwrap();
    dir
}

/// The files of the fixture, with a configuration that normalizes tweets or does not.
fn bertweet(normalization: bool) -> tempfile::TempDir {
    let read = |name: &str| fs::read_to_string(fixture().join(name)).unwrap();
    let dir = dir_of(&read("bpe.codes"), &read("vocab.txt"));
    let config = format!(r#"{{"normalization": {normalization}}}"#);
    fs::write(dir.path().join("tokenizer_config.json"), config).unwrap();
    dir
}

fn open(dir: &Path) -> TextTokenizer {
    TextTokenizer::open_dir(dir).unwrap()
}

#[test]
fn ids_are_those_of_python_in_files_of_both_kinds() {
    let sentences: Vec<Value> =
        serde_json::from_slice(&fs::read(fixture().join("sentences.json")).unwrap()).unwrap();
    for (normalization, ids) in [(false, "ids"), (true, "normalized")] {
        let dir = bertweet(normalization);
        let tokenizer = open(dir.path());
        // The last id is that of `<mask>`.
        assert_eq!(tokenizer.token_to_id("<mask>"), Some(1150));
        assert_eq!(tokenizer.vocab_size(), 1151);
        assert_eq!(tokenizer.special_ids(), (&[0][..], &[2][..]));
        let json = tempfile::tempdir().unwrap();
        tokenizer.save(&json.path().join("tokenizer.json")).unwrap();
        let written = tempfile::tempdir().unwrap();
        tokenizer.save_bertweet_files(written.path()).unwrap();
        let config = written.path().join("tokenizer_config.json");
        tokenizer.save_config(&config, 128).unwrap();
        let config: Value = serde_json::from_slice(&fs::read(config).unwrap()).unwrap();
        assert_eq!(config["tokenizer_class"], "BertweetTokenizer");
        assert_eq!(config["normalization"], normalization);
        for dir in [dir.path(), json.path(), written.path()] {
            let tokenizer = open(dir);
            assert_eq!(tokenizer.vocab_size(), 1151);
            for sentence in &sentences {
                let words: Vec<String> = serde_json::from_value(sentence["words"].clone()).unwrap();
                let expected: Vec<u32> = serde_json::from_value(sentence[ids].clone()).unwrap();
                let subwords = tokenizer.encode_words(&words).unwrap();
                assert_eq!(subwords.ids(), expected, "{words:?}");
                // White space is all that divides a text into words, so a text has the same tokens.
                let text = words.join(" ");
                let (_, subwords) = tokenizer.encode_text(&text).unwrap();
                assert_eq!(subwords.ids(), expected, "{text}");
                if !text.contains('<') {
                    let pipeline = PipelineTokenizer::new(&tokenizer, 128);
                    assert_eq!(pipeline.encode(&text).unwrap().ids, expected, "{text}");
                }
            }
        }
    }
}

/// The pieces of a word, as `BertweetTokenizer.bpe` finds them.
fn python_pieces(word: &str, ranks: &HashMap<(String, String), usize>) -> Vec<String> {
    let mut symbols: Vec<String> = word.chars().map(String::from).collect();
    symbols.last_mut().unwrap().push_str("</w>");
    while let Some((_, pair)) = symbols
        .windows(2)
        .filter_map(|pair| {
            let pair = (pair[0].clone(), pair[1].clone());
            Some((*ranks.get(&pair)?, pair))
        })
        .min()
    {
        let mut at = 0;
        while at + 1 < symbols.len() {
            if symbols[at] == pair.0 && symbols[at + 1] == pair.1 {
                let right = symbols.remove(at + 1);
                symbols[at].push_str(&right);
            }
            at += 1;
        }
    }
    let last = symbols.len() - 1;
    let pieces = symbols.into_iter().enumerate();
    pieces
        .map(|(at, symbol)| match at == last {
            true => symbol.strip_suffix("</w>").unwrap().to_owned(),
            false => symbol + "@@",
        })
        .collect()
}

proptest! {
    /// Merges in any order, also those that come before the merges of their symbols, and a vocabulary of a part of the symbols.
    #[test]
    fn any_merges_are_done_as_in_python(
        choices in prop::collection::vec((0usize..100, 0usize..100), 1..40),
        order in any::<prop::sample::Index>(),
        absent in 2usize..9,
        words in prop::collection::vec("[ab@]{1,12}", 1..8),
    ) {
        let mut symbols: Vec<String> = ["a", "b", "@", "a</w>", "b</w>", "@</w>"].map(str::to_owned).to_vec();
        let mut merges: Vec<(String, String)> = Vec::new();
        for (left, right) in choices {
            let (left, right) = (&symbols[left % symbols.len()], &symbols[right % symbols.len()]);
            if !left.ends_with("</w>") && left.len() + right.len() < 12 {
                merges.push((left.clone(), right.clone()));
                symbols.push(format!("{left}{right}"));
            }
        }
        let rotation = order.index(merges.len().max(1));
        merges.rotate_left(rotation);
        let mut vocabulary: Vec<String> = symbols
            .iter()
            .enumerate()
            .filter(|(at, _)| at % absent != 0)
            .map(|(_, symbol)| symbol.strip_suffix("</w>").map_or_else(|| format!("{symbol}@@"), str::to_owned))
            .collect();
        vocabulary.sort();
        vocabulary.dedup();
        // A file without merges is refused, and so is one without pieces.
        let lines = merges.iter().map(|(left, right)| format!("{left} {right} 1\n"));
        let codes: String = std::iter::once("q q 1\n".to_owned()).chain(lines).collect();
        let lines: String = vocabulary.iter().map(|piece| format!("{piece} 1\n")).collect();
        let dir = dir_of(&codes, &lines);
        let tokenizer = open(dir.path());
        // As in Python, the last of equal merges counts.
        let ranks: HashMap<_, _> = merges.into_iter().zip(0..).collect();
        for word in &words {
            let id = |piece: String| vocabulary.iter().position(|entry| *entry == piece).map_or(3, |at| at as u32 + 4);
            let expected: Vec<u32> = python_pieces(word, &ranks).into_iter().map(id).collect();
            let found = tokenizer.encode_words(&[word]).unwrap();
            prop_assert_eq!(found.ids(), expected, "{}", word);
        }
    }
}

#[test]
fn words_slice_the_text_without_the_punctuation_around_them() {
    let text = "  (Ann) met\n@ida_99,\u{a0}at http://t.co/x …";
    let read = |normalization| {
        let tokenizer = open(bertweet(normalization).path());
        let (spans, subwords) = tokenizer.encode_text(text).unwrap();
        let words = spans.iter().map(|span| span.slice(text).unwrap().to_owned());
        let lengths = (0..spans.len()).map(|word| subwords.of_word(WordIndex(word)).len());
        (words.collect::<Vec<_>>(), lengths.collect::<Vec<_>>())
    };
    let (words, _) = read(false);
    let expected = [
        "(",
        "Ann",
        ")",
        "met",
        "@",
        "ida_99",
        ",",
        "at",
        "http://t.co/x",
        "…",
    ];
    assert_eq!(words, expected);
    // What was normalized is one word.
    let (words, lengths) = read(true);
    assert_eq!(words, ["(Ann)", "met", "@ida_99,", "at", "http://t.co/x", "…"]);
    assert!(lengths.iter().all(|length| *length > 0), "{lengths:?}");
}

#[test]
fn a_line_break_belongs_to_its_word_as_in_python() {
    let dir = dir_of("a b</w> 2\n", "ab 2\na@@ 1\nb@@ 1\n");
    let tokenizer = open(dir.path());
    let (spans, subwords) = tokenizer.encode_text("ab\nab\n").unwrap();
    assert_eq!(subwords.ids(), [5, 6, 3, 5, 6, 3]);
    assert_eq!((spans[0].end(), spans[1].start(), spans[1].end()), (2, 3, 5));
    assert_eq!(tokenizer.encode_words(&["ab"]).unwrap().ids(), [4]);
}

#[test]
fn a_damaged_file_is_named_with_its_line() {
    let (codes, vocabulary) = ("a b 2\nab c</w> 1\n", "ab@@ 3\nabc 1\n");
    for (codes, vocabulary, problem) in [
        (
            codes,
            "ab@@ 3\nabc\n",
            "vocab.txt, line 2: expected `piece frequency`, found `abc`",
        ),
        (codes, "ab@@ 3\n\nabc 1\n", "vocab.txt, line 2: expected"),
        (codes, "ab@@ x\n", "vocab.txt, line 1: expected"),
        (
            codes,
            "ab 3\nc 2\nab 1\n",
            "vocab.txt, line 3: `ab` has an id already",
        ),
        (
            codes,
            "ab 3\n<unk> 1\n",
            "vocab.txt, line 2: `<unk>` is a special token",
        ),
        (
            codes,
            "<mask> 3\nab 1\n",
            "vocab.txt, line 1: `<mask>` is a special token",
        ),
        (
            "a b 2\nab 1\n",
            vocabulary,
            "bpe.codes, line 2: 2 fields, unlike the lines before",
        ),
        ("a b 2\n\n", vocabulary, "bpe.codes, line 2: 0 fields"),
        (
            "a b c d\n",
            vocabulary,
            "bpe.codes, line 1: expected `left right frequency`",
        ),
        (
            "a b two\n",
            vocabulary,
            "bpe.codes, line 1: the frequency of `a b two` is not a number",
        ),
        (
            "",
            vocabulary,
            "bpe.codes, line 1: the file ends without a line break",
        ),
        ("a b 2\nab c</", vocabulary, "bpe.codes, line 2: 2 fields"),
        (codes, "", "vocab.txt, line 1: the file ends without a line break"),
        (
            codes,
            vocabulary.trim_end(),
            "so the last piece may be cut off; complete it, or end the line",
        ),
        (
            "a b 2\nab c</w> 1",
            vocabulary,
            "bpe.codes, line 2: the file ends without a line break",
        ),
    ] {
        let dir = dir_of(codes, vocabulary);
        let found = TextTokenizer::open_dir(dir.path()).map(drop);
        let message = found.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(message.contains(problem), "{message}");
        assert_eq!(message.is_empty(), problem.is_empty(), "{message}");
    }
    let dir = dir_of(codes, vocabulary);
    fs::write(dir.path().join("bpe.codes"), b"a \xff 2\n").unwrap();
    let message = TextTokenizer::open_dir(dir.path())
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(message.contains("bpe.codes"), "{message}");
}

#[test]
fn a_mask_at_the_end_and_merges_without_frequencies_are_read() {
    let ids = |codes: &str, vocabulary: &str| {
        let tokenizer = open(dir_of(codes, vocabulary).path());
        (
            tokenizer.vocab_size(),
            tokenizer.encode_words(&["abc", "ab"]).unwrap().ids().to_vec(),
        )
    };
    let expected = (7, vec![5, 3, 3]);
    let vocabulary = "ab@@ 3\nabc 1\n";
    assert_eq!(ids("a b 2\nab c</w> 1\n", vocabulary), expected);
    assert_eq!(ids("a b 2\nab c</w> 1\n", "ab@@ 3\nabc 1\n<mask> 0\n"), expected);
    // As `save_pretrained` of transformers 5 and subword-nmt write them.
    assert_eq!(ids("a b\nab c</w>\n", vocabulary), expected);
    assert_eq!(ids("#version: 0.2\na b\nab c</w>\n", vocabulary), expected);
    assert_eq!(ids("a b 2\r\nab c</w> 1\r\n", "ab@@ 3\r\nabc 1\r\n"), expected);
}

#[test]
fn a_missing_file_is_named_and_the_class_decides_which_files_are_read() {
    let dir = dir_of("a b</w> 2\n", "ab 3\n");
    let read = |path: &Path| TextTokenizer::open_dir(path);
    let json = dir.path().join("tokenizer.json");
    open(bertweet(false).path()).save(&json).unwrap();
    // Without a class, `tokenizer.json` is read.
    assert_eq!(read(dir.path()).unwrap().vocab_size(), 1151);
    for file in ["config.json", "tokenizer_config.json"] {
        let path = dir.path().join(file);
        fs::write(&path, r#"{"tokenizer_class": "BertweetTokenizer"}"#).unwrap();
        assert_eq!(read(dir.path()).unwrap().vocab_size(), 6);
        fs::remove_file(path).unwrap();
    }
    fs::remove_file(json).unwrap();
    fs::remove_file(dir.path().join("vocab.txt")).unwrap();
    let missing = |path: &Path| match TextTokenizer::open_dir(path).map(drop).unwrap_err() {
        TokenizerError::Bertweet { missing, .. } => missing,
        error => panic!("{error}"),
    };
    assert_eq!(missing(dir.path()), "vocab.txt");
    fs::remove_file(dir.path().join("bpe.codes")).unwrap();
    fs::write(dir.path().join("vocab.txt"), "ab 3\n").unwrap();
    fs::write(
        dir.path().join("config.json"),
        r#"{"tokenizer_class": "BertweetTokenizer"}"#,
    )
    .unwrap();
    assert_eq!(missing(dir.path()), "bpe.codes");
}
