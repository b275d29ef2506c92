import json

import pytest

from teltonika_processor.events import BatchDecoded, EntryDeadLettered, SettingMistyped
from teltonika_processor.service.logging import configure_logging, event_fields, shown_imei


def test_an_event_is_one_json_line_with_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    emit = configure_logging(level="info", log_format="json", log_imei="plain")
    emit(SettingMistyped(found="WRITER", likely="WRITERS"))
    line = json.loads(capsys.readouterr().err)
    assert line["event"] == "setting.mistyped"
    assert line["level"] == "warning"
    assert (line["found"], line["likely"]) == ("WRITER", "WRITERS")
    assert line["timestamp"].endswith("Z")


def test_debug_lines_are_off_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    emit = configure_logging(level="info", log_format="json", log_imei="plain")
    emit(BatchDecoded(batch_id=1, entries=1, records=1, rejects=0, bytes=1, duration_ms=0.1))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("how", "shown"), [("plain", "012345678901234"), ("last4", "1234"), ("none", None)]
)
def test_devices_appear_as_log_imei_says(how: str, shown: str | None) -> None:
    assert shown_imei(12345678901234, how) == shown  # type: ignore[arg-type] # from the table


def test_an_unknown_device_is_shown_as_none() -> None:
    event = EntryDeadLettered(
        entry_id="1-0", code="bad_imei", offset=0, error="x", imei=0, attempts=1, suppressed=0
    )
    assert event_fields(event, "plain")["imei"] is None
