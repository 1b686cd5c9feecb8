//! Writing f32 tensors as a safetensors file, one tensor in memory at a time.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::ops::Deref;
use std::path::Path;

use safetensors::tensor::{Dtype, View};
use safetensors::{SafeTensorError, serialize_to_file};

/// A tensor to be written, whose elements are borrowed until then.
pub(crate) struct F32Tensor<V> {
    /// The extent of each axis.
    pub(crate) shape: Vec<usize>,
    /// The elements, as many as the shape says.
    pub(crate) values: V,
}

impl<V: Deref<Target = [f32]>> View for F32Tensor<V> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut bytes = vec![0; self.data_len()];
        let (chunks, _) = bytes.as_chunks_mut::<4>();
        for (chunk, value) in chunks.iter_mut().zip(self.values.iter()) {
            *chunk = value.to_le_bytes();
        }
        bytes.into()
    }

    fn data_len(&self) -> usize {
        4 * self.values.len()
    }
}

/// Writes named tensors to a file, which is as readable as a file that the system makes.
pub(crate) fn write_tensors<V: Deref<Target = [f32]>>(
    path: &Path,
    tensors: impl IntoIterator<Item = (String, F32Tensor<V>)>,
    metadata: Option<HashMap<String, String>>,
) -> Result<(), SafeTensorError> {
    // The library renames a temporary file, which only its owner may read; the permissions of a new file are those that
    // the process gives.
    let permissions = fs::File::create(path)?.metadata()?.permissions();
    serialize_to_file(tensors, metadata, path)?;
    Ok(fs::set_permissions(path, permissions)?)
}
