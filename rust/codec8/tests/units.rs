//! Command frames, channel packets and streams: what they hold, and where each error points.

mod support;

use codec8::command::check_command_frame;
use codec8::encode::frame_around;
use codec8::stream::{Progress, next_unit};
use codec8::udp::channel_packets;
use codec8::{DecodeError, Limits};
use support::bytes;

/// Code, offset and how far to skip.
type Refusal = (&'static str, usize, usize);

fn refusal(error: &DecodeError) -> Refusal {
    (error.code().name(), error.offset(), error.consumed())
}

#[test]
fn errors_of_a_command_frame_point_at_the_field() {
    // The data field starts at byte 8, the first message at byte 10, its body at byte 15.
    let rows: [(&str, Refusal); 11] = [
        ("08 00 00", ("unsupported_codec", 8, 15)),
        ("07 01 01", ("unsupported_codec", 8, 15)),
        ("0c 01 05 000000 01", ("truncated", 11, 19)),
        ("0c 01 05 00000003 6162 01", ("truncated", 15, 22)),
        ("0c 01 05 ffffffff 6162 01", ("truncated", 15, 22)),
        ("0d 01 06 00000003 0a81c3 01", ("truncated", 15, 23)),
        ("0e 01 06 00000007 03520930814522 01", ("truncated", 15, 27)),
        (
            "0f 01 0b 00000008 654b65a4 01234567 01",
            ("truncated", 19, 28),
        ),
        (
            "0e 01 06 00000008 1352093081452251 01",
            ("bad_imei", 15, 28),
        ),
        (
            "0f 01 0b 0000000c 654b65a4 035209308145225a 01",
            ("bad_imei", 19, 32),
        ),
        (
            "0c 02 05 00000001 61 05 00000002 62 02",
            ("truncated", 21, 27),
        ),
    ];
    for (hex, expected) in rows {
        let frame = frame_around(&bytes(hex)).unwrap();
        let error = match check_command_frame(&frame, &Limits::default()) {
            Ok(frame) => frame
                .messages()
                .find_map(Result::err)
                .expect("a broken message"),
            Err(error) => error,
        };
        assert_eq!(refusal(&error), expected, "{hex}");
    }
}

#[test]
fn an_avl_frame_among_commands_is_told_what_was_expected() {
    let frame = frame_around(&bytes("08 00 00")).unwrap();
    let error = check_command_frame(&frame, &Limits::default()).unwrap_err();
    let expected = "unsupported_codec at byte 8: codec id 0x08, expected 0x0C to 0x0F";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn nothing_is_read_behind_a_broken_message() {
    let frame = frame_around(&bytes("0c 01 05 00000001 61 05 000000ff 62 01")).unwrap();
    let frame = check_command_frame(&frame, &Limits::default()).unwrap();
    let messages: Vec<_> = frame.messages().collect();
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0].map(|message| message.payload), Ok(&b"a"[..]));
    assert!(messages[1].is_err());
}

#[test]
fn a_command_frame_holds_as_many_messages_as_fit_whatever_the_quantity_says() {
    for (hex, payloads) in [
        ("0c 02 06 00000001 61 01", vec!["a"]),
        (
            "0c 01 06 00000001 61 06 00000000 06 00000002 6263 01",
            vec!["a", "", "bc"],
        ),
        ("0c 00 00", vec![]),
    ] {
        let frame = frame_around(&bytes(hex)).unwrap();
        let frame = check_command_frame(&frame, &Limits::default()).unwrap();
        let found: Vec<_> = frame
            .messages()
            .map(|message| message.unwrap().payload)
            .collect();
        assert_eq!(
            found,
            payloads
                .iter()
                .map(|text| text.as_bytes())
                .collect::<Vec<_>>(),
            "{hex}"
        );
    }
}

/// A channel packet of 26 bytes: an empty Codec 8 AVL packet from IMEI 352093086403655.
const CHANNEL_PACKET: &str = "0018 cafe 01 05 000f 333532303933303836343033363535 080000";

fn udp_refusals(hex: &str) -> Vec<Refusal> {
    channel_packets(&bytes(hex))
        .filter_map(Result::err)
        .map(|error| refusal(&error))
        .collect()
}

#[test]
fn errors_of_a_channel_packet_point_at_the_field() {
    let rows: [(&str, Refusal); 8] = [
        ("", ("truncated", 0, 0)),
        ("00", ("truncated", 0, 1)),
        ("0000", ("truncated", 2, 2)),
        ("0003 cafe 01", ("truncated", 5, 5)),
        (
            "0014 cafe 01 05 000f 3335323039333038363430333635",
            ("truncated", 8, 22),
        ),
        (
            "0019 cafe 01 05 000f 333532303933303836343033363535 080000",
            ("channel_length_mismatch", 0, 26),
        ),
        (
            "0018 cafe 01 05 000e 333532303933303836343033363535 080000",
            ("bad_imei", 6, 26),
        ),
        (
            "0018 cafe 01 05 000f 33353230393330383634303336353a 080000",
            ("bad_imei", 8, 26),
        ),
    ];
    for (hex, expected) in rows {
        assert_eq!(udp_refusals(hex), [expected], "{hex}");
    }
}

