use super::*;
use crate::train::optimizer::UpdateRule;
use crate::train::schedule::Decay;

fn options(text: &str) -> TrainOptions {
    toml::from_str(&format!("data = \"d\"\nbase = \"b\"\nout = \"o\"\n{text}")).unwrap()
}

fn error(text: &str) -> String {
    TrainConfig::new(options(text)).unwrap_err().to_string()
}

#[test]
fn defaults_are_the_reference_settings_and_validate() {
    let config = TrainConfig::new(options("")).unwrap();
    let schedule = config.optimization.schedule;
    assert_eq!(
        (config.epochs, config.batch_size, config.max_length),
        (5, 16, 128)
    );
    assert_eq!((config.optimization.learning_rate, schedule.warmup), (None, 0.1));
    assert_eq!(
        (schedule.decay, config.optimization.rule),
        (Decay::Linear, UpdateRule::AdamW)
    );
    assert_eq!(config.optimization.clip, Some(1.0));
}

/// Every `[default: ...]` in the help that is a value of the option is the value of the resolved configuration.
#[test]
fn help_states_the_defaults() {
    let texts = [
        "init = \"scratch\"",
        "optimizer = \"sgd\"\nlearning_rate = 0.1\nschedule = \"step\"\nloss = \"focal\"\nevaluate_test = true",
        "schedule = \"plateau\"\nswa = 0.5",
        "schedule = \"plateau\"\nteacher = [\"t\"]",
    ];
    let resolved = texts.map(|text| {
        let config = TrainConfig::new(options(text)).unwrap();
        toml::Table::try_from(config.options()).unwrap()
    });
    let command = <TrainOptions as clap::Args>::augment_args(clap::Command::new("train"));
    let mut stated = 0;
    for argument in command.get_arguments() {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let Some((_, default)) = help.split_once("[default: ") else {
            continue;
        };
        let default = default.split(']').next().unwrap();
        let key = argument.get_id().as_str();
        let mut values = resolved.iter().filter_map(|table| table.get(key));
        let is_default = |value: &toml::Value| match value {
            toml::Value::Float(value) => default.parse() == Ok(*value),
            toml::Value::String(value) => value == default,
            value => value.to_string() == default,
        };
        let in_words = [
            "all",
            "never",
            "all 1",
            "4 * hidden-size",
            "learning-rate",
            "an epoch's",
        ];
        let is_in_words =
            in_words.contains(&default) || default.starts_with("the ") || default.starts_with("as ");
        assert!(is_in_words || values.any(is_default), "{key}: {default}");
        stated += usize::from(!is_in_words);
    }
    assert!(stated > 25, "{stated}");
}

#[test]
fn only_what_determines_the_weights_is_fixed() {
    let run = options("epochs = 3\nthreads = 1\nreports = false\npatience = 2");
    let more = options("epochs = 9\nthreads = 2\nevaluate_test = true\ndevice = \"cuda:1\"");
    assert!(run.fixed().differences(&more.fixed()).is_empty());
    assert_eq!(run.first_difference(&more).unwrap().option, "epochs");
    let other = options("batch_size = 4\nschedule = \"cosine\"");
    let differences = run.fixed().differences(&other.fixed());
    let lines: Vec<String> = differences.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "`batch_size` not set, not 4",
            "`schedule` not set, not \"cosine\""
        ]
    );
}

#[test]
fn the_options_that_moved_to_the_study_are_accepted_as_false() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        TrainOptions::read(&path)
    };
    let found = read("\u{feff}epochs = 3\ntrain_on_padding = false\npadded_metric = false\n").unwrap();
    assert_eq!(found.epochs, Some(3));
    for text in [
        "epochs = 3\ntrain_on_padding = true",
        "padded_metric = false\nepoch = 3",
    ] {
        assert!(matches!(read(text), Err(OptionError::Parse { .. })), "{text}");
    }
}

#[test]
fn what_is_written_reads_as_the_same_configuration() {
    for text in [
        "",
        "init = \"scratch\"\nlayers = 3\ndropout = 0.2\nseed = 7",
        "optimizer = \"sgd\"\nlearning_rate = 0.1\nmomentum = 0.9\nnesterov = true\nschedule = \"step\"\nstep_epochs = 2\nclip = 0.0",
        "schedule = \"plateau\"\ngamma = 0.5\nplateau_patience = 3\nfreeze = [\"embeddings\", \"layer\\\\.0\\\\.\"]",
        "loss = \"focal\"\nfocal_gamma = 3.0\nclass_weights = \"O=0.5\"\nlayer_decay = 0.9\nlayers = 4",
        "init = \"scratch\"\nevaluate_test = true\ntest_checkpoint = \"last\"\nfreeze_layers = 1\nfreeze_embeddings = true\nattention_dropout = 0.3",
        "teacher = [\"t\", \"./u\"]\nunlabelled = [\"f\"]\nunlabelled_sentences = 9\ndistill_weight = 1.0",
        "word_dropout = 0.1\nmention_replacement = 1.0\ncase_noise = 0.2\nhashtag_noise = 0.3\nsymbol_noise = 0.4",
        "label_smoothing = 0.1\nlabel_subwords = \"all\"\naccumulate = 4\nhead_learning_rate = 1e-3\npatience = 2",
        "r_drop = 0.5\nadversarial = 1.0\nema = 0.999\nselect_by = \"person\"\nmax_time = \"90m\"",
        "swa = 0.25\nselect_by = \"macro\"",
    ] {
        let config = TrainConfig::new(options(text)).unwrap();
        let written = toml::to_string(config.options()).unwrap();
        let again: TrainOptions = toml::from_str(&written).unwrap();
        assert_eq!(TrainConfig::new(again).unwrap(), config);
    }
}

