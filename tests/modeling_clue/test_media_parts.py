"""Parts of a clip: the very samples and frames that they are of the whole, wherever they begin, one part in memory."""

import io
import math
import tracemalloc

import numpy as np
import pytest
import soundfile

from modeling_clue import media_frames, media_sound
from modeling_clue.media import MediaError, OpenClip, has_audio, load_audio, load_video
from tests.modeling_clue.test_media import indices, on_display, sound_bytes, video_bytes
from tests.modeling_clue.test_media_sound import encoded


def noise(rate: int, seconds: float, channels: int = 1) -> np.ndarray:
    """Random samples `(num_samples, channels)` of up to 0.3 of the full scale."""
    return np.random.default_rng(0).uniform(-0.3, 0.3, (round(rate * seconds), channels)).astype(np.float32)


def sound_file(kind: str, rate: int) -> bytes:
    """Eight seconds of noise, in a file of this kind."""
    if kind in ("WAV", "FLAC", "MP3", "OGG"):
        return sound_bytes(noise(rate, 8.0, 2), rate, kind)
    codec, container = kind.split()
    return encoded(noise(rate, 8.0, 2), rate, codec, container, "stereo")


SOUNDS = [
    "WAV",
    "FLAC",
    "MP3",
    "OGG",
    "aac mp4",
    "aac matroska",
    "libopus matroska",
    "pcm_s16le matroska",
    "mp2 mpegts",
]


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
@pytest.mark.parametrize("kind", SOUNDS)
def test_a_part_of_a_sound_is_that_of_the_whole(kind, rate):
    """From sample `start` to `end`: in their order with one reading, and each by itself in a new one."""
    data = sound_file(kind, 48000 if "opus" in kind else rate)
    whole = load_audio(data)
    clip = OpenClip(data)
    for start, end in [(0, 2), (2, 4.00003), (4.00003, 6.5), (6.5, None), (1.7, 1.9), (0.3, 20.0)]:
        wanted = whole.waveform[round(start * 16000) : None if end is None else round(end * 16000)]
        for source in (clip, data):
            part = load_audio(source, start=start, end=end)
            assert len(part.waveform) == len(wanted)
            np.testing.assert_allclose(part.waveform, wanted, atol=1e-5)
            assert part.notes == whole.notes
    clip.close()


def test_parts_of_one_rate_are_exact():
    """Without resampling nothing is rounded, and a part is what a file of these samples alone is."""
    samples = noise(16000, 3.0)
    for kind in ("WAV", "FLAC"):
        part = load_audio(sound_bytes(samples, container=kind), start=1.25, end=2.0)
        cut = load_audio(sound_bytes(samples[20000:32000], container=kind))
        np.testing.assert_array_equal(part.waveform, cut.waveform)
    np.testing.assert_array_equal(
        load_audio({"array": samples[:, 0], "sampling_rate": 16000}, start=1.25, end=2.0).waveform,
        samples[20000:32000, 0],
    )


@pytest.mark.parametrize("start", [1.0, 3.5])
@pytest.mark.parametrize("offset", [0.0, 0.8])
def test_a_part_of_the_sound_of_a_video_is_aligned(offset, start):
    """Seconds are those after the first frame, also where the sound starts later: then it begins with silence."""
    data = video_bytes(sound=noise(16000, 5.0)[:, 0], sound_start=offset)
    whole = load_audio(data)
    part = load_audio(data, start=start, end=start + 1)
    np.testing.assert_allclose(part.waveform, whole.waveform[round(start * 16000) :][:16000], atol=1e-5)
    assert load_audio(data, end=0.5).notes == whole.notes


def test_a_limit_holds_for_the_part():
    """What is cut is the part, and the note gives its length."""
    data = sound_bytes(noise(16000, 8.0))
    part = load_audio(data, start=2.0, end=7.0, max_seconds=1.5)
    np.testing.assert_array_equal(part.waveform, load_audio(data).waveform[32000:56000])
    assert part.notes == ("sound cut from 5.0 s to 1.5 s",)


TIMES = np.cumsum(np.random.default_rng(0).integers(20, 400, size=40)).tolist()
VIDEOS = {
    "mp4": {"times": TIMES, "g": "7"},
    "matroska": {"container": "matroska", "times": TIMES, "g": "7"},
    "b-frames": {"times": TIMES, "g": "12", "bf": "3"},
    "avi": {"container": "avi", "codec": "mpeg4"},
    "mpegts": {"container": "mpegts"},
}


