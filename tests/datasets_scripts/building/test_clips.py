"""Clips: what can't be a premise is refused by name, what can is stored as it is, once, and named by its content."""

import hashlib
import io
import os
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from datasets_scripts.building import clips
from datasets_scripts.building.clips import ClipError, store_clip
from datasets_scripts.building.drafts import Clip


RATE = 16_000
TONE = (0.4 * np.sin(2 * np.pi * 500 * np.arange(2 * RATE) / RATE)).astype(np.float32)


def video_bytes(sound: bool, container: str = "mp4") -> bytes:
    """Two seconds of changing grey at ten frames a second, with or without a tone."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        pictures = output.add_stream("mpeg4" if container == "avi" else "libx264", rate=10)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        track = output.add_stream("mp2" if container == "avi" else "aac", rate=RATE, layout="mono") if sound else None
        for index in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), index * 10, np.uint8), format="rgb24")
            output.mux(pictures.encode(frame))
        output.mux(pictures.encode(None))
        if track is not None:
            samples = av.AudioFrame.from_ndarray((TONE[None] * 32767).astype(np.int16), format="s16", layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = RATE, 0, Fraction(1, RATE)
            output.mux(track.encode(samples))
            output.mux(track.encode(None))
    return file.getvalue()


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    """A folder with a sound, a video with sound, a silent one, and files that are no good."""
    folder = tmp_path_factory.mktemp("raw")
    soundfile.write(folder / "tone.wav", TONE, RATE)
    soundfile.write(folder / "tone.flac", TONE, RATE)
    (folder / "talkie.mp4").write_bytes(video_bytes(sound=True))
    (folder / "talkie.avi").write_bytes(video_bytes(sound=True, container="avi"))
    (folder / "silent.mp4").write_bytes(video_bytes(sound=False))
    for name in ("tone.wav", "tone.flac", "talkie.mp4"):
        content = (folder / name).read_bytes()
        (folder / f"cut-{name}").write_bytes(content[: len(content) // 2])
    (folder / "empty.wav").touch()
    (folder / "text.mp4").write_text("This is a text, whatever its name says. " * 50)
    (folder / "folder.wav").mkdir()
    (folder / "loop.wav").symlink_to(folder / "loop.wav")
    (folder / "nowhere.wav").symlink_to(folder / "gone.wav")
    os.mkfifo(folder / "pipe.wav")
    return folder


def stored(raw: Path, name: str, modality: str, target: Path, sound_only: bool = False) -> str:
    """Stores the clip called `name`."""
    return store_clip(Clip(raw / name, name, sound_only), modality, target)


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("tone.wav", "audio"),
        ("tone.flac", "audio"),
        ("talkie.mp4", "audio"),
        ("talkie.mp4", "video"),
        ("talkie.mp4", "audiovisual"),
        ("talkie.avi", "audiovisual"),
        ("silent.mp4", "video"),
    ],
)
def test_a_clip_is_stored_as_it_is(raw, tmp_path, name, modality):
    """The same bytes and the same time, in a file of its own; the digest is that of the content."""
    target = tmp_path / name
    content = (raw / name).read_bytes()
    assert stored(raw, name, modality, target) == hashlib.sha256(content).hexdigest()
    assert target.read_bytes() == content
    assert target.stat().st_mtime_ns == (raw / name).stat().st_mtime_ns
    assert not target.is_symlink() and not target.samefile(raw / name)
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("name", "modality", "complaint"),
    [
        ("gone.wav", "audio", "does not exist"),
        ("nowhere.wav", "audio", "does not exist"),
        ("zero\0byte.wav", "audio", "cannot be read"),
        ("x" * 300, "audio", "cannot be read"),
        ("loop.wav", "audio", "cannot be read"),
        ("folder.wav", "audio", "is a folder"),
        ("pipe.wav", "audio", "no regular file"),
        ("empty.wav", "audio", "is empty"),
        ("text.mp4", "video", "not a sound or video file"),
        ("text.mp4", "audio", "not a sound or video file"),
        ("cut-tone.wav", "audio", "truncated"),
        ("cut-tone.flac", "audio", "truncated"),
        ("cut-talkie.mp4", "video", "truncated"),
        ("cut-talkie.mp4", "audiovisual", "truncated"),
        ("tone.wav", "video", "no video track"),
        ("tone.wav", "audiovisual", "no video track"),
        ("silent.mp4", "audio", "no sound track"),
        ("silent.mp4", "audiovisual", "no sound track"),
    ],
)
def test_what_is_no_premise_is_refused(raw, tmp_path, name, modality, complaint):
    """The error names the file and what is wrong, and nothing is left behind."""
    with pytest.raises(ClipError, match=complaint) as error:
        stored(raw, name, modality, tmp_path / "clip")
    assert str(raw / name) in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_file_that_may_not_be_read_is_refused(raw, tmp_path):
    """Permission is part of being readable."""
    path = tmp_path / "secret.wav"
    path.write_bytes((raw / "tone.wav").read_bytes())
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file")
    with pytest.raises(ClipError, match="Permission denied"):
        store_clip(Clip(path, path.name), "audio", tmp_path / "clip.wav")


def test_a_clip_that_is_no_file_is_stored_alike(raw, tmp_path, monkeypatch):
    """Bytes are checked and stored as a file with them is, once; an error has their name, and nothing else is left."""
    content = (raw / "talkie.mp4").read_bytes()
    for name, sound_only in (("a.mp4", False), ("a.flac", True)):
        clip = Clip(Path("a.mp4"), "a.mp4", sound_only, content)
        digest = store_clip(clip, "audio", tmp_path / name)
        assert digest == hashlib.sha256(content).hexdigest()
        stored(raw, "talkie.mp4", "audio", tmp_path / f"file {name}", sound_only)
        assert (tmp_path / name).read_bytes() == (tmp_path / f"file {name}").read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr(clips, "_check_and_write", None)
            assert store_clip(clip, "audio", tmp_path / name) == digest
    with pytest.raises(ClipError, match="^b.wav is empty"):
        store_clip(Clip(Path("b.wav"), "b.wav", content=b""), "audio", tmp_path / "b.wav")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.flac", "a.mp4", "file a.flac", "file a.mp4"]


def test_the_sound_of_a_video_alone(raw, tmp_path):
    """It is stored as 16 kHz mono FLAC of the picture's length; the digest is that of the video."""
    target = tmp_path / "talkie.flac"
    digest = stored(raw, "talkie.mp4", "audio", target, sound_only=True)
    assert digest == hashlib.sha256((raw / "talkie.mp4").read_bytes()).hexdigest()
    samples, rate = soundfile.read(target, dtype="float32")
    assert rate == RATE and samples.ndim == 1 and len(samples) == pytest.approx(2 * RATE, abs=0.1 * RATE)
    spectrum = np.abs(np.fft.rfft(samples[:RATE]))
    assert spectrum.argmax() == 500
    assert target.stat().st_mtime_ns == (raw / "talkie.mp4").stat().st_mtime_ns
    with pytest.raises(ClipError, match="no sound track"):
        stored(raw, "silent.mp4", "audio", tmp_path / "silent.flac", sound_only=True)


