//! A binary COPY stream in memory, and the fields of its fixed-width columns.
//!
//! Source: Postgres documentation, COPY, "Binary Format": signature, flags, header extension;
//! a 16-bit field count before each row; a 32-bit length before each field, -1 for NULL; -1 as the
//! field count that ends the stream. All integers are big-endian.

/// The first bytes of a stream.
pub const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xFF\r\n\0";
const FLAGS: [u8; 4] = [0; 4];
const EXTENSION_LEN: [u8; 4] = [0; 4];
const TRAILER: [u8; 2] = [0xFF; 2];
const NULL: [u8; 4] = [0xFF; 4];

/// A finished COPY stream.
///
/// The allocation is kept whole and initialised, so that the next stream in it needs neither pages
/// from the system nor zeros.
#[derive(Default)]
pub struct CopyBytes {
    room: Vec<u8>,
    n_bytes: usize,
    n_rows: usize,
}

impl CopyBytes {
    /// Starts a stream in the room of an earlier one ([`Self::into_room`]), or in an empty `Vec`.
    #[must_use]
    pub fn start(room: Vec<u8>) -> Self {
        let mut copy = Self {
            room,
            n_bytes: 0,
            n_rows: 0,
        };
        copy.append(SIGNATURE);
        copy.append(&FLAGS);
        copy.append(&EXTENSION_LEN);
        copy
    }

    /// Ends the stream.
    #[must_use]
    pub fn finish(mut self) -> Self {
        self.append(&TRAILER);
        self
    }

    /// Appends one row of at most `room` bytes: `write` fills it and returns its length.
    pub fn append_row(&mut self, room: usize, write: impl FnOnce(&mut [u8]) -> usize) {
        let spare = self.spare(room);
        self.n_bytes += write(spare);
        self.n_rows += 1;
    }

    /// Rows in the stream.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// The stream, signature to trailer.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.room[..self.n_bytes]
    }

    /// Gives the allocation back for another stream.
    #[must_use]
    pub fn into_room(self) -> Vec<u8> {
        self.room
    }

    fn append(&mut self, bytes: &[u8]) {
        self.spare(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.n_bytes += bytes.len();
    }

    fn spare(&mut self, at_least: usize) -> &mut [u8] {
        if self.room.len() - self.n_bytes < at_least {
            self.grow(at_least);
        }
        &mut self.room[self.n_bytes..]
    }

    #[cold]
    fn grow(&mut self, at_least: usize) {
        let needed = self.n_bytes + at_least;
        self.room.resize(needed.max(2 * self.room.len()), 0);
        self.room.resize(self.room.capacity(), 0);
    }
}

/// Writes the fields of one row, in the order of its columns.
pub struct Fields<'a, const ROOM: usize> {
    out: &'a mut [u8; ROOM],
    at: usize,
}

impl<'a, const ROOM: usize> Fields<'a, ROOM> {
    /// A row of so many columns in `out`.
    #[inline]
    pub fn start(out: &'a mut [u8; ROOM], n_columns: usize) -> Self {
        let mut fields = Self { out, at: 0 };
        fields.put((n_columns as u16).to_be_bytes());
        fields
    }

    /// A smallint.
    #[inline]
    pub fn int2(&mut self, value: i16) {
        self.put([0, 0, 0, 2]);
        self.put(value.to_be_bytes());
    }

    /// An integer.
    #[inline]
    pub fn int4(&mut self, value: i32) {
        self.put([0, 0, 0, 4]);
        self.put(value.to_be_bytes());
    }

    /// A bigint; also the bits of a `timestamptz`.
    #[inline]
    pub fn int8(&mut self, value: i64) {
        self.put([0, 0, 0, 8]);
        self.put(value.to_be_bytes());
    }

    /// A double precision.
    #[inline]
    pub fn float8(&mut self, value: f64) {
        self.put([0, 0, 0, 8]);
        self.put(value.to_be_bytes());
    }

    /// A boolean.
    #[inline]
    pub fn bool(&mut self, value: bool) {
        self.put([0, 0, 0, 1]);
        self.put([u8::from(value)]);
    }

    /// A null, of any type.
    #[inline]
    pub fn null(&mut self) {
        self.put(NULL);
    }

    /// A text, in UTF-8.
    #[inline]
    pub fn text(&mut self, value: &str) {
        self.put((value.len() as u32).to_be_bytes());
        self.out[self.at..self.at + value.len()].copy_from_slice(value.as_bytes());
        self.at += value.len();
    }

    /// Where the row's next field starts: the length of the row so far.
    #[inline]
    #[must_use]
    pub fn end(&self) -> usize {
        self.at
    }

    #[inline]
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.out[self.at..self.at + N].copy_from_slice(&bytes);
        self.at += N;
    }
}
