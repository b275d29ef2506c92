//! All versions of all zones, found by where and when.

use std::fmt;

use static_aabb2d_index::{Control, StaticAABB2DIndex};

use crate::area::{Bounds, index_of};
use crate::fix::Fix;
use crate::membership::Membership;
use crate::path::Path;
use crate::zone::{Zone, split_at_date_line};

/// All versions of all zones. Immutable: a change of zones makes a new one; share it by `Arc`.
pub struct ZoneIndex {
    /// Sorted by zone and version, so that the order of places is that of zone ids.
    zones: Vec<Zone>,
    /// For each place the places of its zone's versions: the first, and the one after the last.
    versions: Vec<(usize, usize)>,
    boxes: Option<StaticAABB2DIndex<f64>>,
    /// The zone of each box; one that meets the date line has two.
    box_places: Vec<usize>,
    box_bounds: Vec<Bounds>,
}

/// What is near to a device: few zones or none, for most of its segments.
#[derive(Debug)]
pub(crate) struct Neighbourhood {
    bounds: Bounds,
    /// The boxes that meet the bounds, and the places of their zones.
    boxes: Vec<(Bounds, usize)>,
    /// There are too many, or the date line is in it: the index itself is asked.
    is_crowded: bool,
}

impl Neighbourhood {
    pub(crate) const NOWHERE: Self = Self {
        bounds: Bounds::NOWHERE,
        boxes: Vec::new(),
        is_crowded: false,
    };
}

/// How far a neighbourhood goes beyond the path that it was looked up for, in degrees: 1 to 2 km.
const NEIGHBOURHOOD_DEGREES: f64 = 0.015;

/// Bound: among more zones than these the index is faster.
const NEIGHBOURS_MAX: usize = 48;

/// Zones that cannot be in one index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexError {
    /// A version of a zone is there twice.
    DuplicateVersion {
        /// The zone.
        zone_id: i32,
        /// The version.
        version: i32,
    },
}

impl fmt::Display for IndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::DuplicateVersion { zone_id, version } = self;
        write!(f, "zone {zone_id} has its version {version} twice")
    }
}

impl std::error::Error for IndexError {}

impl ZoneIndex {
    /// An index of these versions, in any order.
    ///
    /// # Errors
    /// The same version of a zone twice.
    pub fn new(mut zones: Vec<Zone>) -> Result<Self, IndexError> {
        zones.sort_by_key(|zone| (zone.version().zone_id, zone.version().version));
        for (one, next) in zones.iter().zip(zones.iter().skip(1)) {
            let (one, next) = (one.version(), next.version());
            if (one.zone_id, one.version) == (next.zone_id, next.version) {
                return Err(IndexError::DuplicateVersion {
                    zone_id: one.zone_id,
                    version: one.version,
                });
            }
        }
        let mut versions = Vec::with_capacity(zones.len());
        for group in zones.chunk_by(|one, next| one.version().zone_id == next.version().zone_id) {
            let first = versions.len();
            let after = first.saturating_add(group.len());
            versions.extend(group.iter().map(|_| (first, after)));
        }
        let boxes: Vec<(usize, Bounds)> = zones
            .iter()
            .enumerate()
            .flat_map(|(place, zone)| zone.boxes().into_iter().flatten().map(move |b| (place, b)))
            .collect();
        Ok(Self {
            zones,
            versions,
            boxes: index_of(boxes.iter().map(|&(_, bounds)| bounds)),
            box_bounds: boxes.iter().map(|&(_, bounds)| bounds).collect(),
            box_places: boxes.into_iter().map(|(place, _)| place).collect(),
        })
    }

    /// Its versions, by zone and number. A clone of one is cheap: a new index may take them over.
    pub fn zones(&self) -> impl Iterator<Item = &Zone> {
        self.zones.iter()
    }

