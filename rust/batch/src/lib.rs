//! The frames of a batch to columns, with one outcome for each.
//!
//! Pure: no Python, no I/O, no clock. What is bad costs itself and nothing beside it: a frame that
//! cannot be decoded, an entry without one, a panic.

#![forbid(unsafe_code)]

mod decode;
mod guard;
mod receive_time;
mod reject;

pub mod pool;

pub use decode::{Outcomes, Source, decode_all};
pub use guard::{Panicked, caught, guarded};
pub use receive_time::{milliseconds_of_id, receive_time};
pub use reject::{EntryFault, Reject};
