"""The allow-list from a file, kept while it is changed."""

import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from admission import News, watched
from teltonika_processor.errors import ConfigError
from teltonika_processor.gateway import list_file
from teltonika_processor.gateway.admission import Admission, Replaced, Verdict
from teltonika_processor.gateway.list_file import FileKeeper
from teltonika_processor.gateway.list_news import (
    Listener,
    ListReadable,
    ListReplaced,
    ListUnreadable,
)
from waiting import eventually_async

IMEI = 356307042441013
OTHER = 490154203237518

FLEET = f"# the fleet\n{IMEI}\n{OTHER},Van 2\n"

Keep = Callable[[], AbstractAsyncContextManager[News]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.txt"
    write(path, FLEET)
    return path


def write(path: Path, content: str) -> None:
    path.write_text(content)


def remove(path: Path) -> None:
    path.unlink()


def replace(path: Path, content: str) -> None:
    """With a rename; the time stays the same."""
    other = path.with_name("new.txt")
    other.write_text(content)
    os.utime(other, ns=(0, path.stat().st_mtime_ns))
    other.rename(path)


@pytest.fixture
def admission() -> Admission:
    return Admission()


@pytest.fixture
def keep(admission: Admission, path: Path) -> Keep:
    def keeping() -> AbstractAsyncContextManager[News]:
        return watched(lambda listener: FileKeeper(admission, path, listener, look_s=0.005))

    return keeping


@pytest.fixture
def starting(admission: Admission, path: Path) -> FileKeeper:
    return FileKeeper(admission, path, Listener(tell=lambda _: None, removed=lambda _: None))


async def test_the_list_is_there_once_started(starting: FileKeeper, admission: Admission) -> None:
    await starting.start()
    assert admission.decide(IMEI, now_ms=0) is Verdict.ALLOWED
    assert admission.decide(1, now_ms=0) is Verdict.REFUSED


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, r"^INGEST_ADMISSION: .*/fleet.txt: No such file or directory$"),
        ("12\n", r"^INGEST_ADMISSION: .*/fleet.txt, line 1: '12' is not an IMEI"),
        ("#\n", r"^INGEST_ADMISSION: .*/fleet.txt: no device in it$"),
    ],
)
async def test_a_start_without_a_list_is_refused(
    starting: FileKeeper, path: Path, content: str | None, fault: str
) -> None:
    remove(path)
    if content is not None:
        write(path, content)
    with pytest.raises(ConfigError, match=fault):
        await starting.start()


async def test_what_is_no_file_is_refused_without_waiting_for_it(
    starting: FileKeeper, path: Path
) -> None:
    remove(path)
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="no regular file"):
        await starting.start()


async def test_a_file_that_is_too_large_is_not_read(
    starting: FileKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_file, "FILE_MAX_BYTES", 30)
    with pytest.raises(ConfigError, match="it has more than 30 bytes"):
        await starting.start()


async def test_a_changed_file_is_read_and_names_whom_to_close(
    keep: Keep, admission: Admission, path: Path
) -> None:
    async with keep() as news:
        assert (await news.next(ListReplaced)).replaced == Replaced(2, n_added=2, n_removed=0)
        write(path, f"{OTHER}\n000000000000001\n")
        assert (await news.next(ListReplaced)).replaced == Replaced(2, n_added=1, n_removed=1)
        assert news.removed == [IMEI]
        assert admission.lets_in(1)


async def test_a_file_that_is_replaced_as_a_whole_is_read(keep: Keep, path: Path) -> None:
    """As editors and orchestrators do it, with a rename; size and time stay the same."""
    async with keep() as news:
        await news.next(ListReplaced)
        replace(path, FLEET.replace(str(IMEI), "000000000000007"))
        assert (await news.next(ListReplaced)).replaced == Replaced(2, n_added=1, n_removed=1)


async def test_a_broken_file_leaves_the_list_in_force_and_says_the_line(
    keep: Keep, admission: Admission, path: Path
) -> None:
    async with keep() as news:
        await news.next(ListReplaced)
        write(path, f"{IMEI}\n49015420323751\n")
        told = await news.next(ListUnreadable)
        assert told.why == f"{path}, line 2: '49015420323751' is not an IMEI, which is 15 digits"
        assert told.age_s is not None
        assert admission.lets_in(OTHER)
        write(path, FLEET)
        await news.next(ListReadable)
    assert news.removed == []


async def test_a_file_that_is_gone_leaves_the_list_in_force(
    keep: Keep, admission: Admission, path: Path
) -> None:
    async with keep() as news:
        await news.next(ListReplaced)
        remove(path)
        assert (await news.next(ListUnreadable)).why == f"{path}: No such file or directory"
        assert admission.lets_in(IMEI)
        write(path, FLEET)
        await news.next(ListReadable)
    assert news.removed == []


async def test_an_empty_file_leaves_the_list_in_force(
    keep: Keep, admission: Admission, path: Path
) -> None:
    """A file that is cut before it is written again is empty for a moment."""
    async with keep() as news:
        await news.next(ListReplaced)
        write(path, "")
        assert (await news.next(ListUnreadable)).why == f"{path}: no device in it"
        assert admission.lets_in(IMEI)


async def test_a_file_that_stays_as_it_is_is_not_read_and_counts_as_new(
    keep: Keep, admission: Admission, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with keep() as news:
        await news.next(ListReplaced)
        monkeypatch.setattr(list_file, "read_list", None)
        read_at = admission._read_at

        async def is_newer() -> bool:
            return admission._read_at > read_at

        await eventually_async(is_newer)


async def test_a_file_that_is_being_written_is_left_alone(
    admission: Admission, path: Path, starting: FileKeeper
) -> None:
    await starting.start()
    with path.open("a") as file:
        for imei in (1, 2, 3):
            file.write(f"{imei:015d}\n")
            file.flush()
            await starting._look()
            assert admission.n_allowed == 2
    await starting._look()
    assert admission.n_allowed == 5
