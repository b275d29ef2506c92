//! One try at one group of devices.

use std::collections::BTreeMap;
use std::sync::Arc;

use rows::CopyBytes;
use timing::{Fix, Limits, Row, ZoneIndex, ZoneKind};

use crate::copy_in::{Revision, append_record, append_revision};
use crate::copy_out::{CopyError, CopyReader};
use crate::device::{Device, Mark, Side};
use crate::instant::{text, unix_us};
use crate::needs::Needs;
use crate::stored::{row_of, stored_rows};

const DAY_US: i64 = 86_400_000_000;

/// How much of a device is done at once.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Bound: marked fixes; the statement asks for one more.
    pub fixes: usize,
    /// Neighbours on the right that are read along with them.
    pub right: usize,
    /// Bound: a longer stretch is cut, so that its partitions can be named in the statement.
    pub window_us: i64,
}

/// Stretches of devices, and two literal instants around them, by which the planner leaves all other
/// partitions alone: a device of last year must not make the statement read those between.
#[derive(Debug, PartialEq, Eq)]
pub struct Read {
    /// A day before the first of them.
    pub low: String,
    /// A day behind the last of them.
    pub high: String,
    /// Values (imei, first, last).
    pub stretches: Vec<String>,
}

impl Read {
    fn of((low_us, high_us, stretches): (i64, i64, Vec<String>)) -> Self {
        Self {
            low: text(low_us),
            high: text(high_us),
            stretches,
        }
    }
}

/// One group: see the crate.
pub struct Fold {
    index: Arc<ZoneIndex>,
    limits: Limits,
    budget: Budget,
    devices: BTreeMap<i64, Device>,
    stored: BTreeMap<i64, Vec<Row>>,
}

impl Fold {
    /// A group of the devices that are marked.
    ///
    /// `marks` has a row for each range, by imei and range: imei, version of the mark (int8), whether
    /// it is a re-run (bool), instant of the device's newest fix or null, first and last instant.
    ///
    /// # Errors
    /// `marks` is no such stream.
    pub fn of_marks(
        index: Arc<ZoneIndex>,
        limits: Limits,
        budget: Budget,
        marks: &[u8],
    ) -> Result<Self, CopyError> {
        let mut found: BTreeMap<i64, Mark> = BTreeMap::new();
        let mut reader = CopyReader::new(marks)?;
        while reader.row(6)? {
            let imei = reader.int8()?;
            let mark = Mark {
                version: reader.int8()?,
                is_rerun: reader.bool()?,
                newest_us: reader.maybe_int8()?.map(unix_us),
                ranges_us: Vec::new(),
            };
            let range_us = (unix_us(reader.int8()?), unix_us(reader.int8()?));
            let mark = found.entry(imei).or_insert(mark);
            mark.ranges_us.push(range_us);
        }
        let devices = found
            .into_iter()
            .filter_map(|(imei, mark)| Some((imei, Device::new(imei, &mark, &budget)?)))
            .collect();
        Ok(Self {
            index,
            limits,
            budget,
            devices,
            stored: BTreeMap::new(),
        })
    }

    /// The devices, ascending.
    #[must_use]
    pub fn imeis(&self) -> Vec<i64> {
        self.devices.keys().copied().collect()
    }

    /// The stretches to read, those that are near in time together, ascending.
    #[must_use]
    pub fn reads(&self) -> Vec<Read> {
        let mut stretches: Vec<_> = (self.devices.values())
            .map(|device| (device.stretch(), device.stretch_values()))
            .collect();
        stretches.sort_unstable();
        let mut reads: Vec<(i64, i64, Vec<String>)> = Vec::new();
        for ((lo_us, hi_us), values) in stretches {
            let (low_us, high_us) = (lo_us.saturating_sub(DAY_US), hi_us.saturating_add(DAY_US));
            match reads.last_mut() {
                Some((_, end_us, near)) if low_us <= *end_us => {
                    *end_us = high_us.max(*end_us);
                    near.push(values);
                }
                _ => reads.push((low_us, high_us, vec![values])),
            }
        }
        reads.into_iter().map(Read::of).collect()
    }

