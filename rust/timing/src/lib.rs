//! Zones, and what a device does at their borders between one fix and the next.
//!
//! Pure: no I/O, no Python, no clock, no randomness. Fixes and zones go in, [`Row`]s come out.