    /// How many versions it holds.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.zones.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.zones.is_empty()
    }

    /// The zones in whose band the fix is and that are live then, in ascending order: what geometry
    /// cannot say of the fix.
    #[must_use]
    pub fn in_band(&self, fix: &Fix) -> Vec<i32> {
        self.of_side(fix, None)
    }

    /// The zones that the fix is inside of and beyond the band, and that are live then: what geometry
    /// can say. With what is stored of the zones of [`Self::in_band`] this is the membership.
    #[must_use]
    pub fn membership_beyond_band(&self, fix: &Fix) -> Membership {
        self.of_side(fix, Some(true)).into_iter().collect()
    }

    /// Whether no live zone has the fix in its band, so that what was before it cannot matter.
    #[must_use]
    pub fn is_beyond_every_band(&self, fix: &Fix) -> bool {
        self.in_band(fix).is_empty()
    }

    fn of_side(&self, fix: &Fix, side: Option<bool>) -> Vec<i32> {
        let (mut places, mut stack) = (Vec::new(), Vec::new());
        self.live_around_fix(fix, &mut places, &mut stack);
        places
            .into_iter()
            .filter_map(|place| self.zones.get(place))
            .filter(|zone| zone.side_beyond(fix, &mut stack) == side)
            .map(|zone| zone.version().zone_id)
            .collect()
    }

    pub(crate) fn zone(&self, place: usize) -> Option<&Zone> {
        self.zones.get(place)
    }

    /// The places of all versions of the zone at this place.
    fn versions_of(&self, place: usize) -> std::ops::Range<usize> {
        let (first, after) = self.versions.get(place).copied().unwrap_or_default();
        first..after
    }

    /// The live version of the zone at this place: of those that are valid the greatest.
    pub(crate) fn live_version(&self, place: usize, t_us: i64) -> Option<usize> {
        let valid = |&place: &usize| self.zone(place).is_some_and(|zone| zone.is_valid_at(t_us));
        self.versions_of(place).rev().find(valid)
    }

    /// The version of the zone that counts at the instant, if one does.
    #[must_use]
    pub fn live_zone(&self, zone_id: i32, t_us: i64) -> Option<&Zone> {
        self.zone(self.live_version(self.first_of(zone_id)?, t_us)?)
    }

    /// The place of the zone's first version.
    fn first_of(&self, zone_id: i32) -> Option<usize> {
        let first = (self.zones).partition_point(|zone| zone.version().zone_id < zone_id);
        (self.zone(first)?.version().zone_id == zone_id).then_some(first)
    }

    /// Where a zone is judged at the instant: at its live version, else at the one that ended last.
    pub(crate) fn place_of(&self, zone_id: i32, t_us: i64) -> Option<usize> {
        let first = self.first_of(zone_id)?;
        let ended = || {
            self.versions_of(first)
                .filter_map(|place| Some((self.zone(place)?.version().valid_to_us, place)))
                .filter(|&(valid_to_us, _)| valid_to_us <= t_us)
                .max()
                .map(|(_, place)| place)
        };
        self.live_version(first, t_us)
            .or_else(ended)
            .or(Some(first))
    }

    /// The live zones whose box holds the fix, in ascending order.
    pub(crate) fn live_around_fix(
        &self,
        fix: &Fix,
        places: &mut Vec<usize>,
        stack: &mut Vec<usize>,
    ) {
        let bounds = Bounds {
            west: fix.longitude,
            south: fix.latitude,
            east: fix.longitude,
            north: fix.latitude,
        };
        self.live_in(bounds, fix.t_us, places, stack);
    }

    /// The zones that are live at the end of the path and whose box meets it, in ascending order.
    ///
    /// With a neighbourhood they are taken from there, for as long as the path stays within.
    pub(crate) fn live_around_path(
        &self,
        path: &Path<'_>,
        neighbourhood: Option<&mut Neighbourhood>,
        places: &mut Vec<usize>,
        stack: &mut Vec<usize>,
    ) {
        let (from, to) = (path.from, path.to);
        let east_end = from.longitude + path.east;
        let bounds = Bounds {
            west: from.longitude.min(east_end),
            south: from.latitude.min(to.latitude),
            east: from.longitude.max(east_end),
            north: from.latitude.max(to.latitude),
        };
        let Some(around) = neighbourhood else {
            return self.live_in(bounds, to.t_us, places, stack);
        };
        if !around.bounds.holds(&bounds) {
            self.fill(around, bounds, stack);
        }
        if around.is_crowded {
            return self.live_in(bounds, to.t_us, places, stack);
        }
        places.clear();
        let near = around.boxes.iter().filter(|(near, _)| near.meets(&bounds));
        places.extend(near.map(|&(_, place)| place));
        places.retain(|&place| self.live_version(place, to.t_us) == Some(place));
        if places.len() > 1 {
            places.sort_unstable();
            places.dedup();
        }
    }

    /// Looks around a path.
    fn fill(&self, around: &mut Neighbourhood, bounds: Bounds, stack: &mut Vec<usize>) {
        let wide = bounds.widened(NEIGHBOURHOOD_DEGREES, NEIGHBOURHOOD_DEGREES);
        around.bounds = wide;
        around.boxes.clear();
        around.is_crowded = true;
        let is_whole = wide.west > -180.0 && wide.east < 180.0;
        let Some(index) = self.boxes.as_ref().filter(|_| is_whole) else {
            return;
        };
        let mut visit = |number: usize| {
            let found = self.box_places.get(number).zip(self.box_bounds.get(number));
            (around.boxes).extend(found.map(|(&place, &bounds)| (bounds, place)));
            if around.boxes.len() > NEIGHBOURS_MAX {
                Control::Break(())
            } else {
                Control::Continue
            }
        };
        let (west, south, east, north) = (wide.west, wide.south, wide.east, wide.north);
        let full = index.visit_query_with_stack(west, south, east, north, &mut visit, stack);
        around.is_crowded = matches!(full, Control::Break(()));
    }

    fn live_in(&self, bounds: Bounds, t_us: i64, places: &mut Vec<usize>, stack: &mut Vec<usize>) {
        places.clear();
        let mut visit = |number: usize| {
            if let Some(&place) = self.box_places.get(number)
                && self.live_version(place, t_us) == Some(place)
            {
                places.push(place);
            }
        };
        let Some(boxes) = &self.boxes else {
            (0..self.box_places.len()).for_each(visit);
            return;
        };
        for part in split_at_date_line(bounds).into_iter().flatten() {
            let (west, south, east, north) = (part.west, part.south, part.east, part.north);
            boxes.visit_query_with_stack(west, south, east, north, &mut visit, stack);
        }
        if places.len() > 1 {
            places.sort_unstable();
            places.dedup();
        }
    }
}

impl fmt::Debug for ZoneIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZoneIndex")
            .field("versions", &self.zones.len())
            .finish_non_exhaustive()
    }
}
