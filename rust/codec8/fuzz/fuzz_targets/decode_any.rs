//! `cargo +nightly fuzz run decode_any`, from `rust/codec8`.
#![no_main]

#[path = "../../tests/support/cutter.rs"]
mod cutter;
#[path = "../hook.rs"]
mod hook;
#[path = "../../tests/support/records.rs"]
mod records;

libfuzzer_sys::fuzz_target!(|input: &[u8]| hook::decode_any(input));
