//! The instruction sets that the encoder is compiled for.

#[cfg(target_arch = "x86_64")]
mod permission;

use std::str::FromStr;

use thiserror::Error;

/// The name of the environment variable that selects an instruction set, for tests and measurements.
const VARIABLE: &str = "NERVE_INSTRUCTION_SET";

/// An instruction set that the encoder is compiled for. All of them give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstructionSet {
    /// x86-64 with AVX-512 and tiles of 8-bit integers (AMX).
    Amx,
    /// x86-64 with AVX-512 and its 8-bit dot products (VNNI).
    Avx512Vnni,
    /// x86-64 with AVX2 and 8-bit dot products of 256 bits (AVX-VNNI).
    AvxVnni,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// aarch64 with 8-bit dot products.
    NeonDotprod,
    /// Rust without intrinsics.
    Portable,
}

/// An instruction set that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InstructionSetError {
    /// The name is unknown.
    #[error("{VARIABLE}: `{0}` is not an instruction set; use one of {names}", names = names())]
    Unknown(String),
    /// The processor lacks it, or the operating system refuses it.
    #[error("{VARIABLE}: this processor or its operating system does not offer {}", .0.name())]
    Missing(InstructionSet),
}

impl InstructionSet {
    /// Every instruction set, the fastest first.
    pub const ALL: [Self; 6] = [
        Self::Amx,
        Self::Avx512Vnni,
        Self::AvxVnni,
        Self::Avx2,
        Self::NeonDotprod,
        Self::Portable,
    ];

    /// The name in logs and in the environment variable.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amx => "amx",
            Self::Avx512Vnni => "avx512-vnni",
            Self::AvxVnni => "avx-vnni",
            Self::Avx2 => "avx2",
            Self::NeonDotprod => "neon-dotprod",
            Self::Portable => "portable",
        }
    }

    /// Whether this processor has the instruction set and the operating system permits it.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx => Self::Avx512Vnni.is_available() && permission::is_amx_available(),
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => Self::Avx2.is_available() && is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Amx | Self::Avx512Vnni | Self::AvxVnni | Self::Avx2 => false,
            #[cfg(target_arch = "aarch64")]
            Self::NeonDotprod => {
                std::arch::is_aarch64_feature_detected!("neon")
                    && std::arch::is_aarch64_feature_detected!("dotprod")
            }
            #[cfg(not(target_arch = "aarch64"))]
            Self::NeonDotprod => false,
            Self::Portable => true,
        }
    }

    /// The fastest instruction set of this processor, or the one that `NERVE_INSTRUCTION_SET` names.
    pub fn detect() -> Result<Self, InstructionSetError> {
        let named = std::env::var_os(VARIABLE).filter(|name| !name.is_empty());
        match named {
            Some(name) => {
                let asked: Self = name.to_string_lossy().parse()?;
                match asked.is_available() {
                    true => Ok(asked),
                    false => Err(InstructionSetError::Missing(asked)),
                }
            }
            None => Ok(Self::ALL
                .into_iter()
                .find(|set| set.is_available())
                .unwrap_or(Self::Portable)),
        }
    }
}

/// The names of all instruction sets.
fn names() -> String {
    InstructionSet::ALL.map(InstructionSet::name).join(", ")
}

impl FromStr for InstructionSet {
    type Err = InstructionSetError;

    fn from_str(name: &str) -> Result<Self, InstructionSetError> {
        Self::ALL
            .into_iter()
            .find(|set| set.name() == name)
            .ok_or_else(|| InstructionSetError::Unknown(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_selects_its_instruction_set() {
        for set in InstructionSet::ALL {
            assert_eq!(set.name().parse(), Ok(set));
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = "sse".parse::<InstructionSet>().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "NERVE_INSTRUCTION_SET: `sse` is not an instruction set; use one of {}",
                names()
            )
        );
        assert!(names().contains("amx, avx512-vnni, avx-vnni, avx2"));
    }
}
