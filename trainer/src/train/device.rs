//! Opens the device that a training runs on.

use nerve_inference::Device;

/// The candle device; an error if it is unavailable, never another device. The CPU runs the fused operators, CUDA candle's own.
pub fn open_device(device: Device) -> Result<candle_core::Device, candle_core::Error> {
    match device {
        Device::Cpu => Ok(candle_core::Device::Cpu),
        Device::Cuda(index) => candle_core::Device::new_cuda(usize::try_from(index).unwrap_or_default()),
    }
}
