"""Sound from the kinds of files people have: odd values, headers, tails, tracks and holes."""

import io
import struct
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


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
@pytest.mark.parametrize(("kind", "ending"), [("WAV", "wav"), ("FLAC", "flac"), ("OGG", "ogg"), ("MP3", "mp3")])
def test_a_file_of_another_rate_is_what_librosa_loads(rate, kind, ending, tmp_path):
    """libsndfile's samples, averaged and resampled by soxr's HQ, as `librosa.load(path, sr=16000)` has them."""
    noise = np.random.default_rng(rate).normal(0, 0.1, (rate, 2)).astype(np.float32)
    path = tmp_path / f"noise.{ending}"
    soundfile.write(path, noise, rate, format=kind)
    samples, _ = soundfile.read(path, dtype="float32")
    wanted = soxr.resample(samples.mean(axis=1), rate, 16000, quality="HQ")
    got = load_audio(path).waveform
    assert abs(len(got) - len(wanted)) <= 1
    assert np.abs(got[: len(wanted)] - wanted[: len(got)]).max() < 1e-5


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


@pytest.mark.parametrize("peak", [2, 5, 16])
@pytest.mark.parametrize("given", ["array", "two channels", "float WAV"])
def test_a_quiet_recording_that_was_never_scaled_is_refused(given, peak):
    """Nearly silent 16-bit samples taken for floats stay below 24 dB, but are whole numbers."""
    samples = np.round(tone(1.0) / 0.3 * peak).astype(np.float32)
    source = {"array": np.stack([samples, np.roll(samples, 5)]), "sampling_rate": 16000}
    if given != "two channels":
        source = sound_file(samples, subtype="FLOAT") if given == "float WAV" else {**source, "array": samples}
    with pytest.raises(MediaError, match="full scale is 1"):
        load_audio(source)
    assert load_audio({"array": np.sign(samples), "sampling_rate": 16000}).notes == ()


@pytest.mark.parametrize("given", ["array", "WAV", "FLAC"])
def test_channels_that_cancel_are_noted(given):
    """Two channels are averaged; if one is the other upside down, the silence that is left is told."""
    for second, notes in ((-1.0, 1), (0.0, 0), (1.0, 0)):
        samples = np.stack([tone(1.0), second * tone(1.0)], axis=1)
        source = {"array": samples, "sampling_rate": 16000}
        audio = load_audio(source if given == "array" else sound_file(samples, kind=given))
        assert np.abs(audio.waveform - samples.mean(axis=1)).max() < 1e-4
        assert len(audio.notes) == notes and (not notes or "cancel" in audio.notes[0])


def encoded(samples: np.ndarray, rate: int, codec: str, container: str, layout: str) -> bytes:
    """The content of a file of samples `(channels, num_samples)` in a coding that libsndfile does not write."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout=layout)
        pack = av.AudioResampler(stream.format, layout, rate, frame_size=stream.codec_context.frame_size or 1024)
        frame = av.AudioFrame.from_ndarray(samples.T.reshape(1, -1).astype(np.float32), format="flt", layout=layout)
        frame.sample_rate = rate
        for piece in pack.resample(frame) + pack.resample(None):
            output.mux(stream.encode(piece))
        output.mux(stream.encode())
    return file.getvalue()


def ffmpeg_mono(data: bytes) -> np.ndarray:
    """FFmpeg's own mix of a sound file to one channel, at its rate."""
    with av.open(io.BytesIO(data)) as source:
        mix = av.AudioResampler("fltp", "mono")
        frames = [piece for frame in source.decode(audio=0) for piece in mix.resample(frame)] + mix.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


LAYOUTS = "2.1 3.0 3.1 4.0 quad 5.0 5.1 5.1(side) 6.1 hexagonal 7.1 7.1(wide) octagonal 5.1.2 5.1.4 7.1.4 cube".split()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_more_channels_are_mixed_by_their_layout(layout):
    """Each channel of a standard layout is heard as loud as FFmpeg, and so ITU-R BS.775, has it in one channel."""
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, (av.AudioLayout(layout).nb_channels, 4000))
    data = encoded(noise, 16000, "pcm_s16le", "wav", layout)
    audio = load_audio(data)
    assert np.abs(audio.waveform - ffmpeg_mono(data)).max() < 1e-6
    assert audio.notes == ()


