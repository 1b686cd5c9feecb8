use super::*;
use nerve_tagging::{WindowLimits, WordIndex, windows};
use proptest::prelude::*;

fn tokenizer() -> (tempfile::TempDir, TextTokenizer) {
    let dir = tempfile::tempdir().unwrap();
    let vocab = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n@\npaul\n##walk\ndo\nn\n'\nt\n[\n]\nsep\n";
    std::fs::write(dir.path().join("vocab.txt"), vocab).unwrap();
    let tokenizer = TextTokenizer::open_dir(dir.path()).unwrap();
    (dir, tokenizer)
}

#[test]
fn given_words_are_never_split_or_lost() {
    let (_dir, tokenizer) = tokenizer();
    let words = ["@PaulWalk", "", "\u{200d}", "do", "n't", "zzz"];
    let subwords = tokenizer.encode_words(&words).unwrap();
    let lengths: Vec<_> = (0..words.len())
        .map(|word| subwords.of_word(WordIndex(word)).len())
        .collect();
    assert_eq!(lengths, [3, 0, 0, 1, 3, 1]);
    let window = &windows(&subwords, WindowLimits::new(64, 0).unwrap())[0];
    let ids = tokenizer.window_ids(&subwords, window);
    assert_eq!((ids[0], *ids.last().unwrap()), (2, 3));
    assert_eq!(tokenizer.specials(), (1, 1));
}

#[test]
fn a_typed_special_token_is_text() {
    let (_dir, tokenizer) = tokenizer();
    let subwords = tokenizer.encode_words(&["[SEP]"]).unwrap();
    assert_eq!(subwords.ids(), [13, 15, 14]);
}

#[test]
fn own_words_slice_the_text() {
    let (_dir, tokenizer) = tokenizer();
    let text = "do  \u{200d} @paulwalk";
    let (spans, subwords) = tokenizer.encode_text(text).unwrap();
    let words: Vec<_> = spans.iter().map(|s| s.slice(text).unwrap()).collect();
    assert_eq!(words, ["do", "@", "paulwalk"]);
    assert_eq!(subwords.word_count(), 3);
}

/// The words of a text that is neither divided nor looked up in the cache.
fn encode_whole(tokenizer: &TextTokenizer, text: &str) -> (Vec<ByteSpan>, Subwords) {
    let encoding = tokenizer.tokenizer.encode(text, false).unwrap();
    let words = OwnWords::of(text, &encoding, tokenizer.spaces);
    let (mut spans, mut subwords) = (Vec::new(), Subwords::default());
    words.append(&encoding, 0, &mut spans, &mut subwords).unwrap();
    (spans, subwords)
}

proptest! {
    #[test]
    fn ascii_read_word_by_word_is_read_as_a_whole(text in "[ -~\\t\\n\\r]{0,60}|( |a|@|paulwalk|Do|n't|\\[SEP\\]|\\n|zzz){0,20}") {
        let (_dir, tokenizer) = tokenizer();
        prop_assert!(tokenizer.cuts_as_bert && bert_words::cut(&text).is_some());
        prop_assert_eq!(tokenizer.encode_text(&text).unwrap(), encode_whole(&tokenizer, &text));
    }
}

