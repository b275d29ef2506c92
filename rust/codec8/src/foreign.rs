//! Clients that are no trackers, recognised by the first bytes they send.
//!
//! Every open port gets them, and a log that names them spares an operator the search for a device.
//! A tracker opens with 00 0F, FF or 00 00 00 00; no client below does.

/// A client of another protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ForeignClient {
    /// A browser, a health check or a scanner: the name of an HTTP method and a space.
    Http,
    /// A TLS record of a handshake: 16 03.
    Tls,
    /// A handshake of the game: a length of one or two bytes, then packet id 0.
    Minecraft,
    /// The vendor's cameras, which have a server of their own: two zero bytes, then a protocol id.
    DualCam,
}

/// What the first bytes of a connection say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recognition {
    /// No tracker sends these bytes.
    Foreign(ForeignClient),
    /// A foreign client may send them, but more bytes have to tell.
    Undecided,
    /// None of the foreign clients sends them.
    Unknown,
}

impl ForeignClient {
    /// Every foreign client.
    pub const ALL: [Self; 4] = [Self::Http, Self::Tls, Self::Minecraft, Self::DualCam];

    /// The stable `snake_case` name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tls => "tls",
            Self::Minecraft => "minecraft",
            Self::DualCam => "dual_cam",
        }
    }

    /// Whether this client sends the bytes; nothing while more of them have to tell.
    fn sends(self, first: &[u8]) -> Option<bool> {
        match self {
            Self::Http => sends_method(first),
            Self::Tls => sends_beginning(first, &[0x16, 0x03]),
            Self::Minecraft => sends_minecraft_handshake(first),
            Self::DualCam => sends_protocol_id(first),
        }
    }
}

/// Says whose the first bytes of a connection are, as early as they allow.
///
/// No beginning of what a tracker sends is ever taken for foreign.
#[must_use]
pub fn recognise(first: &[u8]) -> Recognition {
    let mut recognition = Recognition::Unknown;
    for client in ForeignClient::ALL {
        match client.sends(first) {
            Some(true) => return Recognition::Foreign(client),
            Some(false) => {}
            None => recognition = Recognition::Undecided,
        }
    }
    recognition
}

/// Methods of RFC 9110 and RFC 5789, and the preface of HTTP/2.
const METHODS: [&[u8]; 10] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"CONNECT ",
    b"OPTIONS ",
    b"TRACE ",
    b"PATCH ",
    b"PRI ",
];

/// Length of a Minecraft handshake behind its length field: packet id, protocol version (1 to 5),
/// an address of at most 255 characters with its length, port (2), next state (1).
///
/// Bound: it keeps out what opens with 03 00, as RDP does.
const MINECRAFT_BYTES: std::ops::RangeInclusive<u32> = 6..=1_031;

fn sends_method(first: &[u8]) -> Option<bool> {
    let answers = METHODS.map(|method| sends_beginning(first, method));
    if answers.contains(&Some(true)) {
        Some(true)
    } else if answers.contains(&None) {
        None
    } else {
        Some(false)
    }
}

/// Whether the bytes begin with `beginning`; nothing while they are a part of it.
fn sends_beginning(first: &[u8], beginning: &[u8]) -> Option<bool> {
    if first.len() < beginning.len() && beginning.starts_with(first) {
        return None;
    }
    Some(first.starts_with(beginning))
}

/// Source: a real log of a tracker's port. The length is seven bits a byte, the lowest first, with the
/// top bit where another byte follows; it is never 0, and FF is left to the tracker's ping.
fn sends_minecraft_handshake(first: &[u8]) -> Option<bool> {
    let (length, behind) = match *first {
        [0x00 | 0xFF, ..] => return Some(false),
        [a @ ..0x80, ref behind @ ..] => (u32::from(a), behind),
        [] | [_] => return None,
        [a, b @ ..0x80, ref behind @ ..] => (u32::from(a & 0x7F) | u32::from(b) << 7, behind),
        [_, _, ..] => return Some(false),
    };
    if !MINECRAFT_BYTES.contains(&length) {
        return Some(false);
    }
    behind.first().map(|packet_id| *packet_id == 0)
}

/// A tracker that sends two zero bytes sends four.
fn sends_protocol_id(first: &[u8]) -> Option<bool> {
    match *first {
        [] | [0] | [0, 0] | [0, 0, 0] => None,
        [0, 0, a, ref behind @ ..] => Some(a != 0 || behind.first().is_some_and(|b| *b != 0)),
        _ => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(first: &[u8]) -> &'static str {
        match recognise(first) {
            Recognition::Foreign(client) => client.name(),
            Recognition::Undecided => "undecided",
            Recognition::Unknown => "unknown",
        }
    }

    #[test]
    fn first_bytes_name_the_client_that_sends_them() {
        let rows: [(&[u8], &str); 14] = [
            (b"GET / HTTP/1.1\r\n", "http"),
            (b"HEAD ", "http"),
            (b"PRI * HTTP/2.0\r\n", "http"),
            (b"\x16\x03\x01\x02\x00\x01", "tls"),
            (b"\x16\x03", "tls"),
            // Protocol 47, localhost:25565, next state 1.
            (b"\x0f\x00\x2f\x09localhost\x63\xdd\x01", "minecraft"),
            (b"\x16\x00", "minecraft"),
            (b"\x47\x00", "minecraft"),
            (b"\x80\x02\x00", "minecraft"),
            (b"\x00\x00\x00\x05\x00\x01\x43\x83", "dual_cam"),
            (b"\x00\x00\x01", "dual_cam"),
            // A related product, encrypted; RDP; SSH.
            (b"\x01\x01\x2f\x00", "unknown"),
            (b"\x03\x00\x00\x13\x0e\xe0", "unknown"),
            (b"SSH-2.0-", "unknown"),
        ];
        for (first, expected) in rows {
            assert_eq!(name(first), expected, "{first:02x?}");
        }
    }

    #[test]
    fn no_client_is_named_before_its_bytes_tell() {
        let rows: [(&[u8], usize); 5] = [
            (b"DELETE ", 7),
            (b"\x16\x03", 2),
            (b"\x0f\x00", 2),
            (b"\x81\x07\x00", 3),
            (b"\x00\x00\x00\x05", 4),
        ];
        for (first, told_by) in rows {
            for length in 0..told_by {
                assert_eq!(recognise(&first[..length]), Recognition::Undecided);
            }
            assert_ne!(name(first), "undecided");
        }
    }

    #[test]
    fn lengths_that_no_minecraft_handshake_has_are_unknown() {
        let rows: [&[u8]; 5] = [
            b"\x05\x00",
            b"\x88\x08",
            b"\x80\x80\x01\x00",
            b"\x10\x01",
            b"\xff\x01\x00",
        ];
        for first in rows {
            assert_eq!(name(first), "unknown", "{first:02x?}");
        }
    }

    #[test]
    fn nothing_that_a_tracker_opens_with_is_foreign() {
        let handshake = b"\x00\x0f356307042441013";
        let frame = [0, 0, 0, 0, 0, 0, 0x03, 0xE8, 0x8E];
        for opening in [&handshake[..], &frame, b"\xff", b"\xff\x00\x0f3"] {
            for length in 0..=opening.len() {
                let recognition = recognise(&opening[..length]);
                assert!(
                    !matches!(recognition, Recognition::Foreign(_)),
                    "{opening:02x?}"
                );
            }
            assert_eq!(recognise(opening), Recognition::Unknown);
        }
    }
}
