//! That slicing the request's text by an answer's offsets gives the answer's text, whatever the text.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use nerve_inference::{PipelineTokenizer, TextTokenizer};
use nerve_tagging::{Decoder, LabelId, LabelSet, OffsetUnit, Splitter, WindowLimits, WordLabel, is_symbol};
use proptest::prelude::*;

use crate::config::TextLimits;
use crate::pipeline::aggregation::Aggregation;
use crate::pipeline::answer::{Answer, AnswerOptions};
use crate::pipeline::model::TextModel;
use crate::pipeline::prepare::Preparation;
use crate::pipeline::tagged::{TaggedText, Words};
use crate::request::input::TagInput;

/// Texts generated a run.
const CASES: u32 = 4096;

/// The default model's own tokenizer, before every splitter.
static MODELS: LazyLock<[Arc<TextModel>; 3]> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/default");
    let tokenizer = Arc::new(TextTokenizer::open_dir(&dir).unwrap());
    let labels = LabelSet::iob2(["person", "location"]).unwrap();
    [Splitter::Corpus, Splitter::Whitespace, Splitter::Bert].map(|splitter| {
        Arc::new(TextModel {
            name: String::new(),
            version: String::new(),
            precision: String::new(),
            decoder: Decoder::new(&labels),
            token_decoder: Decoder::new(&labels),
            labels: labels.clone(),
            pipeline: Arc::new(PipelineTokenizer::new(&tokenizer, 128)),
            tokenizer: Arc::clone(&tokenizer),
            splitter,
            limits: WindowLimits::for_encoder(128, 2).unwrap(),
            one_by_one: None,
            padding_free: false,
            description: serde_json::Value::Null,
        })
    })
});

/// What normalization lengthens, shortens, joins or drops, between what it leaves alone.
fn piece() -> impl Strategy<Value = String> {
    let awkward = prop::sample::select(vec![
        "İ",
        "İSTANBUL",
        "ß",
        "ẞ",
        "ŉ",
        "ﬁ",
        "ǆ",
        "ΟΔΥΣΣΕΎΣ",
        "Å",
        "A\u{30a}",
        "e\u{301}\u{300}",
        "n\u{303}",
        "I\u{307}",
        "한국",
        "\u{1112}\u{1161}\u{11ab}",
        "東京",
        "カ\u{3099}",
        "\u{fa0e}",
        "\u{2f800}",
        "😀",
        "👍🏽",
        "👩\u{200d}👩\u{200d}👧",
        "🇬🇧🇫🇷",
        "❤\u{fe0f}",
        "1\u{fe0f}\u{20e3}",
        "\u{200d}",
        "\u{200b}",
        "\u{ad}",
        "\u{feff}",
        "\0",
        "\u{1}",
        "\u{7f}",
        "\u{85}",
        "\u{fffd}",
        "\r\n",
        "\n",
        "\t",
        "\u{b}",
        "\u{a0}",
        "\u{3000}",
        "\u{2028}",
        "  ",
        " ",
        "𝔐𝔞",
        "½",
        "…",
        "’s",
        "@a",
        "#B",
        "U.S.",
        ":)",
        "[SEP]",
        "[UNK]",
        "##ing",
        "https://x.y/z?é=1",
        "مصر",
        "हिन्दी",
        "ภาษาไทย",
        "\u{202e}",
        "\u{3164}",
        "\u{e0067}",
    ]);
    prop_oneof![
        4 => awkward.prop_map(str::to_owned),
        3 => "[a-zA-Z]{1,12}",
        1 => "[0-9.,!?'\"()-]{1,4}",
        1 => "\\PC{1,4}",
        1 => any::<char>().prop_map(String::from),
        2 => Just(" ".to_owned()),
    ]
}

fn prepared(model: &Arc<TextModel>, source: TagInput, aggregation: Aggregation) -> Words {
    let limits = TextLimits {
        max_line_bytes: 1 << 20,
        max_words: usize::MAX,
        max_text_bytes: 1 << 20,
        max_windows: 1 << 10,
    };
    let mut preparation = Preparation::new(Arc::clone(model), vec![source], aggregation, limits);
    while !preparation.step() {}
    preparation.finish().0.remove(0).unwrap().words
}

/// The part of a text between two offsets, as a client slices it.
fn sliced(text: &str, unit: OffsetUnit, start: usize, end: usize) -> String {
    match unit {
        OffsetUnit::Codepoint => text.chars().skip(start).take(end - start).collect(),
        OffsetUnit::Byte => text[start..end].to_owned(),
        OffsetUnit::Utf16 => {
            let units: Vec<u16> = text.encode_utf16().collect();
            String::from_utf16(&units[start..end]).unwrap()
        }
    }
}

fn check(words: Words, text: &str, labels: &[usize], joined: bool) -> Result<(), TestCaseError> {
    prop_assert_eq!(&words.text, text);
    for span in &words.spans {
        prop_assert!(span.slice(text).is_some(), "{span:?} cuts a character");
    }
    let label = |word: usize| WordLabel {
        label: LabelId(labels[word % labels.len()]),
        score: 1.0,
    };
    let tagged = TaggedText {
        labels: (0..words.spans.len()).map(label).collect(),
        words,
        joined,
    };
    for offsets in [OffsetUnit::Codepoint, OffsetUnit::Byte, OffsetUnit::Utf16] {
        let view = AnswerOptions {
            offsets,
            threshold: 0.0,
            types: None,
            include_words: true,
        };
        let answer = Answer::new(&tagged, &MODELS[0].labels, &view, |_| ());
        let words = answer.words.unwrap();
        let parts = words.iter().map(|word| (word.start, word.end, word.text));
        for (start, end, part) in parts.chain(answer.entities.iter().map(|e| (e.start, e.end, e.text))) {
            prop_assert_eq!(sliced(text, offsets, start, end), part);
        }
        for entity in &answer.entities {
            let [first, after] = entity.words;
            let (start, end) = (words[first].start, words[after - 1].end);
            prop_assert!(start <= entity.start && entity.end <= end);
            for trimmed in [(start, entity.start), (entity.end, end)] {
                let trimmed = sliced(text, offsets, trimmed.0, trimmed.1);
                prop_assert!(is_symbol(&trimmed), "{:?}", trimmed);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn offsets_of_a_text_slice_it(
        text in prop::collection::vec(piece(), 0..12).prop_map(|pieces| pieces.concat()),
        labels in prop::collection::vec(0usize..5, 1..8),
    ) {
        for model in MODELS.iter() {
            for aggregation in [Aggregation::First, Aggregation::Simple, Aggregation::None] {
                let words = prepared(model, TagInput::Text(text.clone()), aggregation);
                check(words, &text, &labels, aggregation != Aggregation::None)?;
            }
        }
    }

    #[test]
    fn given_words_are_all_answered_and_slice_the_joined_text(
        given in prop::collection::vec(prop::collection::vec(piece(), 0..3).prop_map(|p| p.concat()), 0..8),
        labels in prop::collection::vec(0usize..5, 1..8),
    ) {
        let text = given.join(" ");
        let words = prepared(&MODELS[0], TagInput::Words(given.clone()), Aggregation::First);
        let found: Vec<&str> = words.spans.iter().map(|span| span.slice(&text).unwrap()).collect();
        prop_assert_eq!(found, given.iter().map(String::as_str).collect::<Vec<_>>());
        check(words, &text, &labels, true)?;
        let tokens = prepared(&MODELS[0], TagInput::Words(given), Aggregation::Simple);
        check(tokens, &text, &labels, true)?;
    }
}
