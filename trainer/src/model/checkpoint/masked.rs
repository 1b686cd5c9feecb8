//! Model directories with a head for masked tokens: reading one, whose head is fresh if it has none, and writing it.

use std::collections::BTreeMap;
use std::path::Path;

use nerve_inference::TextTokenizer;
use nerve_repository::{Family, MaskedHead, ModelConfig};

use super::{CheckpointError, ModelDir, Source, take, write_model};
use crate::model::bert::BertTagger;
use crate::model::families::parameter_shapes;
use crate::model::init::initial;
use crate::model::masked::{
    DECODER_BIAS, DENSE_BIAS, DENSE_WEIGHT, MaskedModel, NORM_BIAS, NORM_WEIGHT, is_of_classifier,
};
use crate::model::parameters::Parameters;

/// The name and the shape of every parameter of the head.
pub(crate) fn head_shapes(config: &ModelConfig) -> BTreeMap<String, Vec<usize>> {
    let width = config.embedding_size;
    [
        (DENSE_WEIGHT, vec![width, config.hidden_size]),
        (DENSE_BIAS, vec![width]),
        (NORM_WEIGHT, vec![width]),
        (NORM_BIAS, vec![width]),
        (DECODER_BIAS, vec![config.vocab_size]),
    ]
    .map(|(name, shape)| (name.to_owned(), shape))
    .into()
}

/// The names of the head in a family's files. `weights` is the file of the weights, beside which is the `config.json` that an error
/// names.
fn head_names(family: Family, weights: &Path) -> Result<&'static MaskedHead, CheckpointError> {
    family.masked_head().ok_or_else(|| CheckpointError::NoMaskedHead {
        path: weights.with_file_name("config.json"),
        model_type: family.model_type(),
    })
}

/// The name in a family's files of a parameter of the head.
fn head_name(head: &MaskedHead, name: &str) -> String {
    match name {
        DENSE_WEIGHT => format!("{}.weight", head.dense),
        DENSE_BIAS => format!("{}.bias", head.dense),
        NORM_WEIGHT => format!("{}.weight", head.norm),
        NORM_BIAS => format!("{}.bias", head.norm),
        _ => head.bias.to_owned(),
    }
}

impl ModelDir {
    /// The masked model of the directory, its tokenizer, and whether its head is fresh: initialized from the seed, because the
    /// directory has none. The head of a tagger is dropped.
    pub(crate) fn into_masked_model(
        self,
        seed: u64,
    ) -> Result<(MaskedModel, TextTokenizer, bool), CheckpointError> {
        let mut config = self.config;
        let family = config.family;
        let names = head_names(family, &self.path)?;
        config.architectures = vec![family.class().replace("TokenClassification", "MaskedLM")];
        config.id2label.clear();
        config.label2id.clear();
        // The head of DeBERTa is written as `transformers` reads it if this field is absent.
        for key in ["dtype", "torch_dtype", "legacy"] {
            config.other.remove(key);
        }
        let mut weights = self.weights;
        let has_head = match &weights {
            Source::File(weights) => weights.contains_key(&head_name(names, DENSE_WEIGHT)),
            Source::Fresh => false,
        };
        let mut shapes = parameter_shapes(&config, 1);
        let head = head_shapes(&config);
        shapes.extend(head.clone());
        let mut tensors = Vec::new();
        let mut fresh = BTreeMap::new();
        for (name, shape) in shapes {
            let of_head = head.contains_key(&name);
            match &mut weights {
                Source::File(weights) if !is_of_classifier(&name) && (has_head || !of_head) => {
                    let names = match of_head {
                        true => [head_name(names, &name), head_name(names, &name)],
                        false => family.tensor_names(&name),
                    };
                    let data = take(weights, names, &shape, &self.path)?;
                    tensors.push((name, shape, data));
                }
                _ => {
                    fresh.insert(name, shape);
                }
            }
        }
        tensors.extend(initial(&config, &fresh, seed));
        let parameters = Parameters::new(tensors, &self.device)?;
        let model = MaskedModel::new(BertTagger::new(config, parameters)?)?;
        Ok((model, self.tokenizer, !has_head))
    }
}

/// Writes a masked model to `dir`, as [`super::write_checkpoint`] writes a tagger. The decoder's weight is the table of word
/// embeddings, and is not written twice.
pub(crate) fn write_masked_checkpoint(
    dir: &Path,
    model: &MaskedModel,
    tokenizer: &TextTokenizer,
    max_length: usize,
) -> Result<(), CheckpointError> {
    let config = model.encoder().config();
    let names = head_names(config.family, dir)?;
    let of_head = head_shapes(config);
    write_model(dir, config, (tokenizer, max_length), || {
        let kept = model
            .parameters()
            .iter()
            .filter(|(name, _)| !is_of_classifier(name));
        let named = kept.map(|(name, var)| match of_head.contains_key(name) {
            true => (head_name(names, name), var),
            false => {
                let [name, _] = config.family.tensor_names(name);
                (name, var)
            }
        });
        named.collect()
    })
}
