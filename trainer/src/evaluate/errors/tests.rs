use super::*;
use nerve_tagging::EntityType;
use proptest::prelude::*;

fn entity((start, end, entity_type): (usize, usize, usize)) -> Entity {
    Entity {
        words: WordSpan::new(start, end).unwrap(),
        entity_type: EntityType(entity_type),
    }
}

fn entities(spans: &[(usize, usize, usize)]) -> Vec<Entity> {
    spans.iter().copied().map(entity).collect()
}

fn analysis(gold: &[(usize, usize, usize)], predicted: &[(usize, usize, usize)]) -> ErrorAnalysis {
    let labels = LabelSet::iob2(["a", "b"]).unwrap();
    let words: Vec<String> = (0..30).map(|word| format!("w{word}")).collect();
    let (gold, predicted) = (entities(gold), entities(predicted));
    analyze_errors(&labels, [(&words[..], &gold[..], &predicted[..])])
}

fn kinds(gold: &[(usize, usize, usize)], predicted: &[(usize, usize, usize)]) -> Vec<ErrorKind> {
    let errors = analysis(gold, predicted).errors;
    let mut kinds: Vec<ErrorKind> = errors.iter().map(|error| error.kind).collect();
    kinds.sort_unstable();
    kinds
}

#[test]
fn each_kind_of_error_is_told_from_the_others() {
    use ErrorKind::*;
    let gold = [(2, 4, 0)];
    assert_eq!(kinds(&gold, &gold), []);
    assert_eq!(kinds(&gold, &[]), [Missed]);
    assert_eq!(kinds(&[], &gold), [Invented]);
    assert_eq!(kinds(&gold, &[(2, 5, 0)]), [WrongBoundary]);
    assert_eq!(kinds(&gold, &[(3, 4, 0)]), [WrongBoundary]);
    assert_eq!(kinds(&gold, &[(2, 4, 1)]), [WrongType]);
    assert_eq!(kinds(&gold, &[(3, 6, 1)]), [WrongType]);
    // Adjacent entities share no word.
    assert_eq!(kinds(&gold, &[(4, 5, 0)]), [Missed, Invented]);
}

#[test]
fn an_entity_in_two_pieces_is_one_wrong_boundary_and_one_invention() {
    let found = analysis(&[(0, 5, 0)], &[(0, 2, 0), (2, 5, 0)]);
    assert_eq!(found.errors.len(), 2);
    assert_eq!(found.errors[0].kind, ErrorKind::Invented);
    // The longer piece is paired with the entity.
    let boundary = &found.errors[1];
    assert_eq!(boundary.kind, ErrorKind::WrongBoundary);
    assert_eq!(boundary.predicted.as_ref().map(|shown| shown.start), Some(2));
    // The same holds for two gold entities that are predicted as one.
    let found = analysis(&[(0, 2, 0), (2, 5, 0)], &[(0, 5, 0)]);
    assert_eq!(found.by_type["a"].missed, 1);
    assert_eq!(found.by_type["a"].wrong_boundary, 1);
}

#[test]
fn nested_and_overlapping_entities_take_what_fits_them_best() {
    use ErrorKind::*;
    // The outer entity is predicted exactly, whatever the order of the gold entities; the inner one is missed.
    assert_eq!(kinds(&[(1, 2, 0), (0, 3, 0)], &[(0, 3, 0)]), [Missed]);
    assert_eq!(kinds(&[(0, 3, 0), (1, 2, 1)], &[(0, 3, 0), (1, 2, 1)]), []);
    // Equal boundaries rank before equal types: the inner entity is paired although its type differs, so the outer
    // one is missed.
    assert_eq!(kinds(&[(0, 3, 0), (1, 2, 1)], &[(1, 2, 0)]), [Missed, WrongType]);
    // Equal types rank before a larger overlap.
    assert_eq!(
        kinds(&[(0, 4, 0)], &[(0, 3, 1), (3, 6, 0)]),
        [Invented, WrongBoundary]
    );
    // In a chain of overlaps, every entity is paired.
    let found = analysis(&[(0, 4, 0), (4, 8, 0)], &[(2, 6, 0), (6, 9, 0)]);
    assert_eq!(found.by_type["a"].wrong_boundary, 2);
    // Of two gold entities with the same words and type, one is paired with the only prediction.
    assert_eq!(kinds(&[(0, 2, 0), (0, 2, 0)], &[(0, 2, 0)]), [Missed]);
}

