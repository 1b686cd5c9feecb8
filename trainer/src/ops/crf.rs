//! The loss of a linear-chain conditional random field (Lafferty et al. 2001; for tagging Lample et al. 2016).

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp2, Device, Layout, Result, Shape, Tensor};

use crate::ops::values::slice;
use crate::train::targets::{LabeledRun, Targets};

/// The negative log-likelihood of the target labels of all runs, a differentiable scalar.
///
/// `logits` is `[tokens, labels]`, for the tokens of the runs in order. `transitions` is `[labels + 1, labels + 1]`: the score of
/// the column's label after the row's, where the last index is the border of a sentence. The score of a sequence of labels is
/// the sum of their logits and transitions; the likelihood is its softmax over all sequences, those that the scheme forbids
/// included. It is computed on the CPU; the result is on the device of the logits.
pub(crate) fn crf(logits: &Tensor, transitions: &Tensor, targets: &Targets) -> Result<Tensor> {
    let (tokens, labels) = logits.dims2()?;
    let covered: usize = targets.runs.iter().map(|run| run.length).sum();
    let is_label = |label: &u32| (*label as usize) < labels;
    if transitions.dims2()? != (labels + 1, labels + 1)
        || covered != tokens
        || targets.labels.len() != tokens
        || !targets.labels.iter().all(is_label)
    {
        candle_core::bail!(
            "a conditional random field of {:?} transitions cannot take logits of {:?} for {} labels of {covered} tokens",
            transitions.shape(),
            logits.shape(),
            targets.labels.len()
        );
    }
    let operator = Crf {
        labels: targets.labels.clone(),
        runs: targets.runs.clone(),
        gradients: Mutex::default(),
    };
    let (on_cpu, transitions) = (
        logits.contiguous()?.to_device(&Device::Cpu)?,
        transitions.contiguous()?.to_device(&Device::Cpu)?,
    );
    on_cpu
        .apply_op2(&transitions, operator)?
        .to_device(logits.device())
}

struct Crf {
    labels: Vec<u32>,
    runs: Vec<LabeledRun>,
    /// The gradients of the logits and of the transitions, which the forward pass computes on the way.
    gradients: Mutex<(Vec<f32>, Vec<f32>)>,
}

/// The scores of a run and its gold labels.
struct Chain<'c> {
    run: LabeledRun,
    width: usize,
    /// `[length, width]`.
    logits: &'c [f32],
    /// `[width + 1, width + 1]`.
    transitions: &'c [f32],
    gold: &'c [u32],
}

impl Chain<'_> {
    fn logit(&self, token: usize, label: usize) -> f64 {
        f64::from(self.logits[token * self.width + label])
    }

    /// The place of the score of a transition; `None` is the border of the sentence.
    fn place(&self, previous: Option<usize>, next: Option<usize>) -> usize {
        previous.unwrap_or(self.width) * (self.width + 1) + next.unwrap_or(self.width)
    }

    fn transition(&self, previous: Option<usize>, next: Option<usize>) -> f64 {
        f64::from(self.transitions[self.place(previous, next)])
    }

    fn at_begin(&self, label: usize) -> f64 {
        match self.run.begins {
            true => self.transition(None, Some(label)),
            false => 0.0,
        }
    }

    fn at_end(&self, label: usize) -> f64 {
        match self.run.ends {
            true => self.transition(Some(label), None),
            false => 0.0,
        }
    }

    /// For each token and label, the logarithm of the summed likelihoods of all sequences up to it, this logit included.
    fn forward(&self) -> Vec<f64> {
        let width = self.width;
        let mut sums = Vec::with_capacity(self.run.length * width);
        for token in 0..self.run.length {
            for label in 0..width {
                let before = match token {
                    0 => self.at_begin(label),
                    _ => log_sum((0..width).map(|previous| {
                        sums[(token - 1) * width + previous] + self.transition(Some(previous), Some(label))
                    })),
                };
                sums.push(before + self.logit(token, label));
            }
        }
        sums
    }

    /// For each token and label, the logarithm of the summed likelihoods of all sequences behind it, this logit left out.
    fn backward(&self) -> Vec<f64> {
        let (width, length) = (self.width, self.run.length);
        let mut sums = vec![0.0; length * width];
        for token in (0..length).rev() {
            for label in 0..width {
                sums[token * width + label] = match token + 1 {
                    next if next == length => self.at_end(label),
                    next => log_sum((0..width).map(|following| {
                        self.transition(Some(label), Some(following))
                            + self.logit(next, following)
                            + sums[next * width + following]
                    })),
                };
            }
        }
        sums
    }

    /// The score of the gold labels.
    fn gold_score(&self) -> f64 {
        let label = |token: usize| self.gold[token] as usize;
        let logits: f64 = (0..self.run.length)
            .map(|token| self.logit(token, label(token)))
            .sum();
        let transitions: f64 = (1..self.run.length)
            .map(|token| self.transition(Some(label(token - 1)), Some(label(token))))
            .sum();
        logits + transitions + self.at_begin(label(0)) + self.at_end(label(self.run.length - 1))
    }

    /// The negative log-likelihood of the gold labels. Adds its gradients: probabilities less those of the gold labels, which are 1.
    fn add(&self, of_logits: &mut [f32], of_transitions: &mut [f64]) -> f64 {
        let (width, length) = (self.width, self.run.length);
        let (forward, backward) = (self.forward(), self.backward());
        let last = (length - 1) * width;
        let normalizer = log_sum((0..width).map(|label| forward[last + label] + self.at_end(label)));
        for token in 0..length {
            let gold = self.gold[token] as usize;
            for label in 0..width {
                let at = token * width + label;
                let is_gold = f64::from(u8::from(label == gold));
                let found = (forward[at] + backward[at] - normalizer).exp() - is_gold;
                of_logits[at] = found as f32;
                if token == 0 && self.run.begins {
                    of_transitions[self.place(None, Some(label))] += found;
                }
                if token + 1 == length {
                    if self.run.ends {
                        of_transitions[self.place(Some(label), None)] += found;
                    }
                    continue;
                }
                let next_gold = self.gold[token + 1] as usize;
                for following in 0..width {
                    let pair = forward[at]
                        + self.transition(Some(label), Some(following))
                        + self.logit(token + 1, following)
                        + backward[(token + 1) * width + following];
                    let is_gold = label == gold && following == next_gold;
                    of_transitions[self.place(Some(label), Some(following))] +=
                        (pair - normalizer).exp() - f64::from(u8::from(is_gold));
                }
            }
        }
        normalizer - self.gold_score()
    }
}

