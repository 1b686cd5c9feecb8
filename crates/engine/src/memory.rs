//! Memory that was freed, back to the system.

/// Gives freed pages back, where the allocator is glibc's: it keeps them otherwise, a model's worth for each thread that once
/// ran a session.
pub(crate) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: any thread may call it at any time.
    #[allow(unsafe_code)]
    unsafe {
        libc::malloc_trim(0);
    }
}
