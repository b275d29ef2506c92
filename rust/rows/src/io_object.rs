//! The IO elements of a record as the text of a JSON object.

use crate::decimal;
use crate::key::{self, Key};
use crate::layout::Layouts;
use crate::view::Elements;

/// Longest text of a numeric element.
const NUMBER_MAX: usize = key::TEXT_MAX + "18446744073709551615".len();
/// What writing a numeric element may touch.
const NUMBER_ROOM: usize = key::ROOM + decimal::ROOM;

/// Writes IO objects, and remembers the layouts of the records just written.
pub(crate) struct IoObjects {
    layouts: Layouts,
}

impl IoObjects {
    pub(crate) fn new() -> Self {
        Self {
            layouts: Layouts::new(),
        }
    }

    /// How many bytes [`Self::write`] may touch.
    pub(crate) fn room(elements: &Elements<'_>) -> usize {
        let texts = elements.ids.len() * NUMBER_MAX + 2 * elements.n_variable_bytes();
        texts + NUMBER_ROOM + "{}".len()
    }

    /// Writes the object at the start of `out` and returns its length.
    ///
    /// # Panics
    /// If `out` is shorter than [`Self::room`].
    #[inline(never)]
    pub(crate) fn write(&mut self, elements: &Elements<'_>, out: &mut [u8]) -> usize {
        let numbers = &elements.values[..elements.first_variable];
        let mut at = 0;
        for key in self.layouts.ascending(elements.ids) {
            at += match numbers.get(key.position()) {
                Some(number) => write_number(*key, *number, &mut out[at..]),
                None => write_bytes(*key, elements.bytes(key.position()), &mut out[at..]),
            };
        }
        // Each key brings its comma; the first one's becomes the brace.
        out[0] = b'{';
        let at = at.max(1);
        out[at] = b'}';
        at + 1
    }
}

#[inline]
fn write_number(key: Key, value: u64, out: &mut [u8]) -> usize {
    let out: &mut [u8; NUMBER_ROOM] = out.first_chunk_mut().expect("room for a number");
    out[..key::ROOM].copy_from_slice(&key.text());
    let text = out[key.len()..]
        .first_chunk_mut()
        .expect("room behind any key");
    key.len() + decimal::write(value, text)
}

#[cold]
fn write_bytes(key: Key, bytes: &[u8], out: &mut [u8]) -> usize {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let (key_text, out) = out.split_at_mut(key.len());
    key_text.copy_from_slice(&key.text()[..key.len()]);
    out[0] = b'"';
    for (pair, byte) in out[1..].chunks_exact_mut(2).zip(bytes) {
        pair[0] = HEX[usize::from(byte >> 4)];
        pair[1] = HEX[usize::from(byte & 0xF)];
    }
    let end = 1 + 2 * bytes.len();
    out[end] = b'"';
    key.len() + end + 1
}