#[test]
fn a_long_text_has_the_words_of_the_text_read_at_once() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/plain/fixtures");
    for name in ["bert-iob2", "roberta", "xlm-roberta"] {
        let tokenizer = TextTokenizer::open_dir(&fixtures.join(name)).unwrap();
        for unit in [
            "Bob, (O'Neil) met  é. ",
            "漢字 e\u{301} (walk)\u{200d} ",
            "a .b, [SEP]\nc",
        ] {
            // Parts end in many places of the unit.
            for shift in (0..unit.len()).step_by(3) {
                let text = format!("{}{}", "a ".repeat(shift), unit.repeat(24_000 / unit.len()));
                assert_eq!(
                    tokenizer.encode_text(&text).unwrap(),
                    encode_whole(&tokenizer, &text),
                    "{name} {unit}"
                );
                let (spans, subwords) = tokenizer.encode_text_tokens(&text).unwrap();
                let encoding = tokenizer.tokenizer.encode(text.as_str(), false).unwrap();
                assert_eq!(
                    (subwords.ids(), subwords.word_count()),
                    (encoding.get_ids(), spans.len()),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn the_beginning_of_a_long_word_becomes_subwords() {
    let tokenizer = byte_level(true, "{}");
    let long = "d".repeat(100_000);
    let subwords = tokenizer.encode_words(&["and", &long, "and"]).unwrap();
    assert_eq!(subwords.of_word(WordIndex(1)), 4..5 + LONGEST_WORD_BYTES);
    assert_eq!(subwords.of_word(WordIndex(2)).len(), 4);
    let tokens = tokenizer.encode_tokens(&[long.as_str()]).unwrap();
    assert_eq!(tokens.last().unwrap().span.end(), LONGEST_WORD_BYTES);
}

#[test]
fn text_that_must_be_normalized_first_is_not_cut() {
    for text in ["caf\u{e9}", "a\u{b}b", "a\u{7f}", "a\u{a0}b"] {
        assert_eq!(bert_words::cut(text), None, "{text:?}");
    }
    let dir = tempfile::tempdir().unwrap();
    let (made, tokenizer) = tokenizer();
    let mut tokenizer = tokenizer.inner().clone();
    tokenizer.add_tokens([AddedToken::from("do n", false)]).unwrap();
    tokenizer.save(dir.path().join("tokenizer.json"), false).unwrap();
    let added = TextTokenizer::open_dir(dir.path()).unwrap();
    assert!(TextTokenizer::open_dir(made.path()).unwrap().cuts_as_bert && !added.cuts_as_bert);
}

#[test]
fn saved_and_opened_it_is_the_same() {
    let (dir, tokenizer) = tokenizer();
    let path = dir.path().join("tokenizer.json");
    tokenizer.save(&path).unwrap();
    let again = TextTokenizer::open_dir(dir.path()).unwrap();
    let words = ["@PaulWalk", "do"];
    assert_eq!(
        again.encode_words(&words).unwrap(),
        tokenizer.encode_words(&words).unwrap()
    );
}

/// A byte-level tokenizer of single characters, with truncation, padding and offset trimming that would do harm.
fn byte_level(prefix_in_file: bool, tokenizer_config: &str) -> TextTokenizer {
    let dir = tempfile::tempdir().unwrap();
    let letters = "<s> <pad> </s> a n d o r L e '"
        .split(' ')
        .chain(["Ġ", "Ċ", "Ã", "«"]);
    let vocab: serde_json::Map<_, _> = letters
        .zip(0..)
        .map(|(token, id)| (token.to_owned(), id.into()))
        .collect();
    let special = |id: u32, content: &str| {
        serde_json::json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true})
    };
    let json = serde_json::json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 30}, "direction": "Left", "pad_to_multiple_of": null, "pad_id": 1,
            "pad_type_id": 0, "pad_token": "<pad>"},
        "added_tokens": [special(0, "<s>"), special(1, "<pad>"), special(2, "</s>")],
        "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": prefix_in_file, "trim_offsets": true, "use_regex": true},
        "post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": true,
            "add_prefix_space": false},
        "decoder": null,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": []},
    });
    std::fs::write(dir.path().join("tokenizer.json"), json.to_string()).unwrap();
    std::fs::write(dir.path().join("tokenizer_config.json"), tokenizer_config).unwrap();
    TextTokenizer::open_dir(dir.path()).unwrap()
}

fn own_words(tokenizer: &TextTokenizer, text: &str) -> Vec<(String, usize)> {
    let (spans, subwords) = tokenizer.encode_text(text).unwrap();
    let word = |(at, span): (usize, &ByteSpan)| {
        (
            span.slice(text).unwrap().to_owned(),
            subwords.of_word(WordIndex(at)).len(),
        )
    };
    spans.iter().enumerate().map(word).collect()
}

#[test]
fn byte_level_words_are_pre_tokens_without_their_spaces() {
    let tokenizer = byte_level(false, "{}");
    let read = own_words(&tokenizer, "  and  Lee\nd'ëd ");
    // Two spaces before the first word: one is a pre-token of its own, and left out, one is the word's.
    let expected = [("and", 5), ("Lee", 5), ("d", 1), ("'", 1), ("ëd", 4)];
    let expected: Vec<_> = expected.map(|(word, tokens)| (word.to_owned(), tokens)).to_vec();
    assert_eq!(read, expected);
    assert!(own_words(&tokenizer, " \n ").is_empty());
    assert_eq!(tokenizer.specials(), (1, 1));
}

#[test]
fn the_prefix_space_is_never_taken_for_a_letter() {
    let without = byte_level(false, "{}");
    assert_eq!(
        own_words(&without, "and Lee"),
        [("and".to_owned(), 3), ("Lee".to_owned(), 4)]
    );
    for with in [
        byte_level(true, "{}"),
        byte_level(false, r#"{"add_prefix_space": true}"#),
    ] {
        assert_eq!(
            own_words(&with, "and Lee"),
            [("and".to_owned(), 4), ("Lee".to_owned(), 4)]
        );
    }
}

#[test]
fn given_words_all_have_their_space() {
    for tokenizer in [byte_level(true, "{}"), byte_level(false, "{}")] {
        let subwords = tokenizer.encode_words(&["and", "", " ", "Lee", "n d"]).unwrap();
        let lengths: Vec<_> = (0..5)
            .map(|word| subwords.of_word(WordIndex(word)).len())
            .collect();
        assert_eq!(lengths, [4, 0, 0, 4, 4]);
    }
}

#[test]
fn sentencepiece_words_are_without_the_punctuation_around_them() {
    let dir = tempfile::tempdir().unwrap();
    let pieces = [
        "<unk>", "<s>", "</s>", "▁", "▁Bob", "O", "'", "Neil", ".", "(", ")", ",", "▁(", "京", "▁.",
    ];
    let vocab: Vec<_> = pieces
        .iter()
        .map(|piece| serde_json::json!([piece, -1.0]))
        .collect();
    let json = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "post_processor": null, "decoder": null,
        "model": {"type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": false},
    });
    std::fs::write(dir.path().join("tokenizer.json"), json.to_string()).unwrap();
    let tokenizer = TextTokenizer::open_dir(dir.path()).unwrap();
    let read = own_words(&tokenizer, "Bob. (O'Neil),  京 ..");
    let expected = [
        ("Bob", 1),
        (".", 1),
        ("(", 1),
        ("O'Neil", 3),
        ("),", 3),
        ("京", 2),
        ("..", 2),
    ];
    let expected: Vec<_> = expected.map(|(word, tokens)| (word.to_owned(), tokens)).to_vec();
    assert_eq!(read, expected);
}

