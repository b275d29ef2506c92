//! What holds for every record, every damage and every way of cutting a stream.

mod support;

use codec8::encode::{
    IoElement, IoValue, Layout, Record, encode_frame, encode_packet, frame_around,
};
use codec8::stream::{Progress, next_unit};
use codec8::{CodecId, Columns, DecodeError, Limits, RejectCode, Transport, crc16, decode_frame};
use proptest::collection::vec;
use proptest::prelude::*;
use support::cutter::cut;
use support::records::{decode, wide};
use support::{DOCUMENTED, bytes, config, vectors};

const LAYOUTS: [Layout; 4] = [
    Layout::Documented(CodecId::Codec8),
    Layout::Documented(CodecId::Codec8Extended),
    Layout::Documented(CodecId::Codec16),
    Layout::Codec8With16ByteGroup,
];

fn io_id(layout: Layout) -> BoxedStrategy<u16> {
    match layout.codec_id() {
        CodecId::Codec8 => (0..=255u16).boxed(),
        CodecId::Codec8Extended | CodecId::Codec16 => any::<u16>().boxed(),
    }
}

fn io_value(layout: Layout) -> BoxedStrategy<IoValue> {
    let numbers = prop_oneof![
        any::<u8>().prop_map(IoValue::U8),
        any::<u16>().prop_map(IoValue::U16),
        any::<u32>().prop_map(IoValue::U32),
        any::<u64>().prop_map(IoValue::U64),
    ];
    match layout {
        Layout::Codec8With16ByteGroup => {
            prop_oneof![numbers, any::<[u8; 16]>().prop_map(IoValue::Bytes16)].boxed()
        }
        Layout::Documented(CodecId::Codec8Extended) => prop_oneof![
            numbers,
            vec(any::<u8>(), 0..400).prop_map(IoValue::Variable)
        ]
        .boxed(),
        Layout::Documented(_) => numbers.boxed(),
    }
}

fn io(layout: Layout) -> impl Strategy<Value = Vec<IoElement>> {
    let element = (io_id(layout), io_value(layout)).prop_map(|(id, value)| IoElement { id, value });
    vec(element, 0..30).prop_map(|mut io| {
        io.sort_by_key(|element| element.value.group());
        io
    })
}

fn generation_type(layout: Layout) -> BoxedStrategy<Option<u8>> {
    match layout.codec_id() {
        CodecId::Codec16 => any::<u8>().prop_map(Some).boxed(),
        CodecId::Codec8 | CodecId::Codec8Extended => Just(None).boxed(),
    }
}

prop_compose! {
    /// A record as it comes back from the wire: its elements stand in the order of the groups.
    fn record(layout: Layout)(
        recorded_at_ms in any::<u64>(),
        priority in any::<u8>(),
        position in any::<(i32, i32, i16)>(),
        motion in any::<(u16, u8, u16)>(),
        event_io_id in io_id(layout),
        generation_type in generation_type(layout),
        io in io(layout),
    ) -> Record {
        let ((longitude_e7, latitude_e7, altitude_m), (angle_deg, satellites, speed_kmh)) =
            (position, motion);
        Record {
            recorded_at_ms, priority, longitude_e7, latitude_e7, altitude_m, angle_deg, satellites,
            speed_kmh, event_io_id, generation_type, io,
        }
    }
}

/// A layout with `n` records for it; one record in four is empty.
fn records(
    n: impl Into<proptest::collection::SizeRange>,
) -> impl Strategy<Value = (Layout, Vec<Record>)> {
    let n = n.into();
    proptest::sample::select(&LAYOUTS).prop_flat_map(move |layout| {
        let empty = generation_type(layout).prop_map(|generation_type| Record {
            generation_type,
            ..Record::default()
        });
        let records = vec(
            prop_oneof![3 => record(layout).boxed(), 1 => empty.boxed()],
            n.clone(),
        );
        (Just(layout), records)
    })
}

/// Whether the documented layout explains every byte of a packet sent with the 16-byte group, its
/// totals included: then nothing on the wire says which of the two was meant.
fn fits_the_documented_layout_with_its_totals(packet: &[u8], found: &[Record]) -> bool {
    encode_packet(CodecId::Codec8, found).as_deref() == Ok(packet)
}

