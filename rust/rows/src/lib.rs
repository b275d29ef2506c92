//! Decoded columns to the distinct, ordered rows of a transaction, as Postgres binary COPY.
//!
//! Pure: no Python, no I/O, no clock. The words: an AVL *record* is what a frame holds; a *row* is
//! what stands in a table. A record becomes a row if Postgres can store it and no copy of it does
//! already.
//!
//! [`Rows::select`] picks, digests, orders and thins the records of a run of stream entries, also by
//! what a [`state::DeviceState`] knows of earlier commits; [`copy_positions`],
//! [`copy_last_positions`] and [`copy_marks`] write what it picked for the three tables; [`remember`] tells the state that
//! it was committed.

#![forbid(unsafe_code)]
#![allow(
    clippy::cast_possible_truncation,
    reason = "offsets and counts of a batch are u32 in its columns, and the rest says its bound"
)]

mod clock;
mod copy_buffer;
mod decimal;
mod frames;
mod io_object;
mod key;
mod key_columns;
mod last_positions;
mod layout;
mod marks;
mod order;
mod positions;
mod select;
mod view;

pub use clock::{CLOCK_AHEAD_MAX_MS, POSTGRES_EPOCH_MS, is_storable};
pub use copy_buffer::{CopyBytes, Fields, SIGNATURE};
pub use frames::{remember, senders};
pub use key_columns::KeyColumns;
pub use last_positions::{LAST_POSITION_COLUMNS, copy_last_positions};
pub use marks::{MARK_COLUMNS, copy_marks};
pub use positions::{IoType, POSITION_COLUMNS, copy_positions};
pub use select::Rows;
pub use view::BatchView;
