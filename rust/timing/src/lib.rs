//! Zones, and what a device does at their borders between one fix and the next.
//!
//! Pure: no I/O, no Python, no clock, no randomness. Fixes and zones go in, [`Row`]s come out.
//!
//! The rules:
//!
//! - **Edges and paths** are straight in longitude and latitude (RFC 7946), and go the short way round
//!   where they meet the date line. A device moves along its path at constant speed.
//! - **One rule for borders.** Every fix is thought to lie a hair to the east of where it is, and a hair
//!   of a hair to the north. So none lies on a border, a joint or a gate: a box holds its western and
//!   southern edge and not the others, of two zones with a common edge exactly one holds a fix on it,
//!   and whoever stops on a gate crosses it once. Signs are exact (Shewchuk's predicates). A circle
//!   holds its border.
//! - **Membership is a Schmitt trigger walked along the path.** Deeper than the hysteresis inside: in.
//!   Farther than it outside: out. Within it, the band: as before. Without hysteresis there is no band.
//!   A row's `at` is the last crossing of the border itself before the depth that confirms it; if the
//!   segment starts beyond the border already, its start. A visit of less than a microsecond is none.
//! - **Metric.** One plane for each version of an area, so that the distance of a fix from its border
//!   depends on nothing else. Circles are on the sphere of the mean earth radius.
//! - **A segment belongs to its end fix** and is judged by the version that is live then. A fix without
//!   a left neighbour, or whose left neighbour saw no live version of the zone, takes the raw side.
//! - **Gaps and jumps** are judged at their end fix alone and cross no gate.
//!
//! Results do not depend on the platform: sines come from `libm`, all else is IEEE arithmetic.
//!
//! ```
//! use timing::{Fix, Kind, Limits, Version, Zone, ZoneIndex};
//!
//! let version = Version {
//!     zone_id: 7,
//!     version: 1,
//!     valid_from_us: 0,
//!     valid_to_us: i64::MAX,
//!     hysteresis_m: 5.0,
//! };
//! let zone = Zone::circle(version, [13.4, 52.5], 100.0)?;
//! let index = ZoneIndex::new(vec![zone])?;
//! let limits = Limits::new(300_000_000, 120.0)?;
//! let fix = |t_us, longitude| Fix { t_us, digest: t_us, longitude, latitude: 52.5, satellites: 9 };
//! let mut rows = Vec::new();
//! // 135 m west of the centre, then on it: the border is behind a quarter of the way.
//! let inside = index.derive(&limits, None, &[fix(0, 13.398), fix(4_000_000, 13.4)], &mut rows);
//! assert_eq!(inside.ids(), [7]);
//! assert_eq!((rows.len(), rows[0].kind, rows[0].at_us / 100_000), (1, Kind::Enter, 10));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Panic guarantee: no zone and no fix makes any function of this crate panic.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

mod area;
mod area_check;
mod capsule;
mod circle;
mod derive;
mod error;
mod fix;
mod frame;
mod gate;
mod index;
mod limits;
mod membership;
mod nesting;
mod number;
mod path;
mod predicate;
mod ring;
mod row;
mod sphere;
mod trace;
mod zone;

pub use error::{Place, ZoneError, ZoneFault};
pub use fix::{Fix, FixKey, timing_fixes};
pub use index::{IndexError, ZoneIndex};
pub use limits::{LimitError, Limits};
pub use membership::Membership;
pub use row::{ACCELERATION_MAX_M_S2, Cause, Direction, FIX_ERROR_M, Kind, Row, SATELLITES_ENOUGH};
pub use sphere::{EARTH_RADIUS_M, distance_m};
pub use zone::{
    AREA_MIN_M2, GateDirection, HYSTERESIS_MIN_M, LonLat, POINTS_MAX, RADIUS_MAX_M, Version, Zone,
    ZoneKind,
};
