"""A password that nothing may print: what the suite's servers with a port ask for.

Whatever a command, a processor or a test of the suite prints is searched for it, see conftest.py.
"""

import base64
import json
from typing import Final
from urllib.parse import quote

SECRET: Final = "Zq8-secret-of-the-suite"

AWKWARD: Final = f'{SECRET}/a@b:c?d#e%f"g'
"""The same with all that an address must encode, and a quotation mark for JSON."""


def forms_of(secret: str) -> set[str]:
    """How it may look in what is printed."""
    whole, encoded = secret.encode(), quote(secret, safe="")
    return {
        secret,
        encoded,
        json.dumps(secret)[1:-1],
        whole.hex(),
        base64.b64encode(whole).decode().rstrip("="),
        base64.b64encode(encoded.encode()).decode().rstrip("="),
    }


def demand_no_secret(text: str, where: str) -> None:
    """Fail where the password was printed.

    Raises:
        AssertionError: It is in `text`; the text itself is not repeated.
    """
    found = [form for form in forms_of(SECRET) if form in text]
    assert not found, f"{where} printed a password"
