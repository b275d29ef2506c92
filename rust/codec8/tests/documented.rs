//! The vendor's examples: 29 decode to every value stated, 8 are refused as broken.

mod support;

use codec8::command::{Message, check_command_frame};
use codec8::encode::{IoElement, IoValue, Record, encode_frame, encode_packet};
use codec8::handshake::{ACCEPT, REFUSE, parse_handshake};
use codec8::stream::{Progress, Unit, device_reply, next_unit};
use codec8::udp::channel_packets;
use codec8::{CodecClass, DecodeError, Limits, Transport, check_envelope};
use serde_json::{Map, Value, json};
use support::records::decode;
use support::{DOCUMENTED, DOCUMENTED_INVALID, bytes, hex, vectors};

/// A vector's id, bytes and expectations.
struct Vector {
    id: String,
    transport: String,
    input: Vec<u8>,
    expect: Value,
}

impl Vector {
    fn read(line: &Value) -> Self {
        let text = |key: &str| line[key].as_str().expect("text").to_owned();
        Self {
            id: text("id"),
            transport: text("transport"),
            input: bytes(&text("hex")),
            expect: line["expect"].clone(),
        }
    }

    fn is_handshake(&self) -> bool {
        self.expect["kind"] == "imei"
    }

    fn is_tcp_frame(&self) -> bool {
        self.transport == "tcp" && !self.is_handshake()
    }
}

/// The documented vectors that `select` chooses; there must be `n`.
fn documented(n: usize, select: impl Fn(&Vector) -> bool) -> Vec<Vector> {
    let all = vectors(DOCUMENTED);
    let chosen: Vec<_> = all.iter().map(Vector::read).filter(select).collect();
    assert_eq!(chosen.len(), n);
    chosen
}

/// A record in the words of the vectors; their total of IO elements is checked by encoding again.
fn stated(record: &Record) -> Value {
    let io: Map<String, Value> = record.io.iter().map(stated_element).collect();
    let mut stated = json!({
        "timestamp_ms": record.recorded_at_ms,
        "priority": record.priority,
        "longitude_e7": record.longitude_e7,
        "latitude_e7": record.latitude_e7,
        "altitude_m": record.altitude_m,
        "angle_deg": record.angle_deg,
        "satellites": record.satellites,
        "speed_kmh": record.speed_kmh,
        "event_id": record.event_io_id,
        "io_total": record.io.len(),
        "io": io,
    });
    if let Some(generation_type) = record.generation_type {
        stated["generation_type"] = generation_type.into();
    }
    stated
}

fn stated_element(element: &IoElement) -> (String, Value) {
    let number =
        |bytes: &[u8], value: u64| json!({"width": bytes.len(), "hex": hex(bytes), "uint": value});
    let stated = match &element.value {
        IoValue::U8(value) => number(&value.to_be_bytes(), (*value).into()),
        IoValue::U16(value) => number(&value.to_be_bytes(), (*value).into()),
        IoValue::U32(value) => number(&value.to_be_bytes(), (*value).into()),
        IoValue::U64(value) => number(&value.to_be_bytes(), *value),
        IoValue::Bytes16(value) => json!({"width": 16, "hex": hex(value)}),
        IoValue::Variable(value) => {
            json!({"width": value.len(), "hex": hex(value), "variable": true})
        }
    };
    (element.id.to_string(), stated)
}

fn stated_message(message: &Message<'_>) -> Value {
    let head =
        4 * usize::from(message.timestamp_s.is_some()) + 8 * usize::from(message.imei.is_some());
    let mut stated = json!({
        "type": message.message_type,
        "size": head + message.payload.len(),
        "payload_hex": hex(message.payload),
    });
    if let Some(timestamp_s) = message.timestamp_s {
        stated["timestamp_s"] = timestamp_s.into();
    }
    if let Some(imei) = message.imei {
        stated["imei"] = format!("0{imei}").into();
    }
    stated
}

fn assert_tcp_envelope(vector: &Vector) {
    let Vector {
        id, input, expect, ..
    } = vector;
    let unit = next_unit(input, Progress::Identified, &Limits::default());
    assert_eq!(
        unit,
        Ok(Unit::Frame {
            length: input.len()
        }),
        "{id}"
    );
    assert_eq!(json!(input.len() - 12), expect["data_length"], "{id}");
    let crc = u16::from_be_bytes([input[input.len() - 2], input[input.len() - 1]]);
    assert_eq!(json!(format!("0x{crc:04X}")), expect["crc"], "{id}");
    assert_eq!(json!(input[8]), expect["codec_id"], "{id}");
}

#[test]
fn three_handshakes_give_their_imei_and_both_answers() {
    for Vector {
        id, input, expect, ..
    } in documented(3, Vector::is_handshake)
    {
        let unit = next_unit(&input, Progress::Opening, &Limits::default());
        assert_eq!(unit, Ok(Unit::Handshake), "{id}");
        let imei = parse_handshake(&input).expect(&id);
        assert_eq!(json!(imei.to_string()), expect["imei"], "{id}");
        assert_eq!(json!(hex(&ACCEPT)), expect["accept_hex"], "{id}");
        assert_eq!(json!(hex(&REFUSE)), expect["reject_hex"], "{id}");
    }
}

