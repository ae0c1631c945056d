//! Which instruction set this process uses, decided once.
#![expect(unsafe_code, reason = "calls code for the instructions that were detected")]

use std::sync::OnceLock;

use super::simd::{Simd, Task};

/// The instruction sets that kernels exist for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cpu {
    /// What every CPU of the architecture has.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512F and AVX-512BW.
    Avx512,
    /// x86-64 with AVX-512 and a matrix unit for `bf16`, AMX.
    Amx,
    /// AArch64.
    Neon,
}

/// The best instruction set of this CPU, or the one that the environment variable `NETC_CPU` names
/// (`portable`, `avx2`, `avx512`, `amx` or `neon`) if this CPU has it.
pub fn cpu() -> Cpu {
    static CHOSEN: OnceLock<Cpu> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let wanted = std::env::var("NETC_CPU").unwrap_or_default();
        let named = match wanted.to_ascii_lowercase().as_str() {
            "portable" => Some(Cpu::Portable),
            "avx2" => Some(Cpu::Avx2),
            "avx512" => Some(Cpu::Avx512),
            "amx" => Some(Cpu::Amx),
            "neon" => Some(Cpu::Neon),
            _ => None,
        };
        named.filter(|&cpu| has(cpu)).unwrap_or_else(|| best(&[Cpu::Neon, Cpu::Amx, Cpu::Avx512, Cpu::Avx2]))
    })
}

fn best(candidates: &[Cpu]) -> Cpu {
    candidates.iter().copied().find(|&cpu| has(cpu)).unwrap_or(Cpu::Portable)
}

/// Whether this CPU has an instruction set.
pub fn has(cpu: Cpu) -> bool {
    match cpu {
        Cpu::Portable => true,
        #[cfg(target_arch = "x86_64")]
        Cpu::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
        #[cfg(target_arch = "x86_64")]
        Cpu::Avx512 => has(Cpu::Avx2) && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw"),
        #[cfg(target_arch = "x86_64")]
        Cpu::Amx => {
            static THERE: OnceLock<bool> = OnceLock::new();
            has(Cpu::Avx512) && *THERE.get_or_init(super::amx::detect::is_there)
        }
        #[cfg(not(target_arch = "x86_64"))]
        Cpu::Avx2 | Cpu::Avx512 | Cpu::Amx => false,
        Cpu::Neon => cfg!(target_arch = "aarch64"),
    }
}

/// Whether what is chosen is the vectors of one of AMD's processors with AVX-512, for which some ways pay that do not elsewhere; in
/// unit tests, those of any.
pub(crate) fn is_amd_with_avx512(cpu: Cpu) -> bool {
    cpu == Cpu::Avx512 && (cfg!(test) || is_amd())
}

/// Whether pairs of words can be shifted in one operation.
pub(crate) fn has_vbmi2() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512vbmi2");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Whether this is a processor of AMD's.
fn is_amd() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        static AMD: OnceLock<bool> = OnceLock::new();
        *AMD.get_or_init(|| {
            let maker = std::arch::x86_64::__cpuid(0);
            [maker.ebx, maker.edx, maker.ecx].map(u32::to_le_bytes).as_flattened() == b"AuthenticAMD"
        })
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Runs a task with the vectors of an instruction set that this CPU has.
pub(crate) fn run_on<T: Task>(cpu: Cpu, task: T) {
    assert!(has(cpu), "this CPU has no {cpu:?}");
    // SAFETY: the instructions were detected.
    unsafe {
        match cpu {
            #[cfg(target_arch = "x86_64")]
            Cpu::Avx2 => super::avx2::Avx2::vectorize(task),
            #[cfg(target_arch = "x86_64")]
            Cpu::Avx512 | Cpu::Amx => super::avx512::Avx512::vectorize(task),
            #[cfg(target_arch = "aarch64")]
            Cpu::Neon => super::neon::Neon::vectorize(task),
            _ => super::portable::Portable::vectorize(task),
        }
    }
}
