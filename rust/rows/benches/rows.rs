//! Nanoseconds a row, from columns to COPY bytes, beside the decoder that makes the columns.
//!
//! `cargo bench -p rows -- CORPUS [FRAMES_PER_BATCH [PASSES]]`, where CORPUS is a run of frames,
//! each after its length (u32, little-endian). One line a stage: the median of the passes over the
//! corpus, and the least, which is what to compare on a busy machine.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a bench"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use codec8::{Columns, Limits, Transport, decode_frame};
use rows::{BatchView, CLOCK_AHEAD_MAX_MS, IoType, Rows, copy_last_positions, copy_positions};

const STAGES: [&str; 5] = [
    "decode",
    "select",
    "copy jsonb",
    "copy last",
    "decode to jsonb",
];

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    let Some(path) = arguments.next() else {
        return eprintln!("no corpus given: cargo bench -p rows -- CORPUS [FRAMES_PER_BATCH]");
    };
    let mut number = |default| {
        arguments
            .next()
            .map_or(default, |n| n.parse().expect("a number"))
    };
    let (frames_per_batch, n_passes): (usize, usize) = (number(400), number(9));
    let corpus = std::fs::read(&path).expect("a readable corpus");
    let frames = frames_of(&corpus);
    let mut passes: Vec<Pass> = (0..n_passes)
        .map(|_| Pass::over(&frames, frames_per_batch))
        .collect();
    println!(
        "{} frames, {} rows, {} B a row, {frames_per_batch} frames a batch, median of {n_passes}",
        frames.len(),
        passes[0].n_rows,
        passes[0].n_bytes / passes[0].n_rows
    );
    for (stage, name) in STAGES.iter().enumerate() {
        passes.sort_by_key(|pass| pass.stages[stage]);
        let [median, least] = [n_passes / 2, 0].map(|place| passes[place].ns_a_row(stage));
        println!(
            "{name:16} {median:7.1} ns a row (least {least:.1}), {:6.2} M/s",
            1e3 / median
        );
    }
}

/// The frames of a corpus.
fn frames_of(corpus: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    let mut rest = corpus;
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let (frame, tail) = tail.split_at(u32::from_le_bytes(*length) as usize);
        frames.push(frame);
        rest = tail;
    }
    frames
}

#[derive(Default)]
struct Pass {
    stages: [Duration; STAGES.len()],
    n_rows: usize,
    n_bytes: usize,
}

impl Pass {
    fn ns_a_row(&self, stage: usize) -> f64 {
        self.stages[stage].as_secs_f64() * 1e9 / self.n_rows as f64
    }

    fn over(frames: &[&[u8]], frames_per_batch: usize) -> Self {
        let mut pass = Self::default();
        let mut columns = Columns::new();
        let (mut room, mut last_room) = (Vec::new(), Vec::new());
        for batch in frames.chunks(frames_per_batch) {
            let started = Instant::now();
            columns.clear();
            let offsets = decode(batch, &mut columns);
            let decoded = Instant::now();
            let imei: Vec<i64> = (0..batch.len())
                .map(|i| imei_of(&columns, &offsets, i))
                .collect();
            let received = vec![1_750_000_000_000; batch.len()];
            let view = BatchView::new(&columns, batch, &imei, &received, &offsets);
            let ready = Instant::now();
            let rows = Rows::select(&view, 0..batch.len(), CLOCK_AHEAD_MAX_MS, None);
            let selected = Instant::now();
            let copy = copy_positions(&view, &rows, IoType::Jsonb, room);
            let written = Instant::now();
            let last = copy_last_positions(&view, &rows, last_room);
            let ended = Instant::now();
            pass.n_rows += copy.n_rows();
            pass.n_bytes += black_box(copy.as_slice()).len();
            (room, last_room) = (copy.into_room(), black_box(last).into_room());
            let parts = [
                decoded - started,
                selected - ready,
                written - selected,
                ended - written,
            ];
            for (sum, part) in pass.stages.iter_mut().zip(parts) {
                *sum += part;
            }
        }
        pass.stages[4] = pass.stages[..3].iter().sum();
        pass
    }
}

fn decode(batch: &[&[u8]], columns: &mut Columns) -> Vec<u32> {
    let limits = Limits::default();
    let mut offsets = vec![0];
    for (index, frame) in batch.iter().enumerate() {
        decode_frame(frame, Transport::Tcp, &limits, index as u32, columns).expect("a good frame");
        offsets.push(columns.n_records() as u32);
    }
    offsets
}

/// Who sent a frame is not in the corpus; the first ids of its device's profile stand for it.
fn imei_of(columns: &Columns, offsets: &[u32], entry: usize) -> i64 {
    let record = offsets[entry] as usize;
    let first = columns.io_offsets()[record] as usize;
    let profile = columns.io_id()[first..first + 8]
        .iter()
        .fold(0_u64, |hash, id| {
            (hash ^ u64::from(*id)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        });
    350_000_000_000_000 + (profile >> 32).cast_signed()
}
