//! Which records become rows, and in which order.

mod support;

use rows::{IoType, Rows, copy_positions};
use support::{Batch, IMEI, RECEIVED_AT_MS, RECORDED_AT_MS, Record, int8, parse_copy};

const DAY_MS: u64 = 86_400_000;

/// 0 to 255, twice.
const COUNTING: [u8; 512] = {
    let mut bytes = [0; 512];
    let mut i = 0;
    while i < bytes.len() {
        bytes[i] = i.to_le_bytes()[0];
        i += 1;
    }
    bytes
};

/// Source: the reference implementation through Python's xxhash 4.1.0, `xxh3_64_intdigest`, less
/// 2^64 where that is 2^63 or more. One of each way that it treats lengths.
const XXH3_64: [(&[u8], i64); 6] = [
    (b"abc", 8_696_274_497_037_089_104),
    (b"a record", -3_502_546_995_931_265_053),
    (b"a raw record of a tracker", -2_665_857_961_577_332_666),
    (COUNTING.split_at(111).0, -5_703_942_985_817_925_313),
    (COUNTING.split_at(200).0, -852_719_212_082_297_085),
    (&COUNTING, 1_177_990_759_783_856_649),
];

fn select(batch: &Batch) -> Rows {
    batch.view(|view| Rows::select(view, 0..view.frames.len(), DAY_MS, None))
}

/// (imei, `recorded_at` in microseconds since 2000, digest, `received_at` likewise) of every row.
fn keys(batch: &Batch) -> Vec<(i64, i64, i64, i64)> {
    let stream = batch.view(|view| {
        let rows = Rows::select(view, 0..view.frames.len(), DAY_MS, None);
        copy_positions(view, &rows, IoType::Json, Vec::new())
            .as_slice()
            .to_vec()
    });
    let key = |row: Vec<Option<&[u8]>>| (int8(row[0]), int8(row[1]), int8(row[2]), int8(row[3]));
    parse_copy(&stream).into_iter().map(key).collect()
}

fn at(recorded_at_ms: u64, raw: &[u8]) -> Record {
    Record {
        recorded_at_ms,
        raw: raw.to_vec(),
        ..Record::default()
    }
}

#[test]
fn digest_is_the_signed_xxh3_64_of_the_raw_record() {
    for (raw, digest) in XXH3_64 {
        assert_eq!(keys(&Batch::of([at(RECORDED_AT_MS, raw)]))[0].2, digest);
    }
}

#[test]
fn rows_of_one_millisecond_ascend_by_signed_digest() {
    let batch = Batch::of(XXH3_64.map(|(raw, _)| at(RECORDED_AT_MS, raw)));
    let digests: Vec<i64> = keys(&batch).into_iter().map(|key| key.2).collect();
    let lengths = digests.iter().map(|digest| {
        XXH3_64
            .iter()
            .find(|known| known.1 == *digest)
            .expect("a known digest")
            .0
            .len()
    });
    assert_eq!(lengths.collect::<Vec<_>>(), [111, 8, 25, 200, 512, 3]);
}

#[test]
fn rows_ascend_by_day_then_imei_then_time() {
    let midnight = 19_738 * DAY_MS;
    let times = |times: &[u64]| times.iter().map(|&ms| at(ms, b"r")).collect::<Vec<_>>();
    let batch = Batch::new()
        .entry(9, RECEIVED_AT_MS, times(&[midnight, midnight - 1]))
        .entry(
            2,
            RECEIVED_AT_MS,
            times(&[midnight + 5, midnight - 3, midnight - 9]),
        )
        .entry(5, RECEIVED_AT_MS, times(&[midnight - 2]));
    let order: Vec<(i64, i64)> = keys(&batch)
        .into_iter()
        .map(|key| {
            (
                key.0,
                key.1 / 1000 + 946_684_800_000 - midnight.cast_signed(),
            )
        })
        .collect();
    assert_eq!(order, [(2, -9), (2, -3), (5, -2), (9, -1), (2, 5), (9, 0)]);
}

#[test]
fn a_record_sent_twice_is_one_row_with_the_first_receive_time() {
    let record = [at(RECORDED_AT_MS, b"same")];
    let batch = Batch::new()
        .entry(IMEI, RECEIVED_AT_MS + 7, record.clone())
        .entry(IMEI, RECEIVED_AT_MS, record);
    let keys = keys(&batch);
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0].3, (RECEIVED_AT_MS + 7 - 946_684_800_000) * 1000);
    let rows = select(&batch);
    assert_eq!((rows.n_rows(), rows.n_records()), (1, 2));
}

#[test]
fn different_records_of_one_millisecond_are_two_rows() {
    let batch = Batch::of([at(RECORDED_AT_MS, b"one"), at(RECORDED_AT_MS, b"other")]);
    assert_eq!(select(&batch).n_rows(), 2);
}

#[test]
fn the_same_record_of_two_devices_is_two_rows() {
    let batch = Batch::new()
        .entry(1, RECEIVED_AT_MS, [at(RECORDED_AT_MS, b"same")])
        .entry(2, RECEIVED_AT_MS, [at(RECORDED_AT_MS, b"same")]);
    assert_eq!(select(&batch).n_rows(), 2);
}

