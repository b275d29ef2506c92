//! What the tests share: hex and the vendor's examples; columns as records; a listener's cutting; proptest's settings.
#![allow(
    dead_code,
    reason = "each test file is a crate of its own and uses a part"
)]

use std::fmt::Write;

use proptest::prelude::ProptestConfig;
use proptest::test_runner::{FileFailurePersistence, RngSeed};
use serde_json::Value;

pub(crate) mod cutter;
pub(crate) mod records;

/// The vendor's examples that must decode, one JSON object a line.
pub(crate) const DOCUMENTED: &str = include_str!("../../../../tests/vectors/documented.jsonl");

/// The vendor's examples that are broken as printed.
pub(crate) const DOCUMENTED_INVALID: &str =
    include_str!("../../../../tests/vectors/documented_invalid.jsonl");

/// The seed of every run that `PROPTEST_RNG_SEED` does not give another one.
const SEED: u64 = 0x8E;

/// A failing input is kept in `<test file>.regressions` and tried first from then on.
pub(crate) fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig {
        cases,
        rng_seed: match default.rng_seed {
            RngSeed::Random => RngSeed::Fixed(SEED),
            given @ RngSeed::Fixed(_) => given,
        },
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..default
    }
}

pub(crate) fn vectors(lines: &str) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).expect("a vector is a line of JSON");
    lines
        .lines()
        .filter(|line| !line.is_empty())
        .map(parse)
        .collect()
}

/// Bytes of hex digits; spaces may separate fields.
pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| {
        u8::from_str_radix(&pair.iter().collect::<String>(), 16).expect("hex digits")
    };
    digits.chunks(2).map(byte).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        write!(digits, "{byte:02x}").expect("a string takes any text");
        digits
    })
}
