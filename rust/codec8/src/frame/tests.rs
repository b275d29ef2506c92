use super::*;

/// Vendor wiki, Codec 8, TCP example 2: one record, event 1, IO 21 = 3, 1 = 1, 66 = 24,080.
const DOCUMENTED: &str = "000000000000002808010000016b40d9ad80010000000000000000000000000000\
                          000103021503010101425e100000010000f22a";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap())
        .collect()
}

/// A TCP frame round an AVL packet, with the right length and CRC.
fn tcp(packet: &[u8]) -> Vec<u8> {
    let length = u32::try_from(packet.len()).unwrap().to_be_bytes();
    let crc = u32::from(crc16(packet)).to_be_bytes();
    [&[0; 4], &length[..], packet, &crc].concat()
}

/// A record of `widths` at 1,000 ms, behind which the element groups follow.
fn head(event_and_total: &[u8]) -> Vec<u8> {
    let mut head = 1_000u64.to_be_bytes().to_vec();
    head.extend([0; 16]);
    head.extend(event_and_total);
    head
}

fn packet(codec_id: u8, n: u8, records: &[u8]) -> Vec<u8> {
    [&[codec_id, n], records, &[n]].concat()
}

fn decode(frame: &[u8], transport: Transport) -> Result<Columns, DecodeError> {
    let mut columns = Columns::new();
    decode_frame(frame, transport, &Limits::default(), 7, &mut columns).map(|_| columns)
}

fn code_and_offset(frame: &[u8], transport: Transport) -> (&'static str, usize) {
    let error = decode(frame, transport).unwrap_err();
    (error.code().name(), error.offset())
}

#[test]
fn a_documented_frame_decodes_to_the_stated_values() {
    let columns = decode(&bytes(DOCUMENTED), Transport::Tcp).unwrap();
    assert_eq!(columns.recorded_at_ms(), [1_560_161_136_000]);
    assert_eq!(
        (columns.priority(), columns.event_io_id()),
        (&[1][..], &[1][..])
    );
    assert_eq!(columns.generation_type(), [-1]);
    assert_eq!(columns.io_offsets(), [0, 3]);
    assert_eq!(columns.io_id(), [21, 1, 66]);
    assert_eq!(columns.io_value(), [3, 1, 24_080]);
    assert_eq!(columns.frame_index(), [7]);
    assert_eq!(
        (columns.raw_start(), columns.raw_end()),
        (&[10][..], &[47][..])
    );
}

#[test]
fn signed_fields_are_signed_and_unsigned_ones_unsigned() {
    let mut record = u64::MAX.to_be_bytes().to_vec();
    record.extend([0xFF; 18]);
    record.extend([0, 0, 0, 0]);
    let columns = decode(&packet(0x08, 1, &record), Transport::Udp).unwrap();
    assert_eq!(columns.recorded_at_ms(), [u64::MAX]);
    assert_eq!(
        (columns.longitude_e7(), columns.latitude_e7()),
        (&[-1][..], &[-1][..])
    );
    assert_eq!(
        (columns.altitude_m(), columns.angle_deg()),
        (&[-1][..], &[65_535][..])
    );
    assert_eq!(
        (columns.satellites(), columns.speed_kmh()),
        (&[255][..], &[65_535][..])
    );
}

#[test]
fn codec_8_extended_keeps_variable_elements_as_spans() {
    let groups = [0, 0, 0, 0, 0, 0, 0, 1, 0, 9, 128, 0, 0, 0, 0, 0, 0, 1];
    let tail = [0, 2, 1, 0, 0, 3, 0xA, 0xB, 0xC, 1, 1, 0, 0];
    let record = [head(&[0, 0, 0, 3]), groups.to_vec(), tail.to_vec()].concat();
    let columns = decode(&packet(0x8E, 1, &record), Transport::Udp).unwrap();
    assert_eq!(columns.io_id(), [9, 256, 257]);
    assert_eq!(columns.io_value(), [1 << 63 | 1, 54 << 32 | 3, 61 << 32]);
    assert_eq!(columns.n_variable(), [2]);
}

