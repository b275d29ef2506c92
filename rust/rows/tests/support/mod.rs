//! A batch made by hand, and a parser of binary COPY that shares nothing with the encoder.

use rows::BatchView;

/// One AVL record and what its frame says of it.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) recorded_at_ms: u64,
    pub(crate) priority: u8,
    pub(crate) longitude_e7: i32,
    pub(crate) latitude_e7: i32,
    pub(crate) altitude_m: i16,
    pub(crate) angle_deg: u16,
    pub(crate) satellites: u8,
    pub(crate) speed_kmh: u16,
    pub(crate) event_io_id: u16,
    pub(crate) generation_type: i16,
    /// Numeric elements, in wire order.
    pub(crate) numbers: Vec<(u16, u64)>,
    /// Elements of bytes, which follow the numeric ones on the wire.
    pub(crate) bytes: Vec<(u16, Vec<u8>)>,
    /// The raw record: the digest is taken of it.
    pub(crate) raw: Vec<u8>,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            recorded_at_ms: RECORDED_AT_MS,
            priority: 0,
            longitude_e7: 252_804_200,
            latitude_e7: 546_903_100,
            altitude_m: 112,
            angle_deg: 45,
            satellites: 9,
            speed_kmh: 50,
            event_io_id: 0,
            generation_type: -1,
            numbers: Vec::new(),
            bytes: Vec::new(),
            raw: vec![1],
        }
    }
}

/// 2024-01-15 12:00:00 UTC, day 19,737.
pub(crate) const RECORDED_AT_MS: u64 = 1_705_320_000_000;
/// Five seconds later.
pub(crate) const RECEIVED_AT_MS: i64 = 1_705_320_005_000;
pub(crate) const IMEI: i64 = 356_307_042_441_013;

/// The columns of a batch, to be viewed.
#[derive(Default)]
pub(crate) struct Batch {
    frames: Vec<Vec<u8>>,
    imei: Vec<i64>,
    received_at_ms: Vec<i64>,
    record_offsets: Vec<u32>,
    records: Vec<(u32, Record)>,
    raw: Vec<(u32, u32)>,
    io_offsets: Vec<u32>,
    io: Vec<(u16, u64)>,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self {
            record_offsets: vec![0],
            io_offsets: vec![0],
            ..Self::default()
        }
    }

    /// One entry of one device.
    pub(crate) fn of(records: impl IntoIterator<Item = Record>) -> Self {
        Self::new().entry(IMEI, RECEIVED_AT_MS, records)
    }

    pub(crate) fn entry(
        mut self,
        imei: i64,
        received_at_ms: i64,
        records: impl IntoIterator<Item = Record>,
    ) -> Self {
        let index = u32::try_from(self.frames.len()).unwrap();
        let mut frame = b"what stands before".to_vec();
        for record in records {
            self.push(&mut frame, index, record);
        }
        self.frames.push(frame);
        self.imei.push(imei);
        self.received_at_ms.push(received_at_ms);
        self.record_offsets
            .push(u32::try_from(self.records.len()).unwrap());
        self
    }

    fn push(&mut self, frame: &mut Vec<u8>, index: u32, record: Record) {
        let start = append(frame, &record.raw);
        self.raw
            .push((start, start + u32::try_from(record.raw.len()).unwrap()));
        self.io.extend(&record.numbers);
        for (id, bytes) in &record.bytes {
            let span = u64::from(append(frame, bytes)) << 32 | bytes.len() as u64;
            self.io.push((*id, span));
        }
        self.io_offsets.push(u32::try_from(self.io.len()).unwrap());
        self.records.push((index, record));
    }

    /// Views the columns for as long as `look` looks at them.
    pub(crate) fn view<T>(&self, look: impl FnOnce(&BatchView<'_>) -> T) -> T {
        let frames: Vec<&[u8]> = self.frames.iter().map(Vec::as_slice).collect();
        let raw_start: Vec<u32> = self.raw.iter().map(|raw| raw.0).collect();
        let raw_end: Vec<u32> = self.raw.iter().map(|raw| raw.1).collect();
        let io_id: Vec<u16> = self.io.iter().map(|element| element.0).collect();
        let io_value: Vec<u64> = self.io.iter().map(|element| element.1).collect();
        let frame_index: Vec<u32> = self.records.iter().map(|(index, _)| *index).collect();
        look(&BatchView {
            frames: &frames,
            imei: &self.imei,
            received_at_ms: &self.received_at_ms,
            record_offsets: &self.record_offsets,
            frame_index: &frame_index,
            recorded_at_ms: &self.column(|record| record.recorded_at_ms),
            priority: &self.column(|record| record.priority),
            longitude_e7: &self.column(|record| record.longitude_e7),
            latitude_e7: &self.column(|record| record.latitude_e7),
            altitude_m: &self.column(|record| record.altitude_m),
            angle_deg: &self.column(|record| record.angle_deg),
            satellites: &self.column(|record| record.satellites),
            speed_kmh: &self.column(|record| record.speed_kmh),
            event_io_id: &self.column(|record| record.event_io_id),
            generation_type: &self.column(|record| record.generation_type),
            raw_start: &raw_start,
            raw_end: &raw_end,
            io_offsets: &self.io_offsets,
            n_variable: &self.column(|record| u16::try_from(record.bytes.len()).unwrap()),
            io_id: &io_id,
            io_value: &io_value,
        })
    }

    fn column<T>(&self, of: impl Fn(&Record) -> T) -> Vec<T> {
        self.records.iter().map(|(_, record)| of(record)).collect()
    }
}

fn append(frame: &mut Vec<u8>, bytes: &[u8]) -> u32 {
    let start = u32::try_from(frame.len()).unwrap();
    frame.extend_from_slice(bytes);
    start
}

/// The fields of every row of a COPY stream; `None` is NULL.
pub(crate) fn parse_copy(stream: &[u8]) -> Vec<Vec<Option<&[u8]>>> {
    let (head, mut rest) = stream.split_at(19);
    assert_eq!(head, b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
    let mut rows = Vec::new();
    loop {
        match i16::from_be_bytes(take(&mut rest)) {
            -1 => break,
            n_fields => rows.push((0..n_fields).map(|_| parse_field(&mut rest)).collect()),
        }
    }
    assert!(
        rest.is_empty(),
        "{} bytes behind the end of the stream",
        rest.len()
    );
    rows
}

fn parse_field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(i32::from_be_bytes(take(rest))).ok()?;
    let (field, behind) = rest.split_at(length);
    *rest = behind;
    Some(field)
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (taken, behind) = rest.split_first_chunk().expect("the stream ends early");
    *rest = behind;
    *taken
}

pub(crate) fn int8(field: Option<&[u8]>) -> i64 {
    i64::from_be_bytes(field.expect("not NULL").try_into().expect("8 bytes"))
}
