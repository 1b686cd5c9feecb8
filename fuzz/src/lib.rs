//! Functions that the fuzz targets share.

pub mod files;
pub mod slow;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};

thread_local! {
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Replaces the panic hook of libFuzzer, which aborts the process even if the panic is caught.
pub fn allow_caught_panics() {
    set_hook(Box::new(|panic| {
        LAST_PANIC.with(|message| *message.borrow_mut() = panic.to_string())
    }));
}

/// Runs a target and aborts the process if the target panics.
pub fn run(target: fn(&[u8]), bytes: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| target(bytes))).is_err() {
        LAST_PANIC.with(|message| eprintln!("{}", message.borrow()));
        std::process::abort();
    }
}
