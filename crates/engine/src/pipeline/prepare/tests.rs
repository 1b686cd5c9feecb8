use super::*;
use crate::pipeline::tagged::Words;
use crate::testing::text_model;
use nerve_tagging::split_corpus;
use proptest::prelude::*;

const LIMITS: TextLimits = TextLimits {
    max_line_bytes: 60,
    max_words: usize::MAX,
    max_text_bytes: 60,
    max_windows: 3,
};

fn text(text: &str) -> TagInput {
    TagInput::Text(text.to_owned())
}

fn prepared(
    model: TextModel,
    source: TagInput,
    aggregation: Aggregation,
    limits: TextLimits,
) -> (Arc<TextModel>, Result<Prepared, PrepareError>) {
    let model = Arc::new(model);
    let mut preparation = Preparation::new(Arc::clone(&model), vec![source], aggregation, limits);
    while !preparation.step() {}
    (model, preparation.finish().0.remove(0))
}

fn slices(words: &Words) -> Vec<&str> {
    let slice = |span: &ByteSpan| span.slice(&words.text).unwrap();
    words.spans.iter().map(slice).collect()
}

#[test]
fn given_words_keep_their_places_in_the_joined_text() {
    let given = ["Paul walk", "", " ", "😀"].map(str::to_owned).to_vec();
    let source = TagInput::Words(given.clone());
    let (model, prepared) = prepared(text_model(16), source, Aggregation::First, LIMITS);
    let prepared = prepared.unwrap();
    assert_eq!(prepared.words.text, "Paul walk    😀");
    assert_eq!(slices(&prepared.words), given);
    assert_eq!(prepared.inputs(&model).next().unwrap().reads, [1, 3]);
    assert_eq!(
        prepared.has_subword().collect::<Vec<_>>(),
        [true, false, false, true]
    );
}

#[test]
fn tokens_are_words_where_tokens_are_labeled() {
    let given = ["paulwalk", "", "paul 😀"].map(str::to_owned).to_vec();
    let source = TagInput::Words(given);
    let (model, prepared) = prepared(text_model(16), source, Aggregation::Simple, LIMITS);
    let prepared = prepared.unwrap();
    assert_eq!(slices(&prepared.words), ["paul", "walk", "", "paul", "😀"]);
    assert_eq!(prepared.inputs(&model).next().unwrap().reads, [1, 2, 3, 4]);
}