@pytest.mark.parametrize("given", ["array", "WAV", "Ogg"])
def test_channels_without_a_layout_are_averaged_and_told(given):
    """Nobody says which channel is which: all are alike, and a note says so."""
    samples = np.random.default_rng(0).uniform(-0.3, 0.3, (9, 4000)).astype(np.float32)
    source = {"array": samples, "sampling_rate": 16000}
    if given != "array":
        source = sound_file(samples.T, kind="WAV" if given == "WAV" else "OGG")
        samples = soundfile.read(io.BytesIO(source), dtype="float32")[0].T
    audio = load_audio(source)
    assert np.abs(audio.waveform - samples.mean(axis=0)).max() < 1e-5
    assert audio.notes == ("the 9 channels of the sound have no known layout: averaged",)


@pytest.mark.parametrize("kind", ["OGG", "FLAC"])
def test_eight_channels_are_all_heard(kind):
    """With the same tone on all, 7.1 is as loud as the sum of its gains."""
    samples = np.stack([tone(1.0) / 10] * 8, axis=1)
    wanted = (1 + 2 * 0.5**0.5 + 4 * 0.5) * tone(1.0) / 10
    assert np.abs(load_audio(sound_file(samples, kind=kind)).waveform - wanted).max() < 1e-2


@pytest.mark.parametrize("container", ["mov", "caf"])
def test_channels_in_an_order_of_their_own_are_known_by_name(container):
    """Apple's 5.1 may be written as left, right, sides, centre, subwoofer; PyAV alone ends the process on it."""
    for place, gain in enumerate([0.5**0.5, 0.5**0.5, 0.5, 0.5, 1, 0]):
        samples = np.zeros((6, 4000), np.float32)
        samples[place] = tone(0.25)
        data = encoded(samples, 16000, "pcm_s16le", container, "5.1")
        at = data.index(b"chan") + (8 if container == "mov" else 12)
        data = data[:at] + struct.pack(">HH", 122, 6) + data[at + 4 :]  # kAudioChannelLayoutTag_MPEG_5_1_B
        assert np.abs(load_audio(data).waveform - gain * tone(0.25)).max() < 1e-4


def test_integers_of_64_bits_are_read():
    """A WAV file may hold them."""
    samples = (tone(1.0).astype(np.float64) * 2**63).astype("<i8").tobytes()
    kind = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16000, 128000, 8, 64)
    data = b"WAVE" + kind + struct.pack("<4sI", b"data", len(samples)) + samples
    assert np.abs(load_audio(b"RIFF" + struct.pack("<I", len(data)) + data).waveform - tone(1.0)).max() < 1e-7


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT", "ULAW"])
def test_a_big_endian_wav_is_not_noise(subtype):
    """RIFX holds the samples of RIFF with their bytes swapped."""
    samples = np.stack([tone(1.0), tone(1.0) / 2], axis=1)
    data = sound_file(samples, subtype=subtype, endian="BIG")
    assert data[:4] == b"RIFX"
    assert np.abs(load_audio(data).waveform - samples.mean(axis=1)).max() < 1e-2


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


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000])
@pytest.mark.parametrize("kind", ["AU", "AIFF", "RIFX"])
def test_kin_of_wav_of_unknown_size_are_read_to_their_end(kind, size):
    """The same made-up sizes in the big-endian formats."""
    options = {"kind": "WAV", "endian": "BIG"} if kind == "RIFX" else {"kind": kind}
    data = bytearray(sound_file(tone(2.0), **options))
    struct.pack_into(">I", data, 8 if kind == "AU" else 4, size)
    if kind != "AU":
        struct.pack_into(">I", data, data.index(b"SSND" if kind == "AIFF" else b"data") + 4, size)
    assert np.abs(load_audio(bytes(data)).waveform - tone(2.0)).max() < 1e-4


