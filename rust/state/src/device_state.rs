//! The devices that are held, found by imei and in the order of sending.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::device::{Device, Frames, Position};

/// Bound: devices that can be held; their places are `u32`.
pub const DEVICES_CEILING: usize = 10_000_000;

/// Bound: room grows by an eighth, so no more than that is unused.
const GROWTH: usize = 8;
const FIRST_ROOM: usize = 64;

/// No device: the end of the order.
const NONE: u32 = u32::MAX;

/// A bounded cache of devices; beyond the bound it forgets who has not sent for longest.
///
/// Invariant: `places`, `devices` and the order from `oldest` to `newest` name the same devices.
/// `devices` has no gaps.
pub struct DeviceState {
    devices: Vec<Device>,
    /// Where a device stands in `devices`, by the hash of its imei: 5 bytes a bucket. A map with the
    /// imei in it takes 17, which at some numbers of devices is more than the 150 bytes allow.
    places: HashTable<u32>,
    oldest: u32,
    newest: u32,
    devices_max: usize,
    seed: u64,
    hits: u64,
    misses: u64,
    evictions: u64,
}

impl DeviceState {
    /// An empty cache of `devices_max` devices, at least 1 and at most [`DEVICES_CEILING`].
    ///
    /// `seed` should be random, so that no sender can choose imeis whose hashes collide.
    #[must_use]
    pub fn new(devices_max: usize, seed: u64) -> Self {
        Self {
            devices: Vec::new(),
            places: HashTable::new(),
            oldest: NONE,
            newest: NONE,
            devices_max: devices_max.clamp(1, DEVICES_CEILING),
            seed,
            hits: 0,
            misses: 0,
            evictions: 0,
        }
    }

    /// Which of these distinct devices, which have sent now, are not held.
    pub fn cold(&mut self, imeis: &[i64]) -> Vec<i64> {
        let mut cold = Vec::new();
        for &imei in imeis {
            match self.find(imei) {
                Some(at) => self.touch(at),
                None => cold.push(imei),
            }
        }
        self.misses += cold.len() as u64;
        self.hits += (imeis.len() - cold.len()) as u64;
        cold
    }

    /// Holds a device with what `last_position` has of it, or raises what is held.
    pub fn hydrate(&mut self, imei: i64, position: Option<Position>) {
        let at = self.find(imei).unwrap_or_else(|| self.insert(imei));
        if let Some(position) = position {
            self.devices[at].advance(position);
        }
    }

    /// Notes a committed frame of a device that is held, and whether a record of it was suspect.
    pub fn remember(&mut self, imei: i64, frame: u64, is_suspect: bool) {
        if let Some(at) = self.find(imei) {
            self.devices[at].frames.remember(frame, is_suspect);
        }
    }

    /// Notes a fix that stands in `last_position` by now, or a newer one does.
    pub fn advance(&mut self, imei: i64, position: Position) {
        if let Some(at) = self.find(imei) {
            self.devices[at].advance(position);
        }
    }

    /// Whether a copy of this frame would change nothing in the database.
    #[must_use]
    pub fn has_sane_frame(&self, imei: i64, frame: u64) -> bool {
        self.find(imei)
            .is_some_and(|at| self.devices[at].frames.has_sane(frame))
    }

    /// The newest committed fix that is held of a device.
    #[must_use]
    pub fn position(&self, imei: i64) -> Option<Position> {
        self.find(imei).and_then(|at| self.devices[at].position)
    }

    /// Whether a device is held, with a position or without.
    #[must_use]
    pub fn holds(&self, imei: i64) -> bool {
        self.find(imei).is_some()
    }

    /// Forgets a device; whether it was held.
    pub fn forget(&mut self, imei: i64) -> bool {
        let found = self.find(imei);
        if let Some(at) = found {
            self.remove(at);
        }
        found.is_some()
    }

    /// Forgets every device and gives their memory back; the counts stay.
    pub fn clear(&mut self) {
        self.devices = Vec::new();
        self.places = HashTable::new();
        (self.oldest, self.newest) = (NONE, NONE);
    }

    /// Devices that are held.
    #[must_use]
    pub fn n_devices(&self) -> usize {
        self.devices.len()
    }

