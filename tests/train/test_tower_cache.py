"""The cache of the outputs of frozen towers: what is in it, who may write, and that training does not change by it."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from modeling_clue.encoded_premise import EncodedPremise
from train.tower_cache import TowerCache, UncachedClip


AUDIO, VIDEO = 7, 8
FEW_BYTES = 10**6

FORK = multiprocessing.get_context("fork")  # starts in milliseconds


def opened(folder, max_bytes: int = FEW_BYTES, fingerprint: str = "towers") -> TowerCache:
    """A cache in the folder."""
    return TowerCache(folder, fingerprint, max_bytes, AUDIO, VIDEO)


def key_of(number: int) -> str:
    """Key of a clip."""
    return f"{number:032x}"


def premise_of(number: int) -> EncodedPremise:
    """An audiovisual premise of two tokens of sound and one of video, told from others by its number."""
    return EncodedPremise(
        modality="audiovisual",
        input_ids=[1, VIDEO, AUDIO, AUDIO, number],
        num_mel_frames=9,
        video_grid_thw=torch.tensor([1, 2, 2]),
        video_second_per_grid=0.1 + number,
        notes=("sound cut from 3.0 s to 2.0 s", "frames thinned"),
    )


def outputs_of(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What the towers give for it."""
    generator = torch.Generator().manual_seed(number)
    return torch.randn(2, 16, generator=generator), torch.randn(1, 16, generator=generator)


def store(cache: TowerCache, number: int) -> None:
    """Stores one clip."""
    cache.store([UncachedClip(key_of(number), premise_of(number))], *outputs_of(number))


def assert_holds(cache: TowerCache, *numbers: int) -> None:
    """The cache has these clips, each whole, and knows how many bytes it has."""
    files = {path.stem: path for path in cache.folder.glob("??/*")}
    assert sorted(files) == sorted(map(key_of, numbers))
    assert int((cache.folder / "size").read_text()) == sum(path.stat().st_size for path in files.values())
    assert not list((cache.folder / "tmp").iterdir())
    for number in numbers:
        loaded, expected = cache.load([key_of(number)])[key_of(number)], premise_of(number)
        for found, output in zip((loaded.audio_embeds, loaded.video_embeds), outputs_of(number), strict=True):
            assert torch.equal(found, output)
        assert torch.equal(loaded.video_grid_thw, expected.video_grid_thw)
        assert loaded.input_features is loaded.pixel_values_videos is None
        for name in ("modality", "input_ids", "num_mel_frames", "video_second_per_grid", "notes"):
            assert getattr(loaded, name) == getattr(expected, name)


def store_elsewhere(folder: Path, numbers: list[int], max_bytes: int = FEW_BYTES, before: Callable | None = None):
    """Stores clips, one after the other, in another process; `before` is called there first."""

    def run():
        if before is not None:
            before()
        for number in numbers:
            store(opened(folder, max_bytes), number)

    process = FORK.Process(target=run)
    process.start()
    return process


