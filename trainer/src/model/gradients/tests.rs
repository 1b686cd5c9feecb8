use super::*;
use crate::model::families::parameter_shapes;
use crate::model::init::initial;
use crate::model::parameters::Parameters;
use crate::ops::multiplier::Multiplier;
use crate::ops::precision::Precision;
use crate::train::loss::LossFunction;
use candle_core::Device;
use nerve_repository::{Family, ModelConfig};
use serde_json::{Value, json};

pub(crate) fn tiny_config() -> ModelConfig {
    let text = r#"{"model_type": "bert", "vocab_size": 12, "hidden_size": 8, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 9,
        "initializer_range": 0.3, "hidden_act": "gelu"}"#;
    ModelConfig::parse(text, "config.json".as_ref()).unwrap()
}

/// The configuration of the same network for another model family.
fn tiny_config_of(family: Family) -> ModelConfig {
    let bert = tiny_config();
    let (type_vocab_size, pad_token_id, embedding_size) = match family {
        Family::Bert => (2, 0, 8),
        Family::DistilBert | Family::ModernBert => (0, 0, 8),
        Family::Roberta | Family::XlmRoberta | Family::Camembert => (1, 1, 8),
        Family::Mpnet => (0, 1, 8),
        Family::Electra | Family::Albert => (2, 0, 6),
        Family::DebertaV2 => return tiny_deberta(json!({})),
    };
    let other = match family {
        // Every bias, and windows that the sequences leave.
        Family::ModernBert => json!({"attention_bias": true, "mlp_bias": true, "norm_bias": true,
            "classifier_bias": true, "embedding_dropout": 0.1, "global_attn_every_n_layers": 2, "local_attention": 2}),
        _ => json!({}),
    };
    ModelConfig {
        family,
        type_vocab_size,
        pad_token_id,
        embedding_size,
        other: other.as_object().unwrap().clone(),
        ..bert
    }
}

/// An ALBERT of 4 layers, which are applied in this number of groups of 2 inner layers each.
pub(crate) fn tiny_albert(groups: usize) -> ModelConfig {
    let fields = [("num_hidden_groups", groups), ("inner_group_num", 2)];
    ModelConfig {
        num_hidden_layers: 2,
        other: fields
            .map(|(key, value)| (key.to_owned(), value.into()))
            .into_iter()
            .collect(),
        ..tiny_config_of(Family::Albert)
    }
}

/// A DeBERTa-v3 whose sequences reach the logarithmic buckets, with these options.
fn tiny_deberta(options: Value) -> ModelConfig {
    let mut fields = tiny_config().to_fields();
    let published = json!({
        "model_type": "deberta-v2", "relative_attention": true, "position_buckets": 4, "norm_rel_ebd": "layer_norm",
        "share_att_key": true, "pos_att_type": "p2c|c2p", "position_biased_input": false, "type_vocab_size": 0,
    });
    for options in [published, options] {
        fields.extend(options.as_object().unwrap().clone());
    }
    ModelConfig::parse(&Value::Object(fields).to_string(), "config.json".as_ref()).unwrap()
}

/// Options of DeBERTa that its published models do not have.
pub(super) fn other_deberta_options() -> [ModelConfig; 4] {
    [
        json!({"share_att_key": false, "position_biased_input": true, "type_vocab_size": 2}),
        json!({"share_att_key": false, "pos_att_type": ["c2p"], "position_buckets": -1, "norm_rel_ebd": "none"}),
        json!({"pos_att_type": ["p2c"], "type_vocab_size": 1}),
        json!({"share_att_key": false, "hidden_dropout_prob": 0.0}),
    ]
    .map(tiny_deberta)
}

pub(crate) fn tiny() -> BertTagger {
    tiny_of(Family::Bert)
}

pub(super) fn tiny_of(family: Family) -> BertTagger {
    tiny_with(tiny_config_of(family))
}

