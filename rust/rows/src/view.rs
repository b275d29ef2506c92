//! What rows are made of: the columns of a batch, and what its stream entries said.

use codec8::Columns;

/// A borrowed batch of F stream entries and R AVL records with K IO elements.
///
/// Invariant: columns of one shape are of one length; `frame_index` and `record_offsets` agree;
/// the ranges of `raw_*` and of variable elements lie inside their frame.
#[derive(Clone, Copy, Default)]
pub struct BatchView<'a> {
    /// The frame of each entry as received [F]; empty where the entry had none.
    pub frames: &'a [&'a [u8]],
    /// Device of each entry [F].
    pub imei: &'a [i64],
    /// Gateway clock of each entry, Unix ms [F].
    pub received_at_ms: &'a [i64],
    /// Records of entry i are `[o[i], o[i + 1])` [F+1].
    pub record_offsets: &'a [u32],
    /// Entry of each record [R].
    pub frame_index: &'a [u32],
    /// Device clock, Unix ms [R].
    pub recorded_at_ms: &'a [u64],
    /// 0 low, 1 high, 2 panic; others as on the wire [R].
    pub priority: &'a [u8],
    /// 1e-7 degree [R].
    pub longitude_e7: &'a [i32],
    /// 1e-7 degree [R].
    pub latitude_e7: &'a [i32],
    /// Metres above sea level [R].
    pub altitude_m: &'a [i16],
    /// Degrees clockwise from north [R].
    pub angle_deg: &'a [u16],
    /// Satellites in use; 0 = no fix [R].
    pub satellites: &'a [u8],
    /// km/h [R].
    pub speed_kmh: &'a [u16],
    /// IO id that caused the record; 0 = none [R].
    pub event_io_id: &'a [u16],
    /// Codec 16 only, -1 elsewhere [R].
    pub generation_type: &'a [i16],
    /// Where the raw record starts in its frame [R].
    pub raw_start: &'a [u32],
    /// Where the raw record ends in its frame [R].
    pub raw_end: &'a [u32],
    /// Elements of record r are `[o[r], o[r + 1])` [R+1].
    pub io_offsets: &'a [u32],
    /// How many of a record's last elements are bytes, not numbers [R].
    pub n_variable: &'a [u16],
    /// IO id [K].
    pub io_id: &'a [u16],
    /// Unsigned value; `offset << 32 | length` into the frame where the element is bytes [K].
    pub io_value: &'a [u64],
}

impl<'a> BatchView<'a> {
    /// Joins the decoder's columns with what the stream entries said.
    #[must_use]
    pub fn new(
        columns: &'a Columns,
        frames: &'a [&'a [u8]],
        imei: &'a [i64],
        received_at_ms: &'a [i64],
        record_offsets: &'a [u32],
    ) -> Self {
        Self {
            frames,
            imei,
            received_at_ms,
            record_offsets,
            frame_index: columns.frame_index(),
            recorded_at_ms: columns.recorded_at_ms(),
            priority: columns.priority(),
            longitude_e7: columns.longitude_e7(),
            latitude_e7: columns.latitude_e7(),
            altitude_m: columns.altitude_m(),
            angle_deg: columns.angle_deg(),
            satellites: columns.satellites(),
            speed_kmh: columns.speed_kmh(),
            event_io_id: columns.event_io_id(),
            generation_type: columns.generation_type(),
            raw_start: columns.raw_start(),
            raw_end: columns.raw_end(),
            io_offsets: columns.io_offsets(),
            n_variable: columns.n_variable(),
            io_id: columns.io_id(),
            io_value: columns.io_value(),
        }
    }

    /// The entry that a record came in.
    pub(crate) fn entry_of(&self, record: usize) -> usize {
        self.frame_index[record] as usize
    }

    /// The raw bytes of a record.
    pub(crate) fn raw(&self, record: usize) -> &'a [u8] {
        let range = self.raw_start[record] as usize..self.raw_end[record] as usize;
        &self.frames[self.entry_of(record)][range]
    }

    /// The elements of a record, in wire order.
    pub(crate) fn elements(&self, record: usize) -> Elements<'a> {
        let range = self.io_offsets[record] as usize..self.io_offsets[record + 1] as usize;
        let first_variable = range.len() - usize::from(self.n_variable[record]);
        Elements {
            ids: &self.io_id[range.clone()],
            values: &self.io_value[range],
            first_variable,
            frame: self.frames[self.entry_of(record)],
        }
    }
}

/// The IO elements of one record.
pub(crate) struct Elements<'a> {
    pub(crate) ids: &'a [u16],
    pub(crate) values: &'a [u64],
    /// Elements from here on are bytes of `frame`.
    pub(crate) first_variable: usize,
    pub(crate) frame: &'a [u8],
}

impl<'a> Elements<'a> {
    /// The bytes of a variable-length or 16-byte element.
    pub(crate) fn bytes(&self, position: usize) -> &'a [u8] {
        &self.frame[Columns::span(self.values[position])]
    }

    /// How many bytes the record's variable-length and 16-byte elements hold together.
    pub(crate) fn n_variable_bytes(&self) -> usize {
        self.values[self.first_variable..]
            .iter()
            .map(|&value| Columns::span(value).len())
            .sum()
    }
}
