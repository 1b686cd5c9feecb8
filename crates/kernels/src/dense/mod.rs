//! Products of f32 matrices with AVX-512: in f32, or in bf16 with f32 sums.
//!
//! Both are the same code but for the instruction that adds a product to the sums. It multiplies words of 32 bits: one f32, or two
//! bf16 that follow one another along the inner extent. Where the processor has tiles (AMX), they multiply words of bf16: the rounded
//! factors, or three parts of each f32.

mod initial;
pub(crate) mod matrix;
#[cfg(target_arch = "x86_64")]
mod pack;
mod products;
#[cfg(target_arch = "x86_64")]
mod tile;
#[cfg(target_arch = "x86_64")]
mod tiled;
#[cfg(target_arch = "x86_64")]
mod words;

pub use initial::Initial;
pub use matrix::Matrix;
pub use products::{Bf16Error, Products};
