"""Sound and video from every kind of source, against arithmetic, scipy and brute-force decoding."""

import io
import os
import pathlib
from fractions import Fraction

import av
import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.signal import resample_poly

from modeling_clue import media_container
from modeling_clue.media import MediaError, has_audio, load_audio, load_video, probe_modality


DATA = pathlib.Path(os.environ.get("UMUI_DATA_DIR", pathlib.Path(__file__).parents[2] / "../shared/data")).resolve()
STEP = 4  # difference in brightness between a frame and the next


def sine(rate: int, seconds: float, frequency: float = 440.0) -> np.ndarray:
    """A tone of half the full scale."""
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def sound_bytes(waveform: np.ndarray, rate: int = 16000, container: str = "WAV", **options) -> bytes:
    """The content of a sound file."""
    file = io.BytesIO()
    soundfile.write(file, waveform, rate, format=container, **options)
    return file.getvalue()


def video_bytes(
    container: str = "mp4",
    codec: str = "libx264",
    times: list[int] | None = None,
    num_frames: int = 50,
    rate: int = 10,
    size: tuple[int, int] = (48, 64),
    sound: np.ndarray | None = None,
    sound_start: float = 0.0,
    image=lambda index, height, width: np.full((height, width, 3), index * STEP, np.uint8),
    muxer: dict[str, str] | None = None,
    **codec_options,
) -> bytes:
    """
    A video whose frame `i` has brightness `i * STEP` and is shown at `i / rate`, or at `times[i]` milliseconds, with
    an optional 16 kHz sound track.
    """
    file = io.BytesIO()
    height, width = size
    times = [round(1000 * index / rate) for index in range(num_frames)] if times is None else times
    with av.open(file, "w", format=container, options=muxer or {}) as output:
        track = output.add_stream(codec, rate=rate, options=codec_options)
        track.width, track.height, track.pix_fmt = width, height, "yuv420p"
        track.bit_rate = 4_000_000
        track.codec_context.time_base = Fraction(1, rate)
        if times != [round(1000 * index / rate) for index in range(len(times))]:
            track.codec_context.time_base = Fraction(1, 1000)
        if sound is not None:
            sound_track = output.add_stream(
                "mp2" if container in ("mpegts", "avi") else "aac", rate=16000, layout="mono"
            )
        for index, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(image(index, height, width), format="rgb24")
            frame.time_base = track.codec_context.time_base
            frame.pts = round(Fraction(time, 1000) / frame.time_base)
            output.mux(track.encode(frame))
        output.mux(track.encode(None))
        if sound is not None:
            for start in range(0, len(sound), 1024):
                piece = av.AudioFrame.from_ndarray(
                    (sound[None, start : start + 1024] * 32767).astype(np.int16), format="s16", layout="mono"
                )
                piece.sample_rate, piece.time_base = 16000, Fraction(1, 16000)
                piece.pts = start + round(sound_start * 16000)
                output.mux(sound_track.encode(piece))
            output.mux(sound_track.encode(None))
    return file.getvalue()


def indices(frames: np.ndarray) -> list[int]:
    """Which frames of `video_bytes` these are."""
    return np.round(frames.mean(axis=(1, 2, 3)) / STEP).astype(int).tolist()


def on_display(starts: np.ndarray, times: np.ndarray) -> list[int]:
    """Brute force: the last frame that has started, for each time."""
    return [max(index for index, start in enumerate(starts) if start <= time + 1e-3) for time in times]


# --- sound ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_resampling_matches_scipy(rate):
    """A sine at any rate comes out at 16 kHz as the same sine, as scipy's polyphase filter has it too."""
    audio = load_audio({"array": sine(rate, 1.0), "sampling_rate": rate})
    assert audio.sampling_rate == 16000 and audio.duration == 1.0 and audio.waveform.dtype == np.float32
    inner = slice(400, -400)
    np.testing.assert_allclose(audio.waveform[inner], sine(16000, 1.0)[inner], atol=1e-4)
    np.testing.assert_allclose(audio.waveform[inner], resample_poly(sine(rate, 1.0), 16000, rate)[inner], atol=2e-3)


def test_what_16_khz_cannot_hold_is_filtered_out():
    """A tone above 8 kHz leaves no alias behind."""
    assert (
        np.abs(load_audio({"array": sine(48000, 1.0, 13000.0), "sampling_rate": 48000}).waveform[400:-400]).max()
        < 1e-3
    )


