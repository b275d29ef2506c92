//! What a state leaves out of rows, and that leaving it out changes nothing in the tables.

mod support;

use std::collections::{BTreeMap, VecDeque};

use proptest::collection::vec;
use proptest::prelude::*;
use rows::{BatchView, IoType, Rows, copy_last_positions, copy_positions, remember, senders};
use state::{DeviceState, Position};
use support::{Batch, IMEI, RECEIVED_AT_MS, RECORDED_AT_MS, Record, int8, parse_copy};

const DAY_MS: u64 = 86_400_000;
/// Suspect as received at `RECEIVED_AT_MS`, sane a millisecond later.
const AHEAD_MS: u64 = RECEIVED_AT_MS.cast_unsigned() + DAY_MS + 1;

/// Source: `tests/rows.rs`, of `xxh3_64`.
const RAW_OF_NEGATIVE_DIGEST: &[u8] = b"a record";
const RAW_OF_POSITIVE_DIGEST: &[u8] = b"abc";

fn holding(imei: i64) -> DeviceState {
    let mut state = DeviceState::new(10, 0);
    state.hydrate(imei, None);
    state
}

fn at(recorded_at_ms: u64, raw: &[u8]) -> Record {
    Record {
        recorded_at_ms,
        raw: raw.to_vec(),
        ..Record::default()
    }
}

fn select(batch: &Batch, state: Option<&DeviceState>) -> Rows {
    batch.view(|view| Rows::select(view, 0..view.frames.len(), DAY_MS, state))
}

fn commit(batch: &Batch, state: &mut DeviceState) {
    batch.view(|view| {
        let rows = Rows::select(view, 0..view.frames.len(), DAY_MS, Some(state));
        remember(view, &rows, state);
    });
}

/// (records, rows, retransmitted records)
fn counts(rows: &Rows) -> (usize, usize, usize) {
    (rows.n_records(), rows.n_rows(), rows.n_retransmitted())
}

fn cold(view: &BatchView<'_>, state: &mut DeviceState) -> Vec<i64> {
    let entries = 0..view.imei.len();
    state.cold(&senders(view.imei, view.record_offsets, entries))
}

fn n_newest(batch: &Batch, state: Option<&DeviceState>) -> usize {
    let rows = select(batch, state);
    batch.view(|view| copy_last_positions(view, &rows, Vec::new()).n_rows())
}

#[test]
fn a_committed_frame_that_comes_again_makes_no_rows() {
    let batch = Batch::of([at(RECORDED_AT_MS, b"a"), at(RECORDED_AT_MS + 1, b"b")]);
    let mut state = holding(IMEI);
    assert_eq!(counts(&select(&batch, Some(&state))), (2, 2, 0));
    commit(&batch, &mut state);
    let again = select(&batch, Some(&state));
    assert_eq!(counts(&again), (2, 0, 2));
    assert_eq!((again.days(), again.imeis()), (&[][..], &[][..]));
    assert_eq!(again.received_at_max_ms(), RECEIVED_AT_MS);
}

#[test]
fn a_frame_is_remembered_for_its_own_device() {
    let of = |imei| Batch::new().entry(imei, RECEIVED_AT_MS, [at(RECORDED_AT_MS, b"a")]);
    let mut state = holding(1);
    state.hydrate(2, None);
    commit(&of(1), &mut state);
    assert_eq!(counts(&select(&of(1), Some(&state))), (1, 0, 1));
    assert_eq!(counts(&select(&of(2), Some(&state))), (1, 1, 0));
}

#[test]
fn the_same_records_in_another_order_or_number_are_another_frame() {
    let [a, b] = [at(RECORDED_AT_MS, b"a"), at(RECORDED_AT_MS + 1, b"b")];
    let mut state = holding(IMEI);
    commit(&Batch::of([a.clone(), b.clone()]), &mut state);
    for records in [
        vec![b.clone(), a.clone()],
        vec![a.clone()],
        vec![a, b.clone(), b],
    ] {
        let rows = select(&Batch::of(records), Some(&state));
        assert_eq!(rows.n_retransmitted(), 0);
    }
}

