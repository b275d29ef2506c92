//! The bytes of a connection to its units: the same for every way of splitting them into reads.

mod support;

use codec8::Limits;
use codec8::cutter::{CutUnit, Cutter};
use codec8::encode::frame_around;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use support::{bytes, config};

const FRAME_MAX_BYTES: usize = 400;

/// The kind of a unit, its bytes and its number.
type Seen = (&'static str, Vec<u8>, u64);

fn seen(unit: CutUnit<'_>) -> Seen {
    match unit {
        CutUnit::Ping => ("ping", vec![], 0),
        CutUnit::Handshake(imei) => ("handshake", vec![], imei.number()),
        CutUnit::Avl { frame, n_data } => ("avl", frame.to_vec(), n_data.into()),
        CutUnit::Command { frame, codec } => ("command", frame.to_vec(), codec.number().into()),
        CutUnit::Damaged { frame, n_data } => ("damaged", frame.to_vec(), n_data.into()),
        CutUnit::Foreign(client) => ("foreign", client.name().into(), 0),
        CutUnit::Lost { code, offset } => ("lost", code.name().into(), offset),
    }
}

/// The units of a connection whose reads are these.
fn units<'a>(reads: impl IntoIterator<Item = &'a [u8]>) -> Vec<Seen> {
    let mut cutter = Cutter::new(Limits::new(FRAME_MAX_BYTES).unwrap());
    let mut units = Vec::new();
    for read in reads {
        cutter.feed(read, |unit| units.push(seen(unit)));
        assert!(cutter.n_buffered() < FRAME_MAX_BYTES);
    }
    units
}

/// The bytes in reads of these lengths, over and over.
fn reads<'a>(mut unread: &'a [u8], lengths: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    lengths.iter().cycle().map_while(move |&length| {
        let (read, behind) = unread.split_at(length.min(unread.len()));
        unread = behind;
        (!read.is_empty()).then_some(read)
    })
}

/// The lengths of reads: small ones, and such that hold several units.
fn lengths() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![3 => 1..24usize, 1 => 1..1_500usize], 1..8)
}

/// A frame of any codec id and number of data, with what the cutter has to say of it.
fn frame() -> impl Strategy<Value = (Vec<u8>, Seen)> {
    let codec_id = prop_oneof![
        select(&[0x08u8, 0x8E, 0x10, 0x0C, 0x0D, 0x0E, 0x0F][..]),
        any::<u8>(),
    ];
    (codec_id, any::<u8>(), vec(any::<u8>(), 1..=386)).prop_map(|(codec_id, n_data, rest)| {
        let data_field = [&[codec_id, n_data][..], &rest].concat();
        let frame = frame_around(&data_field).unwrap();
        let seen = match codec_id {
            0x0C..=0x0F => ("command", frame.clone(), codec_id.into()),
            _ => ("avl", frame.clone(), n_data.into()),
        };
        (frame, seen)
    })
}

/// A frame with a byte behind its length overwritten.
fn damaged_frame() -> impl Strategy<Value = (Vec<u8>, Seen)> {
    (frame(), any::<Index>(), 1..=255u8).prop_map(|((mut frame, _), at, change)| {
        let at = 8 + at.index(frame.len() - 8);
        frame[at] ^= change;
        let seen = ("damaged", frame.clone(), frame[9].into());
        (frame, seen)
    })
}

fn ping() -> impl Strategy<Value = (Vec<u8>, Seen)> {
    Just((vec![0xFF], ("ping", vec![], 0)))
}

/// Pings, then a handshake, then pings and frames, good and damaged.
fn conversation() -> impl Strategy<Value = Vec<(Vec<u8>, Seen)>> {
    let handshake = (0..1_000_000_000_000_000u64).prop_map(|imei| {
        let sent = format!("\0\x0f{imei:015}").into_bytes();
        (sent, ("handshake", vec![], imei))
    });
    let unit = prop_oneof![3 => frame(), 1 => damaged_frame(), 2 => ping()];
    (vec(ping(), 0..3), handshake, vec(unit, 0..8))
        .prop_map(|(pings, handshake, units)| [pings, vec![handshake], units].concat())
}

