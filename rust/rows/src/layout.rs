//! The order in which a record's IO elements are written: ids ascending, the last of equal ones.
//!
//! jsonb stores keys by (length, bytes), which for decimal ids is ascending numeric order; input in
//! that order loads 1.4 times faster.

use crate::key::{Key, Keys};

/// Up to this many elements, counting the smaller ids of each beats a general sort.
const COUNTED_MAX: usize = 32;

/// Remembers the layouts of the last two id sequences.
///
/// A tracker's records mostly repeat one sequence; an event adds an element to one record, and the
/// next record goes back to the sequence before.
pub(crate) struct Layouts {
    keys: Keys,
    last: Layout,
    last_but_one: Layout,
}

/// The elements to write of one sequence of ids: each one's key, with its position on the wire.
#[derive(Default)]
struct Layout {
    ids: Vec<u16>,
    elements: Vec<Key>,
}

impl Layouts {
    pub(crate) fn new() -> Self {
        Self {
            keys: Keys::new(),
            last: Layout::default(),
            last_but_one: Layout::default(),
        }
    }

    /// The keys of a record's elements in the order to write them, with their positions.
    pub(crate) fn ascending(&mut self, ids: &[u16]) -> &[Key] {
        if self.last.ids != ids {
            std::mem::swap(&mut self.last, &mut self.last_but_one);
            if self.last.ids != ids {
                self.last.arrange(ids, self.keys);
            }
        }
        &self.last.elements
    }
}

impl Layout {
    fn arrange(&mut self, ids: &[u16], keys: Keys) {
        self.ids.clear();
        self.ids.extend_from_slice(ids);
        self.elements.clear();
        if ids.len() <= COUNTED_MAX {
            self.order_by_counting(keys);
        } else {
            self.order_by_sorting(keys);
        }
    }

    /// Sorts without a branch on the ids: an element's place is the number of smaller ones.
    ///
    /// Equal ids share a place, which the last of them takes; the places behind it stay empty.
    fn order_by_counting(&mut self, keys: Keys) {
        let mut marks = [mark(u16::MAX); COUNTED_MAX];
        for (at, id) in marks.iter_mut().zip(&self.ids) {
            *at = mark(*id);
        }
        self.elements.resize(self.ids.len(), Key::EMPTY);
        for (position, id) in (0..).zip(&self.ids) {
            self.elements[n_smaller(&marks, mark(*id))] = keys.of(*id).at(position);
        }
        self.elements.retain(|key| *key != Key::EMPTY);
    }

    /// Invariant: the sort is stable, so the last of equal ids is the last on the wire.
    fn order_by_sorting(&mut self, keys: Keys) {
        let mut order: Vec<(u32, u16)> = (0..).zip(self.ids.iter().copied()).collect();
        order.sort_by_key(|(_, id)| *id);
        let is_last = |at: usize| order.get(at + 1).is_none_or(|next| next.1 != order[at].1);
        let kept = (0..order.len())
            .filter(|at| is_last(*at))
            .map(|at| order[at]);
        self.elements
            .extend(kept.map(|(position, id)| keys.of(id).at(position)));
    }
}

/// A signed number that compares as the id does: the comparison that every SIMD unit has.
fn mark(id: u16) -> i16 {
    (id ^ 0x8000).cast_signed()
}

/// How many marks are smaller: a few SIMD instructions, if kept out of its caller's loop.
#[inline(never)]
fn n_smaller(marks: &[i16; COUNTED_MAX], than: i16) -> usize {
    usize::from(
        marks
            .iter()
            .map(|mark| u16::from(*mark < than))
            .sum::<u16>(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(ids: &[u16]) -> Vec<usize> {
        Layouts::new()
            .ascending(ids)
            .iter()
            .map(|key| key.position())
            .collect()
    }

    #[test]
    fn elements_are_written_by_ascending_id() {
        assert_eq!(positions(&[239, 1, 66, 0, 65_535, 16]), [3, 1, 5, 2, 0, 4]);
        assert_eq!(positions(&[7]), [0]);
        assert!(positions(&[]).is_empty());
    }

    #[test]
    fn of_a_repeated_id_only_the_last_is_written() {
        assert_eq!(positions(&[5, 9, 5, 1, 9, 5]), [3, 5, 4]);
        assert_eq!(positions(&[0, 0, 0]), [2]);
    }

    #[test]
    fn records_too_long_to_count_are_ordered_alike() {
        let ids: Vec<u16> = (0..100).rev().chain([7, 7]).collect();
        let positions = positions(&ids);
        assert_eq!(positions.len(), 100);
        assert_eq!(positions[..9], [99, 98, 97, 96, 95, 94, 93, 101, 91]);
    }

    #[test]
    fn the_longest_counted_record_is_ordered() {
        let ids: Vec<u16> = (0..32).map(|i| 320 - 10 * i).collect();
        assert_eq!(positions(&ids), (0..32).rev().collect::<Vec<_>>());
    }

    #[test]
    fn a_changed_sequence_of_ids_is_noticed_and_the_one_before_is_remembered() {
        let mut layouts = Layouts::new();
        let mut first = |ids: &[u16]| layouts.ascending(ids)[0].position();
        assert_eq!(first(&[2, 1]), 1);
        assert_eq!(first(&[1, 2]), 0);
        assert_eq!(first(&[2, 1]), 1);
        assert_eq!(first(&[3, 2, 1]), 2);
        assert_eq!(first(&[2, 1]), 1);
        assert_eq!(first(&[2, 1, 0]), 2);
        assert_eq!(first(&[2]), 0);
    }
}
