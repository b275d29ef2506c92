//! Decoded records as columns: the only allocation that grows, the only unsafe code of the crate.
//!
//! Every column is a zero-filled vector whose length is its capacity; `n_records` and `n_elements`
//! say how far it is filled. So reading is safe slicing, and writing needs one capacity check per
//! record and per group of elements.
#![allow(unsafe_code)]

use std::ops::Range;

use crate::record::Record;

/// Columns over R records and their K IO elements, in input order.
#[derive(Debug, Default)]
pub struct Columns {
    n_records: usize,
    n_elements: usize,
    recorded_at_ms: Vec<u64>,
    priority: Vec<u8>,
    longitude_e7: Vec<i32>,
    latitude_e7: Vec<i32>,
    altitude_m: Vec<i16>,
    angle_deg: Vec<u16>,
    satellites: Vec<u8>,
    speed_kmh: Vec<u16>,
    event_io_id: Vec<u16>,
    generation_type: Vec<i16>,
    frame_index: Vec<u32>,
    raw_start: Vec<u32>,
    raw_end: Vec<u32>,
    n_variable: Vec<u16>,
    /// One longer than the others: the first is 0, that of record r + 1 ends record r.
    io_offsets: Vec<u32>,
    io_id: Vec<u16>,
    io_value: Vec<u64>,
}

/// How far columns are filled; [`Columns::roll_back`] takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    n_records: usize,
    n_elements: usize,
}

