//! Dropout masks of attention weights that are padded.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, Device, Layout, Result, Shape, Tensor};

use crate::ops::mask::Mask;
use crate::ops::values::slice;

/// The weights of a query in padded attention weights.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct QueryWeights {
    /// The first column that the query attends to.
    pub(super) start: usize,
    /// The end of these columns. A query of padding attends to none.
    pub(super) end: usize,
    /// The number of the first of these weights in head 0, among the unpadded weights of all sequences and heads.
    pub(super) from: usize,
    /// The number of unpadded weights from a head to the next.
    pub(super) of_head: usize,
}

/// The attention weights, `[blocks, heads, queries, keys]`, by the dropout mask, which is indexed as in the unpadded weights. The
/// weights of padding become 0. `queries` has the queries of each block.
pub(super) fn masked_weights(
    weights: &Tensor,
    queries: impl Iterator<Item = QueryWeights>,
    mask: Mask,
) -> Result<Tensor> {
    let (blocks, _, count, _) = weights.dims4()?;
    let table = table(queries, (blocks, count), weights.device())?;
    weights.apply_op2(&table, WeightMask(mask))
}

/// The four numbers of each query, `[blocks, queries, 4]`. Positions are those of the mask: modulo 2^32.
fn table(
    queries: impl Iterator<Item = QueryWeights>,
    (blocks, count): (usize, usize),
    device: &Device,
) -> Result<Tensor> {
    let numbers: Vec<u32> = queries
        .flat_map(|query| [query.start, query.end, query.from, query.of_head])
        .map(|number| number as u32)
        .collect();
    Tensor::from_vec(numbers, (blocks, count, 4), device)
}

struct WeightMask(Mask);

impl CustomOp2 for WeightMask {
    fn name(&self) -> &'static str {
        "attention-dropout"
    }

    fn cpu_fwd(
        &self,
        weights: &CpuStorage,
        layout: &Layout,
        table: &CpuStorage,
        table_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (blocks, heads, queries, keys) = layout.shape().dims4()?;
        if table_layout.shape().dims3()? != (blocks, queries, 4) || !table_layout.is_contiguous() {
            candle_core::bail!("{:?} attention weights have another table", layout.shape());
        }
        let mut masked = slice(weights, layout)?.to_vec();
        let (table, _) = table.as_slice::<u32>()?[table_layout.start_offset()..].as_chunks::<4>();
        for (row, weights) in masked.chunks_exact_mut(keys.max(1)).enumerate() {
            let (query, head, block) = (row % queries, row / queries % heads, row / queries / heads);
            let [start, end, from, of_head] = table[block * queries + query].map(|number| number as usize);
            weights[..start].fill(0.0);
            weights[end..].fill(0.0);
            self.0.multiply(&mut weights[start..end], from + head * of_head);
        }
        Ok((CpuStorage::F32(masked), layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        weights: &CudaStorage,
        layout: &Layout,
        table: &CudaStorage,
        table_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let masked = self
            .0
            .multiply_weights((weights, layout), (table, table_layout))?;
        Ok((masked, layout.shape().clone()))
    }

    fn bwd(
        &self,
        _weights: &Tensor,
        table: &Tensor,
        _masked: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dweights = gradient.contiguous()?.apply_op2_no_bwd(table, self)?;
        Ok((Some(dweights), None))
    }
}
