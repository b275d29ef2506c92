//! The keys of JSON objects: IO ids as text, ready to be copied.

use std::sync::OnceLock;

const N_KEYS: usize = 1 << 16;

/// Longest text of a key, `,"65535":`.
pub(crate) const TEXT_MAX: usize = 9;
/// What copying a key's text touches.
pub(crate) const ROOM: usize = 16;

/// `,"<id>":` in the low bytes of a word, its length in byte 11, the position of its element on
/// the wire in the four highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u128);

impl Key {
    /// No key.
    pub(crate) const EMPTY: Self = Self(0);

    const LENGTH: u32 = 8 * 11;
    const POSITION: u32 = 8 * 12;

    fn new(id: u16) -> Self {
        let text = format!(",\"{id}\":");
        let word = text
            .bytes()
            .rev()
            .fold(0, |word, byte| word << 8 | u128::from(byte));
        Self(word | (text.len() as u128) << Self::LENGTH)
    }

    /// The same key for the element at `position`.
    pub(crate) fn at(self, position: u32) -> Self {
        Self(self.0 | u128::from(position) << Self::POSITION)
    }

    /// Where on the wire the element stands, counted from the record's first.
    pub(crate) fn position(self) -> usize {
        (self.0 >> Self::POSITION) as usize
    }

    /// The length of the text. Bound: below 16 by its mask, `TEXT_MAX` in fact.
    pub(crate) fn len(self) -> usize {
        (self.0 >> Self::LENGTH) as usize % 16
    }

    /// The text, and anything behind it.
    pub(crate) fn text(self) -> [u8; ROOM] {
        self.0.to_le_bytes()
    }
}

/// The keys of all 65,536 ids: 1 MiB, built once, of which a fleet touches some kilobytes.
#[derive(Clone, Copy)]
pub(crate) struct Keys(&'static [Key; N_KEYS]);

impl Keys {
    pub(crate) fn new() -> Self {
        static KEYS: OnceLock<Box<[Key; N_KEYS]>> = OnceLock::new();
        Self(KEYS.get_or_init(|| {
            let keys: Vec<Key> = (0..=u16::MAX).map(Key::new).collect();
            keys.try_into().expect("as many keys as ids")
        }))
    }

    pub(crate) fn of(self, id: u16) -> Key {
        self.0[usize::from(id)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_comma_its_quoted_id_and_its_colon() {
        for (id, expected) in [(0, ",\"0\":"), (239, ",\"239\":"), (65_535, ",\"65535\":")] {
            let key = Keys::new().of(id);
            assert_eq!(&key.text()[..key.len()], expected.as_bytes());
        }
    }

    #[test]
    fn a_key_keeps_the_position_of_its_element_apart_from_its_text() {
        let key = Keys::new().of(65_535).at(u32::MAX);
        assert_eq!(key.position(), 4_294_967_295);
        assert_eq!(&key.text()[..key.len()], b",\"65535\":");
    }
}