def test_long_sound_is_resampled_without_seams():
    """A sound longer than one resampling piece equals the sine it was."""
    waveform = load_audio({"array": sine(48000, 60.0, 100.0), "sampling_rate": 48000}).waveform
    np.testing.assert_allclose(waveform[400:-400], sine(16000, 60.0, 100.0)[400:-400], atol=1e-3)


@pytest.mark.parametrize(
    ("container", "subtype", "tolerance"),
    [
        ("WAV", "PCM_16", 1e-4),
        ("WAV", "PCM_24", 1e-6),
        ("WAV", "FLOAT", 0.0),
        ("WAV", "PCM_U8", 1e-2),
        ("FLAC", "PCM_16", 1e-4),
        ("OGG", "VORBIS", 0.05),
        ("MP3", "MPEG_LAYER_III", 0.05),
    ],
)
def test_containers_and_codecs_give_the_same_sound(container, subtype, tolerance):
    """Whatever the file format, the waveform is the one written, on the scale where full is 1."""
    audio = load_audio(sound_bytes(sine(16000, 1.0), 16000, container, subtype=subtype))
    assert len(audio.waveform) >= 16000
    np.testing.assert_allclose(audio.waveform[2000:14000], sine(16000, 1.0)[2000:14000], atol=tolerance)
    assert audio.notes == ()


def test_stereo_is_the_mean_of_its_channels():
    """Two channels become their mean, from a file and from an array with the channels on either axis."""
    left, right = sine(16000, 0.5), sine(16000, 0.5, 1000.0)
    both = np.stack([left, right])
    mean = (left + right) / 2
    for source in (
        sound_bytes(both.T, subtype="FLOAT"),
        {"array": both, "sampling_rate": 16000},
        {"array": both.T, "sampling_rate": 16000},
    ):
        np.testing.assert_allclose(load_audio(source).waveform, mean, atol=1e-6)


@pytest.mark.parametrize(("dtype", "half"), [(np.int8, 64), (np.int16, 2**14), (np.int32, 2**30), (np.uint8, 192)])
def test_integer_samples_are_scaled(dtype, half):
    """Integer arrays are PCM: half of full scale becomes 0.5."""
    audio = load_audio({"array": np.full(1600, half, dtype), "sampling_rate": 16000})
    np.testing.assert_array_equal(audio.waveform, np.full(1600, 0.5, np.float32))


def test_array_may_be_a_list_of_floats():
    """What JSON or a `datasets` row holds is an array too."""
    assert load_audio({"array": [0.0, 0.5] * 800, "sampling_rate": 16000, "path": None}).waveform.shape == (1600,)


def test_sound_is_cut_only_at_the_stated_limit_and_says_so():
    """The first `max_seconds` are those of the whole sound, the note has both lengths, and nothing is cut below."""
    for source in (sound_bytes(sine(44100, 5.0), 44100), {"array": sine(44100, 5.0), "sampling_rate": 44100}):
        whole = load_audio(source, max_seconds=5.0)
        assert whole.duration == 5.0 and whole.notes == ()
        cut = load_audio(source, max_seconds=1.5)
        assert cut.duration == 1.5 and cut.notes == ("sound cut from 5.0 s to 1.5 s",)
        np.testing.assert_allclose(cut.waveform, whole.waveform[:24000], atol=1e-6)


def test_long_file_is_cut_with_its_true_length():
    """The length in the note counts what was never decoded."""
    for container in ("FLAC", "OGG", "MP3"):
        audio = load_audio(sound_bytes(sine(16000, 41.2), 16000, container), max_seconds=3.0)
        assert audio.duration == 3.0 and audio.notes == ("sound cut from 41.2 s to 3.0 s",)


@pytest.mark.parametrize("start", [0.0, 0.5])
def test_sound_of_a_video_is_aligned_with_the_first_frame(start):
    """Sound that starts after the picture is preceded by as much silence, and a note tells."""
    clip = video_bytes("matroska", sound=sine(16000, 2.0), sound_start=start)
    audio = load_audio(clip)
    onset = np.flatnonzero(np.abs(audio.waveform) > 0.1)[0] / 16000
    assert onset == pytest.approx(start, abs=0.08)  # AAC's priming is 64 ms at 16 kHz
    assert bool(audio.notes) == bool(start)