    /// Takes fixes: imei, side (int2: -1 left, 0 within, 1 right), instant, digest, longitude,
    /// latitude, satellites (int2).
    ///
    /// # Errors
    /// `positions` is no such stream.
    pub fn add_positions(&mut self, positions: &[u8]) -> Result<(), CopyError> {
        let mut reader = CopyReader::new(positions)?;
        while reader.row(7)? {
            let imei = reader.int8()?;
            let side = match reader.int2()? {
                -1 => Side::Left,
                0 => Side::Within,
                _ => Side::Right,
            };
            let fix = Fix {
                t_us: unix_us(reader.int8()?),
                digest: reader.int8()?,
                longitude: reader.float8()?,
                latitude: reader.float8()?,
                satellites: u8::try_from(reader.int2()?).unwrap_or(u8::MAX),
            };
            if let Some(device) = self.devices.get_mut(&imei) {
                device.take(side, fix);
            }
        }
        for device in self.devices.values_mut() {
            device.settle(&self.budget);
        }
        Ok(())
    }

    /// What is missing; each time more is asked for on the right.
    pub fn needs(&mut self) -> Needs {
        let mut needs = Needs::default();
        for device in self.devices.values_mut() {
            device.add_needs(&self.index, &mut needs);
        }
        needs
    }

    /// What was asked for by `needs.left` was read: who got none has none.
    pub fn left_was_read(&mut self) {
        for device in self.devices.values_mut() {
            device.has_no_left();
        }
    }

    /// Takes the answer to `needs.next`: imei, instant; who is asked for and has no row has none.
    ///
    /// # Errors
    /// `next` is no such stream.
    pub fn add_next(&mut self, next: &[u8]) -> Result<(), CopyError> {
        let mut found: BTreeMap<i64, i64> = BTreeMap::new();
        let mut reader = CopyReader::new(next)?;
        while reader.row(2)? {
            found.insert(reader.int8()?, unix_us(reader.int8()?));
        }
        for device in self.devices.values_mut() {
            if device.needs_next() {
                device.goes_on_at(found.get(&device.imei).copied());
            }
        }
        Ok(())
    }

    /// Takes the answer to `needs.history`: imei of those with crossings that are older than their
    /// first fix, or begin before it.
    ///
    /// # Errors
    /// `older` is no such stream.
    pub fn add_history(&mut self, older: &[u8]) -> Result<(), CopyError> {
        for device in self.devices.values_mut() {
            device.history_was_read();
        }
        let mut reader = CopyReader::new(older)?;
        while reader.row(1)? {
            if let Some(device) = self.devices.get_mut(&reader.int8()?) {
                device.was_cut_off();
            }
        }
        Ok(())
    }

    /// Takes the answer to `needs.members`: imei and zone id (int4) of those inside.
    ///
    /// # Errors
    /// `members` is no such stream.
    pub fn add_members(&mut self, members: &[u8]) -> Result<(), CopyError> {
        let mut found: BTreeMap<i64, Vec<i32>> = BTreeMap::new();
        let mut reader = CopyReader::new(members)?;
        while reader.row(2)? {
            let imei = reader.int8()?;
            found.entry(imei).or_default().push(reader.int4()?);
        }
        for device in self.devices.values_mut() {
            device.is_member_of(found.remove(&device.imei).into_iter().flatten());
        }
        Ok(())
    }

    /// Derives the rows of all devices; how many segments were looked at.
    pub fn derive(&mut self) -> usize {
        let mut n_segments = 0;
        for device in self.devices.values_mut() {
            n_segments += device.derive(&self.index, &self.limits);
        }
        n_segments
    }

    /// Values (imei, version) of the marks as they were read.
    #[must_use]
    pub fn versions(&self) -> Vec<String> {
        self.devices
            .values()
            .map(|device| format!("({}::bigint, {}::bigint)", device.imei, device.version))
            .collect()
    }

    /// Goes on with these devices alone; `imeis` ascend.
    pub fn keep(&mut self, imeis: &[i64]) {
        self.devices
            .retain(|imei, _| imeis.binary_search(imei).is_ok());
    }

    /// Values (imei, behind, upto): rows with an end fix in there are replaced.
    #[must_use]
    pub fn replaced(&self) -> Vec<String> {
        self.devices
            .values()
            .filter(|device| !device.is_skipped())
            .map(Device::replaced_values)
            .collect()
    }

    /// Takes the rows that are stored there, `TIMING_RECORD_COLUMNS` by key; the devices whose rows
    /// differ, ascending: theirs are to be deleted and written.
    ///
    /// # Errors
    /// `stored` is no such stream.
    pub fn compare(&mut self, stored: &[u8]) -> Result<Vec<i64>, CopyError> {
        self.stored = stored_rows(stored)?;
        for device in self.devices.values_mut() {
            if let Some(rows) = self.stored.get(&device.imei) {
                device.keep_rows_of_dropped(rows);
            }
        }
        let nothing = Vec::new();
        Ok(self
            .devices
            .values()
            .filter(|device| *self.stored.get(&device.imei).unwrap_or(&nothing) != device.rows)
            .map(|device| device.imei)
            .collect())
    }

