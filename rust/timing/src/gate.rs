//! A gate: a line with a direction, from its first point to its last.

use crate::area::Edges;
use crate::row::Direction;
use crate::zone::GateDirection;

/// Joined edges, and which way through them counts.
pub(crate) struct Gate {
    pub(crate) edges: Edges,
    pub(crate) direction: GateDirection,
}

impl Gate {
    /// The direction of a crossing, if it is one that counts.
    pub(crate) const fn counted(&self, from_left: bool) -> Option<Direction> {
        match (from_left, self.direction) {
            (true, GateDirection::LeftToRight | GateDirection::Both) => {
                Some(Direction::LeftToRight)
            }
            (false, GateDirection::RightToLeft | GateDirection::Both) => {
                Some(Direction::RightToLeft)
            }
            _ => None,
        }
    }
}