def test_what_an_earlier_build_stored_is_not_made_anew(raw, tmp_path, monkeypatch):
    """A target with the raw file's time is taken as it is, without decoding; with another time or size it is not."""
    path, target = tmp_path / "tone.wav", tmp_path / "stored.wav"
    path.write_bytes((raw / "tone.wav").read_bytes())
    digest = store_clip(Clip(path, "tone.wav"), "audio", target)
    decoded = []
    load_audio = clips.load_audio
    monkeypatch.setattr(clips, "load_audio", lambda *args, **kwargs: decoded.append(1) or load_audio(*args, **kwargs))
    assert store_clip(Clip(path, "tone.wav"), "audio", target) == digest and not decoded
    time = target.stat().st_mtime_ns
    target.write_bytes(b"half a copy")
    os.utime(target, ns=(time, time))
    assert store_clip(Clip(path, "tone.wav"), "audio", target) == digest and len(decoded) == 1
    assert target.read_bytes() == path.read_bytes()
    soundfile.write(path, TONE / 2, RATE)
    os.utime(path, ns=(time + 1, time + 1))
    assert store_clip(Clip(path, "tone.wav"), "audio", target) != digest and len(decoded) == 2
    assert target.read_bytes() == path.read_bytes()


def test_a_file_that_changes_meanwhile_is_refused(raw, tmp_path, monkeypatch):
    """Neither a mixture of two contents nor the digest of another one gets into the dataset."""
    path, target = tmp_path / "tone.wav", tmp_path / "stored.wav"
    path.write_bytes((raw / "tone.wav").read_bytes())
    copyfile = clips.shutil.copyfile

    def copy_and_edit(source, destination):
        copyfile(source, destination)
        with path.open("ab") as file:
            file.write(b"more")

    monkeypatch.setattr(clips.shutil, "copyfile", copy_and_edit)
    with pytest.raises(ClipError, match="changed while it was read"):
        store_clip(Clip(path, "tone.wav"), "audio", target)
    assert [file.name for file in tmp_path.iterdir()] == ["tone.wav"]


def test_threads_store_different_clips_at_once(raw, tmp_path):
    """Every target is whole, whatever the order."""
    names = ["tone.wav", "talkie.mp4", "tone.flac", "talkie.avi"] * 4
    targets = [tmp_path / f"{index}-{name}" for index, name in enumerate(names)]
    with ThreadPoolExecutor(8) as pool:
        digests = list(pool.map(lambda name, target: stored(raw, name, "audio", target), names, targets))
    for name, target, digest in zip(names, targets, digests, strict=True):
        assert target.read_bytes() == (raw / name).read_bytes()
        assert digest == hashlib.sha256(target.read_bytes()).hexdigest()
    assert len(list(tmp_path.iterdir())) == len(names)
