//! AdamW (Loshchilov and Hutter 2019) over the network's variables.

use std::cell::RefCell;
use std::thread;

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Tensor};
use pulp::Arch;

use crate::model::{Gradients, Parameters, is_exempt_from_decay};
use crate::ops::values;

/// The exponential decay rates and the denominator's constant, as in the paper and in PyTorch.
const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
const EPS: f32 = 1e-8;

/// The optimiser's state: gradient buffer and moments of every variable.
pub(crate) struct AdamW {
    slots: Vec<Slot>,
    threads: usize,
    weight_decay: f64,
    steps: i32,
}

/// One variable and its moments.
struct Slot {
    var: Tensor,
    gradient: Vec<f32>,
    mean: Vec<f32>,
    square: Vec<f32>,
    decays: bool,
    rows: Option<Rows>,
}

/// Which rows of an embedding table have had a gradient.
struct Rows {
    width: usize,
    /// Those of this step, ascending.
    touched: Vec<usize>,
    /// Those of any step: the moments of all others are 0, and so is their update but for the decay.
    ever: Vec<bool>,
}

impl AdamW {
    /// Moments of 0 for these parameters; biases and layer normalisations do not decay.
    pub(crate) fn new(parameters: &Parameters, weight_decay: f64, threads: usize) -> Result<Self> {
        let slots = parameters
            .iter()
            .map(|(name, var)| {
                let count = var.elem_count();
                let rows = if name == crate::model::WORD_EMBEDDINGS {
                    let (rows, width) = var.dims2()?;
                    Some(Rows {
                        width,
                        touched: Vec::new(),
                        ever: vec![false; rows],
                    })
                } else {
                    None
                };
                Ok(Slot {
                    var: var.as_tensor().clone(),
                    gradient: vec![0.0; count],
                    mean: vec![0.0; count],
                    square: vec![0.0; count],
                    decays: !is_exempt_from_decay(name),
                    rows,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            slots,
            threads,
            weight_decay,
            steps: 0,
        })
    }

    /// Adds up the shards' gradients in their order and yields the norm of the sum.
    pub(crate) fn accumulate(&mut self, shards: &[Gradients]) -> Result<f64> {
        let squares = self.each(|index, slot| slot.accumulate(index, shards))?;
        Ok(squares.iter().sum::<f64>().sqrt())
    }

    /// Updates every variable by the accumulated gradient times `scale`.
    pub(crate) fn step(&mut self, learning_rate: f64, scale: f64) -> Result<()> {
        self.steps += 1;
        let update = Update {
            scale: scale as f32,
            step_size: (learning_rate / (1.0 - f64::from(BETA1).powi(self.steps))) as f32,
            root_correction: (1.0 / (1.0 - f64::from(BETA2).powi(self.steps)).sqrt()) as f32,
            keep: (1.0 - learning_rate * self.weight_decay) as f32,
        };
        self.each(|_, slot| {
            let var = slot.var.clone();
            var.inplace_op1(&Apply {
                update,
                slot: RefCell::new(slot),
            })
        })?;
        Ok(())
    }

    /// Runs over all variables on the optimiser's threads; the results come in the order of the names.
    fn each<T: Send>(&mut self, work: impl Fn(usize, &mut Slot) -> Result<T> + Sync) -> Result<Vec<T>> {
        let count = self.slots.len();
        let mut bins: Vec<(usize, Vec<(usize, &mut Slot)>)> = Vec::new();
        bins.resize_with(self.threads.max(1), Default::default);
        let mut slots: Vec<(usize, &mut Slot)> = self.slots.iter_mut().enumerate().collect();
        slots.sort_by_key(|(_, slot)| std::cmp::Reverse(slot.gradient.len()));
        for slot in slots {
            if let Some((load, bin)) = bins.iter_mut().min_by_key(|(load, _)| *load) {
                *load += slot.1.gradient.len();
                bin.push(slot);
            }
        }
        let run = |bin: Vec<(usize, &mut Slot)>| -> Result<Vec<(usize, T)>> {
            bin.into_iter()
                .map(|(index, slot)| Ok((index, work(index, slot)?)))
                .collect()
        };
        let parts = thread::scope(|scope| {
            let handles: Vec<_> = bins
                .into_iter()
                .map(|(_, bin)| scope.spawn(|| run(bin)))
                .collect();
            handles
                .into_iter()
                .map(super::joined)
                .collect::<Vec<Result<Vec<(usize, T)>>>>()
        });
        let mut results = Vec::with_capacity(count);
        for part in parts {
            results.extend(part?);
        }
        results.sort_by_key(|(index, _)| *index);
        Ok(results.into_iter().map(|(_, result)| result).collect())
    }
}

impl Slot {
    /// The sum of the shards' gradients of the variable at `index`, kept; and the sum of its squares.
    fn accumulate(&mut self, index: usize, shards: &[Gradients]) -> Result<f64> {
        if let Some(rows) = &mut self.rows {
            return rows.accumulate(&mut self.gradient, shards);
        }
        for (shard, gradients) in shards.iter().enumerate() {
            let Some(part) = gradients.dense.get(index).and_then(Option::as_ref) else {
                candle_core::bail!("a shard has no gradient of parameter {index}");
            };
            let part = values(part)?;
            if shard == 0 {
                self.gradient.copy_from_slice(&part);
            } else {
                add(&mut self.gradient, &part);
            }
        }
        Ok(squared(&self.gradient))
    }
}

impl Rows {
    fn accumulate(&mut self, gradient: &mut [f32], shards: &[Gradients]) -> Result<f64> {
        for &row in &self.touched {
            gradient[row * self.width..][..self.width].fill(0.0);
        }
        self.touched.clear();
        for shard in shards {
            let part = values(&shard.word_rows)?;
            for (&id, part) in shard.word_ids.iter().zip(part.chunks_exact(self.width)) {
                let row = id as usize;
                add(&mut gradient[row * self.width..][..self.width], part);
                self.touched.push(row);
                self.ever[row] = true;
            }
        }
        self.touched.sort_unstable();
        self.touched.dedup();
        let rows = self.touched.iter();
        Ok(rows
            .map(|row| squared(&gradient[row * self.width..][..self.width]))
            .sum())
    }
}

fn add(sum: &mut [f32], part: &[f32]) {
    for (sum, part) in sum.iter_mut().zip(part) {
        *sum += part;
    }
}

fn squared(gradient: &[f32]) -> f64 {
    const LANES: usize = 8;
    let (chunks, rest) = gradient.as_chunks::<LANES>();
    let mut lanes = [0f64; LANES];
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for chunk in chunks {
                for lane in 0..LANES {
                    lanes[lane] += f64::from(chunk[lane]) * f64::from(chunk[lane]);
                }
            }
        },
    );
    let rest = rest.iter().map(|&g| f64::from(g) * f64::from(g));
    lanes.into_iter().chain(rest).sum()
}