#[test]
fn every_token_of_a_word_is_read_where_all_decide() {
    let (model, prepared) = prepared(text_model(16), text("in paulwalk"), Aggregation::Max, LIMITS);
    let prepared = prepared.unwrap();
    assert_eq!(prepared.inputs(&model).next().unwrap().reads, [1, 2, 3]);
    assert_eq!(prepared.read_lengths().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_text_without_words_needs_no_window() {
    for empty in ["", " \n\t ", "\u{200b}"] {
        let (model, prepared) = prepared(text_model(16), text(empty), Aggregation::First, LIMITS);
        assert_eq!(prepared.unwrap().inputs(&model).count(), 0);
    }
}

#[test]
fn the_limits_hold() {
    let outcome = |source| prepared(text_model(4), source, Aggregation::First, LIMITS);
    assert!(matches!(
        outcome(text(&"a".repeat(61))).1,
        Err(PrepareError::TextTooLong { bytes: 61, limit: 60 })
    ));
    assert!(matches!(
        outcome(TagInput::Words(vec!["a".repeat(30); 2])).1,
        Err(PrepareError::TextTooLong { bytes: 61, .. })
    ));
    assert!(matches!(
        outcome(text(&"in ".repeat(20))).1,
        Err(PrepareError::TooManyWindows { limit: 3, .. })
    ));
    let (model, fits) = outcome(text(&"in ".repeat(9)));
    assert_eq!(fits.unwrap().inputs(&model).count(), 3);
}

#[test]
fn a_long_text_is_prepared_in_steps_and_is_the_same() {
    let long = "😀 paulwalk,  met\u{3000}in paris. ".repeat(10_000);
    let given: Vec<String> = split_corpus(&long)
        .into_iter()
        .map(|span| span.slice(&long).unwrap().to_owned())
        .collect();
    let limits = TextLimits {
        max_line_bytes: 1 << 20,
        max_words: usize::MAX,
        max_text_bytes: 1 << 20,
        max_windows: 1 << 20,
    };
    for (source, joined) in [
        (text(&long), &long),
        (TagInput::Words(given.clone()), &given.join(" ")),
    ] {
        let model = Arc::new(text_model(64));
        let sources = vec![text("paul"), source, text("in")];
        let mut preparation = Preparation::new(Arc::clone(&model), sources, Aggregation::First, limits);
        let mut steps = 1;
        while !preparation.step() {
            steps += 1;
        }
        assert!(steps >= joined.len() / (2 * STEP_BYTES), "{steps}");
        let mut prepared = preparation.finish().0;
        let long_one = prepared.remove(1).unwrap();
        assert_eq!(&long_one.words.text, joined);
        assert_eq!(slices(&long_one.words), given);
        assert_eq!(long_one.subwords, model.tokenizer.encode_words(&given).unwrap());
        assert_eq!(prepared.len(), 2);
    }
}

/// Limits that a text of 2 MiB is within.
const WIDE: TextLimits = TextLimits {
    max_line_bytes: 1 << 22,
    max_words: usize::MAX,
    max_text_bytes: 1 << 22,
    max_windows: usize::MAX,
};

/// The model with another splitter.
fn split_by(splitter: Splitter) -> Arc<TextModel> {
    Arc::new(TextModel {
        splitter,
        ..text_model(64)
    })
}

#[test]
fn no_step_is_long_whatever_the_text() {
    let length = 1 << 18;
    for splitter in [Splitter::Corpus, Splitter::Whitespace, Splitter::Bert] {
        let model = split_by(splitter);
        for unit in [
            "%",
            "a%",
            "a1.",
            "a",
            "\u{301}",
            "漢",
            "👩\u{200d}",
            " ",
            "\u{200b}",
            "in ",
            "\n",
            "a@",
            "\0",
        ] {
            let sources = vec![text(&unit.repeat(length / unit.len()))];
            let mut preparation = Preparation::new(Arc::clone(&model), sources, Aggregation::First, WIDE);
            let mut before = (0, 0);
            let mut steps = 1;
            while !preparation.step() {
                steps += 1;
                let partial = preparation.partial.as_ref().unwrap();
                let now = (partial.subwords.ids().len(), partial.rest);
                // Each byte is at most one subword, and the second part of a step may be as long as the first.
                assert!(
                    now.0 - before.0 <= 4 * STEP_BYTES,
                    "{splitter:?} {unit:?}: {now:?} after {before:?}"
                );
                before = now;
            }
            // A text without words, and one that is a word, need no further steps.
            let (prepared, _) = preparation.finish();
            let words = prepared[0].as_ref().unwrap().words.spans.len();
            assert!(
                steps >= words.min(length) / (4 * STEP_BYTES),
                "{splitter:?} {unit:?}: {steps} steps for {words} words"
            );
        }
    }
}

#[test]
fn two_megabytes_of_percent_signs_are_prepared_in_many_steps() {
    for splitter in [Splitter::Corpus, Splitter::Bert] {
        let length = 2 << 20;
        let sources = vec![text(&"%".repeat(length))];
        let mut preparation = Preparation::new(split_by(splitter), sources, Aggregation::First, WIDE);
        let mut steps = 1;
        while !preparation.step() {
            steps += 1;
        }
        assert!(steps >= length / (4 * STEP_BYTES), "{steps}");
        assert_eq!(
            preparation.finish().0[0].as_ref().unwrap().words.spans.len(),
            length
        );
    }
}

#[test]
fn tokens_as_words_are_within_the_limit_of_words() {
    let limits = TextLimits {
        max_words: 3,
        ..LIMITS
    };
    for (splitter, aggregation) in [Splitter::Corpus, Splitter::Whitespace, Splitter::Bert]
        .into_iter()
        .flat_map(|splitter| {
            [Aggregation::Simple, Aggregation::None].map(|aggregation| (splitter, aggregation))
        })
    {
        let model = || TextModel {
            splitter,
            ..text_model(16)
        };
        let outcome = |source| prepared(model(), source, aggregation, limits).1;
        // Two words of two tokens each.
        for source in [
            text("paulwalk paulwalk"),
            TagInput::Words(vec!["paulwalk".to_owned(); 2]),
        ] {
            assert!(
                matches!(outcome(source), Err(PrepareError::TooManyWords { limit: 3 })),
                "{splitter:?}"
            );
        }
        assert!(outcome(text("paulwalk in")).is_ok());
    }
}

proptest! {
    #[test]
    fn a_text_prepared_in_steps_is_that_of_one_step(
        parts in prop::collection::vec("[a-zA-Z0-9@#:;()'’./&%\\-\u{200d}\u{301}👩👍🏽🇬漢é]{0,12}[ \r\n\u{a0}\u{3000}]?", 1..12),
    ) {
        let long = parts.concat().repeat(1 + 5 * STEP_BYTES / 2 / parts.concat().len().max(1));
        let model = split_by(Splitter::Corpus);
        let mut preparation = Preparation::new(Arc::clone(&model), vec![text(&long)], Aggregation::First, WIDE);
        while !preparation.step() {}
        let prepared = preparation.finish().0.remove(0).unwrap();
        let words: Vec<&str> = split_corpus(&long).iter().map(|span| span.slice(&long).unwrap()).collect();
        prop_assert_eq!(slices(&prepared.words), words.clone());
        prop_assert_eq!(prepared.subwords, model.tokenizer.encode_words(&words).unwrap());
    }
}
