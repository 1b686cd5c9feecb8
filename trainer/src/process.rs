//! What a process that trains sets up before anything else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nerve_export::start_logging;

/// `mi_option_purge_delay` of mimalloc.h: milliseconds after which freed pages go back to the system, -1 for never.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// The exit status of a run that was interrupted, which is a shell's for a process that Ctrl-C ended.
pub const INTERRUPTED: u8 = 130;

/// Prepares a process for training. It must be the first call of `main`, and the global allocator must be mimalloc.
pub fn prepare_process() {
    keep_freed_pages();
    one_thread_per_operator();
    start_logging();
}

/// Keeps the pages of a step's tensors for those of the next step, which needs as many.
fn keep_freed_pages() {
    // SAFETY: the option exists, and any thread may set it at any time.
    #[allow(unsafe_code)]
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, -1);
    }
}

/// Keeps candle's operators on their callers' threads: the shards of a batch run in parallel, and would otherwise wait for
/// one another in candle's pool.
fn one_thread_per_operator() {
    for variable in ["CANDLE_NUM_THREADS", "RAYON_NUM_THREADS"] {
        // SAFETY: no other thread has been started that could read the environment meanwhile.
        #[allow(unsafe_code)]
        unsafe {
            std::env::set_var(variable, "1");
        }
    }
}

/// A flag that the first Ctrl-C or termination signal sets. The second one ends the process at once.
pub fn interrupt_flag() -> Result<Arc<AtomicBool>, ctrlc::Error> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let set = interrupted.clone();
    ctrlc::set_handler(move || {
        if set.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(INTERRUPTED));
        }
        eprintln!("stopping after this step; press Ctrl-C again to stop at once");
    })?;
    Ok(interrupted)
}
