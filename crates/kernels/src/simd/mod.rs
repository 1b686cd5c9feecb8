//! Vectors of 16 floats and products of 8-bit integers, for each instruction set.

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx_vnni;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod portable;
#[cfg(target_arch = "x86_64")]
pub(crate) mod tiles;
pub(crate) mod vector;

use crate::instructions::InstructionSet;
use crate::simd::vector::Task;

impl InstructionSet {
    /// Runs the task with this instruction set; with portable Rust if the processor lacks it.
    pub(crate) fn run(self, task: impl Task) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx => match amx::Amx::detect() {
                Some(simd) => simd.run(task),
                None => task.run(portable::Portable),
            },
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => match avx_vnni::AvxVnni::detect() {
                Some(simd) => simd.run(task),
                None => task.run(portable::Portable),
            },
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => match avx512::Avx512::<avx512::Vnni>::detect() {
                Some(simd) => simd.run(task),
                None => task.run(portable::Portable),
            },
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => match avx2::Avx2::<avx2::Pairs>::detect() {
                Some(simd) => simd.run(task),
                None => task.run(portable::Portable),
            },
            #[cfg(not(target_arch = "x86_64"))]
            Self::Amx | Self::Avx512Vnni | Self::AvxVnni | Self::Avx2 => task.run(portable::Portable),
            #[cfg(target_arch = "aarch64")]
            Self::NeonDotprod => match neon::Neon::detect() {
                Some(simd) => simd.run(task),
                None => task.run(portable::Portable),
            },
            #[cfg(not(target_arch = "aarch64"))]
            Self::NeonDotprod => task.run(portable::Portable),
            Self::Portable => task.run(portable::Portable),
        }
    }
}

#[cfg(test)]
mod tests;