    /// Bytes allocated.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        self.devices.capacity() * size_of::<Device>() + self.places.allocation_size()
    }

    /// How many devices were held when they were asked for, since the start.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.hits
    }

    /// How many devices were not held when they were asked for, since the start.
    #[must_use]
    pub fn misses(&self) -> u64 {
        self.misses
    }

    /// How many devices the bound has cost, since the start.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.evictions
    }

    fn find(&self, imei: i64) -> Option<usize> {
        let is_it = |&at: &u32| self.devices[at as usize].imei == imei;
        let found = self.places.find(hash(self.seed, imei), is_it);
        found.map(|&at| at as usize)
    }

    /// Holds a device that is not held yet; its place.
    fn insert(&mut self, imei: i64) -> usize {
        if self.devices.len() == self.devices_max {
            self.remove(self.oldest as usize);
            self.evictions += 1;
        }
        self.make_room();
        let at = self.devices.len();
        self.devices.push(Device {
            imei,
            position: None,
            frames: Frames::default(),
            older: NONE,
            newer: NONE,
        });
        let (devices, seed) = (&self.devices, self.seed);
        let hash_of = |&at: &u32| hash(seed, devices[at as usize].imei);
        self.places
            .insert_unique(hash(seed, imei), place(at), hash_of);
        self.append(at);
        at
    }

    fn make_room(&mut self) {
        let n = self.devices.len();
        if n == self.devices.capacity() {
            let room = (n / GROWTH).max(FIRST_ROOM).min(self.devices_max - n);
            self.devices.reserve_exact(room);
        }
    }

    /// Removes the device at a place, to which the last one moves.
    fn remove(&mut self, at: usize) {
        self.unlink(at);
        self.entry(at).remove();
        let last = self.devices.len() - 1;
        if at < last {
            *self.entry(last).get_mut() = place(at);
            let Device { older, newer, .. } = self.devices[last];
            *self.newer_of(older) = place(at);
            *self.older_of(newer) = place(at);
        }
        self.devices.swap_remove(at);
    }

    /// The entry of the device at a place.
    fn entry(&mut self, at: usize) -> hashbrown::hash_table::OccupiedEntry<'_, u32> {
        let (devices, seed) = (&self.devices, self.seed);
        let hash_of = |&at: &u32| hash(seed, devices[at as usize].imei);
        let is_it = |&other: &u32| other == place(at);
        match self.places.entry(hash_of(&place(at)), is_it, hash_of) {
            Entry::Occupied(entry) => entry,
            Entry::Vacant(_) => unreachable!("a device without its place"),
        }
    }

    /// Makes a device the one that sent last.
    fn touch(&mut self, at: usize) {
        if self.newest != place(at) {
            self.unlink(at);
            self.append(at);
        }
    }

    fn append(&mut self, at: usize) {
        let before = self.newest;
        self.devices[at].older = before;
        self.devices[at].newer = NONE;
        *self.newer_of(before) = place(at);
        self.newest = place(at);
    }

    fn unlink(&mut self, at: usize) {
        let Device { older, newer, .. } = self.devices[at];
        *self.newer_of(older) = newer;
        *self.older_of(newer) = older;
    }

    /// The link to whoever follows a device; that of no device is the start of the order.
    fn newer_of(&mut self, at: u32) -> &mut u32 {
        let device = self.devices.get_mut(at as usize);
        device.map_or(&mut self.oldest, |device| &mut device.newer)
    }

    /// The link to whoever precedes a device; that of no device is the end of the order.
    fn older_of(&mut self, at: u32) -> &mut u32 {
        let device = self.devices.get_mut(at as usize);
        device.map_or(&mut self.newest, |device| &mut device.older)
    }
}

/// A place as links and buckets have it. Bound: [`DEVICES_CEILING`].
fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(NONE)
}

/// Both halves of the product with a secret odd number, so that every bit of an imei counts.
#[expect(clippy::cast_possible_truncation, reason = "the lower half")]
fn hash(seed: u64, imei: i64) -> u64 {
    let product = u128::from(imei.cast_unsigned()) * u128::from(seed | 1);
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests;