#[test]
fn of_a_suspect_and_a_sane_copy_the_sane_one_is_kept_whichever_came_first() {
    let ahead = [at(RECEIVED_AT_MS.cast_unsigned() + DAY_MS + 1, b"ahead")];
    let sane_last = Batch::new()
        .entry(IMEI, RECEIVED_AT_MS, ahead.clone())
        .entry(IMEI, RECEIVED_AT_MS + 1, ahead.clone());
    let sane_first = Batch::new()
        .entry(IMEI, RECEIVED_AT_MS + 1, ahead.clone())
        .entry(IMEI, RECEIVED_AT_MS, ahead);
    for batch in [sane_last, sane_first] {
        let rows = select(&batch);
        assert_eq!((rows.n_rows(), rows.n_suspect()), (1, 0));
        assert_eq!(
            keys(&batch)[0].3,
            (RECEIVED_AT_MS + 1 - 946_684_800_000) * 1000
        );
    }
}

#[test]
fn a_record_is_suspect_before_2010_and_beyond_the_limit_ahead() {
    let received = RECEIVED_AT_MS.cast_unsigned();
    let suspects = |clock_ahead_max_ms: u64| {
        let times = [
            1_262_303_999_999,
            1_262_304_000_000,
            received + 10,
            received + 11,
        ];
        Batch::of(times.map(|ms| at(ms, b"r")))
            .view(|view| Rows::select(view, 0..1, clock_ahead_max_ms, None).n_suspect())
    };
    assert_eq!(suspects(10), 2);
    assert_eq!(suspects(11), 1);
    assert_eq!(suspects(u64::MAX), 1);
}

#[test]
fn only_records_that_postgres_can_hold_become_rows() {
    let batch = Batch::of([
        at(9_224_318_016_000_000, b"too late"),
        at(9_224_318_015_999_999, b"last"),
        at(u64::MAX, b"far too late"),
        at(0, b"first"),
    ]);
    let times: Vec<i64> = keys(&batch).into_iter().map(|key| key.1).collect();
    assert_eq!(times, [-946_684_800_000_000, 9_223_371_331_199_999_000]);
    assert_eq!(select(&batch).n_records(), 2);
}

#[test]
fn days_are_those_of_rows_that_are_not_suspect() {
    let batch = Batch::of([
        at(19_737 * DAY_MS, b"a"),
        at(19_737 * DAY_MS - 1, b"b"),
        at(19_737 * DAY_MS + 5, b"c"),
        at(3 * DAY_MS, b"before 2010"),
        at(20_000 * DAY_MS, b"ahead"),
    ]);
    assert_eq!(select(&batch).days(), [19_736, 19_737]);
}

#[test]
fn imeis_are_distinct_and_ascend_over_days() {
    let batch = Batch::new()
        .entry(
            9,
            RECEIVED_AT_MS,
            [at(RECORDED_AT_MS, b"r"), at(RECORDED_AT_MS - DAY_MS, b"r")],
        )
        .entry(
            7,
            RECEIVED_AT_MS,
            [at(RECORDED_AT_MS, b"r"), at(RECORDED_AT_MS - DAY_MS, b"r")],
        )
        .entry(8, RECEIVED_AT_MS, []);
    assert_eq!(select(&batch).imeis(), [7, 9]);
}

#[test]
fn the_latest_receive_time_counts_copies_but_not_entries_without_records() {
    let batch = Batch::new()
        .entry(IMEI, RECEIVED_AT_MS, [at(RECORDED_AT_MS, b"same")])
        .entry(IMEI, RECEIVED_AT_MS + 9, [at(RECORDED_AT_MS, b"same")])
        .entry(IMEI, RECEIVED_AT_MS + 50, []);
    assert_eq!(select(&batch).received_at_max_ms(), RECEIVED_AT_MS + 9);
}

#[test]
fn a_run_of_entries_holds_only_their_records() {
    let batch = (1..=4).fold(Batch::new(), |batch, imei| {
        batch.entry(imei, RECEIVED_AT_MS, [at(RECORDED_AT_MS, b"r")])
    });
    batch.view(|view| {
        assert_eq!(Rows::select(view, 1..3, DAY_MS, None).imeis(), [2, 3]);
        assert_eq!(Rows::select(view, 3..4, DAY_MS, None).imeis(), [4]);
    });
}

#[test]
fn no_entries_make_no_rows() {
    for batch in [Batch::new(), Batch::of([])] {
        let rows = select(&batch);
        assert_eq!(
            (rows.n_rows(), rows.n_records(), rows.n_suspect()),
            (0, 0, 0)
        );
        assert!(rows.days().is_empty() && rows.imeis().is_empty());
        assert_eq!(rows.received_at_max_ms(), 0);
    }
}

#[test]
fn runs_of_records_that_interleave_are_ordered_as_one() {
    let batch = Batch::new()
        .entry(
            IMEI,
            RECEIVED_AT_MS,
            (0..40).map(|i| at(RECORDED_AT_MS + 3 * i, b"r")),
        )
        .entry(
            1,
            RECEIVED_AT_MS,
            (0..40).map(|i| at(RECORDED_AT_MS + 40 - i, b"r")),
        )
        .entry(
            IMEI,
            RECEIVED_AT_MS,
            (0..40).map(|i| at(RECORDED_AT_MS + 2 * i, b"r")),
        );
    let keys = keys(&batch);
    // 40 and 40 of one device, of which 14 (every sixth millisecond up to 78) are the same.
    assert_eq!(keys.len(), 40 + 80 - 14);
    assert!(keys.is_sorted_by_key(|key| (key.0, key.1)));
    assert_eq!(keys[39].0, 1);
    assert_eq!(keys[40].0, IMEI);
}
