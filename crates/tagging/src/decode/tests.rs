use super::*;
use proptest::prelude::*;

#[test]
fn the_score_is_the_softmax_probability() {
    let read = best_label(&[1.0, 3.0, 2.0]).unwrap();
    assert_eq!(read.label, LabelId(1));
    assert!((read.score - 0.665_240_96).abs() < 1e-6);
}

#[test]
fn extreme_logits_do_not_overflow() {
    assert_eq!(best_label(&[f32::MIN, f32::MAX]).unwrap().score, 1.0);
    assert_eq!(best_label(&[1e30, 1e30]).unwrap().score, 0.5);
    assert_eq!(best_label(&[1e30, 1e30]).unwrap().label, LabelId(0));
    let one = Temperature::default();
    assert_eq!(probability(&[f32::MIN, f32::MAX], f32::MIN, one), 0.0);
}

#[test]
fn no_label_without_finite_logits() {
    assert_eq!(best_label(&[]), None);
    assert_eq!(best_label(&[0.0, f32::NAN]), None);
    assert_eq!(best_label(&[0.0, f32::INFINITY]), None);
}

/// O, B-a, I-a, B-b, I-b.
fn decoder() -> (LabelSet, Decoder) {
    let labels = LabelSet::iob2(["a", "b"]).unwrap();
    let decoder = Decoder::new(&labels);
    (labels, decoder)
}

fn no_symbol(_word: usize) -> bool {
    false
}

fn decoded(rows: &[[f32; 5]], has_row: &[bool], decoding: Decoding) -> Vec<usize> {
    let words = decoder()
        .1
        .decode(rows.as_flattened(), has_row.iter().copied(), no_symbol, decoding);
    words.unwrap().iter().map(|word| word.label.0).collect()
}

proptest! {
    #[test]
    fn steps_of_any_length_find_the_same_labels(
        rows in prop::collection::vec(prop::array::uniform5(-4.0f32..4.0), 0..40),
        words in 1usize..9,
    ) {
        let (_, decoder) = decoder();
        for decoding in [Decoding::Constrained, Decoding::Independent] {
            let all = || rows.iter().map(|_| true);
            let mut search = LabelSearch::new(rows.as_flattened(), decoding);
            let mut steps = 1;
            while !search.step(&decoder, words) {
                steps += 1;
            }
            // Choosing, extending and following back.
            prop_assert!(steps <= 3 * (rows.len() / words + 1));
            let whole = decoder.decode(rows.as_flattened(), all(), no_symbol, decoding);
            prop_assert_eq!(decoder.finish(search, all(), no_symbol), whole);
        }
    }
}

#[test]
fn an_orphan_takes_the_best_label_that_may_stand_there() {
    let inside_a = [1.0, 0.0, 5.0, 0.0, 0.0];
    let begin_b = [0.0, 0.0, 0.0, 9.0, 0.0];
    let rows = [inside_a, begin_b, inside_a];
    let all = [true; 3];
    assert_eq!(decoded(&rows, &all, Decoding::Independent), [2, 3, 2]);
    assert_eq!(decoded(&rows, &all, Decoding::Constrained), [0, 3, 0]);
    // Two words that are clearly inside `a`: the first becomes B-a instead of both becoming O.
    assert_eq!(
        decoded(&[inside_a, inside_a], &[true; 2], Decoding::Constrained),
        [1, 2]
    );
}

#[test]
fn a_word_without_a_row_lies_inside_the_entity_around_it() {
    let (begin, inside) = ([0.0, 5.0, 0.0, 0.0, 0.0], [1.0, 0.0, 5.0, 0.0, 0.0]);
    let outside = [5.0, 0.0, 0.0, 0.0, 0.0];
    for decoding in [Decoding::Constrained, Decoding::Independent] {
        let rows = [begin, inside, outside];
        let has_row = [false, true, false, false, true, false, true, false];
        assert_eq!(decoded(&rows, &has_row, decoding), [0, 1, 2, 2, 2, 0, 0, 0]);
        // Two entities side by side, and an entity before `O`, have nothing between them.
        assert_eq!(
            decoded(
                &[begin, begin, outside],
                &[true, false, true, false, true],
                decoding
            ),
            [1, 0, 1, 0, 0]
        );
        assert_eq!(decoded(&[], &[false, false], decoding), [0, 0]);
    }
    assert!(decoded(&[], &[], Decoding::Constrained).is_empty());
}

