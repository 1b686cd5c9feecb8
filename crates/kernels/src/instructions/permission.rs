//! Whether this process may use the tiles of AMX.

use std::sync::OnceLock;

/// Whether the processor multiplies tiles of 8-bit integers and of bf16 (AMX-INT8, AMX-BF16) and the operating system permits it. The
/// first call asks for the permission, for the whole process. The processor must have AVX.
pub(super) fn is_amx_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| cfg!(target_os = "linux") && has_tiles() && request_tiles())
}

/// Whether the processor has AMX-INT8 and AMX-BF16 with the usual tiles, and the operating system saves them.
fn has_tiles() -> bool {
    use std::arch::x86_64::{__cpuid_count, _xgetbv};

    const TILE_INT8_AND_BF16: u32 = 0b1101 << 22;
    const TILE_STATE: u64 = 0b11 << 17;
    const FEATURES: u32 = 7;
    const TILES: u32 = 0x1d;
    if __cpuid_count(0, 0).eax < TILES
        || __cpuid_count(FEATURES, 0).edx & TILE_INT8_AND_BF16 != TILE_INT8_AND_BF16
    {
        return false;
    }
    // Palette 1: bytes of all tiles, bytes of a tile; bytes of a row, tiles; rows.
    let palette = __cpuid_count(TILES, 1);
    if [palette.eax, palette.ebx, palette.ecx] != [1024 << 16 | 8192, 8 << 16 | 64, 16] {
        return false;
    }
    // SAFETY: the caller's processor has AVX, of which XGETBV is a part.
    unsafe { _xgetbv(0) & TILE_STATE == TILE_STATE }
}

/// Asks Linux for the permission to use tile data: `arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`.
fn request_tiles() -> bool {
    const ARCH_PRCTL: isize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const XFEATURE_XTILEDATA: usize = 18;
    let result: isize;
    // SAFETY: the system call reads and writes no memory of the process, and changes rax, rcx and r11 alone. Only Linux gets here.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result == 0
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn linux_refuses_tiles_that_the_processor_lacks() {
        if is_x86_feature_detected!("avx") && !has_tiles() {
            assert!(!request_tiles());
            assert!(!is_amx_available());
        }
    }
}