/// The numbers of one step.
#[derive(Clone, Copy)]
struct Update {
    scale: f32,
    step_size: f32,
    root_correction: f32,
    keep: f32,
}

impl Update {
    /// Moves `weights` by their gradient and moments.
    fn apply(self, weights: &mut [f32], gradient: &[f32], mean: &mut [f32], square: &mut [f32], keep: f32) {
        Arch::new().dispatch(
            #[inline(always)]
            || {
                let moments = mean.iter_mut().zip(square);
                for ((weight, gradient), (mean, square)) in weights.iter_mut().zip(gradient).zip(moments) {
                    let g = gradient * self.scale;
                    *mean = BETA1 * *mean + (1.0 - BETA1) * g;
                    *square = BETA2 * *square + (1.0 - BETA2) * g * g;
                    let root = square.sqrt() * self.root_correction + EPS;
                    *weight = *weight * keep - self.step_size * *mean / root;
                }
            },
        );
    }
}

/// The update of one variable, in place.
struct Apply<'s> {
    update: Update,
    slot: RefCell<&'s mut Slot>,
}

impl InplaceOp1 for Apply<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (Some((start, end)), CpuStorage::F32(all)) = (layout.contiguous_offsets(), storage) else {
            candle_core::bail!("a variable is not contiguous f32");
        };
        let weights = &mut all[start..end];
        let slot = &mut **self.slot.borrow_mut();
        let keep = if slot.decays { self.update.keep } else { 1.0 };
        let Some(rows) = &slot.rows else {
            self.update
                .apply(weights, &slot.gradient, &mut slot.mean, &mut slot.square, keep);
            return Ok(());
        };
        for (row, &ever) in rows.ever.iter().enumerate() {
            let at = row * rows.width..(row + 1) * rows.width;
            let weights = &mut weights[at.clone()];
            if ever {
                let (mean, square) = (&mut slot.mean[at.clone()], &mut slot.square[at.clone()]);
                self.update.apply(weights, &slot.gradient[at], mean, square, keep);
            } else {
                for weight in weights {
                    *weight *= keep;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::WORD_EMBEDDINGS;
    use candle_core::Device;

    fn tensor(values: &[f32], rows: usize) -> Tensor {
        Tensor::from_vec(values.to_vec(), (rows, values.len() / rows), &Device::Cpu).unwrap()
    }

    /// The paper's algorithm in f64, one weight at a time.
    fn reference(mut w: f64, gradients: &[f64], lr: f64, decay: f64) -> f64 {
        let (mut m, mut v) = (0.0, 0.0);
        for (step, g) in (1..).zip(gradients) {
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            let (m_hat, v_hat): (f64, f64) = (m / (1.0 - 0.9f64.powi(step)), v / (1.0 - 0.999f64.powi(step)));
            w -= lr * decay * w + lr * m_hat / (v_hat.sqrt() + 1e-8);
        }
        w
    }

    fn gradients(dense: [&[f32]; 2], ids: &[u32], rows: &[f32]) -> Gradients {
        Gradients {
            loss: 0.0,
            dense: vec![Some(tensor(dense[0], 1)), None, Some(tensor(dense[1], 1))],
            word_ids: ids.to_vec(),
            word_rows: tensor(rows, ids.len()),
        }
    }

    #[test]
    fn it_is_the_papers_update_with_exemptions_and_rows() {
        let parameters = Parameters::new([
            ("a.weight".to_owned(), vec![1, 2], vec![1.0, -2.0]),
            (WORD_EMBEDDINGS.to_owned(), vec![3, 1], vec![1.0, 2.0, 3.0]),
            ("z.bias".to_owned(), vec![1, 1], vec![4.0]),
        ])
        .unwrap();
        let mut optimiser = AdamW::new(&parameters, 0.1, 2).unwrap();
        let first = [
            gradients([&[0.1, 0.2], &[1.0]], &[2, 2], &[0.25, 0.25]),
            gradients([&[0.2, 0.0], &[2.0]], &[2], &[0.5]),
        ];
        let norm = optimiser.accumulate(&first).unwrap();
        assert!((norm - (0.09f64 + 0.04 + 9.0 + 1.0).sqrt()).abs() < 1e-6);
        optimiser.step(0.01, 1.0).unwrap();
        let second = [gradients([&[-1.0, 1.0], &[0.5]], &[0], &[2.0])];
        optimiser.accumulate(&second).unwrap();
        optimiser.step(0.01, 0.5).unwrap();
        let expected = [
            (
                "a.weight",
                vec![
                    reference(1.0, &[0.3, -0.5], 0.01, 0.1),
                    reference(-2.0, &[0.2, 0.5], 0.01, 0.1),
                ],
            ),
            (
                WORD_EMBEDDINGS,
                vec![
                    reference(1.0, &[0.0, 1.0], 0.01, 0.1),
                    reference(2.0, &[0.0, 0.0], 0.01, 0.1),
                    reference(3.0, &[1.0, 0.0], 0.01, 0.1),
                ],
            ),
            ("z.bias", vec![reference(4.0, &[3.0, 0.25], 0.01, 0.0)]),
        ];
        for (name, expected) in expected {
            let found: Vec<f32> = parameters
                .get(name)
                .unwrap()
                .flatten_all()
                .unwrap()
                .to_vec1()
                .unwrap();
            for (found, expected) in found.iter().zip(expected) {
                assert!(
                    (f64::from(*found) - expected).abs() < 1e-6,
                    "{name}: {found} {expected}"
                );
            }
        }
    }
}
