"""Where dependencies come from, and under which licences; `make check` asks cargo-deny as well."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"
OURS = {"batch", "codec8", "fold", "native", "rows", "state", "timing"}

# What is installed with the service: permissive, and the one whose sources need to be offered only
# if they are changed (MPL-2.0).
ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "MPL-2.0",
    "PSF-2.0",
}
# Older metadata say it in words of their own.
SPELLED = {
    "Apache 2.0": "Apache-2.0",
    "Apache License": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "ISC License": "ISC",
    "MIT License": "MIT",
    "OSI Approved :: Apache Software License": "Apache-2.0",
    "OSI Approved :: BSD License": "BSD-3-Clause",
    "OSI Approved :: ISC License (ISCL)": "ISC",
    "OSI Approved :: MIT License": "MIT",
}


def pinned(name: str) -> list[str]:
    return re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements" / name).read_text(), re.MULTILINE)


def licences(distribution: str) -> set[str]:
    """SPDX names, whichever of the three places of the metadata has them."""
    about = metadata.metadata(distribution)
    said = about.get("License-Expression") or about.get("License") or ""
    if not said or "\n" in said:
        said = " AND ".join(
            value.removeprefix("License :: ")
            for value in about.get_all("Classifier") or []
            if value.startswith("License :: ")
        )
    names = (name.strip(" ()") for name in re.split(r" AND | OR ", said) if name)
    return {SPELLED.get(name, name) for name in names}


def is_installed(distribution: str) -> bool:
    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def test_every_crate_is_ours_or_from_crates_io_with_its_checksum() -> None:
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    foreign = [package for package in lock["package"] if "source" in package]
    assert {package["name"] for package in lock["package"] if "source" not in package} == OURS
    assert {package["source"] for package in foreign} == {CRATES_IO}
    assert all(re.fullmatch("[0-9a-f]{64}", package["checksum"]) for package in foreign)


@pytest.mark.parametrize("distribution", pinned("runtime.txt"))
def test_what_the_service_needs_has_a_licence_that_was_looked_at(distribution: str) -> None:
    if not is_installed(distribution):
        # Pinned for another Python or another system.
        pins = (ROOT / "requirements" / "runtime.txt").read_text()
        assert re.search(rf"^{distribution}==\S+ ; ", pins, re.MULTILINE)
        return
    found = licences(distribution)
    assert found
    assert found <= ALLOWED
