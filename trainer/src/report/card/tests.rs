use super::*;
use crate::report::run::tests::evaluation;

fn card() -> ModelCard {
    ModelCard {
        name: "first \"run\": a".to_owned(),
        license: Some("apache-2.0".to_owned()),
        language: Some("en".to_owned()),
        base_model: Some(CardName {
            name: "google/bert_uncased-L.4".to_owned(),
            id: Some("google/bert_uncased-L.4".to_owned()),
        }),
        teachers: Vec::new(),
        dataset: CardName {
            name: "WNUT 17".to_owned(),
            id: Some("wnut_17".to_owned()),
        },
        every_subword: false,
        dev: Some(evaluation()),
        test: Some(evaluation()),
        temperature: Some(1.5),
        selection: Some("Chosen by its F1.".to_owned()),
        configuration: vec![("a|b".to_owned(), "1".to_owned())],
    }
}

#[test]
fn the_front_matter_states_what_the_hub_reads() {
    let dir = tempfile::tempdir().unwrap();
    let path = card().write(dir.path()).unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    let (front, body) = text.strip_prefix("---\n").unwrap().split_once("\n---\n").unwrap();
    for line in [
        "license: \"apache-2.0\"",
        "language: \"en\"",
        "base_model: \"google/bert_uncased-L.4\"",
        "- \"wnut_17\"",
        "- name: \"first \\\"run\\\": a\"",
        "      split: validation",
        "      split: test",
        "      value: 0.5000",
    ] {
        assert!(front.lines().any(|found| found == line), "{line}\n{front}");
    }
    assert!(body.contains("| a\\|b | 1 |") && body.contains("micro"), "{body}");
    assert!(body.contains("Chosen by its F1.\n"), "{body}");
}

#[test]
fn a_directory_is_neither_a_base_model_nor_a_dataset_of_the_hub() {
    for (base, id, known) in [
        ("bert-base-uncased", Some("bert-base-uncased".to_owned()), true),
        ("/opt/some/model", None, false),
        ("runs/first", None, false),
        ("a/b/c", Some("a/b/c".to_owned()), false),
    ] {
        let card = ModelCard {
            base_model: Some(CardName::of(base, id)),
            dataset: CardName::of("/home/me/corpora/mine", None),
            ..card()
        };
        let front = card.front_matter();
        assert_eq!(front.contains("base_model"), known, "{base}");
        assert!(
            !front.contains("datasets:") && !card.markdown().contains("/home/me"),
            "{front}"
        );
        assert!(front.contains("      name: \"corpora/mine\""), "{front}");
        let name = base.rsplit('/').next().unwrap();
        assert!(card.body().contains(name) && !card.body().contains("/opt/some"));
    }
}

#[test]
fn a_path_is_told_by_its_end() {
    for (path, end) in [("/a/b/c", "b/c"), ("./c/", "c"), ("runs/first", "runs/first")] {
        assert_eq!(last_parts(path), end);
    }
    let here = std::env::current_dir().unwrap();
    assert!(here.ends_with(last_parts(".")) && !last_parts(".").is_empty());
}

#[test]
fn the_subwords_it_labels_are_those_it_was_trained_on() {
    let every = ModelCard {
        every_subword: true,
        ..card()
    };
    assert!(card().body().contains("labels the first subword"));
    assert!(every.body().contains("labels every subword"));
}

#[test]
fn a_card_without_scores_has_no_index() {
    let card = ModelCard::default().markdown();
    assert!(!card.contains("model-index") && !card.contains("license"));
}