#[test]
fn the_confusion_matrix_has_a_row_for_inventions_and_a_column_for_misses() {
    let gold = [(0, 1, 0), (2, 3, 0), (4, 5, 1), (6, 8, 1)];
    let predicted = [(0, 1, 0), (4, 5, 0), (6, 7, 1), (9, 10, 1)];
    let found = analysis(&gold, &predicted);
    assert_eq!(found.types, ["a", "b"]);
    assert_eq!(found.confusion, [[1, 0, 1], [1, 1, 0], [0, 1, 0]]);
    let a = TypeErrors {
        correct: 1,
        missed: 1,
        mistaken: 1,
        ..TypeErrors::default()
    };
    let b = TypeErrors {
        invented: 1,
        wrong_boundary: 1,
        mistyped: 1,
        ..TypeErrors::default()
    };
    assert_eq!((found.by_type["a"], found.by_type["b"]), (a, b));
}

#[test]
fn an_error_shows_the_words_around_it() {
    let found = analysis(&[(15, 17, 0)], &[(16, 18, 0)]);
    let error = &found.errors[0];
    assert_eq!(error.words.first().map(String::as_str), Some("w7"));
    assert_eq!(error.words.last().map(String::as_str), Some("w25"));
    assert!(error.cut_before && error.cut_after);
    let (gold, predicted) = (error.gold.as_ref().unwrap(), error.predicted.as_ref().unwrap());
    assert_eq!(error.words[gold.start..gold.end], ["w15", "w16"]);
    assert_eq!(error.words[predicted.start..predicted.end], ["w16", "w17"]);
    let edge = &analysis(&[(0, 1, 0)], &[]).errors[0];
    assert!(!edge.cut_before && edge.cut_after && edge.words[0] == "w0");
}

proptest! {
    #[test]
    fn everything_is_counted_exactly_once(
        gold in prop::collection::vec((0usize..12, 1usize..5, 0usize..2), 0..8),
        predicted in prop::collection::vec((0usize..12, 1usize..5, 0usize..2), 0..8),
    ) {
        let spans = |raw: &[(usize, usize, usize)]| -> Vec<(usize, usize, usize)> {
            raw.iter().map(|&(start, length, of)| (start, start + length, of)).collect()
        };
        let (gold, predicted) = (spans(&gold), spans(&predicted));
        let pairs = pair_entities(&entities(&gold), &entities(&predicted));
        let mut seen: Vec<usize> = pairs.iter().filter_map(|pair| pair.gold).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..gold.len()).collect::<Vec<_>>());
        let mut seen: Vec<usize> = pairs.iter().filter_map(|pair| pair.predicted).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..predicted.len()).collect::<Vec<_>>());

        let found = analysis(&gold, &predicted);
        for (of, name) in ["a", "b"].into_iter().enumerate() {
            let counts = found.by_type.get(name).copied().unwrap_or_default();
            let TypeErrors { correct, missed, invented, wrong_boundary, mistyped, mistaken } = counts;
            let of_type = |spans: &[(usize, usize, usize)]| spans.iter().filter(|span| span.2 == of).count();
            prop_assert_eq!(correct + missed + wrong_boundary + mistyped, of_type(&gold));
            prop_assert_eq!(correct + invented + wrong_boundary + mistaken, of_type(&predicted));
        }
        let cells: usize = found.confusion.iter().flatten().sum();
        prop_assert_eq!(cells, pairs.len());
        // Every possible pair is made: an unpaired gold entity and an unpaired prediction share no word.
        let alone = |pick: fn(&Pair) -> (Option<usize>, Option<usize>)| -> Vec<usize> {
            pairs.iter().filter_map(|pair| match pick(pair) { (Some(at), None) => Some(at), _ => None }).collect()
        };
        for g in alone(|pair| (pair.gold, pair.predicted)) {
            for p in alone(|pair| (pair.predicted, pair.gold)) {
                prop_assert_eq!(common_words(entity(gold[g]).words, entity(predicted[p]).words), 0);
            }
        }
    }
}