#[test]
fn a_word_without_a_row_changes_no_score() {
    let decoder = decoder().1;
    let (begin, inside) = (vec![0.0, 3.0, 0.0, 0.0, 0.0], vec![1.0, 0.0, 2.0, 0.0, 0.0]);
    let decode = |rows: &[_]| {
        decoder
            .decode_words(&vec!["a"; rows.len()], rows, Decoding::Constrained)
            .unwrap()
    };
    let words = decode(&[Some(begin.clone()), None, Some(inside.clone()), None]);
    let without = decode(&[Some(begin), Some(inside)]);
    assert_eq!([words[0], words[2]], without[..]);
    let mean = (without[0].score + without[1].score) / 2.0;
    assert!((words[1].score - mean).abs() < 1e-6);
    assert_eq!((words[3].label, words[3].score), (LabelId(0), 1.0));
}

#[test]
fn a_word_without_a_row_has_the_inner_label_of_each_scheme() {
    let gap_label = |names: &[&str], before: &str, after: &str| {
        let labels = LabelSet::learn(names.iter().copied()).unwrap();
        let row = |name: &str| {
            let chosen = labels.parse(name).unwrap().0;
            Some(
                (0..labels.len())
                    .map(|at| if at == chosen { 9.0 } else { 0.0 })
                    .collect(),
            )
        };
        let rows = [row(before), None, row(after)];
        let words = Decoder::new(&labels)
            .decode_words(&["a"; 3][..rows.len()], &rows, Decoding::Constrained)
            .unwrap();
        labels.name(words[1].label).unwrap().to_owned()
    };
    let iobes = ["O", "B-a", "I-a", "E-a", "S-a"];
    assert_eq!(gap_label(&iobes, "B-a", "E-a"), "I-a");
    assert_eq!(gap_label(&iobes, "S-a", "S-a"), "O");
    assert_eq!(gap_label(&["O", "B-a", "M-a", "E-a", "S-a"], "B-a", "E-a"), "M-a");
    assert_eq!(gap_label(&["O", "I-a", "B-a", "I-b"], "I-a", "I-a"), "I-a");
    assert_eq!(gap_label(&["O", "I-a", "I-b"], "I-a", "I-b"), "O");
    assert_eq!(gap_label(&["O", "a"], "a", "a"), "a");
    // No label stands for an inner word.
    assert_eq!(gap_label(&["O", "B-a", "E-a"], "B-a", "E-a"), "O");
}

#[test]
fn rows_that_are_not_the_words_have_no_labels() {
    let decoder = decoder().1;
    let row = [0.0; 5];
    for (rows, words) in [(&row[..], 2), (&row[..], 0), (&row[..4], 1)] {
        let has_row = std::iter::repeat_n(true, words);
        assert_eq!(
            decoder.decode(rows, has_row, no_symbol, Decoding::Constrained),
            None
        );
    }
    let short = [Some(vec![0.0; 4]), Some(vec![0.0; 6])];
    assert_eq!(
        decoder.decode_words(&["a"; 2], &short, Decoding::Constrained),
        None
    );
    let whole = [Some(vec![0.0; 5]), None];
    assert_eq!(
        decoder
            .decode_words(&["a"; 2], &whole, Decoding::Constrained)
            .unwrap()
            .len(),
        2
    );
}

