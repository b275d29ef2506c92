import pytest
import typer

from teltonika_processor.cli.arguments import duration_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15min", 900), ("15m", 900), ("2h", 7200), ("7d", 604_800), ("7 d", 604_800)],
)
def test_a_duration_is_written_as_ages_are_shown(text: str, seconds: int) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "h", "1.5h", "-1h", "2h30min", "7w", "9999999999s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not a duration such as 90s"):
        duration_s(text)