@pytest.mark.parametrize("kind", VIDEOS)
@pytest.mark.parametrize("fps", [1.5, 5.0, 12.0])
def test_a_part_of_a_video_shows_what_was_on_display(kind, fps):
    """At `start + k / fps`, at a variable frame rate and at a constant one; in order, and each by itself."""
    options = VIDEOS[kind]
    data = video_bytes(**options)
    times = options.get("times", [100 * index for index in range(50)])
    starts = (np.array(times) - times[0]) / 1000
    clip = OpenClip(data)
    duration = load_video(data, fps=1, max_frames=64).duration
    edges = [0.0, 1.31, float(starts[20]), float(starts[20]) + 0.4, duration]
    for start, end in [*zip(edges, edges[1:], strict=False), (1.31, duration + 5)]:
        seen = min(end, duration) - start
        for source in (clip, data):
            part = load_video(source, fps=fps, max_frames=200, start=start, end=end)
            assert part.duration == pytest.approx(seen, abs=1e-6)
            assert len(part.frames) == max(2, math.ceil(seen * fps - 1e-3))
            assert indices(part.frames) == on_display(starts, start + np.arange(len(part.frames)) / part.fps)
    clip.close()


@pytest.mark.parametrize("sampling", ["rate", "span"])
@pytest.mark.parametrize("given", ["file", "frames"])
def test_a_part_of_a_video_is_a_video_of_its_frames(sampling, given):
    """Cut beforehand, between the same frames, it has the same frames, rate and length."""
    data = video_bytes()
    if given == "frames":
        data = {"frames": load_video(data, fps=10.0, max_frames=64).frames, "fps": 10.0}
    frames = load_video(data, fps=10.0, max_frames=64).frames
    for first, last in ((0, 13), (13, 37), (37, 50)):
        options = {"fps": 3.0, "max_frames": 5, "min_frames": 4, "sampling": sampling}
        part = load_video(data, start=first / 10, end=last / 10, **options)
        cut = load_video({"frames": frames[first:last], "fps": 10.0}, **options)
        assert indices(part.frames) == indices(cut.frames) and part.notes == cut.notes
        assert part.fps == pytest.approx(cut.fps) and part.duration == pytest.approx(cut.duration)


def test_a_part_that_is_not_there_is_named():
    """Behind the end of a clip, or of no length."""
    with pytest.raises(MediaError, match="has no sound from 3 s on"):
        load_audio(sound_bytes(noise(16000, 2.0)), start=3)
    with pytest.raises(MediaError, match=r"ends at 5\.00 s: it has no frames from 7 s on"):
        load_video(video_bytes(), fps=1, max_frames=4, start=7)
    for options, reason in (
        ({"start": 2, "end": 1}, "A part that starts at 2 s can't end at 1 s"),
        ({"start": -1}, "`start` must be a number of seconds, got -1"),
        ({"end": "2"}, "`end` must be a number of seconds, got '2'"),
        ({"start": True}, "got True"),
        ({"end": math.nan}, "got nan"),
    ):
        with pytest.raises(MediaError, match=reason):
            load_audio(sound_bytes(noise(16000, 2.0)), **options)
        with pytest.raises(MediaError, match=reason):
            load_video(video_bytes(), fps=1, max_frames=4, **options)


def test_an_open_clip_is_a_file():
    """It tells of sound; what is decoded already is none, nor is what can't be read from two places."""
    assert has_audio(OpenClip(video_bytes(sound=noise(16000, 5.0)[:, 0]))) and not has_audio(OpenClip(video_bytes()))
    for source in ({"array": np.zeros(5), "sampling_rate": 16000}, io.BytesIO(video_bytes())):
        with pytest.raises(MediaError, match="is no path and no bytes"):
            OpenClip(source)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG"])
def test_memory_is_that_of_a_part(kind):
    """Ten minutes in parts of ten seconds: never more than a few of them in memory, by count of what is allocated."""
    seconds, part = 600, 10
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 16000, 1, format=kind) as output:
        for _ in range(seconds):
            output.write(noise(16000, 1.0))
    clip = OpenClip(file.getvalue())
    load_audio(clip, end=1)  # what is made once
    tracemalloc.start()
    try:
        lengths = [len(load_audio(clip, start=at, end=at + part).waveform) for at in range(0, seconds, part)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(lengths) == pytest.approx(seconds * 16000, abs=1)
    assert peak < 5 * part * 16000 * 4 < seconds * 16000 * 4 / 10


def test_parts_in_their_order_are_decoded_once(monkeypatch):
    """Each sample and each frame, however many parts there are; and a video without sound is not looked through for
    it."""
    data = video_bytes(sound=noise(16000, 5.0)[:, 0], g="50")
    mixed, decoded = [], []
    mix_down = media_sound.mix_down
    monkeypatch.setattr(
        media_sound, "mix_down", lambda samples, *rest: (mixed.append(samples), mix_down(samples, *rest))[1]
    )
    clock = media_frames._FrameClock.time
    monkeypatch.setattr(media_frames._FrameClock, "time", lambda self, frame: decoded.append(1) or clock(self, frame))
    clip = OpenClip(data)
    for start in range(5):
        load_audio(clip, start=start, end=start + 1)
        load_video(clip, start=start, end=start + 1, fps=10, max_frames=64)
    assert 5 * 16000 <= sum(samples.shape[1] for samples in mixed) <= 5.2 * 16000
    assert len(decoded) == 50