#[test]
fn eleven_avl_frames_give_every_field_and_element_and_encode_to_the_same_bytes() {
    for vector in documented(11, Vector::is_tcp_frame) {
        assert_tcp_envelope(&vector);
        let Vector {
            id, input, expect, ..
        } = vector;
        let (codec_id, records) = decode(&input, Transport::Tcp).expect(&id);
        assert_eq!(json!(codec_id.number()), expect["codec_id"], "{id}");
        assert_eq!(json!(records.len()), expect["record_count"], "{id}");
        assert_eq!(
            json!(records.iter().map(stated).collect::<Vec<_>>()),
            expect["records"],
            "{id}"
        );
        assert_eq!(encode_frame(codec_id, &records), Ok(input.clone()), "{id}");
        let packet = check_envelope(&input, Transport::Tcp, &Limits::default()).expect(&id);
        assert_eq!(
            json!(hex(&device_reply(packet.n_records()))),
            expect["ack_hex"],
            "{id}"
        );
    }
}

#[test]
fn four_datagrams_give_their_head_every_record_and_the_reply() {
    for vector in documented(4, |vector| vector.transport == "udp") {
        let Vector {
            id, input, expect, ..
        } = vector;
        let packets: Vec<_> = channel_packets(&input)
            .collect::<Result<_, _>>()
            .expect(&id);
        let [packet] = packets[..] else {
            panic!("{id}: one channel packet")
        };
        let head = json!({
            "packet_length": input.len() - 2,
            "packet_id": packet.packet_id,
            "packet_type": packet.packet_type,
            "avl_packet_id": packet.avl_packet_id,
            "imei": packet.imei.to_string(),
        });
        assert_eq!(head, expect["udp"], "{id}");
        assert_eq!(&input[packet.avl_packet_start..], packet.avl_packet, "{id}");
        let (codec_id, records) = decode(packet.avl_packet, Transport::Udp).expect(&id);
        assert_eq!(json!(codec_id.number()), expect["codec_id"], "{id}");
        assert_eq!(json!(records.len()), expect["record_count"], "{id}");
        assert_eq!(
            json!(records.iter().map(stated).collect::<Vec<_>>()),
            expect["records"],
            "{id}"
        );
        assert_eq!(
            encode_packet(codec_id, &records).as_deref(),
            Ok(packet.avl_packet),
            "{id}"
        );
        let n_accepted = u8::try_from(records.len()).expect(&id);
        assert_eq!(
            json!(hex(&packet.reply(n_accepted))),
            expect["ack_hex"],
            "{id}"
        );
    }
}

#[test]
fn eleven_command_frames_give_every_message_and_are_not_avl() {
    for vector in documented(11, |vector| vector.transport == "command") {
        assert_tcp_envelope(&vector);
        let Vector {
            id,
            input,
            mut expect,
            ..
        } = vector;
        let frame = check_command_frame(&input, &Limits::default()).expect(&id);
        assert_eq!(json!(frame.codec().number()), expect["codec_id"], "{id}");
        assert_eq!(json!(frame.quantity()), expect["quantity_1"], "{id}");
        let messages: Vec<_> = frame
            .messages()
            .map(|message| stated_message(&message.expect(&id)))
            .collect();
        assert_text_is_the_payload(&mut expect, &id);
        assert_eq!(json!(messages), expect["messages"], "{id}");
        assert!(
            matches!(CodecClass::of(input[8]), CodecClass::NotAvl(_)),
            "{id}"
        );
        let as_avl = check_envelope(&input, Transport::Tcp, &Limits::default()).map(|_| ());
        let error = as_avl.expect_err(&id);
        assert_eq!(
            (error.code().name(), error.offset(), error.consumed()),
            ("not_avl", 8, input.len()),
            "{id}"
        );
    }
}

/// Some vectors state a payload twice, as hex and as text: takes the text away, which must agree.
fn assert_text_is_the_payload(expect: &mut Value, id: &str) {
    for message in expect["messages"].as_array_mut().expect(id) {
        if let Some(text) = message.as_object_mut().expect(id).remove("text") {
            assert_eq!(
                json!(hex(text.as_str().expect(id).as_bytes())),
                message["payload_hex"],
                "{id}"
            );
        }
    }
}

/// The first error of an input, whichever layer of its transport finds it.
fn first_error(transport: &str, input: &[u8]) -> Option<DecodeError> {
    match transport {
        "tcp" => decode(input, Transport::Tcp).err(),
        "command" => match check_command_frame(input, &Limits::default()) {
            Ok(frame) => frame.messages().find_map(Result::err),
            Err(error) => Some(error),
        },
        _ => channel_packets(input).find_map(|packet| match packet {
            Ok(packet) => decode(packet.avl_packet, Transport::Udp).err(),
            Err(error) => Some(error),
        }),
    }
}

#[test]
fn eight_broken_examples_are_refused_with_the_code_stated() {
    let lines = vectors(DOCUMENTED_INVALID);
    assert_eq!(lines.len(), 8);
    for line in &lines {
        let Vector {
            id,
            transport,
            input,
            expect,
        } = Vector::read(line);
        let error = first_error(&transport, &input).expect(&id);
        assert_eq!(json!(error.code().name()), expect["code"], "{id}");
        assert!(error.offset() <= input.len(), "{id}");
    }
}
