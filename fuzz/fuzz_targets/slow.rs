#![no_main]

use libfuzzer_sys::fuzz_target;
use nerve_fuzz::slow::slow;

fuzz_target!(|bytes: &[u8]| slow(bytes));
