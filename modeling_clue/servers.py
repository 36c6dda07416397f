# Copyright 2026 The CLUE Authors. Licensed under the Apache License, Version 2.0.
"""Checks the address and the key of a model's server, and shows its replies in errors, for every client."""

import os
from urllib.parse import urlsplit


# Shorter keys are placeholders for local servers, and may well be words of an answer.
SHORTEST_SECRET = 8


def check_address(address: str, api_key_env: str) -> None:
    """Raises a `ValueError` if an address can't be used, or if it holds a key or password."""
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
    """Reads a key from an environment variable, "" if it is unset; raises a `ValueError` if it can't be a key."""
    key = os.environ.get(api_key_env, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ValueError(f"${api_key_env} holds characters that no key has")
    return key


def without_key(text: str, key: str) -> str:
    """Removes the key from a server's reply: servers quote the one they refuse."""
    return text.replace(key, "[key]") if len(key) >= SHORTEST_SECRET else text


def shortened(text: str, longest: int = 200) -> str:
    """Returns the start of a server's reply, on one line and without control characters."""
    text = "".join(letter if letter.isprintable() else "\ufffd" for letter in " ".join(text[:1000].split()))
    return text if len(text) <= longest else f"{text[:longest]}..."
