//! What the training loop tells its observers: examples, steps and evaluations.

use nerve_tagging::LabelSet;

use crate::train::error::TrainError;
use crate::train::example::Example;
use crate::train::notice::Notice;
use crate::train::record::{End, EvaluationRecord, StepRecord, Timing};
use crate::train::select_by::SelectBy;

/// The size of a training run, and how its evaluations are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Training sentences.
    pub sentences: usize,
    /// Windows of these sentences.
    pub windows: usize,
    /// Labels.
    pub labels: usize,
    /// Trained parameters, counted as numbers.
    pub parameters: usize,
    /// Steps of all epochs.
    pub steps: usize,
    /// Steps that a resumed run has already made.
    pub done: usize,
    /// Threads.
    pub threads: usize,
    /// What makes an evaluation the best one.
    pub select_by: SelectBy,
}

/// What a hook needs to know to change examples.
#[derive(Clone, Copy, Debug)]
pub struct ExampleContext<'t> {
    /// The labels that the network predicts.
    pub labels: &'t LabelSet,
    /// The number of special tokens before and after the tokens of a window.
    pub specials: (usize, usize),
    /// The id of the padding token.
    pub padding_id: u32,
}

/// The labels that the network gave to the tokens of an example in a step, before the step changed the weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction<'e> {
    /// The example.
    pub example: &'e Example,
    /// The most probable label of each of its tokens.
    pub labels: Vec<u32>,
}

/// A step that was made.
#[derive(Clone, Copy, Debug)]
pub struct StepEvent<'s> {
    /// Its record.
    pub record: &'s StepRecord,
    /// The speed since the last evaluation.
    pub tokens_per_second: f64,
    /// The predictions for the examples of each of its batches; empty unless a hook reads them.
    pub batches: &'s [Vec<Prediction<'s>>],
}

/// What a teacher has done before the first step.
#[derive(Clone, Copy, Debug)]
pub struct TeacherProgress<'t> {
    /// The teacher, as it was named.
    pub teacher: &'t str,
    /// The sentences that it has labeled.
    pub labeled: usize,
    /// All sentences that it labels.
    pub sentences: usize,
}

/// Observes a training run. Every method does nothing unless it is implemented.
///
/// All hooks have seen a step or an evaluation before the next checkpoint becomes the one that a resumed run continues
/// from. A hook that keeps a file therefore cuts it back to `Plan::done` steps in [`Self::on_start`].
pub trait TrainingHook {
    /// The examples of all training sentences have been made. The hook may change their tokens and labels.
    fn on_examples(
        &mut self,
        _examples: &mut [Example],
        _context: &ExampleContext<'_>,
    ) -> Result<(), TrainError> {
        Ok(())
    }

    /// A teacher has labeled more sentences, before the run starts.
    fn on_teacher(&mut self, _progress: &TeacherProgress<'_>) -> Result<(), TrainError> {
        Ok(())
    }

    /// The run starts, or continues after these evaluations.
    fn on_start(&mut self, _plan: &Plan, _evaluations: &[EvaluationRecord]) -> Result<(), TrainError> {
        Ok(())
    }

    /// The user is to know something of the run.
    fn on_notice(&mut self, _notice: &Notice) -> Result<(), TrainError> {
        Ok(())
    }

    /// Whether [`Self::on_step`] reads [`StepEvent::batches`], which are fetched from the device only then.
    fn reads_predictions(&self) -> bool {
        false
    }

    /// A step was made.
    fn on_step(&mut self, _step: &StepEvent<'_>) -> Result<(), TrainError> {
        Ok(())
    }

    /// The dev split was evaluated, and the weights that were evaluated are on disk.
    fn on_evaluation(&mut self, _record: &EvaluationRecord, _timing: &Timing) -> Result<(), TrainError> {
        Ok(())
    }

    /// Whether the run is to stop now, and why. The loop asks before the first step and after every step.
    fn stop(&self) -> Option<End> {
        None
    }
}

/// The hooks of a run: its own and the caller's, called in this order.
pub(super) struct Hooks<'h, 'd> {
    own: Vec<Box<dyn TrainingHook>>,
    callers: &'h mut [&'d mut dyn TrainingHook],
}

impl<'h, 'd> Hooks<'h, 'd> {
    pub(super) fn new(own: Vec<Box<dyn TrainingHook>>, callers: &'h mut [&'d mut dyn TrainingHook]) -> Self {
        Self { own, callers }
    }

    fn each(
        &mut self,
        mut call: impl FnMut(&mut dyn TrainingHook) -> Result<(), TrainError>,
    ) -> Result<(), TrainError> {
        for hook in &mut self.own {
            call(&mut **hook)?;
        }
        for hook in self.callers.iter_mut() {
            call(&mut **hook)?;
        }
        Ok(())
    }
}

impl TrainingHook for Hooks<'_, '_> {
    fn on_examples(
        &mut self,
        examples: &mut [Example],
        context: &ExampleContext<'_>,
    ) -> Result<(), TrainError> {
        self.each(|hook| hook.on_examples(examples, context))
    }

    fn on_teacher(&mut self, progress: &TeacherProgress<'_>) -> Result<(), TrainError> {
        self.each(|hook| hook.on_teacher(progress))
    }

    fn on_start(&mut self, plan: &Plan, evaluations: &[EvaluationRecord]) -> Result<(), TrainError> {
        self.each(|hook| hook.on_start(plan, evaluations))
    }

    fn on_notice(&mut self, notice: &Notice) -> Result<(), TrainError> {
        self.each(|hook| hook.on_notice(notice))
    }

    fn reads_predictions(&self) -> bool {
        let mut own = self.own.iter();
        own.any(|hook| hook.reads_predictions()) || self.callers.iter().any(|hook| hook.reads_predictions())
    }

    fn on_step(&mut self, step: &StepEvent<'_>) -> Result<(), TrainError> {
        self.each(|hook| hook.on_step(step))
    }

    fn on_evaluation(&mut self, record: &EvaluationRecord, timing: &Timing) -> Result<(), TrainError> {
        self.each(|hook| hook.on_evaluation(record, timing))
    }

    fn stop(&self) -> Option<End> {
        let own = self.own.iter().find_map(|hook| hook.stop());
        own.or_else(|| self.callers.iter().find_map(|hook| hook.stop()))
    }
}