#[test]
fn of_a_device_that_is_not_held_nothing_is_left_out() {
    let batch = Batch::of([at(RECORDED_AT_MS, b"a")]);
    let mut state = DeviceState::new(10, 0);
    commit(&batch, &mut state);
    assert_eq!(counts(&select(&batch, Some(&state))), (1, 1, 0));
    assert_eq!(n_newest(&batch, Some(&state)), 1);
}

#[test]
fn a_frame_with_a_record_that_postgres_cannot_hold_is_not_remembered() {
    let batch = Batch::of([at(RECORDED_AT_MS, b"a"), at(u64::MAX, b"b")]);
    let mut state = holding(IMEI);
    commit(&batch, &mut state);
    assert_eq!(counts(&select(&batch, Some(&state))), (1, 1, 0));
    // Nor is one that has the storable records alone.
    let storable = Batch::of([at(RECORDED_AT_MS, b"a")]);
    assert_eq!(counts(&select(&storable, Some(&state))), (1, 1, 0));
}

#[test]
fn a_copy_of_a_frame_that_was_suspect_is_let_through_until_a_sane_one_is_committed() {
    let received = |at_ms| Batch::new().entry(IMEI, at_ms, [at(AHEAD_MS, b"ahead")]);
    let [suspect, sane] = [received(RECEIVED_AT_MS), received(RECEIVED_AT_MS + 1)];
    let mut state = holding(IMEI);
    commit(&suspect, &mut state);
    let rows = select(&sane, Some(&state));
    assert_eq!((counts(&rows), rows.n_suspect()), ((1, 1, 0), 0));
    commit(&sane, &mut state);
    assert_eq!(counts(&select(&sane, Some(&state))), (1, 0, 1));
    assert_eq!(counts(&select(&suspect, Some(&state))), (1, 0, 1));
}

#[test]
fn a_fix_that_does_not_beat_the_committed_one_is_no_last_position() {
    let [negative, positive] = [RAW_OF_NEGATIVE_DIGEST, RAW_OF_POSITIVE_DIGEST]
        .map(|raw| Batch::of([at(RECORDED_AT_MS, raw)]));
    let later = Batch::of([at(RECORDED_AT_MS + 1, b"later")]);
    let mut state = holding(IMEI);
    commit(&negative, &mut state);
    assert_eq!(n_newest(&negative, Some(&state)), 0);
    assert_eq!(n_newest(&positive, Some(&state)), 1);
    commit(&positive, &mut state);
    assert_eq!(n_newest(&negative, Some(&state)), 0);
    assert_eq!(n_newest(&negative, None), 1);
    assert_eq!(n_newest(&later, Some(&state)), 1);
}

#[test]
fn the_remembered_position_is_the_newest_valid_fix_in_microseconds() {
    let without_fix = Record {
        satellites: 0,
        ..at(RECORDED_AT_MS + 9, b"no fix")
    };
    let mut state = holding(IMEI);
    let newest = at(RECORDED_AT_MS + 5, RAW_OF_NEGATIVE_DIGEST);
    commit(
        &Batch::of([
            newest,
            without_fix,
            at(RECORDED_AT_MS, b"older"),
            at(AHEAD_MS, b"ahead"),
        ]),
        &mut state,
    );
    let expected = Position {
        recorded_at_us: 1_705_320_000_005_000,
        digest: -3_502_546_995_931_265_053,
        longitude_e7: 252_804_200,
        latitude_e7: 546_903_100,
    };
    assert_eq!(state.position(IMEI), Some(expected));
}

