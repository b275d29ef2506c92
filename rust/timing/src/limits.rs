//! What is a gap, and what is a jump.

use std::fmt;

/// Beyond these a segment says nothing about the way between its fixes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    gap_us: i64,
    jump_m_s: f64,
}

/// A limit that is not positive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LimitError {
    /// The gap limit, in microseconds.
    Gap(i64),
    /// The jump limit, in metres a second.
    Jump(f64),
}

impl Limits {
    /// `gap_us`: a segment that is longer, in microseconds, is a gap. `jump_m_s`: one that is faster,
    /// in metres a second, is a jump; infinity means never.
    ///
    /// # Errors
    /// A limit that is not above zero.
    pub fn new(gap_us: i64, jump_m_s: f64) -> Result<Self, LimitError> {
        if gap_us <= 0 {
            return Err(LimitError::Gap(gap_us));
        }
        if jump_m_s.is_nan() || jump_m_s <= 0.0 {
            return Err(LimitError::Jump(jump_m_s));
        }
        Ok(Self { gap_us, jump_m_s })
    }

    /// The longest segment that is no gap, in microseconds.
    #[must_use]
    pub const fn gap_us(&self) -> i64 {
        self.gap_us
    }

    /// The highest mean speed of a segment that is no jump, in metres a second.
    #[must_use]
    pub const fn jump_m_s(&self) -> f64 {
        self.jump_m_s
    }
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap(found) => write!(f, "the gap limit is {found} us, expected more than 0"),
            Self::Jump(found) => write!(f, "the jump limit is {found} m/s, expected more than 0"),
        }
    }
}

impl std::error::Error for LimitError {}
