"""Where a simulated device is: a drive through the surroundings of a town."""

import math
import random
from typing import Final, Protocol

# Town, longitude and latitude in degrees, altitude in metres; all four quarters of the globe, and
# two places below the sea.
TOWNS: Final = (
    ("Vilnius", 25.28, 54.69, 112),
    ("Lisbon", -9.14, 38.74, 45),
    ("Lima", -77.04, -12.05, 154),
    ("Nairobi", 36.82, -1.29, 1795),
    ("Buenos Aires", -58.38, -34.60, 25),
    ("Denver", -104.99, 39.74, 1609),
    ("Jericho", 35.44, 31.87, -258),
    ("Lelystad", 5.47, 52.52, -5),
    ("Perth", 115.86, -31.95, 31),
    ("Honolulu", -157.86, 21.31, 6),
)

_METRES_PER_DEGREE: Final = 111_320.0
_SPEED_CHANGE_KMH: Final = 9.0
_SPEED_MAX_KMH: Final = 130.0


class Drive(Protocol):
    """Position, heading and speed that move on with time.

    Attributes:
        altitude_m: Height above the sea, in metres.
        speed_kmh: Speed; 0 where the device stands.
        odometer_m: Driven so far, in metres.
    """

    altitude_m: int
    speed_kmh: int
    odometer_m: float

    @property
    def longitude_e7(self) -> int:
        """Longitude in 1e-7 degree."""

    @property
    def latitude_e7(self) -> int:
        """Latitude in 1e-7 degree."""

    @property
    def angle_deg(self) -> int:
        """Heading from north, clockwise, 0-359."""

    def advance(self, seconds: float) -> None:
        """Drive on for `seconds`."""


class Route:
    """A drive through a town and its surroundings.

    Attributes:
        altitude_m: Height above the sea, in metres.
        angle_deg: Heading from north, clockwise, 0-359.
        speed_kmh: Speed; 0 where the device stands.
        odometer_m: Driven so far, in metres.
    """

    _turn_deg = 18.0
    _radius_deg = 0.3
    _stop_share = 0.04
    _speed_min_kmh = 1.0

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        _, self._home_lon, self._home_lat, self._home_altitude_m = rng.choice(TOWNS)
        self._lon = self._home_lon + rng.uniform(-0.1, 0.1)
        self._lat = self._home_lat + rng.uniform(-0.1, 0.1)
        self._heading_deg = rng.uniform(0.0, 360.0)
        self._cruise_kmh = rng.uniform(15.0, 90.0)
        self.altitude_m = self._home_altitude_m
        self.speed_kmh = 0
        self.odometer_m = 0.0

    @property
    def longitude_e7(self) -> int:
        """Longitude in 1e-7 degree."""
        return round(self._lon * 1e7)

    @property
    def latitude_e7(self) -> int:
        """Latitude in 1e-7 degree."""
        return round(self._lat * 1e7)

    @property
    def angle_deg(self) -> int:
        """Heading from north, clockwise, 0-359."""
        return int(self._heading_deg)

    def advance(self, seconds: float) -> None:
        """Drive on for `seconds` with the present heading, then choose the next one."""
        metres = self.speed_kmh / 3.6 * seconds
        self.odometer_m += metres
        heading = math.radians(self._heading_deg)
        self._lat += metres * math.cos(heading) / _METRES_PER_DEGREE
        shrink = math.cos(math.radians(self._lat))
        self._lon += metres * math.sin(heading) / (_METRES_PER_DEGREE * shrink)
        self._turn()
        self._change_speed()
        self.altitude_m = self._home_altitude_m + int(self._rng.random() * 7) - 3

    def _turn(self) -> None:
        east, north = self._lon - self._home_lon, self._lat - self._home_lat
        if east * east + north * north > self._radius_deg * self._radius_deg:
            self._heading_deg = math.degrees(math.atan2(-east, -north)) % 360.0
        else:
            turn = (self._rng.random() * 2 - 1) * self._turn_deg
            self._heading_deg = (self._heading_deg + turn) % 360.0

    def _change_speed(self) -> None:
        if self._rng.random() < self._stop_share:
            self.speed_kmh = 0
            return
        change = (self._rng.random() * 2 - 1) * _SPEED_CHANGE_KMH
        self._cruise_kmh = min(max(self._cruise_kmh + change, self._speed_min_kmh), _SPEED_MAX_KMH)
        self.speed_kmh = int(self._cruise_kmh)


class Motorway(Route):
    """A fast drive that hardly turns, until it is far from the town where it began."""

    _turn_deg = 1.5
    _radius_deg = 1.5
    _stop_share = 0.002
    _speed_min_kmh = 80.0