# --- frames -----------------------------------------------------------------------------------------

FILES = {
    "mp4 with B-frames": dict(container="mp4", bf="3", g="12"),
    "mp4 with open groups": dict(container="mp4", bf="3", g="8", **{"x264-params": "open-gop=1:scenecut=0"}),
    "fragmented mp4": dict(container="mp4", muxer={"movflags": "frag_keyframe+empty_moov"}),
    "matroska": dict(container="matroska", g="5"),
    "webm": dict(container="webm", codec="libvpx"),
    "avi with B-frames": dict(container="avi", codec="mpeg4", bf="2"),
    "avi with h264": dict(container="avi"),
    "mpegts": dict(container="mpegts", g="10"),
    "hevc": dict(container="mp4", codec="libx265", **{"x265-params": "log-level=none:keyint=10:open-gop=1"}),
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize(("fps", "max_frames"), [(0.5, 64), (2.0, 64), (7.0, 64), (10.0, 64), (10.0, 6), (25.0, 200)])
def test_frames_are_those_on_display(kind, fps, max_frames):
    """Frame k is the one shown at k / fps, whatever the container, the order of coding and the distance of samples."""
    clip = load_video(video_bytes(**FILES[kind]), fps=fps, max_frames=max_frames)
    assert clip.duration == pytest.approx(5.0, abs=2e-3)
    assert len(clip.frames) == min(max_frames, np.ceil(5.0 * fps))
    expected = on_display(np.arange(50) / 10, np.arange(len(clip.frames)) / clip.fps)
    assert indices(clip.frames) == expected
    assert clip.frames.dtype == np.uint8 and clip.frames.shape[1:] == (48, 64, 3)


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_variable_frame_rate_is_followed(container):
    """Frames that are shown for longer are sampled more often, by their time stamps and not by their number."""
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.integers(20, 400, size=40)).tolist()
    clip = load_video(video_bytes(container, times=times, g="7"), fps=5.0, max_frames=200)
    starts = (np.array(times) - times[0]) / 1000
    assert indices(clip.frames) == on_display(starts, np.arange(len(clip.frames)) / 5.0)
    assert len(set(indices(clip.frames))) < len(clip.frames)


def test_thinned_video_has_its_true_rate_and_a_note():
    """Too many frames become `max_frames` of them, spread over the whole video, at the rate that is returned."""
    clip = load_video(video_bytes(), fps=10.0, max_frames=8)
    assert clip.fps == pytest.approx(8 / 5.0)
    assert clip.notes == ("video thinned from 50 to 8 frames (10 to 1.6 per second)",)
    assert load_video(video_bytes(), fps=10.0, max_frames=50).notes == ()


def test_short_video_is_sampled_more_densely():
    """A clip too short for `min_frames` at the requested rate gets them at a higher one, which is returned."""
    clip = load_video(video_bytes(num_frames=8), fps=0.5, max_frames=64, min_frames=4)
    assert indices(clip.frames) == [0, 2, 4, 6] and clip.fps == pytest.approx(4 / 0.8)
    still = load_video(video_bytes(num_frames=1), fps=2.0, max_frames=64)
    assert indices(still.frames) == [0, 0]


@pytest.mark.parametrize("kind", [*FILES, "frames"])
@pytest.mark.parametrize(
    ("fps", "max_frames", "expected"),
    [
        (0.5, 64, [0, 16, 33, 49]),  # 2.5 become the four of `min_frames`
        (1.5, 64, [0, 10, 20, 29, 39, 49]),  # 7.5, made even
        (10.0, 7, [0, 10, 20, 29, 39, 49]),
    ],
)
def test_frames_from_the_first_to_the_last(kind, fps, max_frames, expected):
    """With `sampling="span"` frames are chosen by number, an even number of them, both ends included."""
    source = video_bytes() if kind == "frames" else video_bytes(**FILES[kind])
    if kind == "frames":
        source = {"frames": load_video(source, fps=10.0, max_frames=64).frames, "fps": 10.0}
    clip = load_video(source, fps=fps, max_frames=max_frames, min_frames=4, sampling="span")
    assert indices(clip.frames) == expected
    assert clip.fps == pytest.approx((len(expected) - 1) / 4.9, rel=1e-3)
    assert bool(clip.notes) == (max_frames == 7)


