//! Large pages for large pieces of memory.
//!
//! With pages of 4 KiB a processor spends much of the time of a long read on finding where pages lie, and does not fetch
//! ahead beyond their ends: one core read 11 to 14 GB/s of them, and 18 to 19 GB/s of pages of 2 MiB.
#![expect(unsafe_code, reason = "the system's advice about memory")]

/// Bytes of a large page, where there are such.
pub const LARGE: usize = 2 << 20;
/// Bytes of a line of the caches.
const LINE: usize = 64;

/// How memory of so many bytes is best aligned: to a line of the caches, and to large pages where it fills any.
pub const fn alignment(bytes: usize) -> usize {
    if bytes >= LARGE { LARGE } else { LINE }
}

/// Asks the system for large pages where memory fills them. The memory's content does not change; a system that has none,
/// or will not, says nothing.
///
/// ```
/// let memory = vec![0_u8; 3 * netc_runtime::pages::LARGE];
/// netc_runtime::pages::advise(memory.as_ptr(), memory.len());
/// assert!(memory.iter().all(|&byte| byte == 0));
/// ```
pub fn advise(start: *const u8, bytes: usize) {
    let before = start.align_offset(LARGE);
    if before >= bytes || bytes - before < LARGE {
        return;
    }
    #[cfg(target_os = "linux")]
    {
        unsafe extern "C" {
            fn madvise(start: *const u8, bytes: usize, advice: i32) -> i32;
        }
        const HUGE_PAGE: i32 = 14;
        let whole = (bytes - before) / LARGE * LARGE;
        // SAFETY: advice changes no content, and addresses that are not the process's are an error without effect.
        let _ = unsafe { madvise(start.wrapping_add(before), whole, HUGE_PAGE) };
    }
}
