"""The extension as a module: its constants, its signatures, and where it can be imported."""

import inspect
from pathlib import Path
from typing import Any

import pytest

from teltonika_processor.codec import native, reference
from teltonika_processor.settings import Settings

try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters


def default(function: Any, parameter: str) -> Any:
    return inspect.signature(function).parameters[parameter].default


def test_every_default_of_a_bound_is_the_constant() -> None:
    for module in (native, reference):
        for function in (module.decode_frame, module.decode_batch):
            assert default(function, "frame_max_bytes") == native.FRAME_MAX_BYTES == 65_536
    assert default(native.decode_entries, "frame_max_bytes") == 65_536
    assert Settings.model_fields["frame_max_bytes"].default == 65_536
    bound = default(native.DecodedBatch.rows, "clock_ahead_max_ms")
    assert bound == native.CLOCK_AHEAD_MAX_MS == 86_400_000
    assert Settings.model_fields["clock_ahead_max_ms"].default == 86_400_000


@pytest.mark.parametrize(
    "kind",
    [
        native.DecodedBatch,
        native.Rows,
        native.DeviceState,
        native.CopyData,
        native.AvlPacket,
        native.AvlRecord,
        native.FrameCutter,
        native.ChannelPacket,
        native.EntryPacker,
    ],
)
def test_everything_public_says_what_it_is(kind: type) -> None:
    for name, member in vars(kind).items():
        if not name.startswith("_"):
            assert member.__doc__, f"{kind.__name__}.{name}"


def test_a_second_interpreter_of_the_process_is_refused(tmp_path: Path) -> None:
    said = tmp_path / "said"
    script = f"""
try:
    import teltonika_processor._native
except ImportError as error:
    open({str(said)!r}, "w").write(str(error))
"""
    interpreter = interpreters.create()
    try:
        interpreters.run_string(interpreter, script)
    finally:
        interpreters.destroy(interpreter)
    assert "interpreter" in said.read_text()