/// The logarithm of the sum of the exponentials.
fn log_sum(terms: impl Iterator<Item = f64> + Clone) -> f64 {
    let highest = terms.clone().fold(f64::NEG_INFINITY, f64::max);
    if highest == f64::NEG_INFINITY {
        return highest;
    }
    highest + terms.map(|term| (term - highest).exp()).sum::<f64>().ln()
}

impl CustomOp2 for Crf {
    fn name(&self) -> &'static str {
        "crf"
    }

    fn cpu_fwd(
        &self,
        logits: &CpuStorage,
        logits_layout: &Layout,
        transitions: &CpuStorage,
        transitions_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, width) = logits_layout.shape().dims2()?;
        let (logits, transitions) = (
            slice(logits, logits_layout)?,
            slice(transitions, transitions_layout)?,
        );
        let mut of_logits = vec![0f32; logits.len()];
        let mut of_transitions = vec![0f64; transitions.len()];
        let mut loss = 0.0;
        let mut first = 0;
        for run in self.runs.iter().filter(|run| run.length > 0) {
            let tokens = first..first + run.length;
            let numbers = tokens.start * width..tokens.end * width;
            let chain = Chain {
                run: *run,
                width,
                logits: &logits[numbers.clone()],
                transitions,
                gold: &self.labels[tokens.clone()],
            };
            loss += chain.add(&mut of_logits[numbers], &mut of_transitions);
            first = tokens.end;
        }
        let of_transitions = of_transitions
            .into_iter()
            .map(|gradient| gradient as f32)
            .collect();
        *self.gradients.lock().unwrap_or_else(PoisonError::into_inner) = (of_logits, of_transitions);
        Ok((CpuStorage::F32(vec![loss as f32]), Shape::from(())))
    }

    fn bwd(
        &self,
        logits: &Tensor,
        transitions: &Tensor,
        _loss: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (of_logits, of_transitions) =
            std::mem::take(&mut *self.gradients.lock().unwrap_or_else(PoisonError::into_inner));
        let scaled = |values: Vec<f32>, like: &Tensor| -> Result<Option<Tensor>> {
            Tensor::from_vec(values, like.shape(), &Device::Cpu)?
                .broadcast_mul(gradient)
                .map(Some)
        };
        Ok((scaled(of_logits, logits)?, scaled(of_transitions, transitions)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Var;

    const RUNS: [LabeledRun; 3] = [
        LabeledRun {
            length: 3,
            begins: true,
            ends: true,
        },
        LabeledRun {
            length: 2,
            begins: true,
            ends: false,
        },
        LabeledRun {
            length: 1,
            begins: false,
            ends: true,
        },
    ];
    const WIDTH: usize = 3;
    const LABELS: [u32; 6] = [0, 2, 1, 1, 1, 0];

    fn targets() -> Targets {
        Targets {
            labels: LABELS.to_vec(),
            runs: RUNS.to_vec(),
            ..Targets::default()
        }
    }

    /// Numbers between -2 and 2 that have no pattern.
    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count)
            .map(|at| ((at * 7 + seed * 13) % 41) as f32 / 10.0 - 2.0)
            .collect()
    }

    fn inputs() -> (Var, Var) {
        let var = |values: Vec<f32>, shape: (usize, usize)| {
            Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
        };
        (
            var(numbers(6 * WIDTH, 1), (6, WIDTH)),
            var(numbers(16, 2), (WIDTH + 1, WIDTH + 1)),
        )
    }

    fn scalar(tensor: &Tensor) -> f64 {
        f64::from(tensor.to_scalar::<f32>().unwrap())
    }

    /// The loss from its definition: all sequences of labels are scored.
    fn by_enumeration(logits: &[f32], transitions: &[f32]) -> f64 {
        let score = |run: LabeledRun, first: usize, labels: &[usize]| -> f64 {
            let of = |previous: usize, next: usize| f64::from(transitions[previous * (WIDTH + 1) + next]);
            let mut sum = 0.0;
            for (at, &label) in labels.iter().enumerate() {
                sum += f64::from(logits[(first + at) * WIDTH + label]);
                if at > 0 {
                    sum += of(labels[at - 1], label);
                }
            }
            if run.begins {
                sum += of(WIDTH, labels[0]);
            }
            if run.ends {
                sum += of(labels[labels.len() - 1], WIDTH);
            }
            sum
        };
        let (mut first, mut loss) = (0, 0.0);
        for run in RUNS {
            let all = (0..WIDTH.pow(run.length as u32)).map(|code| -> Vec<usize> {
                (0..run.length)
                    .map(|at| code / WIDTH.pow(at as u32) % WIDTH)
                    .collect()
            });
            let total: f64 = all.map(|labels| score(run, first, &labels).exp()).sum();
            let gold: Vec<usize> = LABELS[first..first + run.length]
                .iter()
                .map(|&label| label as usize)
                .collect();
            loss += total.ln() - score(run, first, &gold);
            first += run.length;
        }
        loss
    }

    #[test]
    fn the_loss_is_that_of_all_sequences() {
        let (logits, transitions) = inputs();
        let found = scalar(&crf(&logits, &transitions, &targets()).unwrap());
        let expected = by_enumeration(&numbers(6 * WIDTH, 1), &numbers(16, 2));
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }

    #[test]
    fn the_gradients_are_those_of_finite_differences() {
        let (logits, transitions) = inputs();
        let loss = crf(&logits, &transitions, &targets()).unwrap();
        let store = (loss * 2.0).unwrap().backward().unwrap();
        let gradient =
            |var: &Var| -> Vec<f32> { store.get(var).unwrap().flatten_all().unwrap().to_vec1().unwrap() };
        let (of_logits, of_transitions) = (gradient(&logits), gradient(&transitions));
        const STEP: f32 = 1e-3;
        let (x, t) = (numbers(6 * WIDTH, 1), numbers(16, 2));
        let slope = |value: &dyn Fn(f32) -> f64| 2.0 * (value(STEP) - value(-STEP)) / f64::from(2.0 * STEP);
        for (at, found) in of_logits.iter().enumerate() {
            let expected = slope(&|by| {
                let mut moved = x.clone();
                moved[at] += by;
                by_enumeration(&moved, &t)
            });
            assert!(
                (f64::from(*found) - expected).abs() < 1e-3,
                "logit {at}: {found} {expected}"
            );
        }
        for (at, found) in of_transitions.iter().enumerate() {
            let expected = slope(&|by| {
                let mut moved = t.clone();
                moved[at] += by;
                by_enumeration(&x, &moved)
            });
            assert!(
                (f64::from(*found) - expected).abs() < 1e-3,
                "transition {at}: {found} {expected}"
            );
        }
    }

    #[test]
    fn targets_that_do_not_cover_the_tokens_are_refused() {
        let (logits, transitions) = inputs();
        let short = Targets {
            runs: RUNS[..2].to_vec(),
            ..targets()
        };
        assert!(crf(&logits, &transitions, &short).is_err());
        let unknown = Targets {
            labels: vec![3; 6],
            ..targets()
        };
        assert!(crf(&logits, &transitions, &unknown).is_err());
    }
}
