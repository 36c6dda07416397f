"""Sound from the kinds of files people have: odd values, headers, tails, tracks and holes."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile
import soxr

from modeling_clue.media import MediaError, has_audio, load_audio, probe_modality


def tone(seconds: float, rate: int = 16000) -> np.ndarray:
    """A tone at a third of full scale."""
    return (0.3 * np.sin(np.arange(round(rate * seconds)) * 0.17)).astype(np.float32)


def sound_file(samples: np.ndarray, rate: int = 16000, kind: str = "WAV", **options: str) -> bytes:
    """The content of a sound file of samples `(num_samples, channels)` or `(num_samples,)`."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_resampling_is_that_of_the_processors(rate):
    """Another rate is resampled by soxr's HQ, and as long as librosa makes it: rounded up."""
    samples = np.random.default_rng(rate).normal(0, 0.1, rate + 17).astype(np.float32)
    got = load_audio({"array": samples, "sampling_rate": rate}).waveform
    assert len(got) == -(-len(samples) * 16000 // rate)
    wanted = soxr.resample(samples, rate, 16000, quality="HQ")
    np.testing.assert_array_equal(got[: len(wanted)], wanted[: len(got)])


@pytest.mark.parametrize("peak", [1.0, 1.4, 8.0, 13000.0])
@pytest.mark.parametrize("given", ["array", "float WAV"])
def test_samples_that_were_never_scaled_are_refused(given, peak):
    """Floats may reach over full scale, as lossy codecs and mixes do, but not by 24 dB."""
    samples = tone(1.0) / 0.3 * np.float32(peak)
    source = {"array": samples, "sampling_rate": 16000}
    if given == "float WAV":
        source = sound_file(samples, subtype="FLOAT")
    if peak > 16:
        with pytest.raises(MediaError, match="full scale is 1.*32768"):
            load_audio(source)
    else:
        assert np.abs(load_audio(source).waveform - samples).max() < 1e-6 * peak


@pytest.mark.parametrize("given", ["array", "WAV", "FLAC"])
def test_channels_that_cancel_are_noted(given):
    """Two channels are averaged; if one is the other upside down, the silence that is left is told."""
    for second, notes in ((-1.0, 1), (0.0, 0), (1.0, 0)):
        samples = np.stack([tone(1.0), second * tone(1.0)], axis=1)
        source = {"array": samples, "sampling_rate": 16000}
        audio = load_audio(source if given == "array" else sound_file(samples, kind=given))
        assert np.abs(audio.waveform - samples.mean(axis=1)).max() < 1e-4
        assert len(audio.notes) == notes and (not notes or "cancel" in audio.notes[0])


# FFmpeg's downmix of each layout in the order of its channels: the centre whole, the sides halved, no subwoofer.
SIDE = 0.5**0.5
LAYOUTS = {
    (6, 0x3F): [SIDE, SIDE, 1, 0, 0.5, 0.5],
    (6, 0x60F): [SIDE, SIDE, 1, 0, 0.5, 0.5],
    (8, 0x63F): [SIDE, SIDE, 1, 0, 0.5, 0.5, 0.5, 0.5],
    (3, 0x0B): [SIDE, SIDE, 0],
    (6, 0): [1 / 6] * 6,
}


@pytest.mark.parametrize(("channels", "mask"), LAYOUTS)
def test_more_channels_are_mixed_by_their_layout(channels, mask):
    """Each channel of a WAV file with a layout is heard as loud as the standard has it; without one, all are alike."""
    for place, gain in enumerate(LAYOUTS[channels, mask]):
        samples = np.zeros((16000, channels), np.float32)
        samples[:, place] = tone(1.0)
        data = bytearray(sound_file(samples, kind="WAVEX"))
        at = data.index(b"fmt ") + 28
        data[at : at + 4] = mask.to_bytes(4, "little")
        assert np.abs(load_audio(bytes(data)).waveform - gain * tone(1.0)).max() < 2e-3


def test_six_channels_of_flac_are_5_1():
    """FLAC's channels have their layout by their number."""
    samples = np.zeros((16000, 6), np.float32)
    samples[:, 2], samples[:, 3] = tone(1.0), 0.5
    assert np.abs(load_audio(sound_file(samples, kind="FLAC")).waveform - tone(1.0)).max() < 1e-3


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF024, 0x7FFFFFFF, 0x80000024, 2_000_000_036, 0xFFFFFFFE])
def test_a_wav_of_unknown_size_is_read_to_its_end(size):
    """Programs that write to a pipe make up a size; what is there is read."""
    data = bytearray(sound_file(tone(2.0)))
    data[4:8] = size.to_bytes(4, "little")
    data[40:44] = max(0, size - 36).to_bytes(4, "little")
    assert load_audio(bytes(data)).duration == pytest.approx(2.0)