#[test]
fn codec_16_carries_a_generation_type_and_two_byte_ids() {
    let record = head(&[1, 2, 5, 1, 1, 1, 2, 7, 0, 0, 0]);
    let columns = decode(&packet(0x10, 1, &record), Transport::Udp).unwrap();
    assert_eq!(
        (columns.event_io_id(), columns.generation_type()),
        (&[258][..], &[5][..])
    );
    assert_eq!(
        (columns.io_id(), columns.io_value()),
        (&[258][..], &[7][..])
    );
}

#[test]
fn codec_8_with_a_16_byte_group_is_accepted_on_an_exact_fit_only() {
    let group = [&[0, 0, 0, 0, 1, 11][..], &[0xEE; 16]].concat();
    let record = [head(&[0, 1]), group].concat();
    let columns = decode(&packet(0x08, 1, &record), Transport::Udp).unwrap();
    assert_eq!(
        (columns.io_id(), columns.io_value()),
        (&[11][..], &[34 << 32 | 16][..])
    );
    assert_eq!(columns.n_variable(), [1]);
    let one_too_many = packet(0x08, 1, &[&record[..], &[0]].concat());
    assert_eq!(
        code_and_offset(&one_too_many, Transport::Udp),
        ("trailing_bytes", 32)
    );
}

/// Two records with the 16-byte group that also fit the documented layout, where their totals are not
/// the sums of their groups.
const AMBIGUOUS: &str = "08020000018bee272713000f14ce40209cbc83007f00160500240006041570c2453f9e3593\
                         000001a90000000000004a8001c575d5f1b3b7a67bf944b5b9bed042d9c70000018bee272a\
                         fb000f177c1a20a36088006e0137090001000402eb0453ce0001db00008edd000183000000\
                         0000000000000000000000000002";

#[test]
fn of_two_layouts_that_fit_the_one_whose_totals_agree_is_read() {
    let columns = decode(&bytes(AMBIGUOUS), Transport::Udp).unwrap();
    assert_eq!(
        columns.recorded_at_ms(),
        [1_700_507_625_235, 1_700_507_626_235]
    );
    assert_eq!(columns.io_offsets(), [0, 6, 10]);
    assert_eq!(columns.n_variable(), [1, 1]);
}

#[test]
fn a_wrong_total_alone_costs_no_record() {
    for total in [0, 2, 255] {
        let record = head(&[0, total, 1, 9, 7, 0, 0, 0]);
        let columns = decode(&packet(0x08, 1, &record), Transport::Udp).unwrap();
        assert_eq!((columns.io_id(), columns.io_value()), (&[9][..], &[7][..]));
    }
}

#[test]
fn the_16_byte_group_is_never_read_against_a_total() {
    let junk = [&[1, 9][..], &[0x47; 16]].concat();
    let record = [head(&[0, 1, 1, 9, 7, 0, 0, 0]), junk].concat();
    assert_eq!(
        code_and_offset(&packet(0x08, 1, &record), Transport::Udp),
        ("trailing_bytes", 34)
    );
}

#[test]
fn an_empty_packet_is_valid() {
    for codec_id in [0x08, 0x8E, 0x10] {
        let columns = decode(&tcp(&[codec_id, 0, 0]), Transport::Tcp).unwrap();
        assert_eq!((columns.n_records(), columns.io_offsets()), (0, &[0][..]));
    }
}

#[test]
fn a_frame_cut_anywhere_is_truncated_at_the_field_that_is_cut() {
    let frame = bytes(DOCUMENTED);
    for length in 0..frame.len() {
        let offset = match length {
            0..4 => 0,
            4..8 => 4,
            8..48 => 8,
            _ => 48,
        };
        let found = code_and_offset(&frame[..length], Transport::Tcp);
        assert_eq!(found, ("truncated", offset), "{length} bytes");
    }
}

#[test]
fn an_incomplete_frame_says_how_many_bytes_to_wait_for() {
    let frame = bytes(DOCUMENTED);
    let needed = |length| decode(&frame[..length], Transport::Tcp).unwrap_err();
    assert_eq!(
        needed(5),
        DecodeError::Incomplete {
            offset: 4,
            needed: 3
        }
    );
    assert_eq!(
        needed(50),
        DecodeError::Incomplete {
            offset: 48,
            needed: 2
        }
    );
}