#[test]
fn a_fix_beyond_what_microseconds_since_1970_hold_is_written_each_time() {
    let batch = Batch::of([at(9_224_318_015_999_999, b"the year 294276")]);
    let mut state = holding(IMEI);
    for _ in 0..2 {
        batch.view(|view| {
            let rows = Rows::select(view, 0..1, u64::MAX, None);
            remember(view, &rows, &mut state);
            assert_eq!(copy_last_positions(view, &rows, Vec::new()).n_rows(), 1);
        });
    }
    assert_eq!(state.position(IMEI), None);
}

#[test]
fn a_fix_that_was_left_out_does_not_raise_a_position_that_was_lowered_since() {
    let fix = |time| Position {
        recorded_at_us: time,
        digest: 0,
        longitude_e7: 0,
        latitude_e7: 0,
    };
    let batch = Batch::of([at(RECORDED_AT_MS, b"a")]);
    let mut state = DeviceState::new(10, 0);
    state.hydrate(IMEI, Some(fix(i64::MAX)));
    let rows = select(&batch, Some(&state));
    state.forget(IMEI);
    state.hydrate(IMEI, Some(fix(1)));
    batch.view(|view| remember(view, &rows, &mut state));
    assert_eq!(state.position(IMEI), Some(fix(1)));
}

#[test]
fn senders_are_the_distinct_devices_with_records() {
    let batch = Batch::new()
        .entry(9, RECEIVED_AT_MS, [at(RECORDED_AT_MS, b"a")])
        .entry(5, RECEIVED_AT_MS, [])
        .entry(
            3,
            RECEIVED_AT_MS,
            [at(u64::MAX, b"b"), at(RECORDED_AT_MS, b"c")],
        )
        .entry(9, RECEIVED_AT_MS, [at(RECORDED_AT_MS, b"d")]);
    batch.view(|view| {
        assert_eq!(senders(view.imei, view.record_offsets, 0..4), [3, 9]);
        assert_eq!(senders(view.imei, view.record_offsets, 1..3), [3]);
        assert_eq!(senders(view.imei, view.record_offsets, 1..2), []);
    });
}

/// The tables, with the rules that Postgres keeps: keys are a set, suspicion is of all copies, and
/// the newest fix wins.
#[derive(Debug, Default, PartialEq)]
struct Tables {
    /// Whether a key is suspect.
    positions: BTreeMap<(i64, i64, i64), bool>,
    last_position: BTreeMap<i64, (i64, i64)>,
}

impl Tables {
    fn write(&mut self, batch: &Batch, rows: &Rows) {
        batch.view(|view| {
            let copy = copy_positions(view, rows, IoType::Json, Vec::new());
            for row in parse_copy(copy.as_slice()) {
                let is_suspect = row[13] == Some(&[1]);
                *self.positions.entry(key(&row)).or_insert(true) &= is_suspect;
            }
            let copy = copy_last_positions(view, rows, Vec::new());
            for row in parse_copy(copy.as_slice()) {
                let (imei, recorded_at, digest) = key(&row);
                let newest = self.last_position.entry(imei).or_insert((i64::MIN, 0));
                *newest = (*newest).max((recorded_at, digest));
            }
        });
    }

    /// What `last_position` has of a device.
    fn position(&self, imei: i64) -> Option<Position> {
        let found = self.last_position.get(&imei);
        found.map(|&(postgres_us, digest)| Position {
            recorded_at_us: postgres_us + 946_684_800_000_000,
            digest,
            longitude_e7: 0,
            latitude_e7: 0,
        })
    }
}

fn key(row: &[Option<&[u8]>]) -> (i64, i64, i64) {
    (int8(row[0]), int8(row[1]), int8(row[2]))
}

/// A frame: its device, and (time, number, whether it has a fix) of its records.
type Sent = (i64, Vec<(u64, u8, bool)>);

/// A frame as it came in once: which, and how late.
type Copy = (prop::sample::Index, i64);

