//! The bytes of a TCP connection, read by read, to what stands on it.
//!
//! [`next_unit`] judges bytes that are there; a [`Cutter`] remembers those of a unit that is not whole
//! yet, so that the units are the same however the bytes were split into reads.

use crate::codec_id::CommandCodec;
use crate::error::DecodeError;
use crate::foreign::{ForeignClient, Recognition, recognise};
use crate::frame::{TCP_DATA_START, check_data_field};
use crate::handshake::parse_handshake;
use crate::imei::Imei;
use crate::limits::Limits;
use crate::reject_code::RejectCode;
use crate::stream::{Progress, Unit, next_unit};

/// What a connection brought, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutUnit<'a> {
    /// One byte FF that keeps the link alive. It is not answered.
    Ping,
    /// The handshake.
    Handshake(Imei),
    /// A frame with a good CRC that is not one of commands: AVL records, or an unknown codec.
    ///
    /// Nothing behind the two bytes of codec id and number of data 1 is verified.
    Avl {
        /// The whole frame, preamble to CRC.
        frame: &'a [u8],
        /// Number of data 1, by which it is answered.
        n_data: u8,
    },
    /// A frame of Codec 12 to 15 with a good CRC. It is not answered.
    Command {
        /// The whole frame, preamble to CRC.
        frame: &'a [u8],
        /// Its codec.
        codec: CommandCodec,
    },
    /// A frame whose CRC is wrong; its length still delimits it.
    Damaged {
        /// The whole frame, preamble to CRC.
        frame: &'a [u8],
        /// Number of data 1, as it came.
        n_data: u8,
    },
    /// The client is no tracker. Nothing follows.
    Foreign(ForeignClient),
    /// Framing is lost, or the handshake holds no IMEI. Nothing follows.
    Lost {
        /// What is wrong.
        code: RejectCode,
        /// Where the offending field starts, in bytes from the first of the connection.
        offset: u64,
    },
}

/// Cuts the bytes of one connection.
///
/// Bound: it holds less than one unit, so less than `frame_max_bytes`, and no more than twice what
/// was received of it.
#[derive(Clone, Debug)]
pub struct Cutter {
    limits: Limits,
    state: State,
    /// The beginning of one unit that is not whole; never of a ping.
    held: Vec<u8>,
    /// Where the next unit starts, in bytes from the first of the connection.
    start: u64,
}

impl Cutter {
    /// A cutter before the first byte of a connection.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Open(Progress::Opening),
            held: Vec::new(),
            start: 0,
        }
    }

    /// Bytes of a unit that is not whole yet.
    #[must_use]
    pub const fn n_buffered(&self) -> usize {
        self.held.len()
    }

    /// Takes in one read and gives the units that are whole now to `take`, in their order.
    ///
    /// A length is judged as soon as it is there: no byte of a frame above the limit is kept. Behind
    /// `Foreign` or `Lost` every byte is dropped.
    pub fn feed(&mut self, data: &[u8], mut take: impl FnMut(CutUnit<'_>)) {
        let mut unread = self.complete(data, &mut take);
        loop {
            match self.step(unread) {
                Step::Cut { unit, length } => {
                    take(unit);
                    unread = unread.get(length..).unwrap_or_default();
                }
                Step::Wait { .. } => return self.held.extend_from_slice(unread),
                Step::Ended => return,
            }
        }
    }

    /// Completes the unit whose beginning is held; returns what is left of the read.
    fn complete<'a>(&mut self, data: &'a [u8], mut take: impl FnMut(CutUnit<'_>)) -> &'a [u8] {
        let mut unread = data;
        let mut held = std::mem::take(&mut self.held);
        while !held.is_empty() {
            match self.step(&held) {
                Step::Cut { unit, .. } => {
                    // Invariant: the unit is all that was held, as no more was asked for.
                    take(unit);
                    break;
                }
                Step::Wait { needed } => {
                    let (more, behind) = unread.split_at(needed.min(unread.len()));
                    if more.is_empty() {
                        self.held = held;
                        break;
                    }
                    hold(&mut held, more, needed);
                    unread = behind;
                }
                Step::Ended => break,
            }
        }
        unread
    }

    /// Cuts the unit at the front of `unread`.
    fn step<'a>(&mut self, unread: &'a [u8]) -> Step<'a> {
        let State::Open(progress) = self.state else {
            return Step::Ended;
        };
        if unread.is_empty() {
            return Step::Wait { needed: 1 };
        }
        if progress == Progress::Opening {
            match recognise(unread) {
                Recognition::Foreign(client) => return self.end(CutUnit::Foreign(client)),
                Recognition::Undecided => return Step::Wait { needed: 1 },
                Recognition::Unknown => {}
            }
        }
        match next_unit(unread, progress, &self.limits).and_then(|unit| self.read(unread, unit)) {
            Ok((unit, length)) => {
                self.start = self.start.saturating_add(bytes(length));
                Step::Cut { unit, length }
            }
            Err(DecodeError::Incomplete { needed, .. }) => Step::Wait { needed },
            Err(error) => {
                let offset = self.start.saturating_add(bytes(error.offset()));
                let code = error.code();
                self.end(CutUnit::Lost { code, offset })
            }
        }
    }

    /// Reads the unit that stands at the front of `unread`; with its length in bytes.
    fn read<'a>(
        &mut self,
        unread: &'a [u8],
        unit: Unit,
    ) -> Result<(CutUnit<'a>, usize), DecodeError> {
        let length = unit.length();
        let read = match unit {
            Unit::Ping => CutUnit::Ping,
            Unit::Handshake => {
                let imei = parse_handshake(unread)?;
                self.state = State::Open(Progress::Identified);
                CutUnit::Handshake(imei)
            }
            Unit::Frame { length } => {
                read_frame(unread.get(..length).unwrap_or_default(), self.limits)
            }
        };
        Ok((read, length))
    }

    fn end<'a>(&mut self, unit: CutUnit<'a>) -> Step<'a> {
        self.state = State::Ended;
        Step::Cut { unit, length: 0 }
    }
}

