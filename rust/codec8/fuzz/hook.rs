//! What the fuzzer tries to break.
//!
//! Invariant: whatever the bytes, nothing panics, an error's offset and skip never exceed the input, a
//! stream cut byte by byte gives the units of the whole, and decode(encode(x)) == x for what decoded.

use codec8::command::check_command_frame;
use codec8::cutter::Cutter;
use codec8::encode::{IoValue, Layout, Record, encode_packet, frame_around};
use codec8::handshake::parse_handshake;
use codec8::udp::channel_packets;
use codec8::{CodecId, DecodeError, Transport};

use crate::cutter::cut;
use crate::records::{decode, wide};

/// Reads `input` as everything that this crate reads, and checks the invariant above.
pub(crate) fn decode_any(input: &[u8]) {
    assert_avl(input, Transport::Tcp);
    assert_avl(input, Transport::Udp);
    // With the right length and CRC round it, the input gets past the envelope.
    let frame = frame_around(input).expect("the input is shorter than 4 GiB");
    assert_avl(&frame, Transport::Tcp);
    assert_commands(&frame);
    assert_commands(input);
    assert_datagram(input);
    assert_stream(input);
    assert_connection(input);
    parse_handshake(input).map_or_else(|error| assert_inside(&error, input), drop);
}

fn assert_avl(input: &[u8], transport: Transport) {
    match decode(input, transport) {
        Ok((codec_id, records)) => assert_comes_back(codec_id, &records),
        Err(error) => assert_inside(&error, input),
    }
}

fn assert_comes_back(codec_id: CodecId, records: &[Record]) {
    let mut values = records
        .iter()
        .flat_map(|record| &record.io)
        .map(|element| &element.value);
    let layout = if values.any(|value| matches!(value, IoValue::Bytes16(_))) {
        Layout::Codec8With16ByteGroup
    } else {
        Layout::Documented(codec_id)
    };
    let packet = encode_packet(layout, records).expect("what was decoded can be encoded");
    let (again, found) = decode(&packet, Transport::Udp).expect("what was encoded can be decoded");
    assert_eq!(again, codec_id);
    // Nothing announces the 16-byte group: a packet that fits without it, totals included (the encoder
    // writes the right ones), is read without it.
    let fits_without = || encode_packet(codec_id, &found).as_ref() == Ok(&packet);
    assert!(found == records || layout == Layout::Codec8With16ByteGroup && fits_without());
}

fn assert_commands(input: &[u8]) {
    match check_command_frame(input, &wide()) {
        Ok(frame) => frame
            .messages()
            .filter_map(Result::err)
            .for_each(|error| assert_inside(&error, input)),
        Err(error) => assert_inside(&error, input),
    }
}

fn assert_datagram(input: &[u8]) {
    for packet in channel_packets(input) {
        match packet {
            Ok(packet) => {
                let end = packet.avl_packet_start + packet.avl_packet.len();
                assert_eq!(&input[packet.avl_packet_start..end], packet.avl_packet);
                assert_avl(packet.avl_packet, Transport::Udp);
            }
            Err(error) => assert_inside(&error, input),
        }
    }
}

fn assert_stream(input: &[u8]) {
    let whole = cut(std::iter::once(input), wide());
    let by_bytes = cut(input.chunks(1), wide());
    assert_eq!(
        (&by_bytes.units, by_bytes.fatal),
        (&whole.units, whole.fatal)
    );
    let n_bytes: usize = whole.units.iter().map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(n_bytes + whole.unread.len(), input.len());
}

fn assert_connection(input: &[u8]) {
    let units = |part_bytes: usize| {
        let (mut cutter, mut units) = (Cutter::new(wide()), Vec::new());
        for part in input.chunks(part_bytes) {
            cutter.feed(part, |unit| units.push(format!("{unit:?}")));
            assert!(cutter.n_buffered() <= input.len());
        }
        units
    };
    assert_eq!(units(1), units(input.len().max(1)));
}

fn assert_inside(error: &DecodeError, input: &[u8]) {
    assert!(error.offset() <= input.len(), "{error}");
    assert!(error.consumed() <= input.len(), "{error}");
}
