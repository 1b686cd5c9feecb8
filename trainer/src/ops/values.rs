//! Borrowed elements of CPU tensors.

use std::ops::{Deref, Range};

use candle_core::{CpuStorage, Error, Layout, Result, Storage, Tensor};

/// The elements of a contiguous f32 tensor on the CPU, in row-major order. An error for any other tensor.
pub(crate) fn values(tensor: &Tensor) -> Result<impl Deref<Target = [f32]>> {
    let (storage, layout) = tensor.storage_and_layout();
    let range = match &*storage {
        Storage::Cpu(cpu) => contiguous(cpu, layout)?.1,
        _ => return Err(Error::Msg("the tensor is not on the CPU".to_owned())),
    };
    Ok(Values { storage, range })
}

struct Values<S> {
    storage: S,
    // Invariant: this range lies inside the f32 storage.
    range: Range<usize>,
}

impl<S: Deref<Target = Storage>> Deref for Values<S> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(all)) => &all[self.range.clone()],
            _ => &[],
        }
    }
}

/// The elements of a storage that a layout selects, and their range in the storage.
pub(super) fn contiguous<'s>(storage: &'s CpuStorage, layout: &Layout) -> Result<(&'s [f32], Range<usize>)> {
    let (start, end) = layout
        .contiguous_offsets()
        .ok_or_else(|| Error::Msg(format!("a tensor of layout {layout:?} is not contiguous")))?;
    let all = storage.as_slice::<f32>()?;
    Ok((&all[start..end], start..end))
}

/// The elements of a storage that a layout selects.
pub(super) fn slice<'s>(storage: &'s CpuStorage, layout: &Layout) -> Result<&'s [f32]> {
    contiguous(storage, layout).map(|(values, _)| values)
}