def test_frames_by_number_whatever_their_times():
    """At a variable rate, and where there are fewer frames than asked for."""
    times = [0, 100, 150, 1000, 1100, 3000, 3050]
    clip = load_video(video_bytes(times=times), fps=0.5, max_frames=64, min_frames=4, sampling="span")
    assert indices(clip.frames) == [0, 2, 4, 6]
    few = load_video(video_bytes(num_frames=3), fps=0.5, max_frames=64, min_frames=4, sampling="span")
    assert indices(few.frames) == [0, 2]
    still = load_video(video_bytes(num_frames=1), fps=0.5, max_frames=64, min_frames=4, sampling="span")
    assert indices(still.frames) == [0, 0]
    with pytest.raises(MediaError, match="sampling must be one of rate, span, got 'all'"):
        load_video(video_bytes(num_frames=1), fps=0.5, max_frames=64, sampling="all")


def test_array_of_frames_is_sampled_like_a_file():
    """Frames with their rate go the way of the file they came from, channels last or first; twice changes nothing."""
    source = load_video(video_bytes(), fps=10.0, max_frames=64)
    for frames in (source.frames, source.frames.transpose(0, 3, 1, 2), source.frames.tolist()[:50]):
        if isinstance(frames, list):
            frames = [np.array(frame, np.uint8) for frame in frames]
        clip = load_video({"frames": frames, "fps": 10.0}, fps=3.0, max_frames=64)
        assert indices(clip.frames) == on_display(np.arange(50) / 10, np.arange(15) / 3.0)
    again = load_video({"frames": clip.frames, "fps": clip.fps}, fps=clip.fps, max_frames=64)
    np.testing.assert_array_equal(again.frames, clip.frames)