pub(super) fn tiny_with(config: ModelConfig) -> BertTagger {
    let weights = initial(&config, &parameter_shapes(&config, 3), 11);
    BertTagger::new(config, Parameters::new(weights, &Device::Cpu).unwrap()).unwrap()
}

pub(super) fn batch() -> (Packed, Targets) {
    let targets = Targets {
        tokens: vec![1, 2, 5, 6],
        labels: vec![0, 2, 1, 0],
        ..Targets::default()
    };
    (Packed::new([vec![2, 7, 9, 3], vec![2, 7, 11, 3]]), targets)
}

const CROSS_ENTROPY: Loss = Loss {
    function: LossFunction::CrossEntropy { smoothing: 0.0 },
    weights: None,
    soft: None,
};

pub(super) fn mean_of_tokens() -> StepLoss<'static> {
    StepLoss {
        loss: &CROSS_ENTROPY,
        weight: 4.0,
        consistency: None,
        adversarial: None,
        scale: 1.0,
    }
}

fn labels(gradients: &Gradients) -> Vec<u32> {
    gradients.predicted.as_ref().unwrap().to_vec1().unwrap()
}

fn row_sums(gradients: &Gradients) -> Vec<Vec<f32>> {
    let rows: Vec<Vec<f32>> = gradients.word_rows.as_ref().unwrap().to_vec2().unwrap();
    let mut table = vec![vec![0f32; rows[0].len()]; 12];
    for (&id, row) in gradients.word_ids.iter().zip(rows) {
        for (sum, g) in table[id as usize].iter_mut().zip(row) {
            *sum += g;
        }
    }
    table
}

#[test]
fn every_parameter_has_a_gradient() {
    let families = Family::ALL.map(tiny_config_of);
    for config in families.into_iter().chain(other_deberta_options()) {
        let (family, tagger) = (config.family, tiny_with(config));
        let (batch, targets) = batch();
        let found = gradients(&tagger, &batch, &targets, &mean_of_tokens(), Dropout::off()).unwrap();
        for ((name, _), gradient) in tagger.parameters().iter().zip(&found.dense) {
            let largest = match gradient {
                Some(gradient) => gradient.abs().unwrap().max_all().unwrap().to_scalar().unwrap(),
                None => row_sums(&found).concat().into_iter().fold(0f32, f32::max),
            };
            // Adding the same vector to every key leaves the attention weights unchanged, so the gradient of a
            // key bias is only rounding error.
            let exempt = name.ends_with("key.bias") || name.ends_with("key_proj.bias");
            assert!(exempt || largest > 1e-5, "{family:?} {name}: {largest}");
        }
    }
}

#[test]
fn the_positions_of_a_family_are_the_rows_that_learn() {
    for family in Family::ALL
        .into_iter()
        .filter(|family| family.has_position_table())
    {
        let tagger = tiny_of(family);
        let (batch, targets) = batch();
        let found = gradients(&tagger, &batch, &targets, &mean_of_tokens(), Dropout::off()).unwrap();
        let mut named = tagger.parameters().iter().zip(&found.dense);
        let is_table = |name: &str| name.contains("position") || name.ends_with("rel_embeddings.weight");
        let ((_, _), table) = named.find(|((name, _), _)| is_table(name)).unwrap();
        let rows: Vec<Vec<f32>> = table.as_ref().unwrap().to_vec2().unwrap();
        let learning = |row: &Vec<f32>| row.iter().any(|x| *x != 0.0);
        let learning: Vec<usize> = (0..rows.len()).filter(|&row| learning(&rows[row])).collect();
        if family == Family::DebertaV2 {
            // Of 8 rows, those of distances up to 3 in both directions.
            assert_eq!(learning, [1, 2, 3, 4, 5, 6, 7]);
            continue;
        }
        let first = tagger.config().first_position();
        assert_eq!(learning, [first, first + 1, first + 2, first + 3], "{family:?}");
    }
}

