//! A panic is a bug of ours, and costs what it happened in, not the process.

use std::panic::{AssertUnwindSafe, catch_unwind};

use codec8::{Columns, DecodeError};

use crate::reject::Reject;

/// The work panicked; the hook of the process has printed where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panicked;

/// Works, and survives a panic.
///
/// # Errors
/// The work panicked: what it changed may be half done.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Panicked)
}

/// Runs the decoder on one frame: a panic in it rejects that frame and leaves no trace in `columns`.
///
/// # Errors
/// The decoder's, or `DecoderBug`.
pub fn guarded<T>(
    columns: &mut Columns,
    decode: impl FnOnce(&mut Columns) -> Result<T, DecodeError>,
) -> Result<T, Reject> {
    let mark = columns.mark();
    caught(|| decode(columns)).map_or_else(
        |Panicked| {
            columns.roll_back(mark);
            Err(Reject::DecoderBug)
        },
        |outcome| outcome.map_err(Reject::Frame),
    )
}

#[cfg(test)]
mod tests {
    use codec8::{Limits, Transport};

    use super::*;

    /// Vendor wiki, Codec 8, TCP example 2: one record.
    const GOOD: [u8; 52] = [
        0, 0, 0, 0, 0, 0, 0, 0x28, 0x08, 1, 0, 0, 0x01, 0x6B, 0x40, 0xD9, 0xAD, 0x80, 1, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 2, 0x15, 3, 1, 1, 1, 0x42, 0x5E, 0x10, 0, 0, 1,
        0, 0, 0xF2, 0x2A,
    ];

    #[test]
    fn work_that_panics_says_so_and_other_work_gives_its_result() {
        assert_eq!(caught(|| 7), Ok(7));
        assert_eq!(caught(|| panic!("injected")), Err::<(), _>(Panicked));
    }

    #[test]
    fn a_panic_in_one_frame_is_its_reject_and_leaves_no_record() {
        let mut columns = Columns::new();
        let limits = Limits::default();
        let outcome: Result<(), Reject> = guarded(&mut columns, |columns| {
            codec8::decode_frame(&GOOD, Transport::Tcp, &limits, 0, columns)?;
            panic!("injected behind the first record");
        });
        assert_eq!(outcome, Err(Reject::DecoderBug));
        assert_eq!((columns.n_records(), columns.n_elements()), (0, 0));
        let next = guarded(&mut columns, |columns| {
            codec8::decode_frame(&GOOD, Transport::Tcp, &limits, 1, columns).map(|_| ())
        });
        assert_eq!(next, Ok(()));
        assert_eq!(
            (columns.frame_index(), columns.io_offsets()),
            (&[1][..], &[0, 3][..])
        );
    }
}
