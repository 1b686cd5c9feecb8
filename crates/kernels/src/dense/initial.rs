//! The start of the sums of a product.

/// What the sums of a product begin with.
#[derive(Clone, Copy, Debug)]
pub enum Initial<'r> {
    /// Nothing: the destination is not read.
    Zero,
    /// This row, in each row of the product: the destination is not read.
    Row(&'r [f32]),
    /// The elements of the destination.
    Destination,
}