#[test]
fn gradients_are_the_finite_differences_of_the_loss() {
    for family in Family::ALL {
        are_finite_differences(&tiny_of(family));
    }
    are_finite_differences(&tiny_with(tiny_albert(2)));
    are_finite_differences(&tiny_with(tiny_albert(1)));
    for config in other_deberta_options() {
        are_finite_differences(&tiny_with(config));
    }
}

#[test]
fn layers_that_share_weights_have_the_sum_of_their_gradients() {
    let shared = tiny_with(tiny_albert(1));
    // The same network with weights of its own in each group.
    let config = tiny_albert(2);
    let own_name = |name: &str| name.replace(".layer.1.", ".layer.0.");
    let weights = parameter_shapes(&config, 3).into_iter().map(|(name, shape)| {
        let var = shared.parameters().get(&own_name(&name)).unwrap();
        (name, shape, var.flatten_all().unwrap().to_vec1().unwrap())
    });
    let parameters = Parameters::new(weights, &Device::Cpu).unwrap();
    let untied = BertTagger::new(config, parameters).unwrap();
    let (batch, targets) = batch();
    let of = |tagger: &BertTagger| {
        let dropout = Dropout::seeded(3);
        let found = gradients(tagger, &batch, &targets, &mean_of_tokens(), dropout).unwrap();
        let names: Vec<String> = tagger
            .parameters()
            .iter()
            .map(|(name, _)| name.to_owned())
            .collect();
        (found.loss, names.into_iter().zip(found.dense).collect::<Vec<_>>())
    };
    let ((loss, of_shared), (untied_loss, of_untied)) = (of(&shared), of(&untied));
    assert_eq!(loss, untied_loss);
    for (name, gradient) in of_shared {
        let Some(gradient) = gradient else { continue };
        let own = of_untied.iter().filter(|(own, _)| own_name(own) == name);
        let own: Vec<&Tensor> = own.filter_map(|(_, gradient)| gradient.as_ref()).collect();
        assert_eq!(own.len(), 1 + usize::from(name.contains(".layer.")), "{name}");
        let sum = own[1..]
            .iter()
            .fold(own[0].clone(), |sum, part| (sum + *part).unwrap());
        crate::ops::check::assert_close(&gradient, &sum, 1e-5);
    }
}

#[test]
fn gradients_in_bf16_are_those_in_f32_but_for_the_rounding_of_factors() {
    let multiplier = match Multiplier::new(Precision::Bf16) {
        Ok(multiplier) => multiplier,
        Err(missing) => return eprintln!("skipped: {missing}"),
    };
    let (batch, targets) = batch();
    let squares = |tensor: &Tensor| scalar(&tensor.sqr().unwrap().sum_all().unwrap());
    for family in Family::ALL {
        let of = |tagger: &BertTagger| {
            gradients(tagger, &batch, &targets, &mean_of_tokens(), Dropout::seeded(3)).unwrap()
        };
        let tagger = tiny_of(family);
        let exact = of(&tagger);
        let rounded = of(&tagger.with_multiplier(multiplier));
        assert_ne!(exact.loss, rounded.loss, "{family:?}");
        assert!(
            (exact.loss - rounded.loss).abs() < 0.01 * exact.loss,
            "{family:?}"
        );
        let (mut apart, mut whole) = (0.0, 0.0);
        let pairs = exact.dense.iter().zip(&rounded.dense);
        for (exact, rounded) in pairs.chain([(&exact.word_rows, &rounded.word_rows)]) {
            if let (Some(exact), Some(rounded)) = (exact, rounded) {
                apart += squares(&(exact - rounded).unwrap());
                whole += squares(exact);
            }
        }
        // A factor is rounded by at most 1/512 of its value.
        let apart = (apart / whole).sqrt();
        assert!(apart > 0.0 && apart < 0.03, "{family:?}: {apart}");
    }
}