/// A column that is filled up to `$filled`.
macro_rules! column {
    ($(#[$doc:meta])* $name:ident: $item:ty, $filled:ident) => {
        $(#[$doc])*
        #[must_use]
        pub fn $name(&self) -> &[$item] {
            self.$name.get(..self.$filled).unwrap_or_default()
        }
    };
}

impl Columns {
    /// Empty columns that own no memory yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all records and keeps the memory.
    pub fn clear(&mut self) {
        self.n_records = 0;
        self.n_elements = 0;
    }

    /// R, the number of records.
    #[must_use]
    pub fn n_records(&self) -> usize {
        self.n_records
    }

    /// K, the number of IO elements.
    #[must_use]
    pub fn n_elements(&self) -> usize {
        self.n_elements
    }

    /// How far the columns are filled now.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark {
            n_records: self.n_records,
            n_elements: self.n_elements,
        }
    }

    /// Forgets the records and elements behind `mark`.
    pub fn roll_back(&mut self, mark: Mark) {
        self.n_records = mark.n_records.min(self.n_records);
        self.n_elements = mark.n_elements.min(self.n_elements);
    }

    column! {
        /// Unix milliseconds, unsigned as on the wire.
        recorded_at_ms: u64, n_records
    }
    column! {
        /// 0 low, 1 high, 2 panic; other values are passed on.
        priority: u8, n_records
    }
    column! {
        /// Longitude in units of 1e-7 degree, east positive.
        longitude_e7: i32, n_records
    }
    column! {
        /// Latitude in units of 1e-7 degree, north positive.
        latitude_e7: i32, n_records
    }
    column! {
        /// Altitude in metres. Signed: negative altitudes occur. Source: vendor wiki; real frames.
        altitude_m: i16, n_records
    }
    column! {
        /// Degrees clockwise from north.
        angle_deg: u16, n_records
    }
    column! {
        /// Satellites in use; 0 means no current fix.
        satellites: u8, n_records
    }
    column! {
        /// Speed in km/h.
        speed_kmh: u16, n_records
    }
    column! {
        /// The IO id that caused the record, 0 for none.
        event_io_id: u16, n_records
    }
    column! {
        /// Generation type of Codec 16, -1 for the other codecs.
        generation_type: i16, n_records
    }
    column! {
        /// The `frame_index` that was given for the record's frame.
        frame_index: u32, n_records
    }
    column! {
        /// Where the raw record starts in its frame, which is where its timestamp stands.
        raw_start: u32, n_records
    }
    column! {
        /// Where the raw record ends in its frame.
        raw_end: u32, n_records
    }
    column! {
        /// How many of the record's last elements are variable-length or 16-byte ones.
        n_variable: u16, n_records
    }
    column! {
        /// IO ids in wire order.
        io_id: u16, n_elements
    }
    column! {
        /// Unsigned values; of a variable-length or 16-byte element `offset in frame << 32 | length`.
        io_value: u64, n_elements
    }

    /// R + 1 offsets: the elements of record r are `io_offsets[r]..io_offsets[r + 1]`.
    ///
    /// Bound: callers keep a batch below 2^32 elements (it has at least twice as many bytes).
    #[must_use]
    pub fn io_offsets(&self) -> &[u32] {
        self.io_offsets.get(..=self.n_records).unwrap_or(&[0])
    }

    /// The byte range in its frame of a variable-length or 16-byte element with this value.
    #[must_use]
    pub fn span(io_value: u64) -> Range<usize> {
        let [high, low] = [io_value >> 32, io_value & 0xFFFF_FFFF];
        let start = usize::try_from(high).unwrap_or(usize::MAX);
        start..start.saturating_add(usize::try_from(low).unwrap_or(usize::MAX))
    }

    /// Memory held, in bytes.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        const RECORD_BYTES: usize = 8 + 1 + 4 + 4 + 2 + 2 + 1 + 2 + 2 + 2 + 4 + 4 + 4 + 2 + 4;
        const ELEMENT_BYTES: usize = 2 + 8;
        let records = self.recorded_at_ms.len().saturating_mul(RECORD_BYTES);
        records.saturating_add(self.io_value.len().saturating_mul(ELEMENT_BYTES))
    }

    /// Appends a record without its elements, which `push_elements` and `push_span` add.
    #[inline]
    pub(crate) fn push_record(&mut self, record: &Record) {
        if self.n_records == self.recorded_at_ms.len() {
            self.grow_records();
        }
        let at = self.n_records;
        // SAFETY: `at` is below the length of each column, as `grow_records` keeps them alike.
        unsafe {
            *self.recorded_at_ms.get_unchecked_mut(at) = record.recorded_at_ms;
            *self.priority.get_unchecked_mut(at) = record.priority;
            *self.longitude_e7.get_unchecked_mut(at) = record.longitude_e7;
            *self.latitude_e7.get_unchecked_mut(at) = record.latitude_e7;
            *self.altitude_m.get_unchecked_mut(at) = record.altitude_m;
            *self.angle_deg.get_unchecked_mut(at) = record.angle_deg;
            *self.satellites.get_unchecked_mut(at) = record.satellites;
            *self.speed_kmh.get_unchecked_mut(at) = record.speed_kmh;
            *self.event_io_id.get_unchecked_mut(at) = record.event_io_id;
            *self.generation_type.get_unchecked_mut(at) = record.generation_type;
            *self.frame_index.get_unchecked_mut(at) = record.frame_index;
            *self.raw_start.get_unchecked_mut(at) = record.raw_start;
            *self.raw_end.get_unchecked_mut(at) = record.raw_end;
            *self.n_variable.get_unchecked_mut(at) = record.n_variable;
            let end = at.wrapping_add(1);
            *self.io_offsets.get_unchecked_mut(end) = narrow(self.n_elements);
            self.n_records = end;
        }
    }

    /// Appends the elements of one group: ids of `id_bytes`, values of `value_bytes`.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "the widths are constants at each call"
    )]
    pub(crate) fn push_elements(&mut self, group: &[u8], id_bytes: usize, value_bytes: usize) {
        let elements = group.chunks_exact(id_bytes.wrapping_add(value_bytes));
        let start = self.reserve_elements(elements.len());
        // SAFETY: `reserve_elements` made room for `elements.len()` behind `start`.
        let (ids, values) = unsafe {
            (
                self.io_id.as_mut_ptr().add(start),
                self.io_value.as_mut_ptr().add(start),
            )
        };
        self.n_elements = start.wrapping_add(elements.len());
        for (i, element) in elements.enumerate() {
            let (id, value) = read_element(element, id_bytes, value_bytes);
            // SAFETY: `i` is below `elements.len()`.
            unsafe {
                ids.add(i).write(id);
                values.add(i).write(value);
            }
        }
    }

    /// Appends an element whose value is the byte range `offset..offset + length` of its frame.
    pub(crate) fn push_span(&mut self, id: u16, offset: usize, length: usize) {
        let at = self.reserve_elements(1);
        let span = u64::from(narrow(offset)) << 32 | u64::from(narrow(length));
        if let (Some(id_at), Some(value_at)) = (self.io_id.get_mut(at), self.io_value.get_mut(at)) {
            (*id_at, *value_at) = (id, span);
            self.n_elements = at.wrapping_add(1);
        }
    }

    /// Makes room for `n` more elements and returns where they start.
    #[inline]
    fn reserve_elements(&mut self, n: usize) -> usize {
        let end = self.n_elements.saturating_add(n);
        if end > self.io_value.len() {
            self.grow_elements(end);
        }
        self.n_elements
    }

    #[cold]
    fn grow_elements(&mut self, at_least: usize) {
        let capacity = at_least
            .max(self.io_value.len().saturating_mul(2))
            .max(FIRST_ELEMENTS);
        self.io_id.resize(capacity, 0);
        // Invariant: the column whose length is asked grows last, so that no panic can leave another shorter.
        self.io_value.resize(capacity, 0);
    }

    #[cold]
    fn grow_records(&mut self) {
        let capacity = self
            .recorded_at_ms
            .len()
            .saturating_mul(2)
            .max(FIRST_RECORDS);
        self.recorded_at_ms.resize(capacity, 0);
        self.priority.resize(capacity, 0);
        self.longitude_e7.resize(capacity, 0);
        self.latitude_e7.resize(capacity, 0);
        self.altitude_m.resize(capacity, 0);
        self.angle_deg.resize(capacity, 0);
        self.satellites.resize(capacity, 0);
        self.speed_kmh.resize(capacity, 0);
        self.event_io_id.resize(capacity, 0);
        self.generation_type.resize(capacity, 0);
        self.frame_index.resize(capacity, 0);
        self.raw_start.resize(capacity, 0);
        self.raw_end.resize(capacity, 0);
        self.n_variable.resize(capacity, 0);
        self.io_offsets.resize(capacity.saturating_add(1), 0);
        // Invariant: the column whose length is asked grows last, so that no panic can leave another shorter.
        self.recorded_at_ms.resize(capacity, 0);
    }
}

