"""The dictionary on disk is a dictionary that keeps the first value."""

import random

from datasets_scripts.building.diskmap import DiskMap


def test_it_does_what_a_dictionary_does(tmp_path):
    """Ten thousand random keys, many of them doubled, against `dict.setdefault`."""
    rng = random.Random(0)
    disk_map, truth = DiskMap(tmp_path / "map.sqlite"), {}
    for number in range(10_000):
        key = f"ключ {rng.randrange(6_000)}"
        expected = truth.get(key)
        truth.setdefault(key, str(number))
        assert disk_map.put(key, str(number)) == expected
    assert len(disk_map) == len(truth)
    disk_map.close()
    again = DiskMap(tmp_path / "map.sqlite")
    assert len(again) == 0 and again.put("ключ 1", "new") is None
    again.close()
