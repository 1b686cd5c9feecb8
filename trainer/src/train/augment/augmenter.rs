//! The changes of a run's augmentation to its sentences.

use std::collections::BTreeSet;

use nerve_corpus::Corpus;
use nerve_inference::TextTokenizer;
use rand::Rng;

use crate::train::augment::casing::change_case;
use crate::train::augment::hashtags::tag_mentions;
use crate::train::augment::mentions::MentionPool;
use crate::train::augment::symbols::insert_symbols;
use crate::train::augment::word::{AugmentedWord, WordSource};
use crate::train::config::TrainConfig;
use crate::train::config::augmentation::Augmentation;
use crate::train::error::TrainError;
use crate::train::example::ExampleError;
use crate::train::order::augmentation;

/// The tokens that can hide a word, the best one first. A mask stands for any word; the unknown token, if there is no mask,
/// stands for symbols in running text.
const MASKS: [&str; 4] = ["[MASK]", "<mask>", "[UNK]", "<unk>"];

/// A sentence to change.
#[derive(Clone, Copy)]
pub(in crate::train) struct SentenceToAugment<'s> {
    /// Its index in the corpus, or, for a sentence without labels, after those of the corpus.
    pub(in crate::train) index: usize,
    pub(in crate::train) words: &'s [String],
    /// The IOB2 tag of each word; of a sentence without labels, the most probable ones of the teachers.
    pub(in crate::train) tags: &'s [String],
    /// Whether the tags are gold. The mentions of other sentences stay as they are.
    pub(in crate::train) is_gold: bool,
}

/// A sentence that is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::train) struct AugmentedSentence {
    pub(super) words: Vec<AugmentedWord>,
    /// The token that hides a word.
    pub(super) mask: Option<u32>,
}

/// Changes sentences, anew in each epoch, with the configured probabilities.
pub(in crate::train) struct Augmenter {
    seed: u64,
    probabilities: Augmentation,
    mentions: MentionPool,
    mask: Option<u32>,
}

impl Augmenter {
    /// The augmenter of a configuration; `None` if it changes nothing. Mentions are from the sentences that are trained on.
    pub(in crate::train) fn new(
        config: &TrainConfig,
        corpus: &Corpus,
        trained: &[usize],
        tokenizer: &TextTokenizer,
    ) -> Result<Option<Self>, TrainError> {
        let probabilities = config.augmentation;
        if probabilities == Augmentation::default() {
            return Ok(None);
        }
        let sentences = || trained.iter().map(|&sentence| &corpus.sentences[sentence]);
        if probabilities.case_noise > 0.0 {
            let words = sentences()
                .flat_map(|sentence| &sentence.words)
                .map(String::as_str);
            check_case(words.collect(), tokenizer)?;
        }
        let mask = MASKS.iter().find_map(|mask| tokenizer.token_to_id(mask));
        if probabilities.word_dropout > 0.0 && mask.is_none() {
            return Err(TrainError::NoMask {
                tried: MASKS.join(", "),
            });
        }
        let mut mentions = MentionPool::default();
        if probabilities.mention_replacement > 0.0 {
            for sentence in sentences() {
                mentions.add(&sentence.words, &sentence.tags);
            }
        }
        Ok(Some(Self {
            seed: config.seed,
            probabilities,
            mentions,
            mask,
        }))
    }

    /// A sentence as it is in an epoch, both counted from 0; `None` if nothing is changed.
    ///
    /// Each kind of change is drawn by a generator of its own from the seed, the epoch and the sentence, so that a resumed run
    /// draws the same, and another probability of one kind changes no draw of the others.
    pub(in crate::train) fn augment(
        &self,
        epoch: usize,
        sentence: SentenceToAugment<'_>,
    ) -> Option<AugmentedSentence> {
        let given = &self.probabilities;
        let generator = |kind| augmentation(self.seed, kind, epoch, sentence.index);
        let pairs = sentence.words.iter().zip(sentence.tags).enumerate();
        let original: Vec<AugmentedWord> = pairs
            .map(|(at, (word, tag))| AugmentedWord::new(word.clone(), tag.clone(), WordSource::Sentence(at)))
            .collect();
        let mut words = original.clone();
        if sentence.is_gold && given.mention_replacement > 0.0 {
            words = self
                .mentions
                .replace(&words, given.mention_replacement, &mut generator(0));
        }
        if sentence.is_gold && given.hashtag_noise > 0.0 {
            words = tag_mentions(&words, given.hashtag_noise, &mut generator(1));
        }
        if given.symbol_noise > 0.0 {
            words = insert_symbols(words, given.symbol_noise, &mut generator(2));
        }
        if given.case_noise > 0.0 {
            change_case(&mut words, given.case_noise, &mut generator(3));
        }
        if given.word_dropout > 0.0 {
            let mut generator = generator(4);
            for word in &mut words {
                word.hidden = generator.random::<f64>() < given.word_dropout;
            }
        }
        (words != original).then_some(AugmentedSentence {
            words,
            mask: self.mask,
        })
    }
}

/// An error unless the case of a word changes its tokens.
fn check_case(words: BTreeSet<&str>, tokenizer: &TextTokenizer) -> Result<(), TrainError> {
    for word in words {
        let tokens = |word: String| tokenizer.encode_words(&[word]).map_err(ExampleError::from);
        if tokens(word.to_lowercase())? != tokens(word.to_uppercase())? {
            return Ok(());
        }
    }
    Err(TrainError::NoCase)
}