/// The highest sum of logits of a valid sequence.
fn best_by_brute_force(labels: &LabelSet, rows: &[[f32; 5]], previous: Option<LabelId>) -> f64 {
    let Some((row, later)) = rows.split_first() else {
        return 0.0;
    };
    let choices = (0..labels.len()).map(LabelId);
    choices
        .filter(|&next| labels.may_follow(previous, next))
        .map(|next| f64::from(row[next.0]) + best_by_brute_force(labels, later, Some(next)))
        .fold(f64::NEG_INFINITY, f64::max)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn it_finds_what_trying_every_sequence_finds(
        words in prop::collection::vec((prop::array::uniform5(-4i8..=4), prop::bool::weighted(0.85)), 0..6)
    ) {
        let (labels, decoder) = decoder();
        let has_row: Vec<bool> = words.iter().map(|(_, present)| *present).collect();
        let present = words.iter().filter(|(_, present)| *present);
        let rows: Vec<[f32; 5]> = present.map(|(row, _)| row.map(f32::from)).collect();
        let found = decoder
            .decode(rows.as_flattened(), has_row.iter().copied(), no_symbol, Decoding::Constrained)
            .unwrap();
        let mut score = 0.0;
        let mut previous = None;
        let mut row = rows.iter();
        for (word, &present) in found.iter().zip(&has_row) {
            prop_assert!(labels.may_follow(previous, word.label));
            previous = Some(word.label);
            if present {
                let row = row.next().unwrap();
                score += f64::from(row[word.label.0]);
                prop_assert_eq!(word.score, probability(row, row[word.label.0], Temperature::default()));
            }
        }
        // The logits are whole numbers, so the sums are exact.
        prop_assert_eq!(score, best_by_brute_force(&labels, &rows, None));
        // The entities are those of the words with a row.
        let tags = |words: Vec<WordLabel>| words.into_iter().map(|word| labels.tag(word.label).unwrap());
        let alone = decoder.decode(rows.as_flattened(), rows.iter().map(|_| true), no_symbol, Decoding::Constrained).unwrap();
        let numbers: Vec<usize> = (0..has_row.len()).filter(|&word| has_row[word]).collect();
        let expected: Vec<(usize, usize)> = entities(tags(alone), OrphanRule::Drop)
            .iter()
            .map(|entity| (numbers[entity.words.start()], numbers[entity.words.end() - 1] + 1))
            .collect();
        let found: Vec<(usize, usize)> = entities(tags(found), OrphanRule::Drop)
            .iter()
            .map(|entity| (entity.words.start(), entity.words.end()))
            .collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn a_temperature_changes_scores_and_never_a_label(
        words in prop::collection::vec((prop::array::uniform5(-30f32..30.0), prop::bool::weighted(0.85)), 0..8),
        temperature in prop::num::f64::POSITIVE | prop::num::f64::SUBNORMAL,
        constrained in any::<bool>(),
    ) {
        let decoder = decoder().1;
        let temperature = Temperature::new(temperature.abs()).unwrap();
        let decoding = if constrained { Decoding::Constrained } else { Decoding::Independent };
        let rows: Vec<Option<Vec<f32>>> =
            words.iter().map(|(row, present)| present.then(|| row.to_vec())).collect();
        let plain = decoder.decode_words(&vec!["a"; rows.len()], &rows, decoding).unwrap();
        let calibrated = decoder.clone().with_temperature(temperature).decode_words(&vec!["a"; rows.len()], &rows, decoding).unwrap();
        let unchanged = decoder.with_temperature(Temperature::default()).decode_words(&vec!["a"; rows.len()], &rows, decoding).unwrap();
        prop_assert_eq!(&plain, &unchanged);
        for ((plain, calibrated), row) in plain.iter().zip(&calibrated).zip(&rows) {
            prop_assert_eq!(plain.label, calibrated.label);
            prop_assert!((0.0..=1.0).contains(&calibrated.score), "{}", calibrated.score);
            if row.is_none() && plain.label == LabelId(0) {
                prop_assert_eq!(calibrated.score, 1.0);
            }
        }
    }
}

#[test]
fn a_temperature_divides_the_logits() {
    let (_, decoder) = decoder();
    let rows = [Some(vec![2.0, 6.0, -2.0, 0.0, 1.0])];
    let halves = [Some(vec![1.0, 3.0, -1.0, 0.0, 0.5])];
    let two = decoder.clone().with_temperature(Temperature::new(2.0).unwrap());
    let calibrated = two.decode_words(&["a"; 3][..rows.len()], &rows, Decoding::Constrained);
    assert_eq!(
        calibrated,
        decoder.decode_words(&["a"], &halves, Decoding::Constrained)
    );
}

#[test]
fn an_entity_of_symbols_alone_is_none() {
    let decoder = decoder().1;
    let (begin, inside) = (vec![1.0, 5.0, 0.0, 0.0, 0.0], vec![1.0, 0.0, 5.0, 0.0, 0.0]);
    let labels = |words: &[&str], rows: &[&Vec<f32>], decoding| {
        let rows: Vec<_> = rows.iter().map(|&row| Some(row.clone())).collect();
        let found = decoder.decode_words(words, &rows, decoding).unwrap();
        found.iter().map(|word| word.label.0).collect::<Vec<_>>()
    };
    let constrained = |words: &[&str], rows: &[&Vec<f32>]| labels(words, rows, Decoding::Constrained);
    assert_eq!(constrained(&["😀", "Ann"], &[&begin, &begin]), [0, 1]);
    assert_eq!(
        constrained(&["-", "-", "Ann"], &[&begin, &inside, &begin]),
        [0, 0, 1]
    );
    // A symbol in a name, at its beginning or at its end belongs to it.
    assert_eq!(
        constrained(&["AT", "&", "T"], &[&begin, &inside, &inside]),
        [1, 2, 2]
    );
    assert_eq!(
        constrained(&["@", "ann", "!"], &[&begin, &inside, &inside]),
        [1, 2, 2]
    );
    let independent = labels(&["😀", "Ann"], &[&begin, &begin], Decoding::Independent);
    assert_eq!(independent, [1, 1]);
    let words = decoder
        .decode_words(&["😀"], &[Some(begin.clone())], Decoding::Constrained)
        .unwrap();
    assert_eq!(
        words[0].score,
        probability(&begin, begin[0], Temperature::default())
    );
    assert_eq!(decoder.decode_words(&["😀"], &[], Decoding::Constrained), None);
}

#[test]
fn words_without_a_row_do_not_make_a_name_of_symbols() {
    let decoder = decoder().1;
    let (begin, inside) = (vec![0.0, 5.0, 0.0, 0.0, 0.0], vec![1.0, 0.0, 5.0, 0.0, 0.0]);
    let rows = [None, Some(begin), None, Some(inside)];
    let words = ["\u{200b}", "~", "\u{200b}", "~"];
    let found = decoder
        .decode_words(&words, &rows, Decoding::Constrained)
        .unwrap();
    assert!(found.iter().all(|word| word.label == LabelId(0)));
}

/// The sequence of labels with the highest sum of logits and transition scores among all that the scheme permits.
fn by_enumeration(labels: &LabelSet, rows: &[[f32; 5]], transitions: &[f32]) -> Vec<usize> {
    let of = |previous: usize, next: usize| f64::from(transitions[previous * 6 + next]);
    let mut best = (f64::NEG_INFINITY, Vec::new());
    for code in 0..5usize.pow(rows.len() as u32) {
        let found: Vec<usize> = (0..rows.len())
            .map(|at| code / 5usize.pow(at as u32) % 5)
            .collect();
        let before = |at: usize| at.checked_sub(1).map(|at| LabelId(found[at]));
        if !(0..rows.len()).all(|at| labels.may_follow(before(at), LabelId(found[at]))) {
            continue;
        }
        let logits: f64 = rows
            .iter()
            .zip(&found)
            .map(|(row, &label)| f64::from(row[label]))
            .sum();
        let inner: f64 = found.windows(2).map(|pair| of(pair[0], pair[1])).sum();
        let score = logits + inner + of(5, found[0]) + of(found[found.len() - 1], 5);
        if score > best.0 {
            best = (score, found);
        }
    }
    best.1
}

proptest! {
    #[test]
    fn transition_scores_are_added_along_the_sequence(
        rows in prop::collection::vec(prop::array::uniform5(-2.0f32..2.0), 1..5),
        transitions in prop::collection::vec(-2.0f32..2.0, 36),
        words in 1usize..4,
    ) {
        let (labels, decoder) = decoder();
        let scores = TransitionScores::new(transitions.clone(), 5).unwrap();
        let decoder = decoder.with_transitions(Some(scores)).unwrap();
        let mut search = LabelSearch::new(rows.as_flattened(), Decoding::Constrained);
        while !search.step(&decoder, words) {}
        let found = decoder.finish(search, rows.iter().map(|_| true), no_symbol).unwrap();
        let found: Vec<usize> = found.iter().map(|word| word.label.0).collect();
        prop_assert_eq!(found, by_enumeration(&labels, &rows, &transitions));
    }
}

#[test]
fn a_text_without_words_needs_no_transitions_and_others_must_fit() {
    let scores = |labels: usize| TransitionScores::new(vec![0.5; (labels + 1) * (labels + 1)], labels);
    let fitting = decoder().1.with_transitions(scores(5)).unwrap();
    let none = fitting.decode(&[], std::iter::empty(), no_symbol, Decoding::Constrained);
    assert_eq!(none, Some(Vec::new()));
    assert!(decoder().1.with_transitions(scores(4)).is_none());
    assert_eq!(TransitionScores::new(vec![0.0; 35], 5), None);
    assert_eq!(TransitionScores::new(vec![f32::NAN; 36], 5), None);
}
