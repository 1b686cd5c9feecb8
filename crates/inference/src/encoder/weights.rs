//! The weights of the layers, which layers may share.

use std::collections::BTreeMap;
use std::sync::Arc;

use nerve_kernels::{Affine, Linear, Norm, PackedWeights};

use crate::encoder::constants::Constants;
use crate::encoder::error::UnfitGraph;

/// A product: its output, the names of its weights, and its bias.
pub(super) struct Product<'g> {
    pub(super) output: &'g str,
    pub(super) weights: ProductNames<'g>,
    pub(super) bias: Vec<i32>,
}

/// The names of a product's weights, of their scales and of their zeros.
type ProductNames<'g> = [&'g str; 3];

/// The weights that were read, by the names of their constants. Products or normalizations with the same names have the same
/// weights, as in the layers of ALBERT. Others share no constant.
#[derive(Default)]
pub(super) struct ReadWeights<'g> {
    /// The products of a layer, and the scales of their columns, by the names of each.
    products: BTreeMap<Vec<ProductNames<'g>>, (PackedWeights, Arc<[f32]>)>,
    /// The normalizations, by the names of weight and bias.
    norms: BTreeMap<[&'g str; 2], Arc<Norm>>,
}

impl<'g> ReadWeights<'g> {
    /// The linear layer whose columns are those of the products side by side, `columns` of each.
    pub(super) fn linear(
        &mut self,
        products: &[Product<'g>],
        [inputs, columns]: [usize; 2],
        input: Affine,
        constants: &mut Constants,
    ) -> Result<Linear, UnfitGraph> {
        let unfit = |source| UnfitGraph::Product {
            name: products
                .first()
                .map_or_else(String::new, |product| product.output.to_owned()),
            source,
        };
        let names: Vec<ProductNames> = products.iter().map(|product| product.weights).collect();
        let (weights, scales) = match self.products.get(&names) {
            Some(read) => read.clone(),
            None => {
                let (mut parts, mut scales) = (Vec::new(), Vec::new());
                for [weight, scales_of_columns, zeros] in &names {
                    let zeros_of_columns = constants.take::<i8>(zeros, &[columns])?;
                    if zeros_of_columns.iter().any(|&zero| zero != 0) {
                        return Err(UnfitGraph::Constant {
                            name: (*zeros).to_owned(),
                        });
                    }
                    parts.push(constants.take::<i8>(weight, &[inputs, columns])?);
                    scales.extend(constants.take::<f32>(scales_of_columns, &[columns])?);
                }
                let widths = [inputs, scales.len()];
                let weights =
                    PackedWeights::new(&side_by_side(&parts, [inputs, columns]), widths).map_err(unfit)?;
                let read = (weights, Arc::from(scales));
                self.products.insert(names, read.clone());
                read
            }
        };
        let biases = products.iter().flat_map(|product| &product.bias);
        let bias: Vec<i32> = biases.copied().collect();
        Linear::new(weights, &scales, &bias, input).map_err(unfit)
    }

    /// The normalization of this width with the weight and the bias of these names.
    pub(super) fn norm(
        &mut self,
        names: [&'g str; 2],
        width: usize,
        constants: &mut Constants,
    ) -> Result<Arc<Norm>, UnfitGraph> {
        if let Some(read) = self.norms.get(&names) {
            return Ok(Arc::clone(read));
        }
        let [weight, bias] = names;
        let norm = Arc::new(Norm {
            weight: constants.take(weight, &[width])?,
            bias: constants.take(bias, &[width])?,
        });
        self.norms.insert(names, Arc::clone(&norm));
        Ok(norm)
    }
}

/// Row-major matrices of this shape, side by side.
fn side_by_side(parts: &[Vec<i8>], [rows, columns]: [usize; 2]) -> Vec<i8> {
    let mut parts: Vec<_> = parts
        .iter()
        .map(|part| part.chunks_exact(columns.max(1)))
        .collect();
    let mut joined = Vec::with_capacity(rows * columns * parts.len());
    for _ in 0..rows {
        joined.extend(parts.iter_mut().filter_map(Iterator::next).flatten());
    }
    joined
}