def test_stored_rotation_is_applied():
    """A clip marked "turn by 90 degrees clockwise to show", as phones do, comes out upright."""

    def lower_half_white(index, height, width):
        picture = np.zeros((height, width, 3), np.uint8)
        picture[height // 2 :] = 255
        return picture

    plain = video_bytes(image=lower_half_white, num_frames=5)
    header = plain.index(b"tkhd") + 4
    matrix = header + 40
    one = 1 << 16
    turned = b"".join(value.to_bytes(4, "big", signed=True) for value in (0, one, 0, -one, 0, 0, 48 * one, 0, 1 << 30))
    clip = load_video(plain[:matrix] + turned + plain[matrix + 36 :], fps=10.0, max_frames=64)
    assert clip.frames.shape == (5, 64, 48, 3)
    # Clockwise by 90 degrees the bottom becomes the left.
    assert clip.frames[:, :, :20].mean() > 240 and clip.frames[:, :, 28:].mean() < 15


# --- sources ----------------------------------------------------------------------------------------


def test_all_ways_to_hand_over_a_file_are_equal(tmp_path):
    """Path, bytes, open file and `datasets` dict are the same clip, also used twice and after reading has begun."""
    content = video_bytes(sound=sine(16000, 1.0))
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    opened = open(path, "rb")
    opened.read(10)
    sources = [
        str(path),
        path,
        content,
        io.BytesIO(content),
        opened,
        {"bytes": content, "path": None},
        {"bytes": content, "path": "elsewhere.mp4"},
        {"bytes": None, "path": str(path)},
    ]
    frames = load_video(content, fps=2.0, max_frames=64).frames
    waveform = load_audio(content).waveform
    for source in sources:
        assert has_audio(source) and probe_modality(source) == "video"
        np.testing.assert_array_equal(load_video(source, fps=2.0, max_frames=64).frames, frames)
        np.testing.assert_array_equal(load_audio(source).waveform, waveform)
    opened.close()


def fake_decoder(kind: str, **members):
    """A stand-in with torchcodec's documented members, for machines where it is not installed."""
    parent = type(kind, (), {"__module__": f"torchcodec.decoders._{kind.lower()}", **members})
    return type(kind, (parent,), {"__module__": "datasets.features._torchcodec"})()


class Bundle:
    """Attributes from keywords."""

    def __init__(self, **values):
        self.__dict__.update(values)


def test_decoded_columns_of_datasets():
    """The decoder objects that decoded columns yield are read by their documented methods."""
    both = np.stack([sine(48000, 1.0)] * 2)
    sound = fake_decoder("AudioDecoder", get_all_samples=lambda self: Bundle(data=both, sample_rate=48000))
    assert has_audio(sound) and probe_modality(sound) == "audio"
    np.testing.assert_allclose(load_audio(sound).waveform[400:-400], sine(16000, 1.0)[400:-400], atol=1e-4)

    def frames_at(self, seconds):
        picked = np.floor((np.array(seconds) - 1.0) * 10 + 1e-6).astype(int)
        return Bundle(
            data=np.broadcast_to((picked * STEP).astype(np.uint8)[:, None, None, None], (len(picked), 3, 8, 8))
        )

    metadata = Bundle(begin_stream_seconds=1.0, end_stream_seconds=6.0)
    video = fake_decoder("VideoDecoder", metadata=metadata, get_frames_played_at=frames_at)
    assert probe_modality(video) == "video"
    clip = load_video(video, fps=2.0, max_frames=5)
    assert indices(clip.frames) == [0, 10, 20, 30, 40] and clip.fps == 1.0 and clip.frames.shape == (5, 8, 8, 3)
    with pytest.raises(MediaError, match=r"decode=False"):
        load_audio(video)
    with pytest.raises(MediaError, match=r"decode=False"):
        has_audio(video)
    with pytest.raises(MediaError, match="audio column"):
        load_video(sound, fps=1.0, max_frames=5)


def test_modality_is_told_by_content(tmp_path):
    """A name says nothing; the picture on a song's cover is no video; a silent video has no sound."""
    path = tmp_path / "song.mp4"
    path.write_bytes(sound_bytes(sine(16000, 0.5)))
    assert probe_modality(path) == "audio" and has_audio(path)
    assert probe_modality(video_bytes()) == "video" and not has_audio(video_bytes())
    song = io.BytesIO()
    with av.open(song, "w", format="mp4") as output:
        sound = output.add_stream("aac", rate=16000, layout="mono")
        cover = output.add_stream("mjpeg", rate=1)
        cover.width = cover.height = 16
        cover.pix_fmt, cover.disposition = "yuvj420p", av.stream.Disposition.attached_pic
        output.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")))
        output.mux(cover.encode(None))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        output.mux(sound.encode(frame))
        output.mux(sound.encode(None))
    assert probe_modality(song) == "audio"
    with pytest.raises(MediaError, match="no video track"):
        load_video(song, fps=1.0, max_frames=4)


# --- what cannot be used ----------------------------------------------------------------------------

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0\x90wS\xde" + b"\0" * 200


@pytest.mark.parametrize(
    ("file_name", "content", "complaint"),
    [
        ("empty.wav", b"", "is empty"),
        ("text.mp4", b"this is no video, whatever it is called. " * 50, "a kind that is not supported"),
        ("picture.wav", PNG, "a kind that is not supported"),
        ("zeros.mp3", b"\0" * 5000, "a kind that is not supported"),
        ("header.wav", sound_bytes(np.zeros(0, np.float32)), "zero length"),
        ("half_an_index.mp4", video_bytes(sound=sine(16000, 5.0))[:-1500], "is truncated"),
        ("no_index.mp4", video_bytes(num_frames=5)[:300], "is truncated"),
    ],
)
def test_unusable_file_is_named(tmp_path, file_name, content, complaint):
    """An unreadable, empty or mislabelled file is an error that names it, for each way to ask."""
    path = tmp_path / file_name
    path.write_bytes(content)
    requests = [lambda: load_audio(path)]
    if complaint != "zero length":
        requests += [
            lambda: load_video(path, fps=1.0, max_frames=4),
            lambda: has_audio(path),
            lambda: probe_modality(path),
        ]
    for request in requests:
        with pytest.raises(MediaError, match=complaint) as error:
            request()
        assert file_name in str(error.value)


def test_bare_flac_is_not_left_to_ffmpeg(monkeypatch):
    """FFmpeg mistakes samples for frame headers in one sound FLAC of some thousands, and refuses the file: libsndfile
    reads them, whole and equal to what was written."""
    monkeypatch.setattr(media_container.av, "open", None)
    waveform = sine(16000, 1.0)
    audio = load_audio(sound_bytes(waveform, container="FLAC"))
    assert np.abs(audio.waveform - waveform).max() < 1e-4


def test_missing_track_is_named():
    """Sound asked of a silent video and frames asked of a sound are errors that say what is there."""
    with pytest.raises(MediaError, match="row 3 has no sound track .*with video"):
        load_audio(video_bytes(), name="row 3")
    with pytest.raises(MediaError, match="row 4 has no video track .*with audio"):
        load_video(sound_bytes(sine(16000, 1.0)), fps=1.0, max_frames=4, name="row 4")
    with pytest.raises(MediaError, match="without sound"):
        load_audio({"frames": np.zeros((4, 8, 8, 3), np.uint8), "fps": 1})
    with pytest.raises(MediaError, match="is a sound"):
        load_video({"array": sine(16000, 1.0), "sampling_rate": 16000}, fps=1.0, max_frames=4)


def test_unknown_coding_is_named():
    """A track in a coding that no decoder knows is an error, in sight and in sound."""
    clip = video_bytes(sound=sine(16000, 1.0))
    with pytest.raises(MediaError, match="row 5 .*(cannot be decoded|no video track)"):
        load_video(clip.replace(b"avc1", b"zzzz"), fps=1.0, max_frames=4, name="row 5")
    with pytest.raises(MediaError, match="row 6 .*(cannot be decoded|no sound track)"):
        load_audio(clip.replace(b"mp4a", b"zzzz").replace(b"esds", b"free"), name="row 6")


@pytest.mark.parametrize("damage", range(8))
def test_damage_is_a_media_error_or_nothing(damage):
    """Overwritten bytes anywhere in a file raise nothing but `MediaError`."""
    rng = np.random.default_rng(damage)
    for content in (
        video_bytes(num_frames=10, sound=sine(16000, 1.0)),
        video_bytes("matroska", num_frames=10, sound=sine(16000, 1.0)),
        sound_bytes(sine(16000, 1.0), container="FLAC"),
        sound_bytes(sine(16000, 1.0)),
    ):
        damaged = np.frombuffer(content, np.uint8).copy()
        places = rng.integers(0, len(damaged), 30)
        damaged[places] = rng.integers(0, 256, 30)
        for read in (load_audio, has_audio, probe_modality, lambda source: load_video(source, fps=2.0, max_frames=8)):
            try:
                read(damaged.tobytes())
            except MediaError:
                continue


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("wav", sound_bytes(np.random.default_rng(0).normal(0, 0.1, 80000))),
        ("flac", sound_bytes(np.random.default_rng(0).normal(0, 0.1, 80000), container="FLAC")),
    ],
)
def test_truncated_sound_is_an_error(kind, content, share):
    """A sound that ends before its header says so is never taken for a shorter one."""
    with pytest.raises(MediaError, match=f"my.{kind} is (truncated|damaged)"):
        load_audio(content[: int(len(content) * share)], name=f"my.{kind}")


