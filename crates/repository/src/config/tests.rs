use super::*;

const MINIMAL: &str = r#"{"vocab_size": 10, "hidden_size": 8, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 16, "use_cache": true}"#;

fn read(text: &str) -> Result<ModelConfig, ConfigError> {
    ModelConfig::parse(text, Path::new("config.json"))
}

#[test]
fn defaults_are_bert_and_unknown_fields_survive() {
    let config = read(MINIMAL).unwrap();
    assert_eq!(config.layer_norm_eps, 1e-12);
    assert_eq!(config.hidden_act, Activation::Gelu);
    assert_eq!((config.family, config.max_length()), (Family::Bert, 512));
    let text = serde_json::to_string(&config).unwrap();
    assert!(text.contains(r#""use_cache":true"#));
    assert_eq!(read(&text).unwrap(), config);
}

#[test]
fn labels_are_named_by_either_map_in_any_scheme() {
    let of = |map: &str| read(&MINIMAL.replace("\"use_cache\": true", map));
    let labels = |map: &str| of(map).unwrap().labels(Path::new("config.json"));
    let names = |map: &str| labels(map).unwrap().names().to_vec();
    assert_eq!(
        names(r#""label2id": {"B-a": 1, "O": 0, "I-a": 2}"#),
        ["O", "B-a", "I-a"]
    );
    let written = of(r#""label2id": {"O": 0, "B-a": 1}"#).unwrap().to_fields();
    assert_eq!(written["id2label"], json!({"0": "O", "1": "B-a"}));
    for (scheme, map) in [
        ("Io", r#""id2label": {"0": "O", "1": "I-a"}"#),
        (
            "Iob1",
            r#""id2label": {"0": "O", "1": "I-a", "2": "B-a", "3": "I-b"}"#,
        ),
        (
            "Iobes",
            r#""id2label": {"0": "O", "1": "B-a", "2": "E-a", "3": "S-a"}"#,
        ),
        (
            "Iobes",
            r#""id2label": {"0": "O", "1": "B-a", "2": "L-a", "3": "U-a"}"#,
        ),
        ("Plain", r#""id2label": {"0": "O", "1": "PER"}"#),
    ] {
        assert_eq!(format!("{:?}", labels(map).unwrap().scheme()), scheme);
    }
    assert!(labels(r#""id2label": {"0": "LABEL_0", "1": "LABEL_1"}"#).is_err());
    let twice = of(r#""label2id": {"O": 0, "B-a": 0}"#).unwrap_err().to_string();
    assert!(twice.contains("label2id gives one id to two labels"), "{twice}");
    assert!(of(r#""x": 0"#).unwrap().id2label.is_empty());
}

#[test]
fn models_of_other_tasks_are_no_token_classifiers() {
    let labels = |fields: &str| {
        let config = read(&MINIMAL.replace("\"use_cache\": true", fields)).unwrap();
        config.classifier_labels(Path::new("config.json"))
    };
    let error = |fields: &str| labels(fields).unwrap_err().to_string();
    let map = r#""id2label": {"0": "O", "1": "B-a"}"#;
    assert!(labels(map).is_ok());
    assert!(
        labels(&format!(
            r#"{map}, "architectures": ["BertForTokenClassification"]"#
        ))
        .is_ok()
    );
    let other = error(&format!(r#"{map}, "architectures": ["BertForMaskedLM"]"#));
    assert!(
        other.contains("BertForMaskedLM, not a token classifier"),
        "{other}"
    );
    let unnamed = error(r#""architectures": ["BertForTokenClassification"]"#);
    assert!(unnamed.contains("config.json: id2label is missing"), "{unnamed}");
}

const DISTILBERT: &str = r#"{"model_type": "distilbert", "vocab_size": 10, "dim": 8, "n_layers": 1, "n_heads": 2,
    "hidden_dim": 16, "activation": "relu", "dropout": 0.2, "attention_dropout": 0.3, "seq_classif_dropout": 0.4,
    "sinusoidal_pos_embds": false}"#;

#[test]
fn distilbert_has_keys_of_its_own_and_writes_them() {
    let config = read(DISTILBERT).unwrap();
    assert_eq!((config.hidden_size, config.intermediate_size), (8, 16));
    assert_eq!(config.hidden_act, Activation::Relu);
    assert_eq!(
        (config.hidden_dropout_prob, config.attention_probs_dropout_prob),
        (0.2, 0.3)
    );
    assert_eq!((config.classifier_dropout, config.type_vocab_size), (None, 0));
    let fields = config.to_fields();
    assert_eq!(
        (&fields["dim"], &fields["seq_classif_dropout"]),
        (&json!(8), &json!(0.4))
    );
    assert!(!fields.contains_key("hidden_size") && !fields.contains_key("type_vocab_size"));
    assert_eq!(read(&serde_json::to_string(&config).unwrap()).unwrap(), config);
}

#[test]
fn roberta_positions_start_after_the_padding_tokens_id() {
    let of = |fields: &str| {
        let fields = format!(r#""model_type": "roberta", "max_position_embeddings": 130, {fields} "x": 0"#);
        read(&MINIMAL.replace("\"use_cache\": true", &fields))
    };
    let config = of("").unwrap();
    assert_eq!(
        (config.pad_token_id, config.first_position(), config.max_length()),
        (1, 2, 128)
    );
    assert_eq!(of(r#""pad_token_id": 5,"#).unwrap().max_length(), 124);
    let error = of(r#""pad_token_id": 129,"#).unwrap_err().to_string();
    assert!(error.contains("max_position_embeddings is 130"), "{error}");
}

#[test]
fn mpnet_has_32_buckets_and_positions_from_row_2() {
    let of = |fields: &str| {
        let fields = format!(r#""model_type": "mpnet", "max_position_embeddings": 130, {fields} "x": 0"#);
        read(&MINIMAL.replace("\"use_cache\": true", &fields))
    };
    for fields in [
        "",
        r#""pad_token_id": 0,"#,
        r#""relative_attention_num_buckets": 32,"#,
    ] {
        let config = of(fields).unwrap();
        assert_eq!((config.first_position(), config.max_length()), (2, 128));
        assert_eq!((config.type_vocab_size, config.classifier_dropout), (0, None));
        assert_eq!(read(&serde_json::to_string(&config).unwrap()).unwrap(), config);
    }
    let error = of(r#""relative_attention_num_buckets": 64,"#).unwrap_err();
    assert!(
        error.to_string().contains("relative_attention_num_buckets is 64"),
        "{error}"
    );
}

#[test]
fn narrow_embeddings_and_shared_layers_have_fields_of_their_own() {
    let of = |fields: &str| read(&MINIMAL.replace("\"use_cache\": true", fields));
    let electra = of(r#""model_type": "electra""#).unwrap();
    assert_eq!((electra.embedding_size, electra.classifier_dropout), (128, None));
    assert!(electra.projects_embeddings());
    assert!(
        !of(r#""model_type": "electra", "embedding_size": 8"#)
            .unwrap()
            .projects_embeddings()
    );
    let albert = of(r#""model_type": "albert", "embedding_size": 8, "inner_group_num": 2"#).unwrap();
    assert_eq!(
        (albert.hidden_dropout_prob, albert.classifier_dropout),
        (0.0, Some(0.1))
    );
    assert_eq!(albert.hidden_act, Activation::GeluTanh);
    assert!(albert.projects_embeddings());
    assert_eq!((albert.layer_count(), albert.numbered_layers()), (2, 1));
    assert_eq!(read(&serde_json::to_string(&albert).unwrap()).unwrap(), albert);
    for (fields, expected) in [
        (
            r#""model_type": "electra", "embedding_size": 0"#,
            "embedding_size is 0",
        ),
        (
            r#""model_type": "electra", "embedding_size": -4"#,
            "embedding_size: ",
        ),
        (
            r#""model_type": "electra", "is_decoder": true"#,
            "is_decoder is true",
        ),
        (
            r#""model_type": "albert", "inner_group_num": 0"#,
            "inner_group_num is 0",
        ),
        (
            r#""model_type": "albert", "inner_group_num": 1e99"#,
            "inner_group_num is 1e",
        ),
        (
            r#""model_type": "albert", "num_hidden_groups": 2"#,
            "num_hidden_groups is 2, more than the 1",
        ),
        (
            r#""model_type": "albert", "classifier_dropout_prob": 1.5"#,
            "classifier_dropout_prob is 1.5",
        ),
    ] {
        let error = of(fields).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let deep = MINIMAL.replace(
        "\"num_hidden_layers\": 1",
        "\"num_hidden_layers\": 99999999999999",
    );
    let deep = deep.replace("\"use_cache\": true", r#""model_type": "albert""#);
    let error = read(&deep).unwrap_err().to_string();
    assert!(error.contains("at most 256 are supported"), "{error}");
}

#[test]
fn what_makes_no_model_names_its_field() {
    let edited = |from: &str, to: &str| read(&MINIMAL.replace(from, to)).unwrap_err().to_string();
    assert!(
        edited("\"num_attention_heads\": 2", "\"num_attention_heads\": 3").contains("num_attention_heads")
    );
    assert!(edited("\"hidden_size\": 8", "\"hidden_size\": 0").contains("hidden_size is 0"));
    assert!(
        edited("\"num_hidden_layers\": 1", "\"num_hidden_layers\": 1000000000")
            .contains("num_hidden_layers is 1000000000, which makes 1000000000 layers; at most 256")
    );
    assert!(
        edited("\"use_cache\": true", "\"pad_token_id\": 10")
            .contains("pad_token_id is 10, which is no id of a vocabulary of 10")
    );
    assert!(edited("\"use_cache\": true", "\"layer_norm_eps\": -1.0").contains("layer_norm_eps is -1"));
    assert!(edited("\"use_cache\": true", "\"model_type\": \"t5\"").contains("t5"));
    assert!(edited("\"use_cache\": true", "\"hidden_act\": \"silu\"").contains("silu"));
    assert!(edited("\"use_cache\": true", "\"hidden_dropout_prob\": 1.0").contains("hidden_dropout_prob"));
    assert!(edited("\"vocab_size\": 10,", "").contains("vocab_size is missing"));
    let edited = |from: &str, to: &str| read(&DISTILBERT.replace(from, to)).unwrap_err().to_string();
    assert!(edited("\"n_heads\": 2", "\"n_heads\": 3").contains("n_heads is 3, which does not divide dim 8"));
    assert!(edited("\"dim\": 8,", "").contains("dim is missing"));
    assert!(edited("\"dim\": 8", "\"dim\": -8").contains("dim: "));
    assert!(edited("\"dropout\": 0.2", "\"dropout\": 1").contains(": dropout is 1"));
}
