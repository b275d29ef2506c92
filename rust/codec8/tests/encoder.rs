//! What the encoder writes, byte for byte, and what it refuses.

mod support;

use codec8::CodecId::{Codec8, Codec8Extended, Codec16};
use codec8::encode::{
    EncodeError, Group, IoElement, IoValue, Layout, Record, Refusal, encode_frame, encode_packet,
};
use support::hex;

fn element(id: u16, value: IoValue) -> IoElement {
    IoElement { id, value }
}

/// A record with a value in each field, and elements in no order.
fn record() -> Record {
    Record {
        recorded_at_ms: 0x0102_0304_0506_0708,
        priority: 2,
        longitude_e7: -2,
        latitude_e7: 0x1122_3344,
        altitude_m: -1,
        angle_deg: 359,
        satellites: 12,
        speed_kmh: 0x0102,
        event_io_id: 21,
        generation_type: None,
        io: vec![
            element(4, IoValue::U32(0x0A0B_0C0D)),
            element(1, IoValue::U8(0xEE)),
            element(3, IoValue::U8(0xDD)),
            element(8, IoValue::U64(u64::MAX)),
            element(2, IoValue::U16(0x0A0B)),
        ],
    }
}

/// The 24 bytes of [`record`] that all codecs share.
const HEAD: &str = "010203040506070802fffffffe11223344ffff01670c0102";

fn with(id: u16, value: IoValue) -> Record {
    Record {
        io: vec![element(id, value)],
        ..Record::default()
    }
}

fn refusal(layout: impl Into<Layout>, record: Record) -> Refusal {
    let records = [Record::default(), record];
    match encode_packet(layout, &records) {
        Err(EncodeError::Record { index: 1, refusal }) => refusal,
        other => panic!("the second record is refused, not {other:?}"),
    }
}

#[test]
fn codec_8_writes_one_byte_ids_and_counts_and_the_groups_in_order() {
    let io = "15 05 02 01ee 03dd 01 020a0b 01 040a0b0c0d 01 08ffffffffffffffff".replace(' ', "");
    let packet = encode_packet(Codec8, &[record()]).unwrap();
    assert_eq!(hex(&packet), format!("0801{HEAD}{io}01"));
}

#[test]
fn codec_8_extended_writes_two_byte_ids_and_counts_and_lengths() {
    let mut record = record();
    record
        .io
        .insert(0, element(0x0181, IoValue::Variable(vec![0xAA, 0xBB])));
    record.io.push(element(0x0182, IoValue::Variable(vec![])));
    let io = "0015 0007 0002 0001ee 0003dd 0001 00020a0b 0001 00040a0b0c0d \
              0001 0008ffffffffffffffff 0002 01810002aabb 01820000";
    let packet = encode_packet(Codec8Extended, &[record]).unwrap();
    assert_eq!(hex(&packet), format!("8e01{HEAD}{}01", io.replace(' ', "")));
}

#[test]
fn codec_16_writes_the_generation_type_which_is_0_where_none_is_given() {
    let io = "05 02 0001ee 0003dd 01 00020a0b 01 00040a0b0c0d 01 0008ffffffffffffffff";
    let io = io.replace(' ', "");
    for (generation_type, byte) in [(Some(7), "07"), (None, "00")] {
        let records = [Record {
            generation_type,
            ..record()
        }];
        let packet = encode_packet(Codec16, &records).unwrap();
        assert_eq!(hex(&packet), format!("1001{HEAD}0015{byte}{io}01"));
    }
}

#[test]
fn the_16_byte_group_is_written_on_demand_and_under_the_id_of_codec_8() {
    let record = with(9, IoValue::Bytes16([0xCC; 16]));
    let packet = encode_packet(Layout::Codec8With16ByteGroup, &[record]).unwrap();
    let expected = format!(
        "0801{}0001000000000109{}01",
        "00".repeat(24),
        "cc".repeat(16)
    );
    assert_eq!(hex(&packet), expected);
    let empty = encode_packet(Layout::Codec8With16ByteGroup, &[Record::default()]).unwrap();
    assert_eq!(hex(&empty), format!("0801{}01", "00".repeat(24 + 7)));
}

