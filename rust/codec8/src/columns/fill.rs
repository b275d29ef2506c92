//! Filling the columns: the only unsafe code of this crate, and what it gains.
//!
//! Most bytes of a record are IO elements. With the elements one by one a walk takes 31 ns a record,
//! with up to eight at a time by AVX-512 VBMI 19 (`benches/decode.rs`, Zen 4). So the copy of a group
//! is a type parameter of the walk, chosen once per frame by [`Columns::walk`].
//!
//! The writes without a bounds check, of records and of elements, are behind one check of the capacity
//! each: with safe ones the same walk takes 25.2 to 26.1 ns a record, with these 18.2 to 19.2.
#![allow(unsafe_code)]

use super::{Columns, narrow};
use crate::record::Record;

/// A way to append the elements of one group.
pub(crate) trait FillElements {
    /// Appends the elements of `group`: ids of `ID` bytes (1 or 2), values of `VALUE` (1, 2, 4, 8).
    fn fill<const ID: usize, const VALUE: usize>(columns: &mut Columns, group: &[u8]);
}

/// A walk over records, compiled for each way to append elements.
pub(crate) trait Walk {
    /// What the walk ends with.
    type Output;
    /// Walks.
    fn walk<F: FillElements>(self, columns: &mut Columns) -> Self::Output;
}

impl Columns {
    /// Runs the walk in the fastest form that this processor has.
    pub(crate) fn walk<W: Walk>(&mut self, walk: W) -> W::Output {
        #[cfg(target_arch = "x86_64")]
        if vbmi::is_available() {
            // SAFETY: the processor has the features.
            return unsafe { vbmi::walk(walk, self) };
        }
        walk.walk::<OneByOne>(self)
    }

    /// Appends a record; its elements have been appended.
    #[inline]
    pub(crate) fn push_record(&mut self, record: &Record) {
        let at = self.reserve_record();
        let end = at.wrapping_add(1);
        // SAFETY: `at` is below the length of each column, as `grow_records` keeps them alike, and
        // `io_offsets` is one longer.
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
            *self.io_offsets.get_unchecked_mut(end) = narrow(self.n_elements);
        }
        self.n_records = end;
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
}

/// Elements one by one, on any processor.
struct OneByOne;

impl FillElements for OneByOne {
    #[inline(always)]
    fn fill<const ID: usize, const VALUE: usize>(columns: &mut Columns, group: &[u8]) {
        let elements = group.chunks_exact(ID.wrapping_add(VALUE));
        let n = elements.len();
        let start = columns.reserve_elements(n);
        let end = start.wrapping_add(n);
        // SAFETY: `reserve_elements` made room for `n` elements from `start` on.
        let (ids, values) = unsafe {
            (
                columns.io_id.get_unchecked_mut(start..end),
                columns.io_value.get_unchecked_mut(start..end),
            )
        };
        for (element, (id, value)) in elements.zip(ids.iter_mut().zip(values)) {
            let (id_bytes, value_bytes) = element.split_at(ID);
            *id = io_id(id_bytes);
            *value = big_endian(value_bytes);
        }
        columns.n_elements = end;
    }
}

/// A big-endian number of 1, 2, 4 or 8 bytes; 0 for any other length.
#[inline(always)]
fn big_endian(bytes: &[u8]) -> u64 {
    match bytes.len() {
        1 => bytes
            .first_chunk()
            .map_or(0, |&bytes| u64::from(u8::from_be_bytes(bytes))),
        2 => bytes
            .first_chunk()
            .map_or(0, |&bytes| u64::from(u16::from_be_bytes(bytes))),
        4 => bytes
            .first_chunk()
            .map_or(0, |&bytes| u64::from(u32::from_be_bytes(bytes))),
        8 => bytes
            .first_chunk()
            .map_or(0, |&bytes| u64::from_be_bytes(bytes)),
        _ => 0,
    }
}