fn are_finite_differences(tagger: &BertTagger) {
    let (batch, targets) = batch();
    let dropout = || Dropout::seeded(3);
    let loss = || {
        gradients(tagger, &batch, &targets, &mean_of_tokens(), dropout())
            .unwrap()
            .loss
    };
    let found = gradients(tagger, &batch, &targets, &mean_of_tokens(), dropout()).unwrap();
    let rows = row_sums(&found).concat();
    assert_differences(tagger, &found, Some(&rows), loss);
}

#[test]
fn a_frozen_parameter_has_no_gradient_and_the_others_keep_theirs() {
    let whole = tiny();
    let (batch, targets) = batch();
    let all = gradients(&whole, &batch, &targets, &mean_of_tokens(), Dropout::off()).unwrap();
    let is_below = |name: &str| name.contains(".embeddings.") || name.contains(".layer.0.");
    let part = tiny().frozen(is_below).unwrap();
    let found = gradients(&part, &batch, &targets, &mean_of_tokens(), Dropout::off()).unwrap();
    assert!(found.word_rows.is_none());
    assert_eq!(labels(&found), labels(&all));
    for (((name, _), all), found) in whole.parameters().iter().zip(&all.dense).zip(&found.dense) {
        assert_eq!(found.is_none(), is_below(name), "{name}");
        if let (Some(all), Some(found)) = (all, found) {
            crate::ops::check::assert_close(all, found, 1e-6);
        }
    }
}

#[test]
fn what_is_below_the_lowest_trained_parameter_is_outside_of_the_graph() {
    let nodes = |frozen: &[&str]| {
        let tagger = tiny()
            .frozen(|name| frozen.iter().any(|part| name.contains(part)))
            .unwrap();
        let mut pass = Pass::new(Dropout::seeded(3));
        let (batch, _) = batch();
        let rows = tagger.word_rows(&batch).unwrap();
        let is_leaf = !tagger.parameters().is_frozen(WORD_EMBEDDINGS);
        tagger
            .training(&batch, rows, is_leaf, &mut pass)
            .unwrap()
            .logits
            .sorted_nodes()
            .len()
    };
    let all = nodes(&[]);
    // The gradient of the embeddings passes through the operators of the two frozen layers.
    assert_eq!(nodes(&[".layer."]), all);
    let lower = nodes(&[".embeddings.", ".layer.0."]);
    assert!(2 * lower < all, "{lower} of {all}");
    // Only the head remains: its weight, its bias and its product.
    assert_eq!(nodes(&[".embeddings.", ".layer."]), 3);
}

#[test]
fn shards_add_up_to_the_batch() {
    let tagger = tiny();
    let (batch, targets) = batch();
    let whole = gradients(&tagger, &batch, &targets, &mean_of_tokens(), Dropout::off()).unwrap();
    let part = |ids: Vec<u32>, labels: Vec<u32>| {
        let targets = Targets {
            tokens: vec![1, 2],
            labels,
            ..Targets::default()
        };
        gradients(
            &tagger,
            &Packed::new([ids]),
            &targets,
            &mean_of_tokens(),
            Dropout::off(),
        )
        .unwrap()
    };
    let parts = [
        part(vec![2, 7, 9, 3], vec![0, 2]),
        part(vec![2, 7, 11, 3], vec![1, 0]),
    ];
    assert!((whole.loss - parts[0].loss - parts[1].loss).abs() < 1e-6);
    for ((whole, a), b) in whole.dense.iter().zip(&parts[0].dense).zip(&parts[1].dense) {
        if let (Some(whole), Some(a), Some(b)) = (whole, a, b) {
            crate::ops::check::assert_close(whole, &(a + b).unwrap(), 1e-5);
        }
    }
}

