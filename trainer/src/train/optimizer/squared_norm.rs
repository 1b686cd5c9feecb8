//! The squared norm of a gradient, of which a part may be on another device.

use candle_core::{DType, Result, Tensor};

/// The sum of the squares of one variable's gradient.
pub(super) enum SquaredNorm {
    OnHost(f64),
    /// A scalar that the device may still be computing.
    OnDevice(Tensor),
}

/// The sum of all squares. The host waits for the device once.
pub(super) fn total(squares: Vec<SquaredNorm>) -> Result<f64> {
    let mut on_host = 0.0;
    let mut on_device = Vec::new();
    for square in squares {
        match square {
            SquaredNorm::OnHost(square) => on_host += square,
            SquaredNorm::OnDevice(square) => on_device.push(square),
        }
    }
    if on_device.is_empty() {
        return Ok(on_host);
    }
    let summed = Tensor::stack(&on_device, 0)?.to_dtype(DType::F64)?.sum_all()?;
    Ok(on_host + summed.to_scalar::<f64>()?)
}