/// IO id and unsigned value of one element.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "the widths are constants at each call"
)]
fn read_element(element: &[u8], id_bytes: usize, value_bytes: usize) -> (u16, u64) {
    match (id_bytes, element) {
        (1, [id, value @ ..]) => (u16::from(*id), unsigned(value, value_bytes)),
        (_, [high, low, value @ ..]) => (
            u16::from_be_bytes([*high, *low]),
            unsigned(value, value_bytes),
        ),
        _ => (0, 0),
    }
}

/// A big-endian number of 1, 2, 4 or 8 bytes.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "the widths are constants at each call"
)]
fn unsigned(value: &[u8], value_bytes: usize) -> u64 {
    match value_bytes {
        1 => value.first_chunk().map_or(0, |&[byte]| u64::from(byte)),
        2 => value
            .first_chunk()
            .map_or(0, |&bytes| u64::from(u16::from_be_bytes(bytes))),
        4 => value
            .first_chunk()
            .map_or(0, |&bytes| u64::from(u32::from_be_bytes(bytes))),
        _ => value
            .first_chunk()
            .map_or(0, |&bytes| u64::from_be_bytes(bytes)),
    }
}

const FIRST_RECORDS: usize = 16;
const FIRST_ELEMENTS: usize = 256;

/// An offset or count as the columns hold it. Bound: frames have at most 512 MiB (`Limits`).
#[inline]
pub(crate) fn narrow(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
