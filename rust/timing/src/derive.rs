//! From fixes to rows: the fold of one device.

use crate::fix::Fix;
use crate::gate::Gate;
use crate::index::{Neighbourhood, ZoneIndex};
use crate::limits::Limits;
use crate::membership::Membership;
use crate::number::float;
use crate::path::Path;
use crate::row::{Cause, Direction, Kind, Row, uncertainty_by_speed_us};
use crate::sphere::distance_m;
use crate::trace::{Course, Crossing, Trace};
use crate::zone::{Shape, Zone};

/// Bound: a longer way, in degrees, is measured before zones are looked for along it: a teleport
/// across a continent would find them all.
const SHORT_WAY_DEGREES: f64 = 0.05;

/// Bound: rows of one segment and zone; their number is a `u16`.
const ROWS_MAX: usize = 1 << 16;

/// A segment and what is known of it.
struct Segment<'a> {
    path: Path<'a>,
    distance_m: f64,
    cause: Cause,
}

/// Something that happens at a zone within a segment.
struct Event {
    kind: Kind,
    at_us: i64,
    /// The crossing of the border, where there is one.
    across_m: Option<f64>,
    direction: Direction,
    cause: Cause,
}

/// The fold of one device; and room, which is kept from segment to segment.
struct Fold<'a> {
    index: &'a ZoneIndex,
    limits: &'a Limits,
    inside: Membership,
    /// Whether this call has judged the left fix, not its caller.
    is_under_way: bool,
    around: Neighbourhood,
    places: Vec<usize>,
    trace: Trace,
    rows: &'a mut Vec<Row>,
}

impl ZoneIndex {
    /// Derives the rows of these fixes and appends them in the order (`end_t_us`, `zone_id`, `n`).
    ///
    /// `fixes` are timing fixes of one device in order of time, one an instant (see
    /// [`timing_fixes`](crate::timing_fixes)); one that is not later than the fix before it is passed
    /// over. `left` is the fix before them, and the zones that the device was inside of there. Returns
    /// those at the last fix: whoever goes on from there gets what one call for all would have given.
    ///
    /// Zones of `left` that this index does not know are dropped.
    pub fn derive(
        &self,
        limits: &Limits,
        left: Option<(&Fix, &Membership)>,
        fixes: &[Fix],
        rows: &mut Vec<Row>,
    ) -> Membership {
        let mut fold = Fold {
            index: self,
            limits,
            inside: left.map_or_else(Membership::new, |(_, inside)| inside.clone()),
            is_under_way: false,
            around: Neighbourhood::NOWHERE,
            places: Vec::new(),
            trace: Trace::default(),
            rows,
        };
        let mut previous = left.map(|(fix, _)| fix);
        for fix in fixes {
            match previous {
                None => fold.first(fix),
                Some(before) if before.t_us < fix.t_us => fold.segment(before, fix),
                Some(_) => continue,
            }
            previous = Some(fix);
            fold.is_under_way = true;
        }
        fold.inside
    }
}