/// Asserts that every gradient in `found` is that of the finite differences of `value`. `word_rows` is the gradient of the word
/// embeddings; without it, and for frozen parameters, nothing is asserted.
fn assert_differences(
    tagger: &BertTagger,
    found: &Gradients,
    word_rows: Option<&[f32]>,
    value: impl Fn() -> f64,
) {
    const STEP: f32 = 5e-3;
    for ((name, var), gradient) in tagger.parameters().iter().zip(&found.dense) {
        let gradient: Vec<f32> = match (gradient, word_rows) {
            (Some(gradient), _) => gradient.flatten_all().unwrap().to_vec1().unwrap(),
            (None, Some(rows)) => rows.to_vec(),
            (None, None) => continue,
        };
        let elements: Vec<f32> = var.flatten_all().unwrap().to_vec1().unwrap();
        for at in (0..elements.len()).step_by(elements.len() / 7 + 1) {
            let moved = |by: f32| {
                let mut elements = elements.clone();
                elements[at] += by;
                let tensor = Tensor::from_vec(elements, var.shape(), &Device::Cpu).unwrap();
                var.set(&tensor).unwrap();
                value()
            };
            let expected = (moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP);
            moved(0.0);
            let error = (f64::from(gradient[at]) - expected).abs();
            assert!(
                error < 1e-3 + 0.02 * expected.abs(),
                "{name}[{at}]: {} {expected}",
                gradient[at]
            );
        }
    }
}

fn scalar(tensor: &Tensor) -> f64 {
    tensor.to_dtype(DType::F64).unwrap().to_scalar().unwrap()
}

/// The batch twice.
fn twice() -> (Packed, Targets) {
    let targets = Targets {
        tokens: vec![1, 2, 5, 6, 9, 10, 13, 14],
        labels: vec![0, 2, 1, 0, 0, 2, 1, 0],
        ..Targets::default()
    };
    let (one, other) = (vec![2, 7, 9, 3], vec![2, 7, 11, 3]);
    (Packed::new([one.clone(), other.clone(), one, other]), targets)
}

const R_DROP: StepLoss<'static> = StepLoss {
    loss: &CROSS_ENTROPY,
    weight: 8.0,
    consistency: Some(0.7),
    adversarial: None,
    scale: 1.0,
};

/// What a step with `loss` minimizes on the batch twice, its word embeddings moved by `moved`.
fn minimized(tagger: &BertTagger, loss: &StepLoss<'_>, moved: Option<&Tensor>) -> f64 {
    let (batch, targets) = twice();
    let rows = tagger.word_rows(&batch).unwrap();
    let rows = moved.map_or(rows.clone(), |moved| (rows + moved).unwrap());
    let mut pass = Pass::new(Dropout::seeded(3));
    let trained = tagger.training(&batch, rows, false, &mut pass).unwrap();
    let tokens = Tensor::new(targets.tokens.as_slice(), &Device::Cpu).unwrap();
    let logits = trained.logits.index_select(&tokens, 0).unwrap();
    scalar(&loss.of(&logits, &targets, None).unwrap().1)
}

#[test]
fn r_drop_minimizes_the_mean_loss_of_two_passes_and_their_divergence() {
    let tagger = tiny();
    let (batch, targets) = twice();
    let found = gradients(&tagger, &batch, &targets, &R_DROP, Dropout::seeded(3)).unwrap();
    assert_differences(&tagger, &found, None, || minimized(&tagger, &R_DROP, None));
    // The divergence from the definition, with the logits of both passes.
    let mut pass = Pass::new(Dropout::seeded(3));
    let rows = tagger.word_rows(&batch).unwrap();
    let logits = tagger.training(&batch, rows, false, &mut pass).unwrap().logits;
    let probabilities: Vec<Vec<f32>> = candle_nn::ops::softmax(&logits, D::Minus1)
        .unwrap()
        .to_vec2()
        .unwrap();
    let kl = |p: &[f32], q: &[f32]| -> f64 {
        let terms = p.iter().zip(q).map(|(p, q)| f64::from(p * (p / q).ln()));
        terms.sum()
    };
    let expected: f64 = [(1, 9), (2, 10), (5, 13), (6, 14)]
        .into_iter()
        .map(|(at, again)| (&probabilities[at], &probabilities[again]))
        .map(|(p, q)| (kl(p, q) + kl(q, p)) / 2.0)
        .sum();
    assert!(expected > 1e-4, "{expected}");
    let apart = minimized(&tagger, &R_DROP, None) - found.loss;
    assert!((apart - 0.7 * expected).abs() < 1e-5, "{apart} {expected}");
    // Without dropout both passes are the same.
    let still = gradients(&tagger, &batch, &targets, &R_DROP, Dropout::off()).unwrap();
    let (batch, targets) = super::tests::batch();
    let once = gradients(&tagger, &batch, &targets, &mean_of_tokens(), Dropout::off()).unwrap();
    for (still, once) in still.dense.iter().zip(&once.dense) {
        if let (Some(still), Some(once)) = (still, once) {
            crate::ops::check::assert_close(still, once, 1e-5);
        }
    }
}

