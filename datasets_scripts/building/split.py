"""Splits by chance, one group at a time: whatever is added later moves no group."""

import hashlib
import itertools

from datasets_scripts.schema import SPLITS


DEFAULT_SHARES = dict(zip(SPLITS, (0.8, 0.1, 0.1), strict=True))


def split_by_chance(group: str, seed: int, shares: dict[str, float] = DEFAULT_SHARES) -> str:
    """Returns the split of a group, which depends on its name and the seed alone; `shares` are met approximately."""
    # A number in [0, 1) that looks drawn at random, but belongs to this seed and group.
    digest = hashlib.blake2b(f"{seed} {group}".encode(), digest_size=8).digest()
    chance = (int.from_bytes(digest, "big") >> 11) / 2**53
    ends = zip(itertools.accumulate(shares.values()), shares, strict=True)
    return next((split for end, split in ends if chance < end), list(shares)[-1])