#[test]
fn the_tokenizers_configuration_decides_on_case() {
    let (dir, tokenizer) = tokenizer();
    tokenizer.save(&dir.path().join("tokenizer.json")).unwrap();
    let known = |dir: &Path| {
        TextTokenizer::open_dir(dir)
            .unwrap()
            .encode_words(&["Do"])
            .unwrap()
            .ids()
            == [9]
    };
    assert!(known(dir.path()));
    std::fs::write(
        dir.path().join("tokenizer_config.json"),
        r#"{"do_lower_case": false}"#,
    )
    .unwrap();
    assert!(!known(dir.path()));
    std::fs::remove_file(dir.path().join("tokenizer.json")).unwrap();
    assert!(!known(dir.path()));
}

#[test]
fn what_is_no_tokenizer_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        TextTokenizer::open_dir(dir.path()),
        Err(TokenizerError::Missing { .. })
    ));
    std::fs::write(dir.path().join("tokenizer.json"), "{}").unwrap();
    let error = TextTokenizer::open_dir(dir.path()).err().unwrap().to_string();
    assert!(error.contains("tokenizer.json"), "{error}");
}

#[test]
fn a_vocabulary_that_is_not_wordpiece_names_the_file_needed() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("vocab.txt"), "the 10\ni@@ 3\n").unwrap();
    std::fs::write(dir.path().join("config.json"), r#"{"model_type": "roberta"}"#).unwrap();
    let error = TextTokenizer::open_dir(dir.path()).err().unwrap();
    assert!(
        matches!(
            error,
            TokenizerError::NoJson {
                model_type: "roberta",
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("no tokenizer.json"), "{error}");
}

#[test]
fn words_seen_before_have_the_same_subwords() {
    let (_dir, tokenizer) = tokenizer();
    let texts = [
        vec!["paulwalk", "met", "", "Paul", "\u{200d}"],
        vec!["met", "xyzzy", "paulwalk", "paulwalk"],
        vec!["", "met"],
    ];
    for text in &texts {
        let first = tokenizer.encode_words(text).unwrap();
        let again = tokenizer.encode_words(text).unwrap();
        let plain = tokenizer.tokenizer.encode(text.clone(), false).unwrap();
        let plain = Subwords::new(plain.get_ids(), plain.get_word_ids(), text.len()).unwrap();
        assert_eq!((&first, &again), (&plain, &plain));
    }
}

#[test]
fn a_file_that_the_library_panics_at_is_refused_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    // As a copy that was cut off.
    std::fs::write(
        dir.path().join("tokenizer.json"),
        r#"{"version": "1.0", "decoder": {"type": "Wo"#,
    )
    .unwrap();
    let error = TextTokenizer::open_dir(dir.path()).err().unwrap();
    assert!(matches!(error, TokenizerError::Open { .. }));
    assert!(error.to_string().contains("tokenizer.json"), "{error}");
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_file() {
    let (dir, plain) = tokenizer();
    let mark = |name: &str| {
        let path = dir.path().join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("\u{feff}{text}")).unwrap();
    };
    let words = ["do", "[PAD]", "paul"];
    let ids = plain.encode_words(&words).unwrap().ids().to_vec();
    mark("vocab.txt");
    let marked = TextTokenizer::open_dir(dir.path()).unwrap();
    assert_eq!(marked.token_to_id("[PAD]"), Some(0));
    assert_eq!(marked.encode_words(&words).unwrap().ids(), ids);
    marked.save(&dir.path().join("tokenizer.json")).unwrap();
    mark("tokenizer.json");
    std::fs::write(dir.path().join("tokenizer_config.json"), "\u{feff}{}").unwrap();
    let marked = TextTokenizer::open_dir(dir.path()).unwrap();
    assert_eq!(marked.encode_words(&words).unwrap().ids(), ids);
}

#[test]
fn a_file_in_utf_16_is_named_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let utf16: Vec<u8> = "\u{feff}[PAD]\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    std::fs::write(dir.path().join("vocab.txt"), &utf16).unwrap();
    let problem = |dir: &Path| TextTokenizer::open_dir(dir).map(drop).unwrap_err().to_string();
    assert!(problem(dir.path()).contains("UTF-16; convert it to UTF-8"));
    std::fs::write(dir.path().join("tokenizer.json"), &utf16).unwrap();
    assert!(problem(dir.path()).contains("UTF-16; convert it to UTF-8"));
}
