//! Upper bounds, validated once, checked before anything is allocated.

use std::fmt;

/// Default upper bound of a frame in bytes, a policy of ours.
///
/// The vendor's own bound, 1,280 bytes for an AVL packet, is left to gateways: frames above it are
/// well-formed and occur. Source: vendor wiki, "Teltonika Data Sending Protocols".
pub const FRAME_MAX_BYTES: usize = 65_536;

/// Bounds of what is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    frame_max_bytes: usize,
}

/// A limit that is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitError {
    found: usize,
}

impl Limits {
    /// Bound: an empty TCP frame has 8 + 3 + 4 bytes; nothing shorter can be let in.
    pub const FRAME_MIN_BYTES: usize = 15;

    /// Bound: Redis holds no string above 512 MiB by default (`proto-max-bulk-len`), and offsets
    /// into a frame are u32.
    pub const FRAME_CEILING_BYTES: usize = 512 << 20;

    /// Limits with the given upper bound of a frame: a whole TCP frame, or the AVL packet of UDP.
    ///
    /// # Errors
    /// `frame_max_bytes` is below 15 (an empty TCP frame) or above 512 MiB.
    pub const fn new(frame_max_bytes: usize) -> Result<Self, LimitError> {
        match frame_max_bytes {
            Self::FRAME_MIN_BYTES..=Self::FRAME_CEILING_BYTES => Ok(Self { frame_max_bytes }),
            found => Err(LimitError { found }),
        }
    }

    /// Upper bound of a frame in bytes.
    #[must_use]
    pub const fn frame_max_bytes(&self) -> usize {
        self.frame_max_bytes
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_max_bytes: FRAME_MAX_BYTES,
        }
    }
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { found } = self;
        write!(
            f,
            "frame_max_bytes is {found}, expected {} to {}",
            Limits::FRAME_MIN_BYTES,
            Limits::FRAME_CEILING_BYTES
        )
    }
}

impl std::error::Error for LimitError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_64_kib() {
        assert_eq!(Limits::default().frame_max_bytes(), 65_536);
    }

    #[test]
    fn a_limit_outside_its_range_is_refused_with_the_range() {
        assert_eq!(
            Limits::new(15).map(|limits| limits.frame_max_bytes()),
            Ok(15)
        );
        let error = Limits::new(14).unwrap_err();
        assert_eq!(
            error.to_string(),
            "frame_max_bytes is 14, expected 15 to 536870912"
        );
        assert!(Limits::new(536_870_913).is_err());
    }
}