@pytest.mark.parametrize("options", [{}, {"kind": "FLAC"}, {"kind": "OGG"}, {"endian": "BIG"}])
@pytest.mark.parametrize("name", ["a.raw", "a.wav.RAW", "a.mp4", "a"])
def test_a_sound_is_read_whatever_its_file_is_called(options, name, tmp_path):
    """Content says what it is, of a path and of an open file: `.raw` is headerless samples to libsndfile."""
    content = sound_file(tone(0.5), **options)
    (tmp_path / name).write_bytes(content)
    with (tmp_path / name).open("rb") as file:
        for source in (tmp_path / name, file):
            np.testing.assert_array_equal(load_audio(source).waveform, load_audio(content).waveform)


@pytest.mark.parametrize("samples", [0, 2**36 - 1, 0x7FFFF000 // 2, 2_000_000_000 // 2])
def test_a_flac_of_unknown_length_is_read_to_its_end(samples):
    """A FLAC file from a pipe states no number of samples, or that of a WAV file of made-up size."""
    data = bytearray(sound_file(tone(2.0), kind="FLAC"))
    data[21] = data[21] & 0xF0 | samples >> 32
    struct.pack_into(">I", data, 22, samples & 0xFFFFFFFF)
    assert np.abs(load_audio(bytes(data)).waveform - tone(2.0)).max() < 1e-4


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("kind", ["WAV", "RIFX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "MP3"])
def test_a_sound_that_is_cut_off_is_found_out(kind, share):
    """A size or a number of frames that could be true is taken at its word."""
    noise = np.random.default_rng(0).normal(0, 0.1, 80000)
    data = sound_file(noise, endian="BIG") if kind == "RIFX" else sound_file(noise, kind=kind)
    with pytest.raises(MediaError, match="truncated"):
        load_audio(data[: round(share * len(data))])


def test_an_ogg_that_may_be_cut_off_is_told():
    """Ogg declares no length, but its last page is marked; a stream that was recorded has no mark either."""
    data = sound_file(np.random.default_rng(0).normal(0, 0.1, 160000), kind="OGG")
    assert load_audio(data).notes == ()
    for size in (data.rindex(b"OggS"), data.rindex(b"OggS") + 20, len(data) - 1):
        audio = load_audio(data[:size])
        assert 5.0 < audio.duration <= 10.0
        assert audio.notes == ("sound without its end mark: the file may have been cut off",)


TAG = b"TAG" + b"Title".ljust(125, b"\0")
TAILS = {
    "ID3v1": TAG,
    "Lyrics3": b"LYRICSBEGIN" + b"IND0000211" + b"ETT00005Title" + b"000034LYRICS200" + TAG,
    "ID3v2.4": b"ID3\4\0\x10\0\0\0\x0a" + bytes(10) + b"3DI\4\0\x10\0\0\0\x0a",
    "newline": b"\n",
    "zeros": bytes(5000),
    "text": b"<html>moved</html>" * 20,
}


@pytest.fixture(scope="module")
def song() -> bytes:
    """An MP3 of 3 s."""
    return sound_file(tone(3.0, 44100), 44100, "MP3")


@pytest.mark.parametrize("tail", TAILS)
def test_what_stands_behind_an_mp3_takes_nothing_from_it(song, tail):
    """Tags, padding and rubbish behind the last frame leave the sound as it is without them."""
    alone, followed = load_audio(song), load_audio(song + TAILS[tail])
    length = len(alone.waveform) - 16000 // 10
    np.testing.assert_array_equal(followed.waveform[:length], alone.waveform[:length])
    assert followed.duration == pytest.approx(alone.duration, abs=0.1)


# A picture in which the beginning of an MP3 frame turns up again and again.
PICTURE = (b"\xff\xfb\x90\x64" + bytes(range(256)) * 4) * 60
BETWEEN = {"nothing": b"", "ID3v1": TAG, "ID3v2": b"ID3\3\0\0\0\0\x0a\0" + bytes(1280), "zeros": bytes(4000)}
SIZE = bytes([0, *divmod(len(PICTURE) >> 7, 128), len(PICTURE) & 127])
BETWEEN["ID3v2 with a picture"] = b"ID3\3\0\0" + SIZE + PICTURE


@pytest.mark.parametrize(
    ("rate", "channels", "between"),
    [(44100, 1, "nothing"), (44100, 2, "ID3v1"), (48000, 1, "ID3v2"), (22050, 2, "zeros")]
    + [(rate, 1, "ID3v2 with a picture") for rate in (44100, 48000)],
)
def test_joined_mp3s_are_both_heard(song, rate, channels, between):
    """Two songs joined byte by byte are as long as both, whatever tags, rate and channels the second has."""
    second = np.stack([tone(2.0, rate) / 2] * channels, axis=1)
    audio = load_audio(song + BETWEEN[between] + sound_file(second, rate, "MP3"))
    assert audio.duration == pytest.approx(5.0, abs=0.15)
    assert np.abs(audio.waveform[8000:40000]).max() == pytest.approx(0.3, abs=0.03)
    assert np.abs(audio.waveform[56000:72000]).max() == pytest.approx(0.15, abs=0.03)
    assert audio.notes == ()


@pytest.mark.parametrize(("codec", "container"), [("aac", "adts"), ("ac3", "ac3")])
def test_what_stands_behind_other_bare_streams_takes_nothing_from_them(codec, container):
    """Zeros behind the last frame, or another recording of another rate."""
    stream = encoded(tone(2.0, 48000)[None], 48000, codec, container, "mono")
    other = encoded(np.stack([tone(2.0, 32000)] * 2), 32000, codec, container, "stereo")
    alone = load_audio(stream).duration
    assert load_audio(stream + bytes(5000)).duration == pytest.approx(alone, abs=0.05)
    assert load_audio(stream + other).duration == pytest.approx(alone + load_audio(other).duration, abs=0.1)


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


def scrambled(data: bytes, track: int) -> bytes:
    """The film with the packets of one sound track made undecodable, as those of an encrypted one are."""
    with av.open(io.BytesIO(data)) as source:
        packets = [bytes(packet) for packet in source.demux(source.streams.audio[track]) if packet.size]
    for packet in packets:
        data = data.replace(packet, bytes(len(packet)))
    return data


def test_a_track_that_cannot_be_decoded_is_passed_over_but_is_sound():
    """If its packets cannot be decoded, another track is taken; if there is none, the file is damaged."""
    both = film([("one", 0.2), ("two", 0.5)], codec="mp2")
    for track, pitch in ((0, 0.5), (1, 0.2)):
        assert pitch_of(load_audio(scrambled(both, track)).waveform) == pytest.approx(pitch, abs=0.01)
    alone = scrambled(film([("one", 0.2)], codec="mp2"), 0)
    for data in (alone, scrambled(scrambled(both, 0), 1)):
        assert has_audio(data)
        with pytest.raises(MediaError, match="damaged"):
            load_audio(data)


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


@pytest.mark.parametrize("step", [0.18, 0.12, 0.1001])
def test_many_short_holes_do_not_add_up(step):
    """Sound stays where its stamps have it, though none of its holes is long."""
    audio = load_audio(film([("one", 0.2)], [step * k for k in range(30)]))
    assert audio.duration == pytest.approx(29 * step + 0.1, abs=0.11)
    assert len(audio.notes) == (step > 0.11)


def test_stamps_that_overlap_take_no_sound_away():
    """What is stamped into the time of what was before it is put behind, which is told."""
    audio = load_audio(film([("one", 0.2)], [0.09 * k for k in range(30)]))
    assert audio.duration == pytest.approx(3.0)
    assert pitch_of(audio.waveform) == pytest.approx(0.2, abs=0.01)
    assert len(audio.notes) == 1 and "stamps of the sound go back" in audio.notes[0]