    /// A COPY of `TIMING_RECORD_COLUMNS` of the new rows of these devices, which ascend.
    #[must_use]
    pub fn copy_records(&self, imeis: &[i64], room: Vec<u8>) -> CopyBytes {
        let mut copy = CopyBytes::start(room);
        for device in self.devices_of(imeis) {
            for row in &device.rows {
                append_record(&mut copy, device.imei, row);
            }
        }
        copy.finish()
    }

    /// A COPY of `REVISION_COLUMNS`: rows that these devices had and have not, or not so, any more.
    #[must_use]
    pub fn copy_revisions(&self, imeis: &[i64], room: Vec<u8>) -> CopyBytes {
        let mut copy = CopyBytes::start(room);
        for revision in self.revisions(imeis) {
            append_revision(&mut copy, &revision);
        }
        copy.finish()
    }

    fn revisions<'a>(&'a self, imeis: &'a [i64]) -> impl Iterator<Item = Revision<'a>> {
        self.devices_of(imeis).flat_map(move |device| {
            self.stored_of(device).iter().filter_map(move |was| {
                let is_now = row_of(&device.rows, was);
                (is_now != Some(was)).then(|| Revision {
                    imei: device.imei,
                    cause: self.cause(device, was, is_now),
                    was,
                    is_now,
                })
            })
        })
    }

    /// How many rows of these devices were replaced, by cause.
    #[must_use]
    pub fn count_revisions(&self, imeis: &[i64]) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for revision in self.revisions(imeis) {
            *counts.entry(revision.cause).or_default() += 1;
        }
        counts
    }

    /// How many rows of these devices are new or differ, by the kinds of zone and crossing.
    #[must_use]
    pub fn count_crossings(&self, imeis: &[i64]) -> BTreeMap<(&'static str, &'static str), usize> {
        let mut by_version: BTreeMap<(i32, i32), Vec<&'static str>> = BTreeMap::new();
        for device in self.devices_of(imeis) {
            let stored = self.stored_of(device);
            let written = (device.rows.iter()).filter(|row| row_of(stored, row) != Some(*row));
            for row in written {
                let kinds = by_version.entry((row.zone_id, row.version)).or_default();
                kinds.push(row.kind.as_str());
            }
        }
        let mut counts = BTreeMap::new();
        // Mostly few rows of few zones: no map of all of them is worth its making.
        for zone in self.index.zones() {
            let version = zone.version();
            let kinds = by_version.get(&(version.zone_id, version.version));
            for kind in kinds.into_iter().flatten() {
                *counts.entry((kind_name(zone.kind()), *kind)).or_default() += 1;
            }
        }
        counts
    }

    fn devices_of<'a>(&'a self, imeis: &'a [i64]) -> impl Iterator<Item = &'a Device> {
        imeis.iter().filter_map(|imei| self.devices.get(imei))
    }

    fn stored_of(&self, device: &Device) -> &[Row] {
        self.stored.get(&device.imei).map_or(&[], Vec::as_slice)
    }

    fn cause(&self, device: &Device, was: &Row, is_now: Option<&Row>) -> &'static str {
        if device.is_rerun {
            return "rerun";
        }
        let live_version = || {
            let live = self.index.live_zone(was.zone_id, was.end_t_us)?;
            Some(live.version().version)
        };
        let live = is_now.map(|row| row.version).or_else(live_version);
        if live == Some(was.version) {
            "late_data"
        } else {
            "zone_edit"
        }
    }

    /// The devices of which a part stays marked, ascending.
    #[must_use]
    pub fn unfinished(&self) -> Vec<i64> {
        self.devices
            .values()
            .filter(|device| device.has_rest())
            .map(|device| device.imei)
            .collect()
    }

    /// Values (imei, ranges): the marks that stay.
    #[must_use]
    pub fn rest(&self) -> Vec<String> {
        self.devices.values().map(Device::rest_values).collect()
    }
}

/// As the table `zones` names it.
fn kind_name(kind: ZoneKind) -> &'static str {
    match kind {
        ZoneKind::Circle => "circle",
        ZoneKind::Area => "polygon",
        ZoneKind::Gate => "gate",
    }
}
