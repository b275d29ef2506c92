//! The fold: which stretches of which devices are derived again, from what, and what replaces what.
//!
//! Pure: no Python, no I/O, no clock. What Postgres copies out goes in as bytes, and what it copies
//! in comes out as bytes; texts are values for a statement. One [`Fold`] is one try at one group of
//! devices:
//!
//! 1. [`Fold::of_marks`] takes the marks and picks of each device the leftmost stretch.
//! 2. [`Fold::add_positions`] takes the fixes of these stretches and their neighbours, and says what
//!    is still missing, until nothing is: a left neighbour that is far, more neighbours on the
//!    right while history may matter, stored membership at the left neighbour.
//! 3. [`Fold::derive`] derives.
//! 4. [`Fold::keep`] drops those whose marks have changed meanwhile.
//! 5. [`Fold::compare`] takes the rows that are stored, and leaves what differs.

#![forbid(unsafe_code)]

mod copy_in;
mod copy_out;
mod device;
mod fold;
mod instant;
mod needs;
mod stored;

pub use copy_in::{REVISION_COLUMNS, TIMING_RECORD_COLUMNS};
pub use copy_out::CopyError;
pub use fold::{Budget, Fold, Read};
pub use needs::Needs;
