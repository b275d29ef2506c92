//! A bounded big-endian reader: the only file that slices the input.

use crate::error::{DecodeError, RejectReason};

/// Reads fields from the front of one part of a frame, and nothing beyond that part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// Offset in the frame where the part ends.
    end: usize,
}

/// A field that does not fit into the part that encloses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Where the field starts, in bytes from the start of the frame.
    pub(crate) offset: usize,
    /// Size of the field.
    pub(crate) needed: usize,
    /// Bytes that are left for it.
    pub(crate) left: usize,
}

impl Cut {
    /// The rejection of a frame of `consumed` bytes for this field.
    pub(crate) const fn reject(self, consumed: usize) -> DecodeError {
        let Self {
            offset,
            needed,
            left,
        } = self;
        DecodeError::Rejected {
            consumed,
            offset,
            reason: RejectReason::Truncated { needed, left },
        }
    }
}

impl<'a> Reader<'a> {
    /// A reader over the bytes `start..end` of `frame`; empty where the frame has no such bytes.
    pub(crate) fn over(frame: &'a [u8], start: usize, end: usize) -> Self {
        Self {
            rest: frame.get(start..end).unwrap_or_default(),
            end,
        }
    }

    /// Where the next field starts, in bytes from the start of the frame.
    #[inline]
    pub(crate) const fn offset(&self) -> usize {
        // Invariant: `rest` ends at `end`, so it is never longer.
        self.end.wrapping_sub(self.rest.len())
    }

    /// Bytes that are left.
    #[inline]
    pub(crate) const fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next `N` bytes, if there are as many.
    #[inline]
    pub(crate) const fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        match self.rest.split_first_chunk::<N>() {
            Some((field, rest)) => {
                self.rest = rest;
                Some(*field)
            }
            None => None,
        }
    }

    /// The next `n` bytes, if there are as many.
    #[inline]
    pub(crate) const fn take_slice(&mut self, n: usize) -> Option<&'a [u8]> {
        match self.rest.split_at_checked(n) {
            Some((field, rest)) => {
                self.rest = rest;
                Some(field)
            }
            None => None,
        }
    }

    /// A reader over the next `n` bytes, if there are as many: fields cannot read past their parent.
    #[inline]
    pub(crate) fn take_part(&mut self, n: usize) -> Option<Self> {
        let rest = self.take_slice(n)?;
        Some(Self {
            rest,
            end: self.offset(),
        })
    }

    /// An unsigned number of one or two bytes: a count or an IO id.
    #[inline]
    pub(crate) fn take_narrow(&mut self, width: usize) -> Option<u16> {
        match width {
            1 => self.take().map(|[byte]| u16::from(byte)),
            _ => self.take().map(u16::from_be_bytes),
        }
    }

    /// The first of the coming fields, given by their widths, that does not fit.
    #[cold]
    pub(crate) fn cut_in(&self, widths: &[usize]) -> Cut {
        let mut left = self.rest.len();
        let mut needed = 0;
        for &width in widths {
            needed = width;
            match left.checked_sub(width) {
                Some(behind) => left = behind,
                None => break,
            }
        }
        Cut {
            offset: self.end.wrapping_sub(left),
            needed,
            left,
        }
    }

    /// The first field that does not fit in a row of elements of these two widths.
    #[cold]
    pub(crate) fn cut_in_elements(&self, id: usize, value: usize) -> Cut {
        let whole = self
            .rest
            .len()
            .checked_rem(id.saturating_add(value))
            .unwrap_or_default();
        let last = self
            .rest
            .split_at_checked(self.rest.len().saturating_sub(whole));
        Self {
            rest: last.map_or(self.rest, |(_, last)| last),
            ..*self
        }
        .cut_in(&[id, value])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: [u8; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

    #[test]
    fn a_field_beyond_the_part_is_not_read_though_the_frame_has_its_bytes() {
        let mut reader = Reader::over(&FRAME, 2, 5);
        assert_eq!(reader.take::<2>(), Some([2, 3]));
        assert_eq!((reader.offset(), reader.left()), (4, 1));
        assert_eq!(reader.take::<2>(), None);
        assert_eq!(reader.take_slice(1), Some(&[4][..]));
    }

    #[test]
    fn a_part_outside_the_frame_is_empty() {
        assert_eq!(Reader::over(&FRAME, 5, 9).left(), 0);
    }

    #[test]
    fn the_first_field_that_does_not_fit_is_named_by_its_start() {
        let reader = Reader::over(&FRAME, 1, 8);
        assert_eq!(
            reader.cut_in(&[2, 4, 8]),
            Cut {
                offset: 7,
                needed: 8,
                left: 1
            }
        );
        assert_eq!(
            reader.cut_in(&[8]),
            Cut {
                offset: 1,
                needed: 8,
                left: 7
            }
        );
    }

    #[test]
    fn a_cut_element_is_named_by_its_id_or_its_value() {
        let after_two_elements = Reader::over(&FRAME, 0, 7).cut_in_elements(1, 2);
        assert_eq!(
            after_two_elements,
            Cut {
                offset: 7,
                needed: 2,
                left: 0
            }
        );
        let in_the_id = Reader::over(&FRAME, 0, 7).cut_in_elements(2, 1);
        assert_eq!(
            in_the_id,
            Cut {
                offset: 6,
                needed: 2,
                left: 1
            }
        );
    }
}
