//! The constants of a graph by their names.

use std::collections::BTreeMap;

use nerve_repository::onnx::proto::TensorProto;

use crate::encoder::error::UnfitGraph;

/// The constants of a graph by their names.
pub(super) struct Constants(BTreeMap<String, TensorProto>);

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

impl Constants {
    /// The constants, whose names are unique.
    pub(super) fn new(constants: Vec<TensorProto>) -> Self {
        let named = constants
            .into_iter()
            .map(|constant| (constant.name.clone(), constant));
        Self(named.collect())
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The constants that are not taken.
    pub(super) fn into_rest(self) -> impl Iterator<Item = TensorProto> {
        self.0.into_values()
    }

    /// The constant, if it has this type and shape, and as many elements.
    fn find<T: Element>(&self, name: &str, shape: &[usize]) -> Result<&TensorProto, UnfitGraph> {
        let bytes: Option<usize> = shape
            .iter()
            .try_fold(size_of::<T>(), |bytes, &extent| bytes.checked_mul(extent));
        self.0
            .get(name)
            .filter(|found| found.data_type == T::NUMBER && Some(found.raw_data.len()) == bytes)
            .filter(|_| self.shape(name).as_deref() == Some(shape))
            .ok_or_else(|| UnfitGraph::Constant {
                name: name.to_owned(),
            })
    }

    /// The elements of a constant of this shape.
    pub(super) fn of_shape<T: Element>(&self, name: &str, shape: &[usize]) -> Result<Vec<T>, UnfitGraph> {
        Ok(T::read(&self.find::<T>(name, shape)?.raw_data))
    }

    /// The elements of a constant of this shape, which is removed. So no two parts of an encoder share a constant, and the memory of an
    /// encoder is bounded by the size of the graph.
    pub(super) fn take<T: Element>(&mut self, name: &str, shape: &[usize]) -> Result<Vec<T>, UnfitGraph> {
        let elements = self.of_shape(name, shape)?;
        self.0.remove(name);
        Ok(elements)
    }

    /// The one element of a constant without axes.
    pub(super) fn scalar<T: Element + Copy>(&self, name: &str) -> Result<T, UnfitGraph> {
        let elements = self.of_shape(name, &[])?;
        let first = elements.first().copied();
        first.ok_or_else(|| UnfitGraph::Constant {
            name: name.to_owned(),
        })
    }

    /// The extents of a matrix of i8 that has as many elements as they say, at least one.
    pub(super) fn matrix(&self, name: &str) -> Result<[usize; 2], UnfitGraph> {
        let shape = self.shape(name).and_then(|shape| shape.try_into().ok());
        let shape: [usize; 2] = shape.ok_or_else(|| UnfitGraph::Constant {
            name: name.to_owned(),
        })?;
        let constant = self.find::<i8>(name, &shape)?;
        match constant.raw_data.is_empty() {
            true => Err(UnfitGraph::Constant {
                name: name.to_owned(),
            }),
            false => Ok(shape),
        }
    }

    /// The number of rows of a matrix of this width that has as many elements as they say.
    pub(super) fn rows<T: Element>(&self, name: &str, width: usize) -> Result<usize, UnfitGraph> {
        match self.shape(name).as_deref() {
            Some(&[rows, columns]) if columns == width => {
                self.find::<T>(name, &[rows, width])?;
                Ok(rows)
            }
            _ => Err(UnfitGraph::Constant {
                name: name.to_owned(),
            }),
        }
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let dims = self.0.get(name)?.dims.iter();
        dims.map(|&extent| usize::try_from(extent).ok()).collect()
    }
}
