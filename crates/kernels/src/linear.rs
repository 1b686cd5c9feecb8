//! A linear layer in 8-bit integers, packed for products.

use std::sync::Arc;

use thiserror::Error;

use crate::aligned::AlignedBytes;

/// Columns of a panel: what a product computes at a time.
pub(crate) const PANEL: usize = 64;
/// Rows of a weight matrix that one instruction multiplies.
pub(crate) const GROUP: usize = 4;
/// The largest weight. AVX2 adds pairs of products in 16 bits, where 2 x 255 x 64 fits.
const WEIGHT_LIMIT: i8 = 64;

/// A u8 quantization: `real = (integer - zero_point) * scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// The real value of one step.
    pub scale: f32,
    /// The integer of 0.
    pub zero_point: u8,
}

impl Affine {
    /// Steps per unit.
    pub(crate) fn steps(self) -> f32 {
        1.0 / self.scale
    }

    fn is_valid(self) -> bool {
        self.scale.is_finite() && self.scale > 0.0 && self.steps().is_finite()
    }
}

/// Why a linear layer cannot be used.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum LinearError {
    /// A part has another length than the layer's widths require.
    #[error("{part} has {found} elements instead of {expected}")]
    Length {
        /// `weight`, `scales` or `bias`.
        part: &'static str,
        /// Its number of elements.
        found: usize,
        /// The number that the widths require.
        expected: usize,
    },
    /// A width is 0.
    #[error("a linear layer of {inputs} inputs and {outputs} outputs computes nothing")]
    Empty {
        /// The inputs.
        inputs: usize,
        /// The outputs.
        outputs: usize,
    },
    /// The weights are too large for exact sums on every processor.
    #[error("the weight {found} exceeds {WEIGHT_LIMIT}, above which sums may overflow 16 bits")]
    Weight {
        /// The weight.
        found: i8,
    },
    /// The sums of so many inputs may overflow 32 bits.
    #[error("{inputs} inputs exceed 131072, above which sums may overflow 32 bits")]
    TooWide {
        /// The inputs.
        inputs: usize,
    },
    /// A scale is not a positive number.
    #[error("a scale is {found}; it must be a positive number")]
    Scale {
        /// The scale.
        found: f32,
    },
}

/// The weights of a linear layer in i8, packed for products. Clones share them, as the layers of ALBERT do.
///
/// They are packed as `[panel][row group][column][row]`, panels of 64 columns and groups of 4 rows: the order in which the dot-product
/// instructions read them. What pads them is 0.
#[derive(Clone, Debug)]
pub struct PackedWeights {
    inputs: usize,
    outputs: usize,
    packed: Arc<AlignedBytes>,
    /// The sum of each column.
    sums: Arc<[i32]>,
}

impl PackedWeights {
    /// Packs `weight`, row-major `[inputs, outputs]`.
    pub fn new(weight: &[i8], [inputs, outputs]: [usize; 2]) -> Result<Self, LinearError> {
        check_length("weight", weight.len(), inputs.saturating_mul(outputs))?;
        if inputs == 0 || outputs == 0 {
            return Err(LinearError::Empty { inputs, outputs });
        }
        if inputs > 1 << 17 {
            return Err(LinearError::TooWide { inputs });
        }
        if let Some(&found) = weight
            .iter()
            .find(|w| w.unsigned_abs() > WEIGHT_LIMIT.unsigned_abs())
        {
            return Err(LinearError::Weight { found });
        }
        let (groups, panels) = (inputs.div_ceil(GROUP), outputs.div_ceil(PANEL));
        let mut packed = AlignedBytes::zeros(panels * groups * GROUP);
        let mut sums = vec![0i32; outputs];
        for (row, columns) in weight.chunks_exact(outputs).enumerate() {
            for (column, &w) in columns.iter().enumerate() {
                sums[column] += i32::from(w);
                let (panel, lane) = (column / PANEL, column % PANEL);
                // A line of 64 bytes holds 16 columns of a group.
                let line = (panel * groups + row / GROUP) * GROUP + lane / 16;
                packed.line_mut(line)[(lane % 16) * GROUP + row % GROUP] = w;
            }
        }
        Ok(Self {
            inputs,
            outputs,
            packed: Arc::new(packed),
            sums: sums.into(),
        })
    }
}

