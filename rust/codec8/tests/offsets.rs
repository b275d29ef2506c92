//! Where each error points: the first byte of the offending field, on bytes worked out by hand.

mod support;

use codec8::encode::frame_around;
use codec8::handshake::parse_handshake;
use codec8::udp::channel_packets;
use codec8::{
    Columns, DecodeError, Limits, RejectCode, RejectReason, Transport, check_envelope, decode_frame,
};
use support::bytes;

/// Code, offset and how far to skip.
type Refusal = (&'static str, usize, usize);

fn refusal(error: &DecodeError) -> Refusal {
    (error.code().name(), error.offset(), error.consumed())
}

fn avl_error(input: &[u8], transport: Transport) -> DecodeError {
    let mut columns = Columns::new();
    let result = decode_frame(input, transport, &Limits::default(), 0, &mut columns);
    result.map(|_| ()).expect_err("the input is broken")
}

/// The fields of one AVL packet, up to number of data 2, each as hex.
const CODEC_8: [&str; 26] = [
    "08",
    "01",
    "0000016b40d9ad80",
    "01",
    "0f0ea850",
    "209a6900",
    "0094",
    "00d6",
    "0c",
    "0005",
    "ef",
    "05",
    "02",
    "ef",
    "01",
    "f0",
    "00",
    "01",
    "42",
    "5e10",
    "01",
    "f1",
    "0000601a",
    "01",
    "4e",
    "0000000000000001",
];

const CODEC_8_EXTENDED: [&str; 33] = [
    "8e",
    "01",
    "0000016b40d9ad80",
    "01",
    "0f0ea850",
    "209a6900",
    "0094",
    "00d6",
    "0c",
    "0005",
    "0181",
    "0006",
    "0001",
    "00ef",
    "01",
    "0001",
    "0042",
    "5e10",
    "0001",
    "00f1",
    "0000601a",
    "0001",
    "004e",
    "0000000000000001",
    "0003",
    "0181",
    "0003",
    "aabbcc",
    "0182",
    "0000",
    "0183",
    "0001",
    "dd",
];

const CODEC_16: [&str; 23] = [
    "10",
    "01",
    "0000016b40d9ad80",
    "01",
    "0f0ea850",
    "209a6900",
    "0094",
    "00d6",
    "0c",
    "0005",
    "01ef",
    "07",
    "03",
    "01",
    "01ef",
    "01",
    "01",
    "0042",
    "5e10",
    "01",
    "00f1",
    "0000601a",
    "00",
];

/// Cuts every field of the records at every byte, behind which number of data 2 stands as it should.
fn assert_each_cut_names_its_field(fields: &[&str]) {
    for (k, field) in fields.iter().enumerate().skip(2) {
        let before = bytes(&fields[..k].concat());
        let width = bytes(field).len();
        for left in 0..width {
            let packet = [&before[..], &bytes(field)[..left], &[0x01]].concat();
            let error = avl_error(&packet, Transport::Udp);
            let reason = RejectReason::Truncated {
                needed: width,
                left,
            };
            let (consumed, offset) = (packet.len(), before.len());
            assert_eq!(
                error,
                DecodeError::Rejected {
                    consumed,
                    offset,
                    reason
                },
                "field {k}"
            );
        }
    }
}

#[test]
fn a_cut_in_a_codec_8_record_points_at_the_field_that_is_cut() {
    assert_each_cut_names_its_field(&CODEC_8);
}

#[test]
fn a_cut_in_a_codec_8_extended_record_points_at_the_field_that_is_cut() {
    assert_each_cut_names_its_field(&CODEC_8_EXTENDED);
}

#[test]
fn a_cut_in_a_codec_16_record_points_at_the_field_that_is_cut() {
    assert_each_cut_names_its_field(&CODEC_16);
}

#[test]
fn a_cut_in_the_second_record_points_into_the_second_record() {
    // 2 + 38 bytes of an empty Codec 8 Extended record, then a timestamp of 3 bytes.
    let first = "0000016b40d9ad80 00 00000000 00000000 0000 0000 00 0000 0000 0000 0000 0000 0000 0000 0000";
    let packet = bytes(&format!("8e 02 {first} 000001 02"));
    assert_eq!(
        refusal(&avl_error(&packet, Transport::Udp)),
        ("truncated", 40, 44)
    );
    // The same over TCP stands 8 bytes further in, and 12 bytes longer.
    let frame = frame_around(&packet).unwrap();
    assert_eq!(
        refusal(&avl_error(&frame, Transport::Tcp)),
        ("truncated", 48, 56)
    );
}

#[test]
fn errors_of_an_avl_frame_point_at_the_field() {
    let rows: [(&str, Refusal); 10] = [
        ("", ("truncated", 0, 0)),
        ("00000001 00000003 080000 0000c281", ("bad_preamble", 0, 0)),
        (
            "00000000 00000002 0800 00000000",
            ("length_out_of_range", 4, 0),
        ),
        (
            "00000000 0000fff5 080000 0000c281",
            ("length_out_of_range", 4, 0),
        ),
        ("00000000 00000003 080000 0000c2", ("truncated", 11, 0)),
        (
            "00000000 00000003 080000 0000c281 ff",
            ("trailing_bytes", 15, 15),
        ),
        (
            "00000000 00000003 080000 0000c280",
            ("crc_mismatch", 11, 15),
        ),
        (
            "00000000 00000003 080000 0100c281",
            ("crc_mismatch", 11, 15),
        ),
        (
            "00000000 00000003 8e0000 00002b61",
            ("crc_mismatch", 11, 15),
        ),
        ("00000000 0000fff4 08", ("truncated", 8, 0)),
    ];
    for (hex, expected) in rows {
        assert_eq!(
            refusal(&avl_error(&bytes(hex), Transport::Tcp)),
            expected,
            "{hex}"
        );
    }
}

#[test]
fn errors_of_an_avl_packet_point_at_the_field() {
    let rows: [(&str, Refusal); 7] = [
        ("", ("truncated", 0, 0)),
        ("08", ("truncated", 1, 1)),
        ("07 00 00", ("unsupported_codec", 0, 3)),
        ("0f 01 01", ("not_avl", 0, 3)),
        ("10 01 00", ("record_count_mismatch", 2, 3)),
        ("8e 00 aabb 00", ("trailing_bytes", 2, 5)),
        ("8e 01 01", ("truncated", 2, 3)),
    ];
    for (hex, expected) in rows {
        assert_eq!(
            refusal(&avl_error(&bytes(hex), Transport::Udp)),
            expected,
            "{hex}"
        );
    }
}

#[test]
fn an_unknown_codec_id_is_told_what_was_expected() {
    let error = avl_error(&bytes("07 00 00"), Transport::Udp);
    let expected = "unsupported_codec at byte 0: codec id 0x07, expected 0x08, 0x8E or 0x10";
    assert_eq!(error.to_string(), expected);
}

/// An input that yields the code, or `None` where this crate cannot: it is decided elsewhere.
fn example_of(code: RejectCode) -> Option<DecodeError> {
    let tcp = |hex| Some(avl_error(&bytes(hex), Transport::Tcp));
    let udp = |hex| Some(avl_error(&bytes(hex), Transport::Udp));
    match code {
        RejectCode::Truncated => tcp("00000000 00000003 08"),
        RejectCode::BadPreamble => tcp("000f"),
        RejectCode::LengthOutOfRange => tcp("00000000 00000000"),
        RejectCode::CrcMismatch => tcp("00000000 00000003 080000 00000000"),
        RejectCode::RecordCountMismatch => udp("08 00 01"),
        RejectCode::TrailingBytes => udp("08 00 00 00"),
        RejectCode::UnsupportedCodec => udp("07 00 00"),
        RejectCode::NotAvl => udp("0c 01 01"),
        RejectCode::ChannelLengthMismatch => channel_packets(&bytes("0001")).find_map(Result::err),
        RejectCode::BadImei => parse_handshake(b"\x00\x0fnot-15-digits--").err(),
        RejectCode::MissingField
        | RejectCode::UnsupportedVersion
        | RejectCode::TimestampOutOfRange
        | RejectCode::DecoderBug
        | RejectCode::RefusedByPostgres
        | RejectCode::CrashedProcessor
        | RejectCode::PayloadTrimmed
        | RejectCode::PoisonFrame => None,
    }
}

#[test]
fn ten_codes_are_the_decoders_and_each_has_an_input() {
    let yielded: Vec<_> = RejectCode::ALL
        .into_iter()
        .filter_map(|code| {
            let error = example_of(code)?;
            assert_eq!(error.code(), code);
            Some(code)
        })
        .collect();
    assert_eq!(yielded.len(), 10);
}

#[test]
fn a_frame_at_the_limit_passes_and_one_byte_more_does_not() {
    let frame = frame_around(&bytes("8e 00 00")).unwrap();
    let packet = check_envelope(&frame, Transport::Tcp, &Limits::new(15).unwrap());
    assert_eq!(packet.map(|packet| packet.n_records()), Ok(0));
    let longer = frame_around(&bytes("8e 00 ff 00")).unwrap();
    let error = check_envelope(&longer, Transport::Tcp, &Limits::new(15).unwrap()).map(|_| ());
    assert_eq!(
        error.map_err(|error| refusal(&error)),
        Err(("length_out_of_range", 4, 0))
    );
}
