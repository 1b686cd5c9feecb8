//! AMX: AVX-512 for floats, and tiles for products of 8-bit integers and of bf16.

use std::arch::asm;
use std::arch::x86_64::{__m512, _mm512_cvtepi32_ps, _mm512_loadu_si512};

use crate::instructions::InstructionSet;
use crate::linear::Panel;
use crate::simd::avx512::{Avx512, Product};
use crate::simd::tiles::{Sums, TileInstructions, TileShape, multiply};
use crate::simd::vector::{Epilogue, LANES, Rows};

/// A processor with AVX-512 F, BW and VNNI, AMX-INT8 and AMX-BF16, of which this process may use the tiles.
pub(crate) type Amx = Avx512<TileUnit>;

/// The tile registers of this thread.
///
/// Intrinsics for tiles are unstable, so the instructions are assembly. This crate is not compiled for AMX, so the compiler itself uses no
/// tile register: what a block of assembly leaves in one is there in the next. Tiles and their configuration belong to the thread; other
/// code of the process finds them released, and loads its own configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TileUnit(());

impl TileUnit {
    /// The proof, if the processor has the instructions and the operating system permits them.
    pub(crate) fn detect() -> Option<Self> {
        InstructionSet::Amx.is_available().then_some(Self(()))
    }
}

impl Amx {
    /// The proof, if the processor has the instructions and the operating system permits them.
    pub(crate) fn detect() -> Option<Self> {
        TileUnit::detect().and_then(Self::with)
    }
}

impl Product for TileUnit {
    #[inline(always)]
    fn multiply<'l, E: Epilogue<Amx>>(
        simd: Amx,
        rows: Rows,
        panels: impl Iterator<Item = Panel<'l>>,
        epilogue: &mut E,
    ) {
        multiply(simd, &mut TileUnit(()), rows, panels, epilogue);
    }
}

impl Sums for Amx {
    #[inline(always)]
    fn floats(self, sums: &[i32; LANES]) -> __m512 {
        // SAFETY: `self` proves AVX-512 F, and the array is 64 readable bytes.
        unsafe { _mm512_cvtepi32_ps(_mm512_loadu_si512(sums.as_ptr().cast())) }
    }
}

/// The operand of `LDTILECFG`.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

const _: () = assert!(size_of::<Configuration>() == 64);

/// A block of assembly that may change any tile.
macro_rules! tile_asm {
    ($($part:tt)*) => {
        asm!(
            $($part)*
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
        )
    };
}

impl TileInstructions for TileUnit {
    #[inline(always)]
    fn configure(&mut self, shapes: [TileShape; 8]) {
        let mut configuration = Configuration {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            rows: [0; 16],
        };
        let tiles = configuration.row_bytes.iter_mut().zip(&mut configuration.rows);
        for ((row_bytes, rows), shape) in tiles.zip(shapes) {
            (*row_bytes, *rows) = (shape.row_bytes, shape.rows);
        }
        // SAFETY: `self` proves AMX. The operand is 64 readable bytes, and palette 1 has eight tiles of up to 16 rows of 64 bytes.
        unsafe {
            tile_asm!(
                "ldtilecfg [{configuration}]",
                configuration = in(reg) &raw const configuration,
                options(nostack, preserves_flags, readonly),
            );
        }
    }

    #[inline(always)]
    fn clear<const TILE: u8>(&mut self) {
        // SAFETY: `self` proves AMX. The instruction changes a tile alone.
        unsafe {
            tile_asm!(
                "tilezero tmm{tile}",
                tile = const TILE,
                options(nostack, preserves_flags, nomem),
            );
        }
    }

    #[inline(always)]
    unsafe fn load<const TILE: u8>(&mut self, from: *const u8, stride: usize) {
        // SAFETY: `self` proves AMX, and the caller that the rows are readable.
        unsafe {
            tile_asm!(
                "tileloadd tmm{tile}, [{from} + {stride} * 1]",
                tile = const TILE,
                from = in(reg) from,
                stride = in(reg) stride,
                options(nostack, preserves_flags, readonly),
            );
        }
    }

    #[inline(always)]
    fn multiply_add<const SUMS: u8, const INPUTS: u8, const WEIGHTS: u8>(&mut self) {
        // SAFETY: `self` proves AMX. The instruction changes a tile alone.
        unsafe {
            tile_asm!(
                "tdpbusd tmm{sums}, tmm{inputs}, tmm{weights}",
                sums = const SUMS,
                inputs = const INPUTS,
                weights = const WEIGHTS,
                options(nostack, preserves_flags, nomem),
            );
        }
    }

    #[inline(always)]
    fn multiply_add_bf16<const SUMS: u8, const LEFT: u8, const RIGHT: u8>(&mut self) {
        // SAFETY: `self` proves AMX. The instruction changes a tile alone.
        unsafe {
            tile_asm!(
                "tdpbf16ps tmm{sums}, tmm{left}, tmm{right}",
                sums = const SUMS,
                left = const LEFT,
                right = const RIGHT,
                options(nostack, preserves_flags, nomem),
            );
        }
    }

    #[inline(always)]
    unsafe fn store<const TILE: u8>(&mut self, to: *mut i32, stride: usize) {
        // SAFETY: `self` proves AMX, and the caller that the rows are writable.
        unsafe {
            tile_asm!(
                "tilestored [{to} + {stride} * 1], tmm{tile}",
                tile = const TILE,
                to = in(reg) to,
                stride = in(reg) stride,
                options(nostack, preserves_flags),
            );
        }
    }

    #[inline(always)]
    fn release(&mut self) {
        // SAFETY: `self` proves AMX. The instruction changes tiles alone.
        unsafe {
            tile_asm!("tilerelease", options(nostack, preserves_flags, nomem),);
        }
    }
}
