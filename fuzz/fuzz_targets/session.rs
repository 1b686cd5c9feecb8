#![no_main]

use libfuzzer_sys::fuzz_target;
use nerve_fuzz::{allow_caught_panics, files};

fuzz_target!(init: allow_caught_panics(), |bytes: &[u8]| files::session(bytes));