proptest! {
    #![proptest_config(config(512))]

    #[test]
    fn what_was_encoded_is_decoded((layout, records) in records(0..8)) {
        let packet = encode_packet(layout, &records).unwrap();
        let (codec_id, found) = decode(&packet, Transport::Udp).unwrap();
        prop_assert_eq!(codec_id, layout.codec_id());
        if layout == Layout::Codec8With16ByteGroup && found != records {
            prop_assert!(fits_the_documented_layout_with_its_totals(&packet, &found));
        } else {
            prop_assert_eq!(&found, &records);
        }
        let frame = encode_frame(layout, &records).unwrap();
        prop_assert_eq!(decode(&frame, Transport::Tcp), Ok((codec_id, found)));
    }

    #[test]
    fn a_single_record_with_the_16_byte_group_has_one_reading(
        record in record(Layout::Codec8With16ByteGroup),
    ) {
        let records = [record];
        let packet = encode_packet(Layout::Codec8With16ByteGroup, &records).unwrap();
        prop_assert_eq!(decode(&packet, Transport::Udp), Ok((CodecId::Codec8, records.to_vec())));
    }

    #[test]
    fn one_flipped_bit_never_passes(
        (layout, records) in records(0..4),
        at in any::<proptest::sample::Index>(),
        bit in 0..8u8,
    ) {
        let mut frame = encode_frame(layout, &records).unwrap();
        let at = at.index(frame.len());
        frame[at] ^= 1 << bit;
        let mut columns = Columns::new();
        let error = decode_frame(&frame, Transport::Tcp, &wide(), 0, &mut columns).map(|_| ());
        prop_assert!(error.is_err(), "bit {} of byte {} passed", bit, at);
        prop_assert_eq!((columns.n_records(), columns.n_elements()), (0, 0));
    }

    #[test]
    fn a_frame_cut_at_any_byte_is_incomplete_by_what_is_missing((layout, records) in records(0..3)) {
        let frame = encode_frame(layout, &records).unwrap();
        for length in 0..frame.len() {
            let error = decode(&frame[..length], Transport::Tcp).unwrap_err();
            let missing = if length < 8 { 8 - length } else { frame.len() - length };
            let offset = if length < 4 { 0 } else if length < 8 { 4 } else if length < frame.len() - 4 { 8 } else { frame.len() - 4 };
            prop_assert_eq!(error, DecodeError::Incomplete { offset, needed: missing });
            prop_assert_eq!(error.code(), RejectCode::Truncated);
        }
    }

    #[test]
    fn a_packet_cut_at_any_byte_is_refused_inside_what_is_there(
        records in vec(record(Layout::Documented(CodecId::Codec8Extended)), 0..3),
    ) {
        let packet = encode_packet(CodecId::Codec8Extended, &records).unwrap();
        for length in 0..packet.len() {
            let error = decode(&packet[..length], Transport::Udp).unwrap_err();
            let codes = [RejectCode::Truncated, RejectCode::RecordCountMismatch];
            prop_assert!(codes.contains(&error.code()), "{} at length {}", error, length);
            prop_assert!(error.offset() <= length);
            prop_assert_eq!(error.consumed(), length);
        }
    }

    #[test]
    fn any_bytes_give_offsets_and_skips_inside_them(
        (layout, records) in records(0..3),
        damage in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        transport in proptest::sample::select(&[Transport::Tcp, Transport::Udp]),
    ) {
        let mut packet = encode_packet(layout, &records).unwrap();
        for (at, byte) in damage {
            let at = at.index(packet.len());
            packet[at] = byte;
        }
        let input = if transport == Transport::Tcp { frame_around(&packet).unwrap() } else { packet };
        if let Err(error) = decode(&input, transport) {
            prop_assert!(error.offset() <= input.len(), "{}", error);
            prop_assert!(error.consumed() <= input.len(), "{}", error);
        }
    }
}

#[test]
fn no_bit_of_a_documented_frame_can_be_flipped_unnoticed() {
    let mut n_frames = 0;
    for vector in vectors(DOCUMENTED) {
        if vector["transport"] != "tcp" || vector["expect"]["kind"] != "frame" {
            continue;
        }
        n_frames += 1;
        let frame = bytes(vector["hex"].as_str().unwrap());
        for bit in 0..frame.len() * 8 {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(
                decode(&flipped, Transport::Tcp).is_err(),
                "{} bit {bit}",
                vector["id"]
            );
        }
    }
    assert_eq!(n_frames, 11);
}