#[test]
fn a_datagram_may_hold_several_channel_packets_and_offsets_count_from_its_start() {
    let datagram = bytes(&CHANNEL_PACKET.repeat(3));
    let starts: Vec<_> = channel_packets(&datagram)
        .map(|packet| packet.unwrap().avl_packet_start)
        .collect();
    assert_eq!(starts, [23, 49, 75]);
    let cut = format!(
        "{CHANNEL_PACKET} {}",
        &CHANNEL_PACKET[..CHANNEL_PACKET.len() - 2]
    );
    assert_eq!(udp_refusals(&cut), [("channel_length_mismatch", 26, 25)]);
}

#[test]
fn a_channel_packet_behind_a_rejected_one_is_read() {
    let bad = CHANNEL_PACKET.replace("000f 33", "000f 2f");
    let datagram = bytes(&format!("{CHANNEL_PACKET} {bad} {CHANNEL_PACKET}"));
    let found: Vec<_> = channel_packets(&datagram).collect();
    assert_eq!(found.len(), 3);
    assert_eq!(
        found[1].map_err(|error| refusal(&error)),
        Err(("bad_imei", 34, 26))
    );
    assert_eq!(
        found[2].map(|packet| packet.imei.number()),
        Ok(352_093_086_403_655)
    );
}

#[test]
fn nothing_is_read_behind_a_length_that_cannot_be_trusted() {
    for too_short in ["0000", "0014 cafe 01 05 000f 3335323039333038363430333635"] {
        let datagram = bytes(&format!("{too_short} {CHANNEL_PACKET}"));
        assert_eq!(channel_packets(&datagram).count(), 1, "{too_short}");
    }
}

#[test]
fn codec_id_and_number_of_data_are_those_of_an_avl_packet_that_has_them() {
    for (avl_packet, codec_id, n_data) in [
        ("8e0500", Some(0x8E), Some(5)),
        ("8e05", Some(0x8E), Some(5)),
        ("8e", Some(0x8E), None),
        ("", None, None),
    ] {
        let length = 21 + avl_packet.len() / 2;
        let head = "cafe 01 05 000f 333532303933303836343033363535";
        let datagram = bytes(&format!("{length:04x} {head} {avl_packet}"));
        let packet = channel_packets(&datagram).next().unwrap().unwrap();
        assert_eq!(
            (packet.codec_id(), packet.n_data()),
            (codec_id, n_data),
            "{avl_packet}"
        );
    }
}

#[test]
fn errors_of_a_stream_point_at_the_unit_that_slipped() {
    let rows: [(&str, Progress, Refusal); 10] = [
        ("01", Progress::Identified, ("bad_preamble", 0, 0)),
        ("000f", Progress::Identified, ("bad_preamble", 0, 0)),
        ("0000 01", Progress::Opening, ("bad_preamble", 0, 0)),
        ("0010", Progress::Opening, ("length_out_of_range", 0, 0)),
        ("16", Progress::Opening, ("length_out_of_range", 0, 0)),
        (
            "0101 2f00",
            Progress::Opening,
            ("length_out_of_range", 0, 0),
        ),
        (
            "00000000 00000002",
            Progress::Identified,
            ("length_out_of_range", 4, 0),
        ),
        (
            "00000000 7fffffff",
            Progress::Opening,
            ("length_out_of_range", 4, 0),
        ),
        (
            "00000000 00000003 08",
            Progress::Identified,
            ("truncated", 8, 0),
        ),
        ("000f 33", Progress::Opening, ("truncated", 2, 0)),
    ];
    for (hex, progress, expected) in rows {
        let error = next_unit(&bytes(hex), progress, &Limits::default()).unwrap_err();
        assert_eq!(refusal(&error), expected, "{hex}");
    }
}

#[test]
fn a_cut_stream_asks_for_no_more_than_every_unit_it_may_become_lacks() {
    let rows = [
        ("", Progress::Opening, 1),
        ("00", Progress::Opening, 1),
        ("0000", Progress::Opening, 6),
        ("000f", Progress::Opening, 15),
        ("000f 3335", Progress::Opening, 13),
        ("", Progress::Identified, 1),
        ("00", Progress::Identified, 7),
        ("00000000 000000", Progress::Identified, 1),
        ("00000000 00000003", Progress::Identified, 7),
        ("00000000 00000003 080000 0000c2", Progress::Identified, 1),
    ];
    for (hex, progress, expected) in rows {
        match next_unit(&bytes(hex), progress, &Limits::default()) {
            Err(DecodeError::Incomplete { needed, .. }) => assert_eq!(needed, expected, "{hex}"),
            other => panic!("{hex}: {other:?}"),
        }
    }
}
