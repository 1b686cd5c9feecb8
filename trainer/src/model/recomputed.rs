//! Gradient checkpointing (Chen et al. 2016): the backward pass computes the activations of a layer again.

use std::sync::{Mutex, PoisonError};

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp2, DType, Error, Layout, Result, Shape, Storage, Tensor, Var,
};

use crate::model::pass::Pass;
use crate::ops::weights::in_graph;

/// The output of a layer for hidden states and for a tensor that all layers share.
type Forward = Box<dyn Fn(&Tensor, &Tensor, &mut Pass) -> Result<Tensor> + Send + Sync>;

/// The output of `layer` for hidden states. With gradient checkpointing the graph has the input of the layer, and no activation
/// inside it.
pub(super) fn layer_output(
    x: &Tensor,
    pass: &mut Pass,
    layer: impl Fn(&Tensor, &mut Pass) -> Result<Tensor> + Send + Sync + 'static,
) -> Result<Tensor> {
    if !pass.checkpoints_gradients {
        return layer(x, pass);
    }
    let none = Tensor::zeros(1, DType::F32, x.device())?;
    apply_recomputed_layer(x, &none, pass, Box::new(move |x, _, pass| layer(x, pass)))
}

/// The same as [`layer_output`] for a layer with a second input that all layers share.
pub(super) fn layer_output_with(
    x: &Tensor,
    shared: &Tensor,
    pass: &mut Pass,
    layer: impl Fn(&Tensor, &Tensor, &mut Pass) -> Result<Tensor> + Send + Sync + 'static,
) -> Result<Tensor> {
    match pass.checkpoints_gradients {
        true => apply_recomputed_layer(x, shared, pass, Box::new(layer)),
        false => layer(x, shared, pass),
    }
}

fn apply_recomputed_layer(x: &Tensor, shared: &Tensor, pass: &mut Pass, forward: Forward) -> Result<Tensor> {
    let dropout = pass.dropout.clone();
    let y = forward(&x.detach(), &shared.detach(), pass)?;
    let learns = y.track_op();
    let y = y.detach();
    if !learns && !x.track_op() && !shared.track_op() {
        return Ok(y);
    }
    let operator = RecomputedLayer {
        forward,
        pass: pass.with_dropout(dropout),
        output: Mutex::new(Some(y)),
    };
    in_graph(x, learns && !shared.track_op())?.apply_op2(shared, operator)
}

/// An operator whose output is computed before it is applied.
struct RecomputedLayer {
    forward: Forward,
    pass: Pass,
    output: Mutex<Option<Tensor>>,
}

impl RecomputedLayer {
    /// The output, whose storage has its elements alone, in their order.
    fn take_output(&self) -> Result<Tensor> {
        let output = self.output.lock().unwrap_or_else(PoisonError::into_inner).take();
        let output = output.ok_or_else(|| Error::Msg("the output of a layer is taken once".to_owned()))?;
        match output.layout().contiguous_offsets() {
            Some((0, _)) => Ok(output),
            _ => output.force_contiguous(),
        }
    }

    /// A tensor of the graph as a leaf of a graph of its own.
    fn leaf(tensor: &Tensor) -> Result<(Tensor, Option<Var>)> {
        let detached = tensor.detach();
        if !tensor.track_op() {
            return Ok((detached, None));
        }
        let leaf = Var::from_tensor(&detached)?;
        Ok((leaf.as_tensor().clone(), Some(leaf)))
    }
}

impl CustomOp2 for RecomputedLayer {
    fn name(&self) -> &'static str {
        "recomputed-layer"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let output = self.take_output()?;
        let (storage, layout) = output.storage_and_layout();
        match &*storage {
            Storage::Cpu(storage) => Ok((storage.try_clone(layout)?, layout.shape().clone())),
            _ => candle_core::bail!("the output of a layer is on another device than its input"),
        }
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let output = self.take_output()?;
        let (storage, layout) = output.storage_and_layout();
        match &*storage {
            Storage::Cuda(storage) => Ok((storage.try_clone(layout)?, layout.shape().clone())),
            _ => candle_core::bail!("the output of a layer is on another device than its input"),
        }
    }

    fn bwd(
        &self,
        x: &Tensor,
        shared: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let ((x, x_leaf), (shared, shared_leaf)) = (Self::leaf(x)?, Self::leaf(shared)?);
        let mut pass = self.pass.with_dropout(self.pass.dropout.clone());
        let y = (self.forward)(&x, &shared, &mut pass)?;
        // The gradient of this sum by the output is the gradient of the loss by it, to the last bit.
        let mut gradients = (&y * gradient)?.sum_all()?.backward()?;
        let [dx, dshared] = [x_leaf, shared_leaf].map(|leaf| gradients.remove(leaf?.as_tensor()));
        for node in y.sorted_nodes() {
            if node.is_variable()
                && let Some(own) = gradients.remove(node)
            {
                self.pass.weights.add(node, own)?;
            }
        }
        Ok((dx, dshared))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::ops::check::random;
    use crate::ops::dropout::Dropout;

    #[test]
    fn a_checkpointed_layer_is_computed_again_once_with_the_same_masks() {
        let x = Var::from_tensor(&random((5, 9), 1)).unwrap();
        let weight = Var::from_tensor(&random((5, 9), 2)).unwrap();
        let run = |checkpoints_gradients: bool| {
            let calls = Arc::new(AtomicUsize::new(0));
            let mut pass = Pass {
                checkpoints_gradients,
                ..Pass::new(Dropout::seeded(7))
            };
            let (counter, weight_of_layer) = (calls.clone(), weight.as_tensor().clone());
            let layer = move |x: &Tensor, pass: &mut Pass| {
                counter.fetch_add(1, Ordering::Relaxed);
                pass.dropout.apply(&(x * &weight_of_layer)?, 0.5)?.sqr()
            };
            let y = layer_output(x.as_tensor(), &mut pass, layer.clone()).unwrap();
            let y = layer_output(&y, &mut pass, layer).unwrap();
            let store = y.sum_all().unwrap().backward().unwrap();
            let of_weight = pass.weights.take(&weight).or_else(|| store.get(&weight).cloned());
            let gradients = [store.get(&x).unwrap(), &of_weight.unwrap()]
                .map(|gradient| gradient.to_vec2::<f32>().unwrap());
            (
                calls.load(Ordering::Relaxed),
                y.to_vec2::<f32>().unwrap(),
                gradients,
            )
        };
        let (once, y, gradients) = run(false);
        let (twice, same_y, same_gradients) = run(true);
        assert_eq!((once, twice), (2, 4));
        assert_eq!((same_y, same_gradients), (y, gradients));
    }
}
