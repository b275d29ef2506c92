//! Teltonika AVL codecs: bytes to columns, and back.
//!
//! A pure crate: no I/O, no clock, no Python. Bytes of the wire go in, values come out, and what
//! cannot be decoded comes out as a [`DecodeError`] that says what was found, what was expected,
//! where, and how far to skip.
//!
//! Panic guarantee: no input makes any function of this crate panic. The lints below hold the code
//! to it, `fuzz/` tries the contrary.

#![deny(unsafe_code)]
#![allow(
    clippy::inline_always,
    reason = "the walk is compiled for each codec and kind of processor, with all that it calls"
)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

mod codec_id;
mod columns;
mod crc16;
mod error;
mod frame;
mod imei;
mod io_element;
mod limits;
mod reader;
mod record;
mod reject_code;

pub mod command;
pub mod cutter;
pub mod encode;
pub mod foreign;
pub mod handshake;
pub mod stream;
pub mod udp;

pub use codec_id::{CodecClass, CodecId, CommandCodec, Tail, Widths};
pub use columns::{Columns, Mark};
pub use crc16::crc16;
pub use error::{DecodeError, FatalReason, RejectReason};
pub use frame::{AvlPacket, Transport, check_envelope, decode_frame};
pub use imei::Imei;
pub use limits::{FRAME_MAX_BYTES, LimitError, Limits};
pub use reject_code::RejectCode;
