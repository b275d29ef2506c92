//! Decoded records as columns: the only allocation that grows.
//!
//! Every column is a zero-filled vector whose length is its capacity; `n_records` and `n_elements`
//! say how far it is filled. So reading is safe slicing, and writing needs one capacity check per
//! record and per group of elements.

mod fill;

use std::ops::Range;

pub(crate) use fill::{FillElements, Walk};

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
        let Self {
            n_records: _,
            n_elements: _,
            recorded_at_ms,
            priority,
            longitude_e7,
            latitude_e7,
            altitude_m,
            angle_deg,
            satellites,
            speed_kmh,
            event_io_id,
            generation_type,
            frame_index,
            raw_start,
            raw_end,
            n_variable,
            io_offsets,
            io_id,
            io_value,
        } = self;
        let columns = [
            size_of_val(recorded_at_ms.as_slice()),
            size_of_val(priority.as_slice()),
            size_of_val(longitude_e7.as_slice()),
            size_of_val(latitude_e7.as_slice()),
            size_of_val(altitude_m.as_slice()),
            size_of_val(angle_deg.as_slice()),
            size_of_val(satellites.as_slice()),
            size_of_val(speed_kmh.as_slice()),
            size_of_val(event_io_id.as_slice()),
            size_of_val(generation_type.as_slice()),
            size_of_val(frame_index.as_slice()),
            size_of_val(raw_start.as_slice()),
            size_of_val(raw_end.as_slice()),
            size_of_val(n_variable.as_slice()),
            size_of_val(io_offsets.as_slice()),
            size_of_val(io_id.as_slice()),
            size_of_val(io_value.as_slice()),
        ];
        columns.iter().sum()
    }

    /// Makes room for one more record and returns where it stands.
    #[inline]
    fn reserve_record(&mut self) -> usize {
        if self.n_records == self.recorded_at_ms.len() {
            self.grow_records();
        }
        self.n_records
    }

    /// Makes room for `n` more elements, and `SLACK` behind them, and returns where they start.
    #[inline]
    fn reserve_elements(&mut self, n: usize) -> usize {
        let end = self.n_elements.saturating_add(n).saturating_add(SLACK);
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

/// Elements that may be written, without meaning, behind the last one.
const SLACK: usize = 8;
const FIRST_RECORDS: usize = 16;
const FIRST_ELEMENTS: usize = 256;

/// An offset or count as the columns hold it. Bound: frames have at most 512 MiB (`Limits`).
#[inline]
pub(crate) fn narrow(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
