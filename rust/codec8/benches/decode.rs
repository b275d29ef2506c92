//! Nanoseconds a record of the decoder's two passes, and of the CRC at frame sizes that occur.
//!
//! `cargo bench -p codec8`. The frames are generated from a fixed seed: 200 devices, each with a codec
//! and elements of its own that its records mostly repeat, 1 to 25 records a frame. The passes are
//! run in batches of 64 frames, so that what is written stays in the cache, as a service does it.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "a bench"
)]

use std::hint::black_box;
use std::time::Instant;

use codec8::encode::{IoElement, IoValue, Layout, Record, encode_frame};
use codec8::{CodecId, Columns, Limits, Transport, check_envelope, crc16, decode_frame};

const N_FRAMES: usize = 4_000;
const N_DEVICES: u64 = 200;
const BATCH: usize = 64;
const ROUNDS: usize = 60;

fn main() {
    let frames = fleet();
    let n_records: usize = frames.iter().map(|frame| usize::from(frame[9])).sum();
    let n_bytes: usize = frames.iter().map(Vec::len).sum();
    println!(
        "{N_FRAMES} frames, {n_records} records, {} B a record",
        n_bytes / n_records
    );
    let limits = Limits::default();
    let mut columns = Columns::new();
    report("envelope and CRC", n_records, || {
        for frame in &frames {
            black_box(check_envelope(frame, Transport::Tcp, &limits).is_ok());
        }
    });
    report("records, without CRC", n_records, || {
        for batch in frames.chunks(BATCH) {
            columns.clear();
            for (index, frame) in (0u32..).zip(batch) {
                let packet = &frame[8..frame.len() - 4];
                let outcome = decode_frame(packet, Transport::Udp, &limits, index, &mut columns);
                assert!(outcome.is_ok());
            }
            black_box(&columns);
        }
    });
    report("both, in two passes", n_records, || {
        for batch in frames.chunks(BATCH) {
            columns.clear();
            let packets: Vec<_> = batch
                .iter()
                .map(|frame| check_envelope(frame, Transport::Tcp, &limits))
                .collect();
            for (index, packet) in (0u32..).zip(packets) {
                assert!(packet.is_ok_and(|packet| packet.decode_into(index, &mut columns).is_ok()));
            }
            black_box(&columns);
        }
    });
    compare_crc();
}

/// Runs `pass` and prints its least and median time.
fn report(name: &str, n: usize, mut pass: impl FnMut()) {
    let mut seconds = [0.0; ROUNDS];
    for second in &mut seconds {
        let start = Instant::now();
        pass();
        *second = start.elapsed().as_secs_f64();
    }
    seconds.sort_by(f64::total_cmp);
    let [least, median] = [0, ROUNDS / 2].map(|place| seconds[place] * 1e9 / n as f64);
    println!("{name:24} {least:7.1} ns least, {median:7.1} ns median of {ROUNDS}");
}

/// The CRC crate of the decoder beside a 16-slice table, at the sizes of a data field.
fn compare_crc() {
    const TABLE: crc::Crc<u16, crc::Table<16>> =
        crc::Crc::<u16, crc::Table<16>>::new(&crc::CRC_16_ARC);
    const CALLS: usize = 2_000;
    let data = vec![0xA5; 1_400];
    for size in [17, 45, 64, 110, 256, 1_400] {
        let field = &data[..size];
        report(&format!("CRC of {size} B"), CALLS, || {
            for _ in 0..CALLS {
                black_box(crc16(black_box(field)));
            }
        });
        report(&format!("CRC of {size} B, table"), CALLS, || {
            for _ in 0..CALLS {
                black_box(TABLE.checksum(black_box(field)));
            }
        });
    }
}

/// Frames of the fleet, devices in turn.
fn fleet() -> Vec<Vec<u8>> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    (0..N_FRAMES)
        .map(|_| {
            let device = random.below(N_DEVICES);
            let codec_id = match device % 20 {
                0..14 => CodecId::Codec8Extended,
                14..19 => CodecId::Codec8,
                _ => CodecId::Codec16,
            };
            let n_records = 1 + random.below(25);
            let records: Vec<Record> = (0..n_records)
                .map(|_| record(device, &mut random))
                .collect();
            encode_frame(Layout::Documented(codec_id), &records).expect("encodable")
        })
        .collect()
}

/// A record with the elements of its device, of which three in ten records lack some.
fn record(device: u64, random: &mut Random) -> Record {
    let n_elements = 12 + device % 14
        - if random.below(10) < 3 {
            random.below(6)
        } else {
            0
        };
    let io = (0..n_elements)
        .map(|n| IoElement {
            id: (1 + device % 7 + n * 9) as u16,
            value: value(device + n, random),
        })
        .collect();
    Record {
        recorded_at_ms: 1_700_000_000_000 + random.below(1 << 30),
        longitude_e7: 253_000_000 - random.below(500_000_000) as i32,
        latitude_e7: 547_000_000 - random.below(1_000_000_000) as i32,
        altitude_m: 900 - random.below(1_000) as i16,
        satellites: random.below(20) as u8,
        io,
        ..Record::default()
    }
}

/// A value as wide as the kind of element has it.
fn value(kind: u64, random: &mut Random) -> IoValue {
    match kind % 10 {
        0..4 => IoValue::U8(random.below(256) as u8),
        4..7 => IoValue::U16(random.below(65_536) as u16),
        7..9 => IoValue::U32(random.below(1 << 32) as u32),
        _ => IoValue::U64(random.next()),
    }
}

/// xorshift64*: seeded, so that every run decodes the same bytes.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 16) % bound
    }
}
