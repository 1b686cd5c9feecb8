//! The int8 encoder of a bundle's graph, replaced by the operator of `nerve-kernels`.

mod constants;
mod error;
mod layers;
mod pattern;
mod position_bias;
mod replace;
mod weights;

pub(crate) use replace::{EncoderGraph, replace_encoder};