fn check_length(part: &'static str, found: usize, expected: usize) -> Result<(), LinearError> {
    match found == expected {
        true => Ok(()),
        false => Err(LinearError::Length {
            part,
            found,
            expected,
        }),
    }
}

/// `y = ((x - zero) * w + bias) * scale`, with x in u8, w in i8 and one scale a column.
#[derive(Clone, Debug)]
pub struct Linear {
    weights: PackedWeights,
    /// The bias less the product of the zero point and the column's sum; 0 for padding.
    bias: Vec<i32>,
    /// The bias for inputs less 128, by which instructions of signed factors take them.
    #[cfg(target_arch = "aarch64")]
    signed_bias: Vec<i32>,
    /// The input's scale times the column's; 0 for padding.
    scales: Vec<f32>,
}

impl Linear {
    /// The layer of these weights, for inputs that are quantized by `input`.
    pub fn new(
        weights: PackedWeights,
        column_scales: &[f32],
        bias: &[i32],
        input: Affine,
    ) -> Result<Self, LinearError> {
        let outputs = weights.outputs;
        check_length("scales", column_scales.len(), outputs)?;
        check_length("bias", bias.len(), outputs)?;
        let bad = column_scales
            .iter()
            .find(|scale| !(scale.is_finite() && **scale > 0.0));
        if let Some(&found) = bad.or((!input.is_valid()).then_some(&input.scale)) {
            return Err(LinearError::Scale { found });
        }
        let padded = outputs.div_ceil(PANEL) * PANEL;
        let shifted = |zero_point: i32| {
            let columns = bias.iter().zip(weights.sums.iter());
            let mut shifted: Vec<i32> = columns
                .map(|(bias, sum)| bias.wrapping_sub(zero_point * sum))
                .collect();
            shifted.resize(padded, 0);
            shifted
        };
        let zero_point = i32::from(input.zero_point);
        let mut scales: Vec<f32> = column_scales.iter().map(|scale| scale * input.scale).collect();
        if let Some(&found) = scales.iter().find(|scale| !scale.is_finite()) {
            return Err(LinearError::Scale { found });
        }
        scales.resize(padded, 0.0);
        Ok(Self {
            bias: shifted(zero_point),
            #[cfg(target_arch = "aarch64")]
            signed_bias: shifted(zero_point - 128),
            scales,
            weights,
        })
    }

    /// The width of the input.
    pub fn inputs(&self) -> usize {
        self.weights.inputs
    }

    /// The width of the output.
    pub fn outputs(&self) -> usize {
        self.weights.outputs
    }

    /// The row groups of a panel.
    pub(crate) fn groups(&self) -> usize {
        self.inputs().div_ceil(GROUP)
    }

    /// The panels, each with the bias and the scales of its columns.
    pub(crate) fn panels(&self) -> impl Iterator<Item = Panel<'_>> {
        let weights = self
            .weights
            .packed
            .as_slice()
            .chunks_exact(self.groups() * GROUP * PANEL);
        let (bias, _) = self.bias.as_chunks::<PANEL>();
        let (scales, _) = self.scales.as_chunks::<PANEL>();
        let columns = weights.zip(bias).zip(scales).enumerate();
        columns.map(|(number, ((weights, bias), scales))| Panel {
            column: number * PANEL,
            weights,
            bias,
            #[cfg(target_arch = "aarch64")]
            signed_bias: &self.signed_bias.as_chunks().0[number],
            scales,
        })
    }
}

/// 64 columns of a linear layer.
#[derive(Clone, Copy)]
pub(crate) struct Panel<'l> {
    /// The first column.
    pub(crate) column: usize,
    /// `[row group][column][row]`.
    pub(crate) weights: &'l [i8],
    pub(crate) bias: &'l [i32; PANEL],
    /// The bias for inputs less 128.
    #[cfg(target_arch = "aarch64")]
    pub(crate) signed_bias: &'l [i32; PANEL],
    pub(crate) scales: &'l [f32; PANEL],
}
