//! A stream fed to the cutter in parts, as a listener receives it.

use codec8::stream::{Progress, Unit, next_unit};
use codec8::{DecodeError, Limits, RejectCode};

/// What a stream was cut into, and the fatal error that ended it.
#[derive(Debug, PartialEq)]
pub(crate) struct Cuts {
    pub(crate) units: Vec<(Unit, Vec<u8>)>,
    pub(crate) fatal: Option<(RejectCode, usize)>,
    pub(crate) unread: Vec<u8>,
}

/// Feeds a stream in the given parts to the cutter, as a listener does.
pub(crate) fn cut<'a>(parts: impl Iterator<Item = &'a [u8]>, limits: Limits) -> Cuts {
    let mut progress = Progress::Opening;
    let mut cuts = Cuts {
        units: Vec::new(),
        fatal: None,
        unread: Vec::new(),
    };
    for part in parts {
        cuts.unread.extend(part);
        while cuts.fatal.is_none() {
            match next_unit(&cuts.unread, progress, &limits) {
                Ok(unit) => {
                    let behind = cuts.unread.split_off(unit.length());
                    cuts.units
                        .push((unit, std::mem::replace(&mut cuts.unread, behind)));
                    if unit == Unit::Handshake {
                        progress = Progress::Identified;
                    }
                }
                Err(DecodeError::Incomplete { offset, needed }) => {
                    assert!(needed > 0 && offset <= cuts.unread.len());
                    break;
                }
                Err(error) => cuts.fatal = Some((error.code(), error.offset())),
            }
        }
    }
    cuts
}
