//! What a path meets of one zone.

use crate::path::Path;

/// A crossing of the border.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Crossing {
    /// The part of the path before it, 0 to 1.
    pub(crate) s: f64,
    /// The same in Unix microseconds.
    pub(crate) at_us: i64,
    /// How far the whole path would go straight away from the border, in metres.
    pub(crate) across_m: f64,
    /// Whether the path comes from the left of the edge: of an area or a circle, from its inside.
    pub(crate) from_left: bool,
}

/// The start of a stretch of the path that is beyond the band.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Piece {
    /// The part of the path before it, 0 to 1.
    pub(crate) s: f64,
    pub(crate) inside: bool,
}

/// What there is to walk along.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Course {
    /// The pieces, and what the end fix says.
    Pieces,
    /// The pieces, the last of which is where the end fix is.
    PiecesToTheEnd,
    /// No border and no band from end to end.
    Unbroken,
    /// The same, and the side is known.
    OnSide(bool),
}

/// Crossings and pieces, each in the order of the path; and the room to find them.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) crossings: Vec<Crossing>,
    pub(crate) pieces: Vec<Piece>,
    /// The parts of the path that are within the band, while they are collected.
    pub(crate) bands: Vec<(f64, f64)>,
    /// For the searches in an index of edges.
    pub(crate) stack: Vec<usize>,
}

impl Trace {
    pub(crate) fn clear(&mut self) {
        self.crossings.clear();
        self.pieces.clear();
        self.bands.clear();
    }

    pub(crate) fn cross(&mut self, path: &Path<'_>, s: f64, across_m: f64, from_left: bool) {
        self.crossings.push(Crossing {
            s,
            at_us: path.at_us(s),
            across_m,
            from_left,
        });
    }

    pub(crate) fn piece(&mut self, s: f64, inside: bool) {
        self.pieces.push(Piece { s, inside });
    }

    /// Without a band every crossing begins a piece; the inside is on the left of every border.
    pub(crate) fn pieces_at_crossings(&mut self) {
        let Self {
            crossings, pieces, ..
        } = self;
        pieces.extend(crossings.iter().map(|crossing| Piece {
            s: crossing.s,
            inside: !crossing.from_left,
        }));
    }

    /// Sorts the crossings and leaves out those that undo each other within a microsecond: a path that
    /// touches a corner crosses both its edges and neither.
    pub(crate) fn settle_crossings(&mut self) {
        if self.crossings.len() < 2 {
            return;
        }
        self.crossings
            .sort_by(|a, b| (a.s.total_cmp(&b.s)).then(a.from_left.cmp(&b.from_left)));
        let mut kept: usize = 0;
        let mut first_of_instant: usize = 0;
        for next in 0..self.crossings.len() {
            let Some(&crossing) = self.crossings.get(next) else {
                break;
            };
            let last = kept.checked_sub(1).and_then(|at| self.crossings.get(at));
            if last.is_none_or(|last| last.at_us != crossing.at_us) {
                first_of_instant = kept;
            }
            let undoes = kept > first_of_instant
                && last.is_some_and(|last| last.from_left != crossing.from_left);
            if undoes {
                kept = kept.saturating_sub(1);
            } else if let Some(slot) = self.crossings.get_mut(kept) {
                *slot = crossing;
                kept = kept.saturating_add(1);
            }
        }
        self.crossings.truncate(kept);
    }

    /// The last crossing up to the part `s` of the path.
    pub(crate) fn last_crossing(&self, s: f64) -> Option<&Crossing> {
        let after = self.crossings.partition_point(|crossing| crossing.s <= s);
        after.checked_sub(1).and_then(|at| self.crossings.get(at))
    }
}