@pytest.mark.parametrize("share", [0.4, 0.7, 0.9])
@pytest.mark.parametrize(
    "options",
    [
        dict(container="mp4"),
        dict(container="matroska"),
        dict(container="avi", codec="mpeg4"),
    ],
    ids=["mp4", "matroska", "avi"],
)
def test_truncated_video_is_an_error(tmp_path, options, share):
    """A video whose end is missing is never taken for a shorter one, in sight or in sound."""
    noise = np.random.default_rng(0).integers(0, 255, (50, 48, 64, 3), np.uint8)
    path = tmp_path / "whole"
    content = video_bytes(image=lambda index, height, width: noise[index], sound=sine(16000, 5.0), **options)
    if options["container"] == "mp4":
        content = index_first(content)
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(MediaError, match="truncated|damaged"):
        load_video(path, fps=2.0, max_frames=64)
    assert len(load_video(content, fps=2.0, max_frames=64).frames) == 10


def index_first(content: bytes) -> bytes:
    """An mp4 with its index moved before its data, as files made for the web have it."""
    mdat, moov = content.index(b"mdat") - 4, content.index(b"moov") - 4
    assert mdat < moov
    index = bytearray(content[moov:])
    position = index.find(b"stco")
    while position >= 0:
        count = int.from_bytes(index[position + 8 : position + 12], "big")
        for entry in range(position + 12, position + 12 + 4 * count, 4):
            offset = int.from_bytes(index[entry : entry + 4], "big") + len(index)
            index[entry : entry + 4] = offset.to_bytes(4, "big")
        position = index.find(b"stco", position + 4)
    return content[:mdat] + bytes(index) + content[mdat:moov]


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        (np.zeros(100, np.float32), "comes without its rate"),
        ([0.0, 0.1], "comes without its rate"),
        ({"array": sine(16000, 0.1)}, "sampling_rate"),
        ({"array": sine(16000, 0.1), "sampling_rate": 0}, "sampling_rate"),
        ({"array": [], "sampling_rate": 16000}, "non-empty"),
        ({"array": [1, 2, 3], "sampling_rate": 16000}, "full scale is unknown"),
        ({"array": [0.0, float("nan")], "sampling_rate": 16000}, "not finite"),
        ({"array": np.zeros((2, 2, 2), np.float32), "sampling_rate": 16000}, "one or two dimensions"),
        ({"bytes": None, "path": None}, "give"),
        ({"bytes": b"", "path": "a.wav"}, "a.wav is empty"),
        (12, "is a int"),
        (io.StringIO("text"), "text"),
        ("no/such/file.wav", "no/such/file.wav"),
        (".", "cannot be opened"),
        ("bad\0name.wav", "cannot be opened"),
    ],
)
def test_unusable_sound_source(source, complaint):
    """Whatever is not a sound is refused with what to do."""
    with pytest.raises(MediaError, match=complaint):
        load_audio(source)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_of_a_file_are_finite(tmp_path, value):
    """A single sample that is not a number would make every probability one: the file is refused, and named."""
    samples = np.zeros(1000, np.float32)
    samples[500] = value
    soundfile.write(tmp_path / "broken.wav", samples, 16000, subtype="FLOAT")
    with pytest.raises(MediaError, match="broken.wav holds samples that are not finite"):
        load_audio(tmp_path / "broken.wav")


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ({"frames": np.zeros((4, 8, 8, 3), np.uint8)}, "fps"),
        ({"frames": np.zeros((4, 8, 8, 3), np.float32), "fps": 1}, "uint8"),
        ({"frames": np.zeros((4, 8, 8), np.uint8), "fps": 1}, "RGB"),
        ({"frames": np.zeros((0, 8, 8, 3), np.uint8), "fps": 1}, "RGB"),
    ],
)
def test_unusable_frames(source, complaint):
    """Frames of unknown rate, scale or layout are refused with what to do."""
    with pytest.raises(MediaError, match=complaint):
        load_video(source, fps=1.0, max_frames=4)