#[test]
fn variable_elements_of_every_length_come_back() {
    let element = |id, length| IoElement {
        id,
        value: IoValue::Variable(vec![0xA5; length]),
    };
    for length in (0..=600).chain([0x7FFF, 0x8000, 0xFFFE, 0xFFFF]) {
        let io = vec![element(385, length), element(256, 0), element(0xFFFF, 1)];
        let records = vec![
            Record {
                io,
                ..Record::default()
            };
            2
        ];
        let frame = encode_frame(CodecId::Codec8Extended, &records).unwrap();
        let found = decode(&frame, Transport::Tcp);
        assert_eq!(
            found,
            Ok((CodecId::Codec8Extended, records)),
            "{length} bytes"
        );
    }
}

#[test]
fn the_largest_counts_come_back() {
    let element = |id| IoElement {
        id,
        value: IoValue::U8(7),
    };
    for (layout, n_elements) in [(LAYOUTS[0], 255), (LAYOUTS[1], 65_535), (LAYOUTS[2], 255)] {
        let generation_type = (layout.codec_id() == CodecId::Codec16).then_some(255);
        let record = Record {
            generation_type,
            ..Record::default()
        };
        let full = Record {
            io: (0..n_elements).map(&element).collect(),
            ..record.clone()
        };
        let records = [vec![full], vec![record; 254]].concat();
        let packet = encode_packet(layout, &records).unwrap();
        assert_eq!(
            decode(&packet, Transport::Udp),
            Ok((layout.codec_id(), records))
        );
    }
}

#[test]
fn the_crc_agrees_with_an_independent_one_at_every_length_and_alignment() {
    const ORACLE: crc::Crc<u16> = crc::Crc::<u16>::new(&crc::CRC_16_ARC);
    let data: Vec<u8> = (0..640u32)
        .map(|i| i.wrapping_mul(0x9E37_79B9).to_be_bytes()[0])
        .collect();
    for start in 0..33 {
        for length in 0..=600 {
            let part = &data[start..start + length];
            assert_eq!(
                crc16(part),
                ORACLE.checksum(part),
                "{length} bytes at {start}"
            );
        }
    }
}

/// Pings at any place among a handshake and frames, some damaged so that framing may be lost.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let avl = records(0..3).prop_map(|(layout, records)| encode_frame(layout, &records).unwrap());
    let command = Just(bytes(
        "000000000000000f0c010500000007676574696e666f0100004312",
    ));
    let unit = prop_oneof![3 => avl.boxed(), 1 => command.boxed(), 2 => Just(vec![0xFF]).boxed()];
    let damage = proptest::option::weighted(0.3, (any::<proptest::sample::Index>(), any::<u8>()));
    (0..3usize, vec(unit, 0..5), damage).prop_map(|(n_pings, units, damage)| {
        let handshake = b"\x00\x0f356307042441013";
        let mut stream = [&vec![0xFF; n_pings][..], handshake, &units.concat()].concat();
        if let Some((at, byte)) = damage {
            let at = at.index(stream.len());
            stream[at] = byte;
        }
        stream
    })
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn a_stream_cut_anywhere_gives_the_units_of_the_whole(
        stream in stream(),
        part_bytes in 1..40usize,
        frame_max_bytes in proptest::sample::select(&[200usize, 65_536]),
    ) {
        let limits = Limits::new(frame_max_bytes).unwrap();
        let whole = cut(std::iter::once(&stream[..]), limits);
        let mut found = whole.units.iter().flat_map(|(_, bytes)| bytes).chain(&whole.unread);
        prop_assert!(found.by_ref().eq(&stream), "every byte is in one unit or unread");
        let by_parts = cut(stream.chunks(part_bytes), limits);
        prop_assert_eq!((&by_parts.units, by_parts.fatal), (&whole.units, whole.fatal));
        let by_bytes = cut(stream.chunks(1), limits);
        prop_assert_eq!((&by_bytes.units, by_bytes.fatal), (&whole.units, whole.fatal));
    }

    #[test]
    fn the_cutter_never_asks_for_more_than_the_unit_lacks(stream in stream()) {
        let whole = next_unit(&stream, Progress::Opening, &wide());
        let Ok(unit) = whole else { return Ok(()) };
        for length in 0..unit.length() {
            match next_unit(&stream[..length], Progress::Opening, &wide()) {
                Err(DecodeError::Incomplete { needed, .. }) => {
                    prop_assert!(needed <= unit.length() - length);
                }
                other => prop_assert!(false, "{:?} at {} bytes", other, length),
            }
        }
    }
}
