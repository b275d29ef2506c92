//! Codec ids: the only match on one, and the widths that follow from it.

/// An AVL codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CodecId {
    /// 0x08: one-byte IO ids and counts.
    Codec8,
    /// 0x8E: two-byte IO ids and counts, variable-length elements.
    Codec8Extended,
    /// 0x10: two-byte IO ids, one-byte counts, a generation type.
    Codec16,
}

/// What a codec id stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodecClass {
    /// AVL records.
    Avl(CodecId),
    /// Codec 12, 13, 14 or 15: commands and serial data.
    NotAvl(u8),
    /// Anything else.
    Unsupported(u8),
}

/// Widths in bytes of the fields that differ between the codecs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Widths {
    /// IO id, the event IO id included.
    pub id: usize,
    /// Number of elements: the total, and that of each group.
    pub count: usize,
    /// Generation type: 1 in Codec 16, else 0.
    pub generation_type: usize,
    /// The group behind the 8-byte elements.
    pub tail: Tail,
}

/// The group behind the 8-byte elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// None.
    Nothing,
    /// 16-byte elements: Codec 8 as some FM6xxx units send it, unannounced.
    Sixteen,
    /// Elements with a two-byte length (NX).
    Variable,
}

impl CodecId {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Codec8 => 0x08,
            Self::Codec8Extended => 0x8E,
            Self::Codec16 => 0x10,
        }
    }

    /// Field widths of the codec as the vendor documents it.
    #[must_use]
    pub const fn widths(self) -> Widths {
        match self {
            Self::Codec8 => Widths {
                id: 1,
                count: 1,
                generation_type: 0,
                tail: Tail::Nothing,
            },
            Self::Codec8Extended => Widths {
                id: 2,
                count: 2,
                generation_type: 0,
                tail: Tail::Variable,
            },
            Self::Codec16 => Widths {
                id: 2,
                count: 1,
                generation_type: 1,
                tail: Tail::Nothing,
            },
        }
    }
}

impl CodecClass {
    /// Classifies a codec id of the wire.
    #[must_use]
    pub const fn of(codec_id: u8) -> Self {
        match codec_id {
            0x08 => Self::Avl(CodecId::Codec8),
            0x8E => Self::Avl(CodecId::Codec8Extended),
            0x10 => Self::Avl(CodecId::Codec16),
            0x0C..=0x0F => Self::NotAvl(codec_id),
            _ => Self::Unsupported(codec_id),
        }
    }
}

impl Widths {
    /// Codec 8 with the 16-byte group. Source: peers and two real packets; no vendor text.
    pub(crate) const CODEC8_SIXTEEN: Self = Self {
        tail: Tail::Sixteen,
        ..CodecId::Codec8.widths()
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_avl_codec_is_classified_by_its_own_number() {
        for codec_id in [CodecId::Codec8, CodecId::Codec8Extended, CodecId::Codec16] {
            assert_eq!(CodecClass::of(codec_id.number()), CodecClass::Avl(codec_id));
        }
    }

    #[test]
    fn only_codecs_12_to_15_are_not_avl() {
        let not_avl: Vec<u8> = (0..=255)
            .filter(|id| matches!(CodecClass::of(*id), CodecClass::NotAvl(_)))
            .collect();
        assert_eq!(not_avl, [0x0C, 0x0D, 0x0E, 0x0F]);
        assert_eq!(CodecClass::of(0x07), CodecClass::Unsupported(0x07));
    }
}
