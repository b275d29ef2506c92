//! What stands in the COPY streams, field by field.

mod support;

use rows::{
    IoType, LAST_POSITION_COLUMNS, POSITION_COLUMNS, Rows, copy_last_positions, copy_positions,
};
use support::{Batch, IMEI, RECEIVED_AT_MS, RECORDED_AT_MS, Record, int8, parse_copy};

const DAY_MS: u64 = 86_400_000;

fn positions(batch: &Batch, io: IoType, room: Vec<u8>) -> Vec<u8> {
    batch.view(|view| {
        let rows = Rows::select(view, 0..view.frames.len(), DAY_MS, None);
        let copy = copy_positions(view, &rows, io, room);
        assert_eq!(copy.n_rows(), rows.n_rows());
        copy.as_slice().to_vec()
    })
}

fn last_positions(batch: &Batch) -> Vec<u8> {
    batch.view(|view| {
        let rows = Rows::select(view, 0..view.frames.len(), DAY_MS, None);
        copy_last_positions(view, &rows, Vec::new())
            .as_slice()
            .to_vec()
    })
}

/// The io column of a batch's only row.
fn io(record: Record, io: IoType) -> Vec<u8> {
    let stream = positions(&Batch::of([record]), io, Vec::new());
    parse_copy(&stream)[0][14]
        .expect("io is never NULL")
        .to_vec()
}

fn json(numbers: &[(u16, u64)], bytes: &[(u16, &[u8])]) -> String {
    let bytes = bytes
        .iter()
        .map(|(id, bytes)| (*id, bytes.to_vec()))
        .collect();
    let record = Record {
        numbers: numbers.to_vec(),
        bytes,
        ..Record::default()
    };
    String::from_utf8(io(record, IoType::Json)).expect("text")
}

#[test]
fn the_columns_are_those_of_the_tables() {
    assert_eq!(
        POSITION_COLUMNS.join(" "),
        "imei recorded_at digest received_at longitude latitude altitude_m angle_deg satellites \
         speed_kmh priority event_io_id generation_type clock_suspect io"
    );
    assert_eq!(
        LAST_POSITION_COLUMNS.join(" "),
        "imei recorded_at digest received_at longitude latitude altitude_m angle_deg satellites \
         speed_kmh priority event_io_id"
    );
}

fn every_field_differs() -> Record {
    Record {
        recorded_at_ms: 1_705_320_000_123,
        priority: 255,
        longitude_e7: -1_799_999_999,
        latitude_e7: 123_456_789,
        altitude_m: -6,
        angle_deg: 65_535,
        satellites: 200,
        speed_kmh: 40_000,
        event_io_id: 10_804,
        generation_type: 5,
        numbers: vec![(239, 1)],
        raw: b"abc".to_vec(),
        ..Record::default()
    }
}

/// The fields of [`every_field_differs`] up to `event_io_id`, as Python's `struct` packs them.
const FIX_FIELDS: [&[u8]; 12] = [
    b"\x00\x01\x44\x0F\x32\xB2\x17\x35",
    b"\x00\x02\xB1\xF9\x85\x9E\x10\x78",
    b"\x78\xAF\x5F\x94\x89\x2F\x39\x50",
    b"\x00\x02\xB1\xF9\x85\xE8\x7B\x40",
    b"\xC0\x66\x7F\xFF\xFF\xCA\x50\x1B",
    b"\x40\x28\xB0\xFC\xD3\x24\xD5\xA2",
    b"\xFF\xFA",
    b"\x00\x00\xFF\xFF",
    b"\x00\xC8",
    b"\x00\x00\x9C\x40",
    b"\x00\xFF",
    b"\x00\x00\x2A\x34",
];

#[test]
fn a_row_of_positions_holds_every_field_in_its_place() {
    let stream = positions(
        &Batch::of([every_field_differs()]),
        IoType::Jsonb,
        Vec::new(),
    );
    let rows = parse_copy(&stream);
    assert_eq!(rows[0][..12], FIX_FIELDS.map(Some));
    assert_eq!(
        rows[0][12..],
        [Some(&b"\0\x05"[..]), Some(b"\0"), Some(b"\x01{\"239\":1}")]
    );
}

