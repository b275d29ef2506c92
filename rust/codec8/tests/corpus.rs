//! The fuzzer's hook over its committed corpus, and over everything that these inputs are cut to.

use std::fs;
use std::path::Path;

#[path = "support/cutter.rs"]
mod cutter;
#[path = "../fuzz/hook.rs"]
mod hook;
#[path = "support/records.rs"]
mod records;

/// The corpus as (file name, bytes), in the order of the names.
fn corpus() -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/decode_any");
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        (name, fs::read(path).expect("a readable file"))
    };
    let mut files: Vec<_> = fs::read_dir(directory)
        .expect("the corpus")
        .map(read)
        .collect();
    files.sort();
    files
}

#[test]
fn the_hook_holds_for_every_input_and_every_prefix_and_suffix_of_it() {
    let files = corpus();
    assert!(files.len() >= 40, "{} files", files.len());
    for (name, input) in files {
        println!("{name}");
        for at in 0..=input.len() {
            hook::decode_any(&input[..at]);
            hook::decode_any(&input[at..]);
        }
    }
}

#[test]
fn the_hook_holds_for_every_input_with_any_byte_at_its_extremes() {
    for (name, input) in corpus() {
        println!("{name}");
        for at in 0..input.len() {
            for byte in [0x00, 0x01, 0x7F, 0x80, 0xFF] {
                let mut damaged = input.clone();
                damaged[at] = byte;
                hook::decode_any(&damaged);
            }
        }
    }
}
