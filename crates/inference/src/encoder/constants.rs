//! The constants of a graph by their names.

use std::collections::BTreeMap;

use nerve_repository::onnx::proto::{GraphProto, TensorProto};

use crate::encoder::error::UnfitGraph;

/// The constants of a graph by their names.
pub(super) struct Constants<'g>(BTreeMap<&'g str, &'g TensorProto>);

/// An element type of constants.
pub(super) trait Element: Sized {
    /// Its number in `TensorProto.DataType`.
    const NUMBER: i32;

    fn read(bytes: &[u8]) -> Vec<Self>;
}

macro_rules! element {
    ($type:ty, $number:literal) => {
        impl Element for $type {
            const NUMBER: i32 = $number;

            fn read(bytes: &[u8]) -> Vec<Self> {
                let (elements, _) = bytes.as_chunks();
                elements
                    .iter()
                    .map(|bytes| Self::from_le_bytes(*bytes))
                    .collect()
            }
        }
    };
}
element!(f32, 1);
element!(u8, 2);
element!(i8, 3);
element!(i32, 6);
element!(i64, 7);

impl<'g> Constants<'g> {
    pub(super) fn of(graph: &'g GraphProto) -> Self {
        Self(
            graph
                .initializer
                .iter()
                .map(|constant| (constant.name.as_str(), constant))
                .collect(),
        )
    }

    /// The elements of a constant of this shape.
    pub(super) fn of_shape<T: Element>(&self, name: &str, shape: &[usize]) -> Result<Vec<T>, UnfitGraph> {
        let found = self
            .0
            .get(name)
            .filter(|_| self.shape(name).as_deref() == Some(shape));
        let elements: Option<usize> = shape
            .iter()
            .try_fold(size_of::<T>(), |bytes, &extent| bytes.checked_mul(extent));
        match found {
            Some(found) if found.data_type == T::NUMBER && Some(found.raw_data.len()) == elements => {
                Ok(T::read(&found.raw_data))
            }
            _ => Err(UnfitGraph::Constant {
                name: name.to_owned(),
            }),
        }
    }

    /// The one element of a constant without axes.
    pub(super) fn scalar<T: Element + Copy>(&self, name: &str) -> Result<T, UnfitGraph> {
        let elements = self.of_shape(name, &[])?;
        let first = elements.first().copied();
        first.ok_or_else(|| UnfitGraph::Constant {
            name: name.to_owned(),
        })
    }

    /// The shape of a constant.
    pub(super) fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let dims = self.0.get(name)?.dims.iter();
        dims.map(|&extent| usize::try_from(extent).ok()).collect()
    }
}