#[test]
fn the_envelope_is_checked_in_its_order() {
    let good = bytes(DOCUMENTED);
    let spoilt = |at: usize, byte: u8| {
        let mut frame = good.clone();
        frame[at] = byte;
        code_and_offset(&frame, Transport::Tcp)
    };
    assert_eq!(spoilt(3, 1), ("bad_preamble", 0));
    assert_eq!(
        code_and_offset(&[0, 9], Transport::Tcp),
        ("bad_preamble", 0)
    );
    assert_eq!(spoilt(5, 1), ("length_out_of_range", 4));
    assert_eq!(spoilt(7, 2), ("length_out_of_range", 4));
    assert_eq!(spoilt(7, 0x27), ("trailing_bytes", 51));
    assert_eq!(spoilt(7, 0x29), ("truncated", 49));
    assert_eq!(spoilt(51, 0), ("crc_mismatch", 48));
    assert_eq!(spoilt(48, 1), ("crc_mismatch", 48));
    assert_eq!(spoilt(20, 1), ("crc_mismatch", 48));
}

#[test]
fn codec_and_counts_are_checked_behind_the_crc() {
    assert_eq!(
        code_and_offset(&tcp(&[0x0C, 1, 2]), Transport::Tcp),
        ("not_avl", 8)
    );
    assert_eq!(
        code_and_offset(&tcp(&[0x07, 1, 1]), Transport::Tcp),
        ("unsupported_codec", 8)
    );
    let counts = tcp(&[0x08, 1, 9, 2]);
    assert_eq!(
        code_and_offset(&counts, Transport::Tcp),
        ("record_count_mismatch", 11)
    );
    assert_eq!(
        code_and_offset(&tcp(&[0x8E, 1, 1]), Transport::Tcp),
        ("truncated", 10)
    );
    assert_eq!(
        code_and_offset(&tcp(&[0x8E, 0, 5, 0]), Transport::Tcp),
        ("trailing_bytes", 10)
    );
}

#[test]
fn a_udp_packet_below_three_bytes_is_truncated_at_the_missing_field() {
    assert_eq!(code_and_offset(&[], Transport::Udp), ("truncated", 0));
    assert_eq!(code_and_offset(&[0x08], Transport::Udp), ("truncated", 1));
    assert_eq!(
        code_and_offset(&[0x08, 0], Transport::Udp),
        ("truncated", 2)
    );
}

#[test]
fn a_frame_above_the_limit_is_refused_before_it_is_read() {
    let limits = Limits::new(51).unwrap();
    let frame = bytes(DOCUMENTED);
    let error = check_envelope(&frame, Transport::Tcp, &limits).unwrap_err();
    assert_eq!(
        (error.code().name(), error.offset()),
        ("length_out_of_range", 4)
    );
    let error = check_envelope(&[0; 52], Transport::Udp, &limits).unwrap_err();
    assert_eq!(
        (error.code().name(), error.offset()),
        ("length_out_of_range", 0)
    );
}

#[test]
fn a_rejected_frame_leaves_the_columns_as_they_were() {
    let mut columns = Columns::new();
    let limits = Limits::default();
    let good = bytes(DOCUMENTED);
    decode_frame(&good, Transport::Tcp, &limits, 0, &mut columns).unwrap();
    // Two records stated, the second one cut inside its 2-byte group.
    let record = head(&[0, 2, 1, 1, 1, 1, 1]);
    let bad = tcp(&packet(0x10, 2, &record));
    let error = decode_frame(&bad, Transport::Tcp, &limits, 1, &mut columns).unwrap_err();
    assert_eq!(error.code(), crate::RejectCode::Truncated);
    assert_eq!((columns.n_records(), columns.n_elements()), (1, 3));
    assert_eq!(columns.io_offsets(), [0, 3]);
}

#[test]
fn a_group_count_beyond_the_frame_allocates_nothing_for_it() {
    let record = [head(&[0, 0, 0, 0]), vec![0xFF, 0xFF, 0, 1, 2, 0]].concat();
    let mut columns = Columns::new();
    let frame = packet(0x8E, 1, &record);
    let error = decode_frame(&frame, Transport::Udp, &Limits::default(), 0, &mut columns);
    // The second element of the group has one byte of its id.
    assert_eq!(error.unwrap_err().offset(), 2 + 28 + 2 + 3);
    assert_eq!(columns.capacity_bytes(), 0);
}
