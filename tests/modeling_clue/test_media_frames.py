"""When the frames of a video are shown, and what they look like, on the kinds of files people have."""

import gc
import io
import itertools
import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from modeling_clue.media import MediaError, load_audio, load_video


STEP = 6  # difference in brightness between a frame and the next


def grey(index: int) -> np.ndarray:
    """A picture that carries its number."""
    return np.full((64, 64, 3), 10 + STEP * index, np.uint8)


def numbers(frames: np.ndarray) -> list[int]:
    """The numbers that frames carry."""
    return [round((float(frame.mean()) - 10) / STEP) for frame in frames]


def clip(
    container: str,
    codec: str,
    milliseconds: list[int],
    sound_seconds: float = 0.0,
    pictures: list[np.ndarray] | None = None,
    pix_fmt: str = "yuv420p",
    muxer: dict[str, str] | None = None,
    pixel: Fraction | None = None,
    **options: str,
) -> bytes:
    """A video whose pictures are shown at `milliseconds`, in slots of 0.1 s where its container knows no others."""
    file = io.BytesIO()
    pictures = pictures or [grey(index) for index in range(len(milliseconds))]
    clock = Fraction(1, 1000) if any(time % 100 for time in milliseconds) else Fraction(1, 10)
    with av.open(file, "w", format=container, options=muxer or {}) as output:
        track = output.add_stream(codec, rate=10, options=options)
        track.height, track.width = pictures[0].shape[:2]
        track.pix_fmt, track.bit_rate, track.codec_context.time_base = pix_fmt, 4_000_000, clock
        if pixel:
            track.codec_context.sample_aspect_ratio = pixel
        sound = output.add_stream("mp2", rate=16000, layout="mono") if sound_seconds else None
        for time, picture in zip(milliseconds, pictures, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(time / 1000 / clock), clock
            output.mux(track.encode(frame))
        output.mux(track.encode())
        if sound:
            tone = (8000 * np.sin(np.arange(round(16000 * sound_seconds)) / 5)).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts = 16000, 0
            output.mux(sound.encode(frame))
            output.mux(sound.encode())
    return file.getvalue()


@pytest.mark.parametrize("pause", [1, 3, 9, 14])
@pytest.mark.parametrize("options", [{"bf": "0"}, {}, {"bf": "4", "b-pyramid": "normal"}])
@pytest.mark.parametrize(
    ("container", "muxer"),
    [("mp4", {}), ("mp4", {"movflags": "frag_keyframe+empty_moov"}), ("mp4", {"use_editlist": "0"}), ("matroska", {})],
)
def test_a_pause_counts_once(container, muxer, options, pause):
    """Frames are reordered or not: the video ends with its last frame, a pause is there once, and each time shows the
    frame that was on display."""
    times = [80 * index + (3000 if index >= pause else 0) for index in range(16)]
    video = load_video(clip(container, "libx264", times, muxer=muxer, **options), fps=12.5, max_frames=64)
    assert video.duration == pytest.approx((times[-1] + 80) / 1000, abs=0.1)
    shown = [sum(time <= 80 * k + 1 for time in times) - 1 for k in range(len(video.frames))]
    assert numbers(video.frames) == shown


@pytest.mark.parametrize("dropped", [range(0), range(5, 13), (7, 20, 21)])
@pytest.mark.parametrize(
    ("codec", "options"), [("mpeg4", {}), ("mpeg4", {"bf": "2"}), ("libx264", {}), ("libx264", {"bf": "0"})]
)
def test_a_dropped_frame_of_an_avi_takes_up_its_time(codec, options, dropped):
    """Where a frame was dropped the one before it stays; frames behind it are neither early nor late."""
    kept = [index for index in range(40) if index not in dropped]
    data = clip("avi", codec, [100 * index for index in kept], pictures=[grey(index) for index in kept], **options)
    video = load_video(data, fps=10, max_frames=64)
    assert video.duration == pytest.approx(4.0, abs=0.11)
    shown = [max(index for index in kept if index <= k) for k in range(39)]
    assert np.abs(np.array(numbers(video.frames[:39])) - shown).max() == 0


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
@pytest.mark.parametrize("order", ["aa", "ab", "ba", "aba"])
def test_joined_recordings_follow_each_other(codec, order):
    """Transport streams joined byte by byte, whose clocks start anew or jump: all are shown and heard, one behind the
    other, and picture and sound stay together."""
    times = [100 * index for index in range(20)]
    parts = {
        "a": clip("mpegts", codec, times, sound_seconds=2.0),
        "b": clip("mpegts", codec, times, sound_seconds=2.0, muxer={"output_ts_offset": "1000"}),
    }
    data = b"".join(parts[name] for name in order)
    video = load_video(data, fps=10, max_frames=100)
    assert video.duration == pytest.approx(2.0 * len(order), abs=0.1 * len(order))
    assert load_audio(data).duration == pytest.approx(video.duration, abs=0.15)
    assert [number for number in numbers(video.frames) if number in (5, 15)] == [5, 15] * len(order)


@pytest.mark.parametrize(
    ("container", "codec", "pix_fmt"),
    [
        ("h264", "libx264", "yuv420p"),
        ("hevc", "libx265", "yuv420p"),
        ("mjpeg", "mjpeg", "yuvj420p"),
        ("m4v", "mpeg4", "yuv420p"),
        ("apng", "apng", "rgb24"),
        ("yuv4mpegpipe", "wrapped_avframe", "yuv420p"),
        ("mpeg2video", "mpeg2video", "yuv420p"),
        ("obu", "libsvtav1", "yuv420p"),
    ],
)
def test_streams_without_a_container(container, codec, pix_fmt):
    """Raw streams and animations are read whole; one without a clock says at which rate it was taken."""
    data = clip(container, codec, [100 * index for index in range(30)], pix_fmt=pix_fmt)
    video = load_video(data, fps=50, max_frames=200)
    assert sorted(set(numbers(video.frames))) == list(range(30))
    assert bool(video.notes) == (container in ("h264", "hevc"))


@pytest.mark.parametrize("head", [b"RIFF\x10\0\0\0WEBPVP8L", b"\x89PNG\r\n\x1a\n", b"%PDF-1.7", b"#EXTM3U\n"])
def test_other_kinds_are_told_what_is_supported(head):
    """What is no clip that can be read is refused with the list of what can."""
    with pytest.raises(MediaError, match=r"not supported\. Supported are MP4/MOV"):
        load_video(head + bytes(200), fps=1, max_frames=4)


def test_every_display_matrix():
    """The eight orientations of the coded picture, as numpy makes them from the matrix."""
    coded = np.zeros((64, 96, 3), np.uint8)
    coded[:32, :48], coded[:32, 48:], coded[32:, :48] = (200, 0, 0), (0, 200, 0), (0, 0, 200)
    data = clip("mp4", "libx264", [0, 100], pictures=[coded] * 2, pix_fmt="yuv444p", qp="0")
    place = data.index(b"tkhd") + 44
    assert struct.unpack(">i", data[place : place + 4]) == (65536,)
    for first, second in itertools.product((1, -1), repeat=2):
        for a, b, c, d in ((first, 0, 0, second), (0, first, second, 0)):
            numbers_of = (65536 * value for value in (a, b, 0, c, d, 0))
            turned = data[:place] + struct.pack(">6i", *numbers_of) + data[place + 24 :]
            y, x = np.mgrid[:64, :96]
            columns, rows = a * x + c * y, b * x + d * y
            rows, columns = rows - rows.min(), columns - columns.min()
            wanted = np.zeros((rows.max() + 1, columns.max() + 1, 3), int)
            wanted[rows, columns] = coded
            got = load_video(turned, fps=10, max_frames=4).frames[0]
            assert got.shape == wanted.shape
            assert np.abs(got - wanted).max() < 8


@pytest.mark.parametrize(("pixel", "width"), [((4, 3), 85), ((1, 2), 32), ((1, 1), 64), ((100, 1), 64)])
def test_pixels_are_made_square(pixel, width):
    """A picture is as wide as its pixels say; a ratio that no camera has is a mistake of the writer."""
    data = clip("mp4", "libx264", [0, 100, 200], pixel=Fraction(*pixel))
    assert load_video(data, fps=10, max_frames=4).frames.shape[1:3] == (64, width)


def light(nits: float, curve: int) -> float:
    """The signal of so much light: SMPTE ST 2084, or HLG on a display of 1,000 nits."""
    if curve == 16:
        y = (nits / 10000) ** 0.1593017578125
        return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375
    scene = (nits / 1000) ** (1 / 1.2)
    a = 0.17883277
    return (3 * scene) ** 0.5 if scene <= 1 / 12 else a * np.log(12 * scene - (1 - 4 * a)) + 0.5 - a * np.log(4 * a)


def high_dynamic_range(nits: float, curve: int, matrix: int = 9) -> bytes:
    """A grey video of 10 bits in Rec. 2020's colours."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        track = output.add_stream("ffv1", rate=5)
        track.width = track.height = 64
        track.pix_fmt = "yuv420p10le"
        context = track.codec_context
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = 9, curve, matrix, 1
        frame = av.VideoFrame(64, 64, "yuv420p10le")
        for plane, value in zip(frame.planes, (round(64 + 876 * light(nits, curve)), 512, 512), strict=True):
            plane.update(np.full(plane.buffer_size // 2, value, "<u2").tobytes())
        output.mux(track.encode(frame))
        output.mux(track.encode())
    return file.getvalue()


@pytest.mark.parametrize(("nits", "curve"), [(203, 16), (26, 16), (100, 18), (1, 18)])
def test_high_dynamic_range_is_tone_mapped(nits, curve):
    """White is 203 nits (ITU-R BT.2408), and less light is as dark as on a display of standard range (BT.1886)."""
    video = load_video(high_dynamic_range(nits, curve), fps=5, max_frames=4)
    wanted = 255 * min(1.0, nits / 203) ** (1 / 2.4)
    assert np.abs(video.frames.astype(float) - wanted).max() < 4
    assert "HDR" in video.notes[0]


def test_what_cannot_be_tone_mapped_is_noted():
    """Colours in a matrix without a known way back are shown as they are, and a note tells."""
    (note,) = load_video(high_dynamic_range(100, 16, matrix=14), fps=5, max_frames=4).notes
    assert "cannot be tone-mapped" in note


@pytest.mark.parametrize("given", ["file", "array"])
def test_frames_are_shrunk_one_by_one(given):
    """Each chosen frame is handed over once, with their number, before the next is decoded, and replaced."""
    seen = []

    def shrink(frame: np.ndarray, number: int) -> np.ndarray:
        seen.append((frame.shape, number))
        return frame[::8, ::8]

    source = clip("mp4", "libx264", [100 * index for index in range(20)])
    if given == "array":
        source = {"frames": np.stack([grey(index) for index in range(20)]), "fps": 10}
    small = load_video(source, fps=5, max_frames=64, shrink=shrink)
    assert seen == [((64, 64, 3), 10)] * 10
    assert np.array_equal(small.frames, load_video(source, fps=5, max_frames=64).frames[:, ::8, ::8])


def test_decoded_frames_do_not_pile_up():
    """A frame is let go when the next one is there, without Python's looking for circles of references."""
    video = clip("mp4", "libx264", [100 * number for number in range(30)])
    alive = []

    def shrink(frame: np.ndarray, num_frames: int) -> np.ndarray:
        alive.append(sum(isinstance(one, av.VideoFrame) for one in gc.get_objects()))
        return frame.copy()

    gc.collect()
    gc.disable()
    try:
        frames = load_video(video, fps=10.0, max_frames=30, shrink=shrink).frames
    finally:
        gc.enable()
    assert len(frames) == 30 and max(alive) - min(alive) < 10
