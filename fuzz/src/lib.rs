//! What the fuzz targets share.

pub mod files;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};

thread_local! {
    static LAST_WORDS: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Has a panic that is caught end nothing: libFuzzer's own hook would end the process at once.
pub fn allow_caught_panics() {
    set_hook(Box::new(|panic| {
        LAST_WORDS.with(|words| *words.borrow_mut() = panic.to_string())
    }));
}

/// Runs a target, and ends the process where it panics.
pub fn run(target: fn(&[u8]), bytes: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| target(bytes))).is_err() {
        LAST_WORDS.with(|words| eprintln!("{}", words.borrow()));
        std::process::abort();
    }
}
