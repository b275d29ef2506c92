"""GeoJSON as text, right or wrong, and what is wrong with it."""

from typing import Final

from teltonika_processor.timing.zone_file import read_file

RING: Final = "[[0,0],[1,0],[1,1],[0,1],[0,0]]"


def one(geometry: str, properties: str = '"name":"pit"') -> str:
    return f'{{"type":"Feature","properties":{{{properties}}},"geometry":{geometry}}}'


def point(coordinates: str = "[25,54]", properties: str = '"radius_m":9') -> str:
    geometry = f'{{"type":"Point","coordinates":{coordinates}}}'
    return one(geometry, f'"name":"pit",{properties}')


def gate(coordinates: str, properties: str = '"direction":"both"') -> str:
    geometry = f'{{"type":"LineString","coordinates":{coordinates}}}'
    return one(geometry, f'"name":"pit",{properties}')


def polygon(coordinates: str, kind: str = "Polygon") -> str:
    return one(f'{{"type":"{kind}","coordinates":{coordinates}}}')


def problems(text: str) -> list[str]:
    """Each as the command prints it."""
    return [str(problem) for problem in read_file(text).problems]
