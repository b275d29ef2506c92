//! What a fold still has to read.

/// What is missing before a group can be derived; empty lists where nothing is.
///
/// Each is the values of a `VALUES` list: `next` (imei, from), `left` (imei, before), `right` (imei,
/// behind), `history` (imei, at), `members` (imei, zone id, at), instants as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Devices of which no fix was found in a stretch that was cut: their next fix from there on.
    pub next: Vec<String>,
    /// Devices without a left neighbour among what was read: their last fix before.
    pub left: Vec<String>,
    /// Devices whose history matters beyond what was read: their fixes behind.
    pub right: Vec<String>,
    /// Devices without a left neighbour, and their first fix: whether crossings are older than it.
    pub history: Vec<String>,
    /// Zones whose band holds the left neighbour: whether the device was inside.
    pub members: Vec<String>,
}

impl Needs {
    /// Whether nothing is missing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.next.is_empty()
            && self.left.is_empty()
            && self.right.is_empty()
            && self.history.is_empty()
            && self.members.is_empty()
    }
}
