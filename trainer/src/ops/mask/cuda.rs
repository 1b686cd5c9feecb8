//! The kernels of `mask.cu`, compiled by NVRTC when they are first needed.

use std::sync::OnceLock;

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{LaunchConfig, PushKernelArg};
use candle_core::cuda_backend::cudarc::nvrtc::compile_ptx;
use candle_core::{CudaDevice, CudaStorage, Error, Layout, Result};

const SOURCE: &str = include_str!("mask.cu");
const MODULE: &str = "nerve_dropout_masks";
const THREADS: u32 = 256;
/// Enough blocks of threads to occupy any GPU; a kernel's threads loop over what is left.
const MOST_BLOCKS: usize = 1 << 16;

/// The numbers that define a mask, as the kernels take them.
#[derive(Clone, Copy)]
pub(super) struct MaskArguments {
    pub(super) keys: [u32; 2],
    pub(super) threshold: u32,
    pub(super) scale: f32,
}

/// The masked elements of a contiguous f32 tensor. The host does not wait for them.
pub(super) fn mask_elements(x: &CudaStorage, layout: &Layout, mask: MaskArguments) -> Result<CudaStorage> {
    let (device, count) = (x.device(), layout.shape().elem_count());
    let x = x.as_cuda_slice::<f32>()?.slice(contiguous_range(layout)?);
    let kernel = device.get_or_load_custom_func("mask_elements", MODULE, ptx()?)?;
    let y = allocate(device, count)?;
    if count > 0 {
        let blocks = count.div_ceil(THREADS as usize);
        let elements = count as u64;
        let mut launch = kernel.builder();
        launch.arg(&x).arg(&y).arg(&elements);
        launch.arg(&mask.keys[0]).arg(&mask.keys[1]);
        launch.arg(&mask.threshold).arg(&mask.scale);
        // SAFETY: the types of the arguments are those of the kernel, and `x` and `y` have `count` elements each.
        #[allow(unsafe_code)]
        unsafe { launch.launch(blocks_of(blocks)) }.w()?;
    }
    Ok(CudaStorage::wrap_cuda_slice(y, device.clone()))
}

/// The masked attention weights, `[blocks, heads, queries, keys]`, with the table of `weight_mask.rs`, `[blocks, queries, 4]`. Both are
/// contiguous. The host does not wait for them.
pub(super) fn mask_weights(
    (weights, layout): (&CudaStorage, &Layout),
    (table, table_layout): (&CudaStorage, &Layout),
    mask: MaskArguments,
) -> Result<CudaStorage> {
    let extents = layout.shape().dims4()?;
    let (blocks, heads, queries, keys) = extents;
    if table_layout.shape().dims3()? != (blocks, queries, 4) {
        candle_core::bail!("{:?} attention weights have another table", layout.shape());
    }
    let number = |extent: usize| u32::try_from(extent).map_err(Error::wrap);
    let (device, rows) = (weights.device(), blocks * heads * queries);
    let weights = weights.as_cuda_slice::<f32>()?.slice(contiguous_range(layout)?);
    let table = table
        .as_cuda_slice::<u32>()?
        .slice(contiguous_range(table_layout)?);
    let kernel = device.get_or_load_custom_func("mask_weights", MODULE, ptx()?)?;
    let y = allocate(device, rows * keys)?;
    if rows * keys > 0 {
        let [all, heads, queries, keys] = [number(rows)?, number(heads)?, number(queries)?, number(keys)?];
        let mut launch = kernel.builder();
        launch.arg(&weights).arg(&table).arg(&y);
        launch.arg(&all).arg(&heads).arg(&queries).arg(&keys);
        launch.arg(&mask.keys[0]).arg(&mask.keys[1]);
        launch.arg(&mask.threshold).arg(&mask.scale);
        // SAFETY: the types of the arguments are those of the kernel. `weights` and `y` have `rows * keys` elements, the
        // table four numbers for each query of each block, and the kernel writes the elements of its rows alone.
        #[allow(unsafe_code)]
        unsafe { launch.launch(blocks_of(rows)) }.w()?;
    }
    Ok(CudaStorage::wrap_cuda_slice(y, device.clone()))
}

/// Memory for elements, all of which a kernel then writes.
fn allocate(
    device: &CudaDevice,
    count: usize,
) -> Result<candle_core::cuda_backend::cudarc::driver::CudaSlice<f32>> {
    // SAFETY: each caller launches a kernel on the device's stream that writes every element before anything reads it.
    #[allow(unsafe_code)]
    unsafe {
        device.alloc::<f32>(count)
    }
}

fn blocks_of(count: usize) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (count.min(MOST_BLOCKS) as u32, 1, 1),
        block_dim: (THREADS, 1, 1),
        shared_mem_bytes: 0,
    }
}

fn contiguous_range(layout: &Layout) -> Result<std::ops::Range<usize>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(start..end),
        None => candle_core::bail!("a tensor of layout {layout:?} is not contiguous"),
    }
}

/// The compiled kernels.
fn ptx() -> Result<&'static str> {
    static PTX: OnceLock<std::result::Result<String, String>> = OnceLock::new();
    let compiled = PTX.get_or_init(|| match compile_ptx(SOURCE) {
        Ok(ptx) => Ok(ptx.to_src()),
        Err(error) => Err(format!("NVRTC does not compile the dropout masks: {error:?}")),
    });
    compiled.as_deref().map_err(|error| Error::Msg(error.clone()))
}
