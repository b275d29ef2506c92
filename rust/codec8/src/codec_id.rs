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

/// A codec of commands and serial data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CommandCodec {
    /// 0x0C: commands, responses, serial data.
    Codec12,
    /// 0x0D: serial data with a timestamp.
    Codec13,
    /// 0x0E: commands and responses with an IMEI.
    Codec14,
    /// 0x0F: serial data with a timestamp and an IMEI.
    Codec15,
}

/// What a codec id stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodecClass {
    /// AVL records.
    Avl(CodecId),
    /// Commands and serial data.
    NotAvl(CommandCodec),
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
    /// 16-byte elements: Codec 8 as some FM63 units send it, unannounced.
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

impl CommandCodec {
    /// The command codec of this number.
    #[must_use]
    pub const fn of(codec_id: u8) -> Option<Self> {
        match CodecClass::of(codec_id) {
            CodecClass::NotAvl(codec) => Some(codec),
            CodecClass::Avl(_) | CodecClass::Unsupported(_) => None,
        }
    }

    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Codec12 => 0x0C,
            Self::Codec13 => 0x0D,
            Self::Codec14 => 0x0E,
            Self::Codec15 => 0x0F,
        }
    }

    /// Whether messages carry four bytes of Unix seconds.
    #[must_use]
    pub const fn has_timestamp(self) -> bool {
        matches!(self, Self::Codec13 | Self::Codec15)
    }

    /// Whether messages carry an IMEI as packed decimal.
    #[must_use]
    pub const fn has_imei(self) -> bool {
        matches!(self, Self::Codec14 | Self::Codec15)
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
            0x0C => Self::NotAvl(CommandCodec::Codec12),
            0x0D => Self::NotAvl(CommandCodec::Codec13),
            0x0E => Self::NotAvl(CommandCodec::Codec14),
            0x0F => Self::NotAvl(CommandCodec::Codec15),
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
        let numbers = |id: &u8| CommandCodec::of(*id).map(|codec| (*id, codec.number()));
        let not_avl: Vec<(u8, u8)> = (0..=255).filter_map(|id| numbers(&id)).collect();
        assert_eq!(
            not_avl,
            [(0x0C, 0x0C), (0x0D, 0x0D), (0x0E, 0x0E), (0x0F, 0x0F)]
        );
        assert_eq!(CodecClass::of(0x07), CodecClass::Unsupported(0x07));
    }
}