def die() -> None:
    """As a machine dies: nothing is cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_half_written() -> None:
    """Makes this process die in the middle of writing an entry."""
    Path.write_bytes = lambda path, data: (open(path, "wb", 0).write(data[:99]), die())


def die_not_counted() -> None:
    """Makes this process die when an entry is written."""
    TowerCache._write_size = lambda self, size: die()


def die_not_renamed() -> None:
    """Makes this process die when an entry is written and counted."""
    replace = Path.replace
    Path.replace = lambda old, new: replace(old, new) if old.name == "size" else die()


def test_a_batch_comes_back_as_it_was(tmp_path):
    """Each premise has the outputs of its own places, in a batch where a premise repeats and senses differ."""
    cache = opened(tmp_path)
    sound = EncodedPremise("audio", [AUDIO] * 3, num_mel_frames=12)
    frames = EncodedPremise("video", [VIDEO], video_grid_thw=torch.tensor([1, 2, 2]), video_second_per_grid=2.0)
    clips = [UncachedClip("aa", sound), UncachedClip("aa", sound), UncachedClip(key_of(5), premise_of(5))]
    own_sound, own_frames = torch.rand(3, 4), torch.rand(1, 4)
    both_sound, both_frames = torch.rand(2, 4), torch.rand(1, 4)
    cache.store(
        [*clips, UncachedClip("bb", frames)],
        torch.cat([own_sound, own_sound, both_sound]),
        torch.cat([both_frames, own_frames]),
    )
    loaded = cache.load(["aa", key_of(5), "bb"])
    assert torch.equal(loaded["aa"].audio_embeds, own_sound) and loaded["aa"].video_embeds is None
    assert torch.equal(loaded["bb"].video_embeds, own_frames) and loaded["bb"].audio_embeds is None
    assert torch.equal(loaded[key_of(5)].audio_embeds, both_sound)
    assert torch.equal(loaded[key_of(5)].video_embeds, both_frames)
    assert cache.load(["aa", "cc"]) == {}  # all or none


def test_mixed_precision_is_stored_in_half_the_bytes(tmp_path):
    """Numbers that bfloat16 or float16 hold are stored so, to the bit; others stay in float32."""
    cache, sound = opened(tmp_path), EncodedPremise("audio", [AUDIO] * 3, num_mel_frames=12)
    values = torch.randn(3, 50)
    for key, dtype in (("b16", torch.bfloat16), ("f16", torch.float16), ("f32", torch.float32)):
        rounded = values.to(dtype).float()
        cache.store([UncachedClip(key, sound)], rounded, None)
        found = cache.load([key])[key].audio_embeds
        assert found.dtype == dtype and torch.equal(found.float(), rounded)


def test_a_clip_has_one_key_wherever_it_lies(tmp_path, monkeypatch):
    """The key is that of the content, the modality and the fingerprint; a file is read for it once."""
    paths = [tmp_path / name for name in ("one.wav", "copy.wav", "other.wav")]
    for path, content in zip(paths, (b"sound", b"sound", b"noise"), strict=True):
        path.write_bytes(content)
    cache, clips = opened(tmp_path / "cache"), [{"bytes": None, "path": str(path)} for path in paths]
    keys = [cache.key("audio", clip, None) for clip in clips]
    assert keys[0] == keys[1] == cache.key("audio", {"bytes": b"sound", "path": None}, None)
    seen = {*keys, cache.key("video", None, clips[0]), cache.key("audiovisual", None, clips[0])}
    seen |= {cache.key("audiovisual", clips[2], clips[0]), cache.key("audiovisual", clips[0], clips[2])}
    seen |= {opened(tmp_path / "cache", fingerprint="others").key("audio", clips[0], None)}
    assert len(seen) == 7

    with monkeypatch.context() as patched:
        patched.setattr("train.tower_cache.file_digest", None)
        assert [opened(tmp_path / "cache").key("audio", clip, None) for clip in clips] == keys
    paths[0].write_bytes(b"noise!")
    assert cache.key("audio", clips[0], None) not in keys
    for note in (tmp_path / "cache" / "digests").iterdir():  # as if the power had failed
        note.write_text("12")
    assert cache.key("audio", clips[1], None) == keys[1]


@pytest.mark.processes
@pytest.mark.parametrize("fits", [30, 12])
def test_two_processes_fill_one_cache_at_once(tmp_path, fits):
    """Everything is stored once and whole, and together they stay under the limit."""
    store(opened(tmp_path / "one"), 10)
    limit = int((tmp_path / "one" / "size").read_text()) * fits + 500
    numbers = list(range(10, 40))
    writers = [store_elsewhere(tmp_path / "cache", order, limit) for order in (numbers, numbers[::-1])]
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    cache = opened(tmp_path / "cache", limit)
    stored = [number for number in numbers if key_of(number) in cache]
    assert len(stored) == fits
    assert_holds(cache, *stored)


@pytest.mark.processes
@pytest.mark.parametrize("moment", [die_half_written, die_not_counted, die_not_renamed])
def test_a_killed_writer_leaves_nothing_half(tmp_path, moment):
    """Killed anywhere in a store, a process leaves the earlier entries and no other, and the next one goes on."""
    store(opened(tmp_path), 1)
    writer = store_elsewhere(tmp_path, [2], before=moment)
    writer.join()
    assert writer.exitcode == -signal.SIGKILL
    assert list((tmp_path / "tmp").iterdir())
    assert key_of(2) not in opened(tmp_path)
    assert_holds(opened(tmp_path), 1)
    store(opened(tmp_path), 2)
    assert_holds(opened(tmp_path), 1, 2)


@pytest.mark.parametrize("damage", ["empty", "torn", "header", "one byte", "another file"])
def test_a_corrupt_entry_is_told_and_computed_anew(tmp_path, caplog, damage):
    """It is never used: it is named, removed, and stored again when its clip has gone through the towers."""
    cache = opened(tmp_path)
    for number in (1, 2):
        store(cache, number)
    path = tmp_path / "00" / f"{key_of(1)}.safetensors"
    data = path.read_bytes()
    position = len(data) - 30
    damaged = {
        "empty": b"",
        "torn": data[:-10],
        "header": b"\xff" * 40 + data[40:],
        "one byte": data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :],
        "another file": save({"weight": torch.ones(3)}),
    }
    path.write_bytes(damaged[damage])
    assert cache.load([key_of(2), key_of(1)]) == {}
    assert str(path) in caplog.text and "corrupt" in caplog.text
    assert_holds(cache, 2)
    store(cache, 1)
    assert_holds(cache, 1, 2)


def test_the_limit_is_kept_and_told_once(tmp_path, caplog):
    """What does not fit is not stored; entries that somebody removed make room for others."""
    store(opened(tmp_path / "one"), 11)
    limit = int((tmp_path / "one" / "size").read_text()) * 2 + 100
    cache = opened(tmp_path / "cache", limit)
    for number in range(11, 16):
        store(cache, number)
    assert_holds(cache, 11, 12)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 1 and "holds 2 clips" in messages[0] and f"{limit / 1e9:g} GB" in messages[0]

    (tmp_path / "cache" / "00" / f"{key_of(11)}.safetensors").unlink()
    cache = opened(tmp_path / "cache", limit)
    store(cache, 13)
    assert_holds(cache, 12, 13)


def test_a_full_disk_ends_storing_and_not_the_run(tmp_path, caplog, monkeypatch):
    """What was stored stays; the reason is told once; another error is not taken for this one."""
    cache = opened(tmp_path)
    store(cache, 1)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", no_space)
        store(cache, 2)
        store(cache, 3)
    assert len(caplog.records) == 1 and os.strerror(28) in caplog.text
    assert_holds(cache, 1)
    store(opened(tmp_path), 2)
    assert_holds(cache, 1, 2)


def no_space(path: Path, data: bytes) -> None:
    """Writes half, as a full disk does."""
    with open(path, "wb") as file:
        file.write(data[: len(data) // 2])
    raise OSError(28, os.strerror(28), str(path))
