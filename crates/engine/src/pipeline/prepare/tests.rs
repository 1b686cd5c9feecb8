use super::*;
use crate::pipeline::tagged::Words;
use crate::testing::text_model;
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

proptest! {
    #[test]
    fn a_text_cut_at_white_space_has_the_same_words(
        parts in prop::collection::vec("[a-zA-Z0-9@#:;()'’./&\\-\u{200d}\u{301}👩👍🏽🇬漢é]{0,12}[ \r\n\u{a0}\u{3000}]?", 0..12),
        at in 0usize..200,
    ) {
        let text = parts.concat();
        let at = text.ceil_char_boundary(at.min(text.len()));
        let cut = text[at..].find(char::is_whitespace).map_or(text.len(), |found| at + found);
        for split in [split_corpus, split_whitespace] {
            let whole: Vec<&str> = split(&text).iter().map(|span| span.slice(&text).unwrap()).collect();
            let halves: Vec<&str> = [&text[..cut], &text[cut..]]
                .into_iter()
                .flat_map(|half| split(half).into_iter().map(move |span| span.slice(half).unwrap()))
                .collect();
            prop_assert_eq!(whole, halves);
        }
    }
}
