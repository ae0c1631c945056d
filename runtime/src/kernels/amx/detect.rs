//! Whether the matrix unit is there, and may be used.
#![expect(unsafe_code, reason = "a call of the system")]

/// Whether this process may use the matrix unit, and has all other instructions that are used here.
pub(in super::super) fn is_there() -> bool {
    use std::arch::x86_64::__cpuid_count;
    const BF16: u32 = 1 << 22;
    const TILES: u32 = 1 << 24;
    let vectors = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512bf16");
    // AVX-512 is not detected without leaf 7.
    vectors && __cpuid_count(7, 0).edx & (BF16 | TILES) == BF16 | TILES && allowed()
}

/// Asks the system for the unit's registers, 8 KiB for each thread that uses them.
#[cfg(target_os = "linux")]
fn allowed() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const REQUEST: u64 = 0x1023;
    const TILE_DATA: u64 = 18;
    let mut result = ARCH_PRCTL;
    // SAFETY: a call of the system that changes nothing but what this process may do. Systems that do not know it refuse.
    unsafe {
        std::arch::asm!(
            "syscall",
            inout("rax") result,
            in("rdi") REQUEST,
            in("rsi") TILE_DATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    result == 0
}

/// Other systems have not been tried.
#[cfg(not(target_os = "linux"))]
fn allowed() -> bool {
    false
}