impl Fold<'_> {
    /// A fix without a left neighbour.
    fn first(&mut self, fix: &Fix) {
        let mut places = std::mem::take(&mut self.places);
        (self.index).live_around_fix(fix, &mut places, &mut self.trace.stack);
        for &place in &places {
            if let Some(zone) = self.index.zone(place) {
                self.initial(zone, fix);
            }
        }
        self.places = places;
    }

    fn initial(&mut self, zone: &Zone, fix: &Fix) {
        let version = zone.version();
        let inside = zone.holds(fix, &mut self.trace.stack);
        self.inside.set(version.zone_id, inside);
        if inside {
            self.rows.push(Row {
                end_t_us: fix.t_us,
                zone_id: version.zone_id,
                n: 0,
                version: version.version,
                kind: Kind::Initial,
                at_us: fix.t_us,
                uncertainty_us: 0,
                direction: Direction::None,
                cause: Cause::Ok,
                start: None,
                end_digest: fix.digest,
                distance_m: 0.0,
                satellites: fix.satellites,
            });
        }
    }

    fn segment(&mut self, from: &Fix, to: &Fix) {
        let path = Path::between(from, to);
        let mut places = std::mem::take(&mut self.places);
        let is_gap = path.duration_us() > self.limits.gap_us();
        let is_long = path.east.abs().max(path.north.abs()) > SHORT_WAY_DEGREES;
        let mut segment = (is_gap || is_long).then(|| Segment::measured(path, self.limits));
        let stack = &mut self.trace.stack;
        if segment
            .as_ref()
            .is_some_and(|segment| segment.cause != Cause::Ok)
        {
            // Judged at the end alone.
            self.index.live_around_fix(to, &mut places, stack);
        } else {
            // Who asks for one segment only has no use for a neighbourhood.
            let around = self.is_under_way.then_some(&mut self.around);
            (self.index).live_around_path(&path, around, &mut places, stack);
        }
        self.add_zones_left(to.t_us, &mut places);
        if !places.is_empty() {
            let segment = segment.get_or_insert_with(|| Segment::measured(path, self.limits));
            for &place in &places {
                if let Some(zone) = self.index.zone(place) {
                    self.judge(place, zone, segment);
                }
            }
        }
        self.places = places;
    }

    /// The zones that the device was inside of, wherever its path goes now.
    fn add_zones_left(&mut self, t_us: i64, places: &mut Vec<usize>) {
        if self.inside.ids().is_empty() {
            return;
        }
        let index = self.index;
        let known = |zone_id: &i32| index.place_of(*zone_id, t_us);
        let found: Vec<usize> = self.inside.ids().iter().filter_map(known).collect();
        if found.len() < self.inside.ids().len() {
            let known_ids = (self.inside.ids().iter().copied()).filter(|id| known(id).is_some());
            self.inside = known_ids.collect();
        }
        places.extend(found);
        places.sort_unstable();
        places.dedup();
    }

    fn judge(&mut self, place: usize, zone: &Zone, segment: &Segment<'_>) {
        let (from, to) = (segment.path.from, segment.path.to);
        if !zone.is_valid_at(to.t_us) {
            return self.end_zone(zone, segment, zone.version().valid_to_us);
        }
        if let Shape::Gate(gate) = zone.shape() {
            return self.judge_gate(zone, gate, segment);
        }
        let Some(place_before) = self.index.live_version(place, from.t_us) else {
            return self.initial(zone, to);
        };
        if segment.cause == Cause::Ok {
            self.walk(zone, segment, self.is_under_way && place_before == place);
        } else {
            self.judge_end(zone, segment);
        }
    }

    fn end_zone(&mut self, zone: &Zone, segment: &Segment<'_>, ended_us: i64) {
        let version = zone.version();
        let (from, to) = (segment.path.from, segment.path.to);
        self.inside.set(version.zone_id, false);
        let event = Event {
            kind: Kind::Exit,
            at_us: ended_us.clamp(from.t_us, to.t_us),
            across_m: None,
            direction: Direction::None,
            cause: Cause::ZoneEnded,
        };
        self.push(zone, segment, 0, &event);
    }

    fn judge_gate(&mut self, zone: &Zone, gate: &Gate, segment: &Segment<'_>) {
        let first_row = self.rows.len();
        if segment.cause == Cause::Ok {
            self.cross_gate(zone, gate, segment);
        }
        let version = zone.version();
        if self.inside.contains(version.zone_id) {
            // A zone that has become a gate has no inside any more.
            self.end_zone(zone, segment, version.valid_from_us);
            let rows = self.rows.get_mut(first_row..).unwrap_or_default();
            rows.sort_by_key(|row| row.at_us);
            for (n, row) in (0..=u16::MAX).zip(rows) {
                row.n = n;
            }
        }
    }

    fn cross_gate(&mut self, zone: &Zone, gate: &Gate, segment: &Segment<'_>) {
        let mut trace = std::mem::take(&mut self.trace);
        trace.clear();
        gate.edges.meet(&segment.path, 0.0, &mut trace);
        let counted = |crossing: &Crossing| Some((*crossing, gate.counted(crossing.from_left)?));
        let crossings = trace.crossings.iter().filter_map(counted);
        // One number is left for the row of a zone that has become a gate.
        for (n, (crossing, direction)) in (0..u16::MAX).zip(crossings) {
            let event = Event {
                kind: Kind::Cross,
                at_us: crossing.at_us,
                across_m: Some(crossing.across_m),
                direction,
                cause: Cause::Ok,
            };
            self.push(zone, segment, n, &event);
        }
        self.trace = trace;
    }

    /// A segment that says nothing of the way: beyond the band its end decides, else nothing changes.
    fn judge_end(&mut self, zone: &Zone, segment: &Segment<'_>) {
        let zone_id = zone.version().zone_id;
        let to = segment.path.to;
        let Some(inside) = zone.side_beyond(to, &mut self.trace.stack) else {
            return;
        };
        if inside == self.inside.contains(zone_id) {
            return;
        }
        self.inside.set(zone_id, inside);
        self.trace_zone(zone, &segment.path, None);
        let last = self.trace.crossings.last();
        let event = Event {
            kind: kind_of(inside),
            at_us: last.map_or(to.t_us, |crossing| crossing.at_us),
            across_m: None,
            direction: Direction::None,
            cause: segment.cause,
        };
        self.push(zone, segment, 0, &event);
    }

    /// The Schmitt trigger: every piece beyond the band, in order, and at last the end fix.
    ///
    /// `is_certain`: this call has judged the left fix by the same version.
    fn walk(&mut self, zone: &Zone, segment: &Segment<'_>, is_certain: bool) {
        let to = segment.path.to;
        let zone_id = zone.version().zone_id;
        let mut state = self.inside.contains(zone_id);
        match self.trace_zone(zone, &segment.path, is_certain.then_some(state)) {
            // The left fix is beyond the band too, so its membership is what geometry says.
            Course::Unbroken if is_certain => return,
            Course::Unbroken => {
                let inside = zone.holds(to, &mut self.trace.stack);
                self.trace.piece(0.0, inside);
            }
            Course::OnSide(inside) => self.trace.piece(0.0, inside),
            Course::PiecesToTheEnd => {}
            Course::Pieces => {
                // What the end fix says holds, whatever rounding made of the last piece.
                if let Some(inside) = zone.side_beyond(to, &mut self.trace.stack) {
                    self.trace.piece(1.0, inside);
                }
            }
        }
        let was_inside = state;
        let trace = std::mem::take(&mut self.trace);
        let first_row = self.rows.len();
        for piece in &trace.pieces {
            if piece.inside == state {
                continue;
            }
            state = piece.inside;
            let n = self.rows.len().saturating_sub(first_row);
            let Ok(n) = u16::try_from(n) else {
                continue;
            };
            let border = trace.last_crossing(piece.s);
            let event = Event {
                kind: kind_of(state),
                at_us: border.map_or(segment.path.from.t_us, |crossing| crossing.at_us),
                across_m: border.map(|crossing| crossing.across_m),
                direction: Direction::None,
                cause: Cause::Ok,
            };
            self.push(zone, segment, n, &event);
        }
        self.trace = trace;
        if self.rows.len().saturating_sub(first_row) == ROWS_MAX && state != was_inside {
            // An even number of rows says that nothing changed: the last one that found room goes.
            self.rows.pop();
        }
        self.inside.set(zone_id, state);
    }

    /// `start`: the side of the path's start where it is beyond the band, if it is known.
    fn trace_zone(&mut self, zone: &Zone, path: &Path<'_>, start: Option<bool>) -> Course {
        let hysteresis_m = zone.version().hysteresis_m;
        self.trace.clear();
        match zone.shape() {
            Shape::Circle(circle) => circle.trace(path, hysteresis_m, &mut self.trace),
            Shape::Area(area) => area.trace(path, hysteresis_m, start, &mut self.trace),
            Shape::Gate(_) => Course::OnSide(false),
        }
    }

    fn push(&mut self, zone: &Zone, segment: &Segment<'_>, n: u16, event: &Event) {
        let (from, to) = (segment.path.from, segment.path.to);
        let version = zone.version();
        let since_us = event.at_us.saturating_sub(from.t_us);
        let farther_us = since_us.max(to.t_us.saturating_sub(event.at_us));
        let satellites = from.satellites.min(to.satellites);
        let by_speed_us = event.across_m.map_or(i64::MAX, |across_m| {
            uncertainty_by_speed_us(segment.path.duration_us(), across_m, satellites)
        });
        self.rows.push(Row {
            end_t_us: to.t_us,
            zone_id: version.zone_id,
            n,
            version: version.version,
            kind: event.kind,
            at_us: event.at_us,
            uncertainty_us: farther_us.min(by_speed_us),
            direction: event.direction,
            cause: event.cause,
            start: Some(from.key()),
            end_digest: to.digest,
            distance_m: segment.distance_m,
            satellites,
        });
    }
}

impl<'a> Segment<'a> {
    fn measured(path: Path<'a>, limits: &Limits) -> Self {
        let (from, to) = (path.from, path.to);
        let distance_m = distance_m([from.longitude, from.latitude], [to.longitude, to.latitude]);
        let duration_s = float(path.duration_us()) / 1e6;
        let cause = if distance_m / duration_s > limits.jump_m_s() {
            Cause::Jump
        } else if path.duration_us() > limits.gap_us() {
            Cause::Gap
        } else {
            Cause::Ok
        };
        Self {
            path,
            distance_m,
            cause,
        }
    }
}

const fn kind_of(inside: bool) -> Kind {
    if inside { Kind::Enter } else { Kind::Exit }
}