#[derive(Clone, Copy, Debug)]
enum State {
    Open(Progress),
    Ended,
}

/// What the front of the unread bytes allows.
enum Step<'a> {
    Cut {
        unit: CutUnit<'a>,
        length: usize,
    },
    /// At least `needed` more bytes tell more, and no unit that it may become lacks fewer.
    Wait {
        needed: usize,
    },
    Ended,
}

/// Reads a frame whose preamble and length are verified.
fn read_frame(frame: &[u8], limits: Limits) -> CutUnit<'_> {
    let (codec_id, n_data) = match frame.get(TCP_DATA_START..) {
        Some([codec_id, n_data, ..]) => (*codec_id, *n_data),
        _ => (0, 0),
    };
    if check_data_field(frame, limits).is_err() {
        return CutUnit::Damaged { frame, n_data };
    }
    match CommandCodec::of(codec_id) {
        Some(codec) => CutUnit::Command { frame, codec },
        None => CutUnit::Avl { frame, n_data },
    }
}

/// Appends to the beginning of a unit that lacks `needed` bytes.
///
/// Bound: the room doubles, and ends where the unit does.
fn hold(held: &mut Vec<u8>, more: &[u8], needed: usize) {
    let room = held.capacity().saturating_sub(held.len());
    if room < more.len() {
        held.reserve_exact(held.len().max(more.len()).min(needed));
    }
    held.extend_from_slice(more);
}

/// A number of bytes in memory, which u64 always holds.
fn bytes(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME_MAX_BYTES: usize = 4_096;

    fn cutter() -> Cutter {
        Cutter::new(Limits::new(FRAME_MAX_BYTES).unwrap())
    }

    fn fed(cutter: &mut Cutter, data: &[u8]) -> usize {
        let mut n_units = 0;
        cutter.feed(data, |_| n_units += 1);
        n_units
    }

    #[test]
    fn a_false_length_is_refused_before_anything_is_allocated() {
        for length in [4_085u32, 0x7FFF_FFFF, u32::MAX] {
            let mut cutter = cutter();
            let head = [[0; 4], length.to_be_bytes()].concat();
            assert_eq!(fed(&mut cutter, &[&head[..], &[0; 4_096]].concat()), 1);
            assert_eq!((cutter.n_buffered(), cutter.held.capacity()), (0, 0));
        }
    }

    #[test]
    fn room_for_a_frame_follows_what_came_and_ends_where_the_frame_does() {
        let mut cutter = cutter();
        let frame = [&[0, 0, 0, 0, 0, 0, 0x0F, 0xF4][..], &[0xA5; 4_088]].concat();
        assert_eq!(frame.len(), FRAME_MAX_BYTES);
        for (n_bytes, byte) in (1..FRAME_MAX_BYTES).zip(&frame) {
            assert_eq!(fed(&mut cutter, &[*byte]), 0);
            assert_eq!(cutter.n_buffered(), n_bytes);
            let room = cutter.held.capacity();
            assert!(
                room <= FRAME_MAX_BYTES && room <= 2 * n_bytes.max(4),
                "{room} for {n_bytes}"
            );
        }
        assert_eq!(fed(&mut cutter, &frame[FRAME_MAX_BYTES - 1..]), 1);
        assert_eq!((cutter.n_buffered(), cutter.held.capacity()), (0, 0));
    }

    #[test]
    fn bytes_behind_the_end_are_dropped() {
        for opening in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"SSH-2.0-",
            b"\x00\x0f35630704244101x",
        ] {
            let mut cutter = cutter();
            assert_eq!(fed(&mut cutter, opening), 1, "{opening:02x?}");
            assert_eq!(fed(&mut cutter, b"\xff\x00\x0f356307042441013"), 0);
            assert_eq!((cutter.n_buffered(), cutter.held.capacity()), (0, 0));
        }
    }
}