def test_a_flac_of_unknown_length_is_read_to_its_end():
    """A FLAC file from a pipe states no number of samples."""
    data = bytearray(sound_file(tone(2.0), kind="FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    assert np.abs(load_audio(bytes(data)).waveform - tone(2.0)).max() < 1e-4


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_wav_that_is_cut_off_is_found_out(share):
    """A size that could be true is taken at its word."""
    data = sound_file(tone(5.0))
    with pytest.raises(MediaError, match="truncated"):
        load_audio(data[: round(share * len(data))])


TAG = b"TAG" + b"Title".ljust(125, b"\0")
TAILS = {
    "ID3v1": TAG,
    "Lyrics3": b"LYRICSBEGIN" + b"IND0000211" + b"ETT00005Title" + b"000034LYRICS200" + TAG,
    "ID3v2.4": b"ID3\4\0\x10\0\0\0\x0a" + bytes(10) + b"3DI\4\0\x10\0\0\0\x0a",
    "newline": b"\n",
    "zeros": bytes(5000),
    "text": b"<html>moved</html>" * 20,
}


@pytest.mark.parametrize("tail", TAILS)
def test_what_stands_behind_an_mp3_takes_nothing_from_it(tail):
    """Tags, padding and rubbish behind the last frame leave the sound as it is without them."""
    song = sound_file(tone(6.0, 44100), 44100, "MP3")
    alone, followed = load_audio(song), load_audio(song + TAILS[tail])
    length = len(alone.waveform) - 16000 // 10
    np.testing.assert_array_equal(followed.waveform[:length], alone.waveform[:length])
    assert followed.duration == pytest.approx(alone.duration, abs=0.1)


def test_joined_mp3s_are_both_heard():
    """Two songs joined byte by byte are as long as both."""
    song = sound_file(tone(3.0, 44100), 44100, "MP3")
    assert load_audio(song + song).duration == pytest.approx(2 * load_audio(song).duration, abs=0.15)


@pytest.mark.parametrize("second", [(2, 16000), (1, 22050), (2, 48000)])
def test_a_chain_of_ogg_files_is_read_whole(second):
    """Each link of a chain has its own channels and rate; all are heard, at the rate of the first."""
    channels, rate = second
    first = sound_file(tone(2.0), kind="OGG")
    link = sound_file(np.stack([tone(1.0, rate)] * channels, axis=1), rate, "OGG")
    apart = load_audio(first).duration + load_audio(link).duration
    assert load_audio(first + link).duration == pytest.approx(apart, abs=1e-3)
    assert load_audio(first).notes == ()


def film(tracks: list[tuple[str, float]], times: list[float] | None = None, codec: str = "pcm_s16le") -> bytes:
    """A Matroska film of 3 s whose sound tracks have a pitch, in radians a sample, or no samples where it is 0."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        video = output.add_stream("ffv1", rate=10)
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        sounds = [output.add_stream(codec, rate=16000, layout="mono") for _ in tracks]
        for _ in range(30):
            output.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        output.mux(video.encode())
        for sound, (_, pitch) in zip(sounds, tracks, strict=True):
            for index, time in enumerate(times or [0.1 * k for k in range(30)]):
                if not pitch:
                    break
                wave = 8000 * np.sin(pitch * (np.arange(1600) + 1600 * index))
                frame = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None], format="s16", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = 16000, round(16000 * time), Fraction(1, 16000)
                output.mux(sound.encode(frame))
            output.mux(sound.encode())
    return file.getvalue()


def undecodable(data: bytes, track: int) -> bytes:
    """The film with the coding of one sound track renamed to one that nobody knows."""
    at = -1
    for _ in range(track + 1):
        at = data.index(b"A_PCM/INT/LIT", at + 1)
    return data[:at] + b"A_XYZ/INT/LIT" + data[at + 13 :]


def pitch_of(waveform: np.ndarray) -> float:
    """The loudest frequency in radians a sample."""
    return float(np.abs(np.fft.rfft(waveform)).argmax()) * 2 * np.pi / len(waveform)


def test_of_several_tracks_one_that_can_be_heard_is_taken_and_told():
    """A track that no decoder knows or without samples is passed over; that there were others is noted."""
    both = film([("one", 0.2), ("two", 0.5)])
    for data, pitch, place in (
        (both, 0.2, 1),
        (undecodable(both, 0), 0.5, 2),
        (undecodable(both, 1), 0.2, 1),
        (film([("empty", 0.0), ("two", 0.5)]), 0.5, 2),
    ):
        audio = load_audio(data)
        assert pitch_of(audio.waveform) == pytest.approx(pitch, abs=0.01)
        assert audio.notes == (f"sound track {place} of 2 taken",)
    assert load_audio(film([("one", 0.2)])).notes == ()


def test_a_track_without_samples_is_no_sound():
    """A declared track that holds nothing is none, for `has_audio` as for `load_audio`."""
    silent = film([("empty", 0.0)])
    assert not has_audio(silent)
    assert probe_modality(silent) == "video"
    with pytest.raises(MediaError, match="zero length"):
        load_audio(silent)


@pytest.mark.parametrize(("after", "hole"), [(10, 0.5), (10, 4.0), (0, 0.0), (29, 1.0)])
def test_a_hole_in_the_stamps_is_silence(after, hole):
    """Sound behind a hole comes when its stamps say, whatever is missing; short jitter is none."""
    jitter = [0.1 * k + 0.002 * (k % 2) for k in range(30)]
    audio = load_audio(film([("one", 0.2)], [time + (hole if k >= after else 0) for k, time in enumerate(jitter)]))
    assert audio.duration == pytest.approx(3.0 + (hole if after else 0), abs=0.02)
    if hole:
        assert audio.notes == (f"sound has holes of {hole:.1f} s in all, filled with silence",)
        start = round(16000 * 0.1 * after)
        assert np.abs(audio.waveform[start + 200 : start + round(16000 * hole) - 200]).max() == 0
        assert np.abs(audio.waveform[start + round(16000 * hole) + 200 :]).max() > 0.2
    cut = load_audio(film([("one", 0.2)], [time + 60 * (k > 5) for k, time in enumerate(jitter)]), max_seconds=5.0)
    assert cut.duration == 5.0