#[test]
fn unusable_options_are_named() {
    assert!(error("epochs = 0").contains("`epochs` is 0"));
    assert!(error("learning_rate = -1.0").contains("`learning_rate`"));
    assert!(error("dropout = 1.0").contains("`dropout`"));
    assert!(error("attention_dropout = -0.1").contains("`attention_dropout`"));
    assert!(error("optimizer = \"sgd\"").contains("`learning_rate` must be given where `optimizer` is sgd"));
    assert!(error("clip = -1.0").contains("`clip`"));
    assert!(error("layer_decay = 0.0").contains("`layer_decay`"));
    assert!(error("freeze = [\"(\"]").contains("`freeze`"));
    assert!(error("r_drop = 0.0").contains("`r_drop`"));
    assert!(error("adversarial = -1.0").contains("`adversarial`"));
    assert!(error("ema = 1.0").contains("`ema`"));
    assert!(error("swa = 1.5").contains("`swa`"));
    assert!(error("swa = 0.5\nswa_every = 0").contains("`swa_every`"));
    assert!(error("ema = 0.9\nswa = 0.5").contains("`ema` and `swa` cannot be given together"));
    assert!(toml::from_str::<TrainOptions>("max_time = \"90\"").is_err());
    assert!(error("teacher = [\"\"]").contains("`teacher`: the name of the model is empty"));
    for temperature in ["0.0", "1e30"] {
        let text = format!("teacher = [\"t\"]\ndistill_temperature = {temperature}");
        assert!(error(&text).contains("`distill_temperature`"), "{temperature}");
    }
    assert!(error("teacher = [\"t\"]\ndistill_weight = 0.0").contains("`distill_weight`"));
    for option in [
        "word_dropout",
        "mention_replacement",
        "case_noise",
        "hashtag_noise",
        "symbol_noise",
    ] {
        assert!(error(&format!("{option} = 1.1")).contains(&format!("`{option}` is 1.1")));
    }
    assert!(toml::from_str::<TrainOptions>("epoch = 1").is_err());
    assert!(toml::from_str::<TrainOptions>("class_weights = \"O\"").is_err());
    let none = TrainConfig::new(TrainOptions::default()).unwrap_err();
    assert!(matches!(none, OptionError::Missing("base")));
    assert!(error("dev_fraction = 1.0").contains("`dev_fraction` is 1; it must be between 0 and 1"));
    assert!(error("train = []").contains("`train` names no file"));
    assert!(error("map_labels = \"/nowhere/map.toml\"").contains("/nowhere/map.toml"));
    let without_data = TrainConfig::new(TrainOptions {
        data: None,
        ..options("dev = [\"d\"]")
    });
    assert!(matches!(without_data, Err(OptionError::Missing("data"))));
}

#[test]
fn a_label_map_that_is_no_table_of_types_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("map.toml");
    for (text, problem) in [
        ("a = 1", "invalid type"),
        ("a = \"x\"\na = \"y\"", "duplicate key"),
        ("a = \"O\"", "drops a type"),
    ] {
        std::fs::write(&path, text).unwrap();
        let found = error(&format!("map_labels = \"{}\"", path.display()));
        assert!(found.contains("map.toml") && found.contains(problem), "{found}");
    }
}