/// The gradients of the batch twice with word embeddings moved by a norm of 0.5, and the movement.
fn adversarial(tagger: &BertTagger) -> (Gradients, Tensor) {
    let (batch, targets) = twice();
    let dropout = || Dropout::seeded(3);
    let plain = gradients(tagger, &batch, &targets, &R_DROP, dropout()).unwrap();
    let leaf = plain.word_rows.clone().unwrap_or_else(|| {
        let rows = tagger.word_rows(&batch).unwrap();
        let pass = pass_gradients(tagger, (&batch, rows, true), &targets, &R_DROP, dropout());
        pass.unwrap().word_rows.unwrap()
    });
    let zeros = leaf.zeros_like().unwrap();
    let movement = moved(&zeros, &leaf, batch.cu_seqlens(), 0.5).unwrap();
    let loss = StepLoss {
        adversarial: Some(0.5),
        ..R_DROP
    };
    let found = gradients(tagger, &batch, &targets, &loss, dropout()).unwrap();
    assert_eq!((found.loss, labels(&found)), (plain.loss, labels(&plain)));
    (found, movement)
}

#[test]
fn adversarial_training_adds_the_gradient_at_embeddings_that_make_the_loss_larger() {
    let tagger = tiny();
    let (found, movement) = adversarial(&tagger);
    let value = || minimized(&tagger, &R_DROP, None) + minimized(&tagger, &R_DROP, Some(&movement));
    assert_differences(&tagger, &found, None, value);
    let plain = minimized(&tagger, &R_DROP, None);
    assert!(minimized(&tagger, &R_DROP, Some(&movement)) > 1.05 * plain);
    // The movement of each sequence has the norm asked for.
    for sequence in 0..4 {
        let rows = movement.narrow(0, 4 * sequence, 4).unwrap();
        let norm = scalar(&rows.sqr().unwrap().sum_all().unwrap().sqrt().unwrap());
        assert!((norm - 0.5).abs() < 1e-5, "{norm}");
    }
    // A gradient of 0 moves nothing.
    let (batch, _) = twice();
    let rows = tagger.word_rows(&batch).unwrap();
    let still = moved(&rows, &rows.zeros_like().unwrap(), batch.cu_seqlens(), 0.5).unwrap();
    crate::ops::check::assert_close(&rows, &still, 0.0);
}

#[test]
fn frozen_word_embeddings_are_moved_too_and_keep_no_gradient() {
    for frozen in [&["word_embeddings"][..], &[".embeddings.", ".layer."]] {
        let tagger = tiny()
            .frozen(|name| frozen.iter().any(|part| name.contains(part)))
            .unwrap();
        let (found, movement) = adversarial(&tagger);
        assert!(found.word_rows.is_none());
        let value = || minimized(&tagger, &R_DROP, None) + minimized(&tagger, &R_DROP, Some(&movement));
        assert_differences(&tagger, &found, None, value);
    }
}
