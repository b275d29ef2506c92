"""What the options of `simulate` that are text say; each error names its option."""

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

import typer

from teltonika_processor.simulate.circuit import Circuit, NotACircuitError, Race, circuit_of
from teltonika_processor.simulate.models import MODELS, Model
from teltonika_processor.simulate.profile import CODEC_8, CODEC_8_EXTENDED, CODEC_16
from teltonika_processor.simulate.routes import Drive, Motorway, Route
from teltonika_processor.simulate.wire_faults import BY_UDP, SHARE, Fault

_CODECS: Final[Mapping[str, int | None]] = {
    "8": CODEC_8,
    "8e": CODEC_8_EXTENDED,
    "16": CODEC_16,
    "mixed": None,
}
_ROUTES: Final[Mapping[str, Callable[[Random], Drive]]] = {"city": Route, "motorway": Motorway}
_MODEL_MIXTURES: Final[Mapping[str, Sequence[Model]]] = {
    "mixed": tuple(MODELS.values()),
    "random": (),
}
_CIRCUIT: Final = "circuit:"


def codec_id_of(text: str) -> int | None:
    """The codec by its name; None: mixed."""
    if text.lower() not in _CODECS:
        raise typer.BadParameter(f"--codec: {text!r} is none of {', '.join(_CODECS)}")
    return _CODECS[text.lower()]


def range_of(text: str) -> tuple[int, int]:
    """A number, or the least and the greatest: 3, 1-25."""
    match = re.fullmatch(r"([0-9]{1,3})(?:-([0-9]{1,3}))?", text)
    least, most = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= least <= most <= 255:
        raise typer.BadParameter(
            f"--records-per-frame: {text!r} is no number of 1 to 255, nor two of them as in 1-25"
        )
    return least, most


def faults_of(texts: list[str], *, n_by_tcp: int) -> dict[Fault, float]:
    """Shares by fault, as in disconnect:0.5,split.

    Args:
        texts: As they were typed.
        n_by_tcp: Trackers that can have any fault.
    """
    shares = {}
    for word in ",".join(texts).split(",") if texts else ():
        name, _, share = word.strip().partition(":")
        if name not in set(Fault):
            raise typer.BadParameter(f"--fault: {name!r} is none of {', '.join(Fault)}")
        shares[Fault(name)] = _share_of(share) if share else SHARE
    of_nobody = sorted(shares.keys() - BY_UDP - {Fault.GARBAGE})
    if of_nobody and not n_by_tcp:
        raise typer.BadParameter(
            f"--fault: {', '.join(of_nobody)}: no tracker sends by TCP, and by UDP there are "
            f"{', '.join(sorted(BY_UDP))}"
        )
    return shares


def _share_of(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) <= 1:
            return float(text)
    raise typer.BadParameter(f"--fault: {text!r} is no share above 0 and up to 1")


def models_of(text: str) -> Sequence[Model]:
    """The model by its name, all of them for mixed; none for random."""
    known = {**{name: (model,) for name, model in MODELS.items()}, **_MODEL_MIXTURES}
    if text.lower() not in known:
        raise typer.BadParameter(f"--model: {text!r} is none of {', '.join(known)}")
    return known[text.lower()]


def route_of(text: str, lap_times: str | None) -> Callable[[Random], Drive]:
    """What makes the drive of each tracker."""
    if text.startswith(_CIRCUIT):
        return _race_of(Path(text.removeprefix(_CIRCUIT)), lap_times)
    if lap_times is not None:
        raise typer.BadParameter("--lap-times goes with --route circuit:FILE")
    if text not in _ROUTES:
        raise typer.BadParameter(f"--route: {text!r} is none of city, motorway, circuit:FILE")
    return _ROUTES[text]


def _race_of(file: Path, lap_times: str | None) -> Callable[[Random], Drive]:
    if lap_times is None:
        raise typer.BadParameter("--route circuit:FILE goes with --lap-times")
    times_s = [_lap_time_of(word) for word in lap_times.split(",")]
    try:
        circuit = circuit_of(file.read_text("utf-8"))
    except OSError as error:
        raise typer.BadParameter(f"--route: {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise typer.BadParameter(f"--route: {file}: no text in UTF-8") from None
    except NotACircuitError as error:
        raise typer.BadParameter(f"--route: {file}: {error}") from None
    return partial(_race, circuit, times_s)


def _race(circuit: Circuit, times_s: Sequence[float], _rng: Random) -> Drive:
    return Race(circuit, times_s)


def _lap_time_of(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 1.0 <= float(text) <= 86_400.0:
            return float(text)
    raise typer.BadParameter(f"--lap-times: {text!r} is no number of seconds from 1 to 86400")
