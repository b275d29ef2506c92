//! The zones that a device is inside of.

/// A small sorted set of zone ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    ids: Vec<i32>,
}

impl Membership {
    /// Inside no zone.
    #[must_use]
    pub const fn new() -> Self {
        Self { ids: Vec::new() }
    }

    /// The zone ids in ascending order.
    #[must_use]
    pub fn ids(&self) -> &[i32] {
        &self.ids
    }

    /// Whether the device is inside the zone.
    #[must_use]
    pub fn contains(&self, zone_id: i32) -> bool {
        self.ids.binary_search(&zone_id).is_ok()
    }

    /// Puts the device inside the zone, or outside.
    pub fn set(&mut self, zone_id: i32, inside: bool) {
        match (self.ids.binary_search(&zone_id), inside) {
            (Err(at), true) => self.ids.insert(at, zone_id),
            (Ok(at), false) => {
                self.ids.remove(at);
            }
            (Ok(_), true) | (Err(_), false) => {}
        }
    }
}

impl FromIterator<i32> for Membership {
    fn from_iter<I: IntoIterator<Item = i32>>(ids: I) -> Self {
        let mut ids: Vec<i32> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        Self { ids }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_sorted_set() {
        let mut inside: Membership = [7, -2, 7, 3].into_iter().collect();
        assert_eq!(inside.ids(), [-2, 3, 7]);
        inside.set(5, true);
        inside.set(3, false);
        inside.set(3, false);
        inside.set(7, true);
        assert_eq!(inside.ids(), [-2, 5, 7]);
        assert!(inside.contains(5) && !inside.contains(3));
    }
}