/// What foreign clients open with, and what trackers do, whole or not.
const OPENINGS: [&[u8]; 9] = [
    b"",
    b"\x00\x0f356307042441013",
    b"\x00\x0f35630704244101x",
    b"GET / HTTP/1.1\r\n",
    b"\x16\x03\x01\x02\x00",
    b"\x0f\x00\x2f\x09localhost\x63\xdd\x01",
    b"\x00\x00\x00\x05\x00\x01\x43\x83",
    b"\x00\x00\x00\x00\x00\x00\x01\x85",
    b"\x00\x00\x00\x00\x00\x00\x01\x84",
];

/// Anything that may come in: an opening, then units of which bytes are overwritten.
fn anything() -> impl Strategy<Value = Vec<u8>> {
    let damage = vec((any::<Index>(), any::<u8>()), 0..4);
    let parts = (
        select(&OPENINGS[..]),
        any::<Index>(),
        conversation(),
        damage,
    );
    parts.prop_map(|(opening, end, conversation, damage)| {
        let opening = opening[..end.index(opening.len() + 1)].to_vec();
        let units = conversation.into_iter().map(|(sent, _)| sent);
        let mut sent = std::iter::once(opening)
            .chain(units)
            .collect::<Vec<_>>()
            .concat();
        for (at, byte) in damage {
            let at = at.index(sent.len());
            sent[at] = byte;
        }
        sent
    })
}

proptest! {
    #![proptest_config(config(512))]

    #[test]
    fn every_unit_that_was_sent_is_cut_however_it_was_split(
        conversation in conversation(),
        lengths in lengths(),
    ) {
        let (sent, expected): (Vec<_>, Vec<_>) = conversation.into_iter().unzip();
        let sent = sent.concat();
        prop_assert_eq!(&units([&sent[..]]), &expected);
        prop_assert_eq!(&units(reads(&sent, &lengths)), &expected);
        prop_assert_eq!(&units(sent.chunks(1)), &expected);
    }

    #[test]
    fn whatever_comes_in_has_the_units_of_the_whole_however_it_was_split(
        sent in anything(),
        lengths in lengths(),
    ) {
        let whole = units([&sent[..]]);
        prop_assert_eq!(&units(reads(&sent, &lengths)), &whole);
        prop_assert_eq!(&units(sent.chunks(1)), &whole);
    }
}

#[test]
fn a_lost_connection_says_where_from_its_first_byte_on() {
    let handshake = "000f333536333037303432343431303133";
    let empty = "00000000 00000003 080000 0000c281";
    let rows = [
        (
            "ff 000f 33353633303730343234343130317a".to_owned(),
            "bad_imei",
            3,
        ),
        (format!("{handshake} {handshake}"), "bad_preamble", 17),
        (format!("{handshake} {empty} ff 01"), "bad_preamble", 33),
        (
            format!("{handshake} 00000000 00000002"),
            "length_out_of_range",
            21,
        ),
        (
            format!("{handshake} 00000000 00000185"),
            "length_out_of_range",
            21,
        ),
        (format!("{empty} 0101 2f00"), "length_out_of_range", 15),
        ("5353482d".to_owned(), "length_out_of_range", 0),
    ];
    for (hex, code, offset) in rows {
        let units = units([&bytes(&hex)[..]]);
        assert_eq!(units.last(), Some(&("lost", code.into(), offset)), "{hex}");
    }
}

#[test]
fn a_frame_before_the_handshake_is_a_frame_and_a_handshake_may_follow() {
    let frame = "00000000 00000003 080000 0000c281";
    let sent = bytes(&format!("{frame} 000f333536333037303432343431303133"));
    let expected = [
        ("avl", bytes(frame), 0),
        ("handshake", vec![], 356_307_042_441_013),
    ];
    assert_eq!(units([&sent[..]]), expected);
}
