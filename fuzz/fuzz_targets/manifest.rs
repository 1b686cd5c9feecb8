#![no_main]

use libfuzzer_sys::fuzz_target;
use nerve_fuzz::{allow_caught_panics, files, run};

fuzz_target!(init: allow_caught_panics(), |bytes: &[u8]| run(files::manifest, bytes));
