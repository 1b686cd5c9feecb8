//! Freed memory, returned to the system.

/// Returns freed pages to the system if the allocator is glibc's, which otherwise keeps as much as a model for each
/// thread that ever ran a session.
pub(crate) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: any thread may call it at any time.
    #[allow(unsafe_code)]
    unsafe {
        libc::malloc_trim(0);
    }
}