#[test]
fn an_option_without_effect_is_an_error() {
    for (text, option) in [
        ("heads = 3", "heads"),
        ("momentum = 0.9", "momentum"),
        (
            "optimizer = \"sgd\"\nlearning_rate = 0.1\nnesterov = true",
            "nesterov",
        ),
        ("gamma = 0.5", "gamma"),
        ("schedule = \"plateau\"\nstep_epochs = 2", "step_epochs"),
        ("schedule = \"step\"\nplateau_patience = 2", "plateau_patience"),
        ("loss = \"l1\"\nlabel_smoothing = 0.1", "label_smoothing"),
        ("focal_gamma = 2.0", "focal_gamma"),
        ("init = \"scratch\"\nvocab = \"v\"", "base"),
        ("test_checkpoint = \"last\"", "test_checkpoint"),
        ("ema = 0.9\nswa_every = 2", "swa_every"),
        ("soup = \"greedy\"", "soup"),
        ("distill_temperature = 2.0", "distill_temperature"),
        ("distill_weight = 0.5", "distill_weight"),
        ("unlabeled = [\"f\"]", "unlabelled"),
        ("unlabelled_sentences = 5", "unlabelled_sentences"),
        (
            "teacher = [\"t\"]\nunlabelled_sentences = 5",
            "unlabelled_sentences",
        ),
        ("dev = [\"d\"]\ndev_seed = 1", "dev_seed"),
        ("folds = 3\nfold = 1\ndev_fraction = 0.2", "dev_fraction"),
    ] {
        assert!(
            error(text).contains(&format!("`{option}` has no effect")),
            "{text}"
        );
    }
}

#[test]
fn the_command_line_overrides_the_file() {
    let file = options("epochs = 3\nseed = 1");
    let line = TrainOptions {
        epochs: Some(9),
        ..TrainOptions::default()
    };
    let both = TrainConfig::new(line.over(file)).unwrap();
    assert_eq!((both.epochs, both.seed), (9, 1));
}

#[test]
fn a_seed_or_seeds_on_the_command_line_stand_for_either_in_the_file() {
    let one = || TrainOptions {
        seed: Some(7),
        ..TrainOptions::default()
    };
    let several = || TrainOptions {
        seeds: Some(vec![8, 9]),
        ..TrainOptions::default()
    };
    let seeds = |options: TrainOptions| (options.seed, options.seeds);
    assert_eq!(seeds(one().over(several())), (Some(7), None));
    assert_eq!(seeds(several().over(one())), (None, Some(vec![8, 9])));
    assert_eq!(
        seeds(TrainOptions::default().over(several())),
        (None, Some(vec![8, 9]))
    );
    let both = seed_configs(&options("seed = 1\nseeds = [2]"));
    assert!(matches!(both, Err(OptionError::SeedAndSeeds)));
    let none = seed_configs(&options("seeds = []"));
    assert!(matches!(none, Err(OptionError::NoSeeds)));
    let single = TrainConfig::new(options("seeds = [2]"));
    assert!(matches!(single, Err(OptionError::Seeds)));
}

#[test]
fn a_fresh_model_takes_its_tokenizer_from_a_base_by_whatever_name() {
    let fresh = TrainConfig::new(options("init = \"scratch\"")).unwrap();
    let InitialModel::Scratch(scratch) = fresh.start else {
        panic!("a base");
    };
    assert_eq!(scratch.tokenizer, TokenizerSource::Base("b".to_owned()));
}

#[test]
fn huge_numbers_are_refused_by_name() {
    for (option, extra) in [
        ("threads", ""),
        ("epochs", ""),
        ("batch_size", "group_by_length = true\n"),
        ("accumulate", ""),
        ("max_length", ""),
        ("step_epochs", "schedule = \"step\"\n"),
        ("hidden_size", "init = \"scratch\"\n"),
        ("layers", ""),
    ] {
        let found = TrainConfig::new(options(&format!("{extra}{option} = 4000000000")));
        assert!(
            matches!(found, Err(OptionError::Count { option: named, .. }) if named == option),
            "{option}"
        );
    }
}

#[test]
fn every_seed_has_a_directory_of_its_own() {
    let configs = seed_configs(&options("seeds = [1, 3]")).unwrap();
    let found: Vec<(u64, PathBuf)> = configs.into_iter().map(|c| (c.seed, c.out)).collect();
    assert_eq!(found, [(1, "o/seed-1".into()), (3, "o/seed-3".into())]);
    let twice = seed_configs(&options("seeds = [1, 1]"));
    assert!(matches!(twice, Err(OptionError::SameSeed(1))));
    let alone = seed_configs(&options("seeds = [1]\nsoup = \"uniform\"")).unwrap_err();
    assert!(alone.to_string().contains("`soup` has no effect"), "{alone}");
}

#[test]
fn fp16_needs_a_gpu_and_the_error_says_what_to_do() {
    for precision in ["f32", "bf16", "fp16"] {
        let on_gpu = format!("precision = \"{precision}\"\ndevice = \"cuda:1\"");
        assert!(TrainConfig::new(options(&on_gpu)).is_ok(), "{precision}");
    }
    let error = TrainConfig::new(options("precision = \"fp16\"")).unwrap_err();
    assert!(matches!(error, OptionError::Precision(PrecisionError::Fp16OnCpu)));
    let text = error.to_string();
    assert!(
        text.contains("`device` cuda") && text.contains("begin a run in f32"),
        "{text}"
    );
}