# --- only the file itself is read -------------------------------------------------------------------


@pytest.mark.parametrize(
    "prefix", ["file:", "subfile,,start,0,end,0,,:", "concat:", "cache:", "crypto:", "data:,", "pipe:"]
)
def test_names_are_never_protocols(tmp_path, prefix):
    """A path with one of FFmpeg's protocols before it is a file that does not exist."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(video_bytes())
    with pytest.raises(MediaError, match="cannot be opened|no path but the content|is an address"):
        load_video(f"{prefix}{path}", fps=1.0, max_frames=4)


def test_addresses_are_refused():
    """An address on the net is not fetched, and the error says that only local files are read."""
    with pytest.raises(MediaError, match="Only local files"):
        load_audio("http://localhost/clip.wav")


@pytest.mark.parametrize(
    ("file_name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:5,\n{path}\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", "ffconcat version 1.0\nfile {path}\n"),
        ("list.mp4", "ffconcat version 1.0\nfile {path}\n"),
        ("clip.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"),
        (
            "clip.mpd",
            '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{path}</BaseURL></MPD>',
        ),
    ],
)
def test_playlists_cannot_read_another_file(tmp_path, file_name, text):
    """A file that only names other files is refused, from its path and from its bytes."""
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(video_bytes())
    path = tmp_path / file_name
    for target in (secret, secret.name):
        path.write_text(text.format(path=target))
        for source in (path, path.read_bytes()):
            with pytest.raises(MediaError, match="a kind that is not supported"):
                load_video(source, fps=1.0, max_frames=4)


# --- real clips -------------------------------------------------------------------------------------


@pytest.mark.skipif(not (DATA / "video").is_dir(), reason=f"no real clips in {DATA} (set UMUI_DATA_DIR)")
def test_real_videos_against_brute_force():
    """Of real clips, the frames are those that decoding every frame and looking at its time stamp would pick."""
    clips = [path for path in sorted((DATA / "video").iterdir()) if path.suffix != ".json"]
    assert clips
    for path in clips:
        clip = load_video(path, fps=0.7, max_frames=4, name="clip")
        with av.open(str(path)) as container:
            frames = list(container.decode(container.streams.best("video")))
            starts = np.array([frame.time - frames[0].time for frame in frames])
            picked = on_display(starts, np.arange(len(clip.frames)) / clip.fps)
            for image, index in zip(clip.frames, picked, strict=True):
                np.testing.assert_array_equal(image, frames[index].to_ndarray(format="rgb24"))
        if has_audio(path):
            sound = load_audio(path)
            assert sound.duration == pytest.approx(clip.duration, abs=0.1)
            assert all("sound track" in note for note in sound.notes)


@pytest.mark.skipif(not (DATA / "esc10").is_dir(), reason=f"no real sounds in {DATA} (set UMUI_DATA_DIR)")
def test_real_sounds_against_soundfile():
    """Real Ogg clips decode to what libsndfile decodes, and have their length at 16 kHz too."""
    for path in sorted((DATA / "esc10").glob("*/*.ogg"))[::80]:
        expected, rate = soundfile.read(path, dtype="float32")
        audio = load_audio(path, sampling_rate=rate)
        assert probe_modality(path) == "audio" and len(audio.waveform) == len(expected)
        np.testing.assert_allclose(audio.waveform, expected, atol=1e-3)
        assert load_audio(path).duration == pytest.approx(len(expected) / rate, abs=1e-4)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("file:/srv/a.wav", "is an address"),
        ("FILE://localhost/srv/a.wav", "is an address"),
        (pathlib.PurePosixPath("file:///srv/a.wav"), "is an address"),
        ("data:audio/wav;base64," + "A" * 9000, "content of a file"),
        ("DATA:;charset=utf-8,abc", "content of a file"),
        ("aB3/" * 100, "content of a file"),
        ({"bytes": "aB3/" * 100}, 'text as its "bytes"'),
        ({"bytes": b"12345678", "path": "x" * 9000}, "not a sound or video file"),
        ({"bytes": None, "path": "x" * 9000}, "cannot be opened: File name too long"),
        ({"k" * 9000: 1}, "is a dict with keys"),
        ({"array": np.zeros(9, np.float32), "frames": None, "sampling_rate": [1] * 9000}, "positive"),
    ],
    ids=lambda value: str(value)[:20],
)
@pytest.mark.parametrize("read", [load_audio, lambda source: load_video(source, fps=1.0, max_frames=4)])
def test_errors_about_sources_are_short(source, message, read):
    """Whatever was given for a clip, the error can be read by a person and says what it was."""
    if isinstance(source, dict) and "array" in source:
        source = source | (
            {"frames": np.zeros((2, 8, 8, 3), np.uint8), "fps": [1] * 9000} if read != load_audio else {}
        )
    with pytest.raises(MediaError, match=message) as error:
        read(source)
    assert len(str(error.value)) <= 500


@pytest.mark.parametrize("container", [list, tuple, lambda frames: np.array([*frames, None], object)[:-1], pd.Series])
def test_frames_of_unequal_size_are_named(container):
    """The first frame that is not of the others' size is named; equal ones are read whatever holds them."""
    frames = [np.zeros((28, 56, 3), np.uint8)] * 3
    assert load_video({"frames": container(frames), "fps": 1}, fps=1.0, max_frames=4).frames.shape == (3, 28, 56, 3)
    with pytest.raises(MediaError, match=r"frame 0 has shape \(28, 56, 3\), frame 3 has shape \(28, 28, 3\)"):
        load_video({"frames": container([*frames, frames[0][:, :28]]), "fps": 1}, fps=1.0, max_frames=4)
    with pytest.raises(MediaError, match="rows are of unequal length"):
        load_video({"frames": container([[[[0] * 3] * 2, [[0] * 3]]]), "fps": 1}, fps=1.0, max_frames=4)
