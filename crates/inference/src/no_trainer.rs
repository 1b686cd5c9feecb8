//! A trainer that trains nothing.

use std::marker::PhantomData;

use tokenizers::AddedToken;
use tokenizers::tokenizer::{Model, Result, Trainer};

/// The trainer that the library asks of every model. Nerve trains no vocabularies.
pub(crate) struct NoTrainer<M>(PhantomData<fn() -> M>);

impl<M> NoTrainer<M> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<M: Model> Trainer for NoTrainer<M> {
    type Model = M;

    fn should_show_progress(&self) -> bool {
        false
    }

    fn train(&self, _model: &mut M) -> Result<Vec<AddedToken>> {
        Err("this model cannot be trained".into())
    }

    fn feed<I, S, F>(&mut self, _texts: I, _words: F) -> Result<()>
    where
        I: Iterator<Item = S> + Send,
        S: AsRef<str> + Send,
        F: Fn(&str) -> Result<Vec<String>> + Sync,
    {
        Err("this model cannot be trained".into())
    }
}