/// An IO id of 1 or 2 bytes; 0 for any other length.
#[inline(always)]
fn io_id(bytes: &[u8]) -> u16 {
    match *bytes {
        [a] => u16::from(a),
        [a, b] => u16::from_be_bytes([a, b]),
        _ => 0,
    }
}

/// Up to eight elements at a time: one load, a byte permutation each for values and ids, two stores.
#[cfg(target_arch = "x86_64")]
mod vbmi {
    use std::arch::x86_64::{
        _mm_storeu_si128, _mm512_castsi512_si128, _mm512_loadu_si512, _mm512_maskz_loadu_epi8,
        _mm512_maskz_permutexvar_epi8, _mm512_storeu_si512,
    };

    use super::super::SLACK;
    use super::{Columns, FillElements, Walk};

    /// Whether this processor has what [`walk`] is compiled for.
    #[inline]
    pub(super) fn is_available() -> bool {
        is_x86_feature_detected!("avx512vbmi")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("movbe")
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,bmi2,movbe")]
    pub(super) fn walk<W: Walk>(walk: W, columns: &mut Columns) -> W::Output {
        walk.walk::<EightByEight>(columns)
    }

    /// Private to [`walk`]: only there are the processor's features known.
    struct EightByEight;

    impl FillElements for EightByEight {
        #[inline(always)]
        fn fill<const ID: usize, const VALUE: usize>(columns: &mut Columns, group: &[u8]) {
            let stride = ID.wrapping_add(VALUE);
            // Bound: 64 bytes are loaded, 8 values are stored.
            let step_bytes = stride.wrapping_mul(Step::<ID, VALUE>::ELEMENTS);
            let n = group.len().checked_div(stride).unwrap_or_default();
            let mut at = columns.reserve_elements(n);
            let end = at.wrapping_add(n);
            let mut rest = group;
            loop {
                let (now, behind) = rest.split_at_checked(step_bytes).unwrap_or((rest, &[]));
                // SAFETY: `reserve_elements` made room for `SLACK` = 8 elements behind `end`, and
                // `at` is not above `end`. Only [`walk`] uses this type, so the features are there.
                unsafe {
                    let ids = columns.io_id.as_mut_ptr().add(at);
                    let values = columns.io_value.as_mut_ptr().add(at);
                    Step::<ID, VALUE>::store(now, ids, values);
                }
                if behind.is_empty() {
                    break;
                }
                rest = behind;
                at = at.wrapping_add(Step::<ID, VALUE>::ELEMENTS);
            }
            columns.n_elements = end;
        }
    }

    /// The tables of one step over elements of these widths.
    struct Step<const ID: usize, const VALUE: usize>;

    impl<const ID: usize, const VALUE: usize> Step<ID, VALUE> {
        /// As many as a load of 64 bytes holds, and no more than the store of 8 values.
        const ELEMENTS: usize = if 64 / (ID + VALUE) < SLACK {
            64 / (ID + VALUE)
        } else {
            SLACK
        };

        const VALUES: Permutation = Permutation::of(ID + VALUE, ID, VALUE, 8);
        const IDS: Permutation = Permutation::of(ID + VALUE, 0, ID, 2);

        /// Stores 8 values and 8 ids: those of the elements in `group`, zeros behind them.
        ///
        /// # Safety
        /// The processor has AVX-512 F, BW and VBMI; both pointers are good for 8 writes.
        #[inline(always)]
        unsafe fn store(group: &[u8], ids: *mut u16, values: *mut u64) {
            let present = u64::MAX.unbounded_shr(64u32.saturating_sub(length_of(group)));
            // SAFETY: the mask keeps the load inside `group`; the rest is this function's contract.
            unsafe {
                let bytes = _mm512_maskz_loadu_epi8(present, group.as_ptr().cast());
                let order = _mm512_loadu_si512(Self::VALUES.order.as_ptr().cast());
                let in_order = _mm512_maskz_permutexvar_epi8(Self::VALUES.used, order, bytes);
                _mm512_storeu_si512(values.cast(), in_order);
                let order = _mm512_loadu_si512(Self::IDS.order.as_ptr().cast());
                let in_order = _mm512_maskz_permutexvar_epi8(Self::IDS.used, order, bytes);
                _mm_storeu_si128(ids.cast(), _mm512_castsi512_si128(in_order));
            }
        }
    }

    /// Length of at most one step. Bound: 64.
    #[inline(always)]
    fn length_of(group: &[u8]) -> u32 {
        u32::try_from(group.len()).unwrap_or(64)
    }

    /// Where each byte of the result comes from; bytes not used become zero.
    struct Permutation {
        order: [u8; 64],
        used: u64,
    }

    impl Permutation {
        /// Takes the `width` bytes at `offset` of each element of `stride` bytes, big-endian, to
        /// little-endian items of `item` bytes.
        #[expect(
            clippy::indexing_slicing,
            clippy::arithmetic_side_effects,
            clippy::as_conversions,
            clippy::cast_possible_truncation,
            reason = "evaluated by the compiler"
        )]
        const fn of(stride: usize, offset: usize, width: usize, item: usize) -> Self {
            let mut permutation = Self {
                order: [0; 64],
                used: 0,
            };
            let mut element = 0;
            while element < SLACK && (element + 1) * stride <= 64 {
                let mut byte = 0;
                while byte < width {
                    let to = element * item + byte;
                    permutation.order[to] = (element * stride + offset + width - 1 - byte) as u8;
                    permutation.used |= 1 << to;
                    byte += 1;
                }
                element += 1;
            }
            permutation
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Appends `n` elements of these widths whose bytes count up, by `F`.
    fn filled<F: FillElements, const ID: usize, const VALUE: usize>(n: usize) -> Columns {
        let group: Vec<u8> = (0..n * (ID + VALUE))
            .map(|i| u8::try_from((i * 37 + 200) % 256).unwrap())
            .collect();
        let mut columns = Columns::new();
        F::fill::<ID, VALUE>(&mut columns, &group);
        F::fill::<ID, VALUE>(&mut columns, &group[..group.len().min(ID + VALUE)]);
        columns
    }

    struct Compared<const ID: usize, const VALUE: usize>(usize);

    impl<const ID: usize, const VALUE: usize> Walk for Compared<ID, VALUE> {
        type Output = ();
        fn walk<F: FillElements>(self, _: &mut Columns) {
            let (found, expected) = (
                filled::<F, ID, VALUE>(self.0),
                filled::<OneByOne, ID, VALUE>(self.0),
            );
            assert_eq!(
                found.io_id(),
                expected.io_id(),
                "{ID} + {VALUE} bytes, {} elements",
                self.0
            );
            assert_eq!(
                found.io_value(),
                expected.io_value(),
                "{ID} + {VALUE} bytes, {} elements",
                self.0
            );
        }
    }

    #[test]
    fn elements_read_big_endian_one_by_one() {
        let columns = filled::<OneByOne, 2, 4>(1);
        assert_eq!(columns.io_id()[0], u16::from_be_bytes([200, 237]));
        assert_eq!(
            columns.io_value()[0],
            u64::from(u32::from_be_bytes([18, 55, 92, 129]))
        );
    }

    #[test]
    fn the_fastest_form_appends_what_one_by_one_appends() {
        for n in 0..70 {
            let mut columns = Columns::new();
            columns.walk(Compared::<1, 1>(n));
            columns.walk(Compared::<1, 2>(n));
            columns.walk(Compared::<1, 4>(n));
            columns.walk(Compared::<1, 8>(n));
            columns.walk(Compared::<2, 1>(n));
            columns.walk(Compared::<2, 2>(n));
            columns.walk(Compared::<2, 4>(n));
            columns.walk(Compared::<2, 8>(n));
        }
    }
}
