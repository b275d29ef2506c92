//! What the last commits said of each device: its newest fix, and its last frames.
//!
//! Pure: no Python, no I/O, no clock, no randomness.
//!
//! The rules that make a cache of committed facts harmless:
//!
//! - Nothing enters before its COMMIT, so what is held stands in the database.
//! - A [`Position`] is never newer than the one of `last_position`: a fix that does not beat it would
//!   not win there either, and needs no upsert.
//! - A copy of a remembered frame may be left out if the frame held no suspect record when it was
//!   committed: then the copy would change nothing. A suspect one is let through, for a sane copy
//!   makes its records sane.
//! - Of a device that is not held nothing is known, and nothing of it is left out.
//!
//! So losing any part of it, at any time, costs time and never truth.

#![forbid(unsafe_code)]

mod device;
mod device_state;
mod shared;

pub use device::{FRAMES, Position};
pub use device_state::{DEVICES_CEILING, DeviceState};
pub use shared::SharedState;
