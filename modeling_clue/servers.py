# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""What every client of a model's server does alike: its address, its key, and the server's words in an error."""

import os
from urllib.parse import urlsplit


# Shorter keys are placeholders, as local servers take them, and may well be words of an answer.
SHORTEST_SECRET = 8


def check_address(address: str, api_key_env: str) -> None:
    """Raises a `ValueError` if requests can't be sent to an address, or if it holds what belongs into a header."""
    try:
        parts = urlsplit(address)
        host, _ = (parts.hostname or "").encode("idna"), parts.port
    except ValueError:
        host = b""
    if not host or parts.scheme not in ("http", "https") or " " in address or not address.isprintable():
        raise ValueError(f"{address!r} is no address of a server: one looks like http://127.0.0.1:8000/v1")
    if parts.username or parts.password or "?" in address or "#" in address:
        raise ValueError(f"the address of a server must hold no key or password: put it into ${api_key_env}")


def read_key(api_key_env: str) -> str:
    """Returns the key that an environment variable holds, "" if it is unset; raises a `ValueError` if it is no key."""
    key = os.environ.get(api_key_env, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ValueError(f"${api_key_env} holds characters that no key has")
    return key


def without_key(text: str, key: str) -> str:
    """Returns a server's reply without the key: servers quote the one they refuse."""
    return text.replace(key, "[key]") if len(key) >= SHORTEST_SECRET else text


def shortened(text: str, longest: int = 200) -> str:
    """Returns the start of a server's words, on one line and without what may steer a terminal."""
    text = "".join(letter if letter.isprintable() else "\ufffd" for letter in " ".join(text[:1000].split()))
    return text if len(text) <= longest else f"{text[:longest]}..."