#[test]
fn a_frame_without_records_is_the_packet_in_its_envelope() {
    let frame = encode_frame(Codec8Extended, &[]).unwrap();
    assert_eq!(hex(&frame), "00000000000000038e000000002b60");
}

#[test]
fn the_256th_record_is_refused() {
    let packet = encode_packet(Codec8, &vec![Record::default(); 255]).unwrap();
    assert_eq!((packet.len(), packet[1]), (3 + 255 * 30, 255));
    let error = encode_packet(Codec8, &vec![Record::default(); 256]).unwrap_err();
    assert_eq!(error, EncodeError::TooManyRecords { found: 256 });
    assert_eq!(error.to_string(), "256 records, expected at most 255");
}

#[test]
fn ids_above_255_are_refused_in_codec_8_and_sent_in_the_others() {
    let event = Record {
        event_io_id: 256,
        ..Record::default()
    };
    assert_eq!(
        refusal(Codec8, event.clone()),
        Refusal::EventIoId { found: 256 }
    );
    let io = with(256, IoValue::U8(0));
    assert_eq!(refusal(Codec8, io.clone()), Refusal::IoId { found: 256 });
    for codec_id in [Codec8Extended, Codec16] {
        assert!(encode_packet(codec_id, &[event.clone(), io.clone()]).is_ok());
    }
}

#[test]
fn groups_that_the_layout_lacks_are_refused() {
    let sixteen = || with(9, IoValue::Bytes16([0; 16]));
    let variable = || with(9, IoValue::Variable(vec![0; 16]));
    let lacks = |found| Refusal::Group { io_id: 9, found };
    for codec_id in [Codec8, Codec8Extended, Codec16] {
        assert_eq!(refusal(codec_id, sixteen()), lacks(Group::N16));
    }
    for layout in [Codec8.into(), Codec16.into(), Layout::Codec8With16ByteGroup] {
        assert_eq!(refusal(layout, variable()), lacks(Group::NX));
    }
}

#[test]
fn element_counts_above_their_field_are_refused() {
    let elements = |n| Record {
        io: vec![element(1, IoValue::U8(0)); n],
        ..Record::default()
    };
    for codec_id in [Codec8, Codec16] {
        assert!(encode_packet(codec_id, &[elements(255)]).is_ok());
        assert_eq!(
            refusal(codec_id, elements(256)),
            Refusal::ElementCount { found: 256 }
        );
    }
    assert!(encode_packet(Codec8Extended, &[elements(65_535)]).is_ok());
    assert_eq!(
        refusal(Codec8Extended, elements(65_536)),
        Refusal::ElementCount { found: 65_536 }
    );
}

#[test]
fn a_variable_value_longer_than_its_length_field_states_is_refused() {
    let record = with(385, IoValue::Variable(vec![0; 65_536]));
    let expected = Refusal::VariableLength {
        io_id: 385,
        found: 65_536,
    };
    assert_eq!(refusal(Codec8Extended, record), expected);
}

#[test]
fn a_generation_type_outside_codec_16_is_refused() {
    let record = Record {
        generation_type: Some(5),
        ..Record::default()
    };
    for codec_id in [Codec8, Codec8Extended] {
        assert_eq!(
            refusal(codec_id, record.clone()),
            Refusal::GenerationType { found: 5 }
        );
    }
}

#[test]
fn a_refusal_names_the_record_and_what_was_found() {
    let records = [
        Record::default(),
        Record {
            event_io_id: 300,
            ..Record::default()
        },
    ];
    let error = encode_packet(Codec8, &records).unwrap_err();
    let expected = "record 1: event IO id 300, expected at most 255 in this codec";
    assert_eq!(error.to_string(), expected);
}