#[test]
fn a_row_of_last_position_holds_every_field_in_its_place() {
    let stream = last_positions(&Batch::of([every_field_differs()]));
    assert_eq!(parse_copy(&stream), [FIX_FIELDS.map(Some)]);
}

#[test]
fn generation_type_is_null_but_for_codec_16() {
    for (generation_type, field) in [(-1, None), (0, Some(&b"\0\0"[..])), (255, Some(b"\0\xFF"))] {
        let batch = Batch::of([Record {
            generation_type,
            ..Record::default()
        }]);
        assert_eq!(
            parse_copy(&positions(&batch, IoType::Json, Vec::new()))[0][12],
            field
        );
    }
}

#[test]
fn clock_suspect_is_true_for_a_suspect_row() {
    let batch = Batch::of([Record {
        recorded_at_ms: 5,
        ..Record::default()
    }]);
    let stream = positions(&batch, IoType::Json, Vec::new());
    assert_eq!(parse_copy(&stream)[0][13], Some(&b"\x01"[..]));
}

#[test]
fn a_stream_without_rows_is_head_and_trailer() {
    for stream in [
        positions(&Batch::new(), IoType::Jsonb, Vec::new()),
        last_positions(&Batch::new()),
    ] {
        assert_eq!(stream, b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\xff\xff");
    }
}

#[test]
fn jsonb_is_a_version_byte_and_the_text_that_json_is() {
    let record = Record {
        numbers: vec![(1, 7)],
        ..Record::default()
    };
    assert_eq!(io(record.clone(), IoType::Jsonb), b"\x01{\"1\":7}");
    assert_eq!(io(record, IoType::Json), b"{\"1\":7}");
}

#[test]
fn a_record_without_elements_has_an_empty_object() {
    assert_eq!(json(&[], &[]), "{}");
    assert_eq!(io(Record::default(), IoType::Jsonb), b"\x01{}");
}

#[test]
fn ids_ascend_by_number_and_values_are_unsigned() {
    let text = json(
        &[
            (239, 1),
            (80, 255),
            (10_800, 65_535),
            (66, 12_345),
            (9, 4_294_967_295),
            (78, u64::MAX),
        ],
        &[],
    );
    assert_eq!(
        text,
        r#"{"9":4294967295,"66":12345,"78":18446744073709551615,"80":255,"239":1,"10800":65535}"#
    );
}

#[test]
fn elements_of_bytes_are_lowercase_hex_text_in_their_place_among_the_ids() {
    let text = json(
        &[(1, 2), (400, 3)],
        &[(387, b"+\xAB\x00"), (0, b""), (65_535, b"\xFF")],
    );
    assert_eq!(
        text,
        r#"{"0":"","1":2,"387":"2bab00","400":3,"65535":"ff"}"#
    );
}

#[test]
fn the_last_element_of_a_repeated_id_is_kept_be_it_a_number_or_bytes() {
    assert_eq!(
        json(&[(5, 1), (5, 2), (3, 9), (5, 3)], &[]),
        r#"{"3":9,"5":3}"#
    );
    assert_eq!(
        json(&[(5, 1), (6, 2)], &[(5, b"\x0A")]),
        r#"{"5":"0a","6":2}"#
    );
}

#[test]
fn a_record_of_very_many_and_very_long_elements_fits() {
    let numbers: Vec<(u16, u64)> = (0..=u16::MAX).rev().map(|id| (id, u64::MAX)).collect();
    let long = vec![0xC4; 60_000];
    let text = json(&numbers, &[(7, &long)]);
    let object: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let object = object.as_object().expect("an object");
    assert_eq!(object.len(), 65_536);
    assert_eq!(object["65535"], 18_446_744_073_709_551_615_u64);
    assert_eq!(object["7"], "c4".repeat(60_000));
}

#[test]
fn alternating_layouts_do_not_leak_into_each_other() {
    let records = (0..60_u64).map(|i| Record {
        recorded_at_ms: RECORDED_AT_MS + i,
        numbers: (0..=u16::try_from(i % 7).unwrap())
            .map(|id| (9 - id, i))
            .collect(),
        ..Record::default()
    });
    let stream = positions(&Batch::of(records), IoType::Json, Vec::new());
    for (i, row) in parse_copy(&stream).into_iter().enumerate() {
        let members: Vec<String> = (9 - i % 7..=9).map(|id| format!("\"{id}\":{i}")).collect();
        let expected = format!("{{{}}}", members.join(","));
        assert_eq!(row[14], Some(expected.as_bytes()));
    }
}

#[test]
fn a_stream_in_used_room_is_the_stream_in_fresh_room() {
    let record = |i| Record {
        recorded_at_ms: RECORDED_AT_MS + i,
        ..every_field_differs()
    };
    let (few, many) = (
        Batch::of((0..3).map(record)),
        Batch::of((0..900).map(record)),
    );
    let used = positions(&many, IoType::Jsonb, Vec::new());
    assert_eq!(
        positions(&few, IoType::Jsonb, used),
        positions(&few, IoType::Jsonb, Vec::new())
    );
    let small = positions(&few, IoType::Jsonb, Vec::new());
    assert_eq!(
        positions(&many, IoType::Jsonb, small),
        positions(&many, IoType::Jsonb, Vec::new())
    );
}

/// (imei, milliseconds after `RECORDED_AT_MS`) of every row of `last_position`.
fn newest(batch: &Batch) -> Vec<(i64, i64)> {
    let stream = last_positions(batch);
    let base = (RECORDED_AT_MS.cast_signed() - 946_684_800_000) * 1000;
    let row = |row: Vec<Option<&[u8]>>| (int8(row[0]), (int8(row[1]) - base) / 1000);
    parse_copy(&stream).into_iter().map(row).collect()
}

fn fix(offset_ms: i64) -> Record {
    let recorded_at_ms = RECORDED_AT_MS.checked_add_signed(offset_ms).unwrap();
    Record {
        recorded_at_ms,
        ..Record::default()
    }
}

#[test]
fn the_newest_fix_of_each_device_stands_once_by_imei() {
    let day = DAY_MS.cast_signed();
    let batch = Batch::new()
        .entry(9, RECEIVED_AT_MS, [fix(5), fix(-day), fix(7), fix(6)])
        .entry(3, RECEIVED_AT_MS, [fix(-day), fix(-2 * day)])
        .entry(9, RECEIVED_AT_MS, [fix(1)])
        .entry(4, RECEIVED_AT_MS, [fix(-2 * day), fix(2)]);
    assert_eq!(newest(&batch), [(3, -day), (4, 2), (9, 7)]);
}

#[test]
fn only_valid_fixes_move_a_device() {
    let broken: [fn(Record) -> Record; 6] = [
        |record| Record {
            satellites: 0,
            ..record
        },
        |record| Record {
            latitude_e7: 900_000_001,
            ..record
        },
        |record| Record {
            latitude_e7: -900_000_001,
            ..record
        },
        |record| Record {
            longitude_e7: 1_800_000_001,
            ..record
        },
        |record| Record {
            longitude_e7: i32::MIN,
            ..record
        },
        |record| Record {
            recorded_at_ms: RECORDED_AT_MS + 2 * DAY_MS,
            ..record
        },
    ];
    for breaking in broken {
        assert_eq!(newest(&Batch::of([fix(1), breaking(fix(2))])), [(IMEI, 1)]);
        assert!(newest(&Batch::of([breaking(fix(2))])).is_empty());
    }
}

#[test]
fn a_fix_at_the_edge_of_the_globe_is_valid() {
    for (longitude_e7, latitude_e7) in
        [(1_800_000_000, 900_000_000), (-1_800_000_000, -900_000_000)]
    {
        let edge = Record {
            longitude_e7,
            latitude_e7,
            satellites: 1,
            ..fix(3)
        };
        assert_eq!(newest(&Batch::of([edge])), [(IMEI, 3)]);
    }
}

#[test]
fn of_two_fixes_of_one_millisecond_the_greater_signed_digest_is_newest() {
    // Digests: abc 8696274497037089104, "a record" -3502546995931265053.
    let raw = |raw: &[u8]| Record {
        raw: raw.to_vec(),
        ..fix(0)
    };
    for batch in [
        [raw(b"abc"), raw(b"a record")],
        [raw(b"a record"), raw(b"abc")],
    ] {
        let stream = last_positions(&Batch::of(batch));
        let rows = parse_copy(&stream);
        assert_eq!(rows.len(), 1);
        assert_eq!(int8(rows[0][2]), 8_696_274_497_037_089_104);
    }
}