/// What happens around one batch.
#[derive(Clone, Copy, Debug)]
enum Turn {
    /// It is committed, and the state is told.
    Commit,
    /// It is committed when the next batches have been selected.
    CommitLate,
    /// Its write fails; its entries come again.
    Fail,
    /// The process is killed behind its COMMIT: nothing is told, and the state is gone.
    Kill,
    /// Another instance takes its entries and commits them.
    Other,
    /// Its device is dropped by an operator while it is written.
    Drop,
}

fn batch_of(frames: &[Sent], copies: &[Copy]) -> Batch {
    copies.iter().fold(Batch::new(), |batch, (which, late_ms)| {
        let (imei, records) = which.get(frames);
        let records = records.iter().map(|&(time, number, has_fix)| Record {
            recorded_at_ms: time,
            satellites: u8::from(has_fix),
            raw: [&time.to_be_bytes()[..], &[number, u8::from(has_fix)]].concat(),
            ..Record::default()
        });
        batch.entry(*imei, RECEIVED_AT_MS + late_ms, records)
    })
}

fn sent() -> impl Strategy<Value = Sent> {
    let time = prop_oneof![
        4 => (0..4_u64).prop_map(|n| RECORDED_AT_MS + n),
        3 => (0..4_u64).prop_map(|n| AHEAD_MS + n),
        1 => Just(1_262_303_999_999_u64),
        1 => Just(u64::MAX),
    ];
    (1..4_i64, vec((time, 0..3_u8, any::<bool>()), 0..4))
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        6 => Just(Turn::Commit),
        4 => Just(Turn::CommitLate),
        2 => Just(Turn::Fail),
        1 => Just(Turn::Kill),
        2 => Just(Turn::Other),
        1 => Just(Turn::Drop),
    ]
}

/// Folds copies in batches of the given sizes, with a state of `devices_max` devices.
fn fold(frames: &[Sent], copies: &[Copy], turns: &[(usize, Turn)], devices_max: usize) -> Tables {
    let mut tables = Tables::default();
    let mut state = DeviceState::new(devices_max, 0);
    let mut waiting: VecDeque<Copy> = copies.iter().copied().collect();
    let mut late: Vec<(Batch, Rows)> = Vec::new();
    let mut turns = turns.iter().copied();
    while !waiting.is_empty() {
        let (size, turn) = turns.next().unwrap_or((2, Turn::Commit));
        let taken: Vec<Copy> = waiting.drain(..size.min(waiting.len())).collect();
        let batch = batch_of(frames, &taken);
        for imei in batch.view(|view| cold(view, &mut state)) {
            state.hydrate(imei, tables.position(imei));
        }
        let rows = select(&batch, Some(&state));
        assert_eq!(rows.n_records(), select(&batch, None).n_records());
        match turn {
            Turn::CommitLate => {
                late.push((batch, rows));
                continue;
            }
            Turn::Commit => {
                tables.write(&batch, &rows);
                batch.view(|view| remember(view, &rows, &mut state));
            }
            Turn::Fail => waiting.extend(taken),
            Turn::Kill => {
                tables.write(&batch, &rows);
                state.clear();
            }
            Turn::Other => tables.write(&batch, &select(&batch, None)),
            Turn::Drop => {
                state.forget(1);
                tables.write(&batch, &rows);
                batch.view(|view| remember(view, &rows, &mut state));
            }
        }
        for (batch, rows) in late.drain(..) {
            tables.write(&batch, &rows);
            batch.view(|view| remember(view, &rows, &mut state));
        }
    }
    for (batch, rows) in late {
        tables.write(&batch, &rows);
    }
    tables
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn folding_with_a_state_leaves_the_tables_as_folding_without(
        frames in vec(sent(), 1..6),
        copies in vec((any::<prop::sample::Index>(), 0..4_i64), 0..40),
        turns in vec((1..6_usize, turn()), 0..20),
        devices_max in 1..4_usize,
    ) {
        let mut expected = Tables::default();
        let all = batch_of(&frames, &copies);
        expected.write(&all, &select(&all, None));
        prop_assert_eq!(fold(&frames, &copies, &turns, devices_max), expected);
    }
}
