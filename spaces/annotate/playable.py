"""
Finds the clips and pictures that some browser can't play or show, and tells what to do about them, before anybody sits
before them.

What is said here was measured in Chromium; for Firefox and Safari it follows their documentation. Whether a clip does
play on somebody's screen is found out there, by `pages/`.
"""

import shlex
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import av
from PIL import Image


MP4, WEBM = "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"
# By FFmpeg's names, for each container: codecs of pictures, codecs of sound, and the endings by which the server tells
# browsers its media type.
PLAYED = {
    MP4: ("h264 vp9 av1", "aac mp3 opus flac", (".mp4", ".m4v", ".m4a", ".mov")),
    WEBM: ("vp8 vp9 av1", "opus vorbis", (".webm",)),
    "ogg": ("", "opus vorbis flac", (".ogg", ".oga", ".opus")),
    "wav": ("", "pcm_u8 pcm_s16le pcm_s24le pcm_f32le pcm_alaw pcm_mulaw", (".wav",)),
    "flac": ("", "flac", (".flac",)),
    "mp3": ("", "mp3", (".mp3",)),
    "aac": ("", "aac", (".aac",)),
}
PICTURES = ("PNG", "JPEG", "GIF", "WEBP")
# H.264 is left to the machine's decoder. Those of the other codecs are the browsers' own, and take every format.
H264_FORMATS = ("yuv420p", "yuvj420p")
# Of other containers the length is an estimate.
DECLARE_LENGTH = (MP4, WEBM, "flac")
SECONDS_SHORT = 1
COMMAND = (
    'mkdir -p playable; for clip in {clips}; do name=${{clip##*/}}; ffmpeg -nostdin -i "$clip" '
    "-map '0:V:0?' -map '0:a:0?' -c:v libx264 -crf 18 -pix_fmt yuv420p -vf 'pad=ceil(iw/2)*2:ceil(ih/2)*2' "
    "-c:a aac -b:a 192k -af 'aformat=channel_layouts=mono|stereo|5.1' -movflags +faststart "
    '"playable/{name}.mp4"; done'
)


@dataclass(frozen=True)
class Fault:
    """Tells what keeps browsers from playing a clip; encoding it anew helps if `curable`."""

    text: str
    curable: bool = True


def find_faults(clips: Iterable[tuple[str, str]]) -> dict[str, Fault]:
    """Looks into clips, pairs of a path and a modality in which it is judged, `"image"` for pictures; returns faults
    by path."""
    clips = sorted(set(clips))
    with ThreadPoolExecutor() as pool:
        found = pool.map(_fault, clips)
        return {path: fault for (path, _), fault in zip(clips, found, strict=True) if fault}


def warning(faults: dict[str, Fault]) -> str:
    """Tells the organiser each fault, and the command that makes clips that every browser plays; nothing if none."""
    if not faults:
        return ""
    lines = [
        f"{len(faults)} of the files can't be played or shown in every browser, and where they can't, not be judged:"
    ]
    lines += [f"  {Path(path).name}: {fault.text}" for path, fault in faults.items()]
    curable = [path for path, fault in faults.items() if fault.curable]
    if len(curable) < len(faults):
        lines.append("What is damaged or lacks something is to be fetched anew.")
    if curable:
        # Two clips that differ by their endings alone keep them.
        name = "${name%%.*}" if len({Path(path).name.split(".")[0] for path in curable}) == len(curable) else "$name"
        lines.append("This makes MP4 (H.264, AAC) of the others in a folder `playable`; build the dataset from those:")
        lines.append(COMMAND.format(clips=" ".join(map(shlex.quote, curable)), name=name))
    return "\n".join(lines)


def _fault(clip: tuple[str, str]) -> Fault | None:
    path, modality = clip
    if modality == "image":
        return _fault_of_picture(path)
    try:
        with av.open(path) as container:
            return _fault_inside(container, modality) or _fault_of_name(container, Path(path).suffix.lower())
    except av.FFmpegError as error:
        return Fault(f"can't be read: {error.strerror}", curable=False)


def _fault_of_picture(path: str) -> Fault | None:
    try:
        with Image.open(path, formats=PICTURES) as image:
            image.load()
    # Pillow's decoders raise all of these on what is damaged or too large.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "it is gone" if isinstance(error, FileNotFoundError) else "damaged, or none of " + ", ".join(PICTURES)
        return Fault(f"can't be read as a picture: {reason}", curable=False)
    return None


def _fault_inside(container: av.container.InputContainer, modality: str) -> Fault | None:
    """Looks at the container, and at the tracks that the modality needs."""
    kind, name = container.format.name, container.format.long_name
    if kind not in PLAYED:
        return Fault(f"is {name}")
    covers = av.stream.Disposition.attached_pic
    tracks = {
        "picture": [stream for stream in container.streams.video if not stream.disposition & covers],
        "sound": container.streams.audio,
    }
    for sense, codecs, without in zip(tracks, PLAYED[kind], ("audio", "video"), strict=False):
        if modality == without:
            continue
        if not tracks[sense]:
            return Fault(f"has no {sense}", curable=False)
        decoder = tracks[sense][0].codec_context
        codec = decoder.codec.canonical_name if decoder else "unknown"
        if codec not in codecs.split():
            return Fault(f"its {sense} is {codec} in {name}")
        if codec == "h264" and decoder.pix_fmt not in H264_FORMATS:
            return Fault(f"its picture is h264 as {decoder.pix_fmt}, not as yuv420p")
        container.seek(0)
        if next(container.decode(tracks[sense][0]), None) is None:
            return Fault(f"its {sense} is empty", curable=False)
    return _fault_of_length(container) if kind in DECLARE_LENGTH and container.duration else None


def _fault_of_length(container: av.container.InputContainer) -> Fault | None:
    """Tells by its last packets if a clip ends before the time it declares."""
    start, declared = ((time or 0) / av.time_base for time in (container.start_time, container.duration))
    try:
        container.seek(container.duration - av.time_base // 2)
    except av.FFmpegError:
        container.seek(0)  # a FLAC file without a table of its places, as libsndfile writes them
    ends = [(one.pts + (one.duration or 0)) * one.time_base for one in container.demux() if one.pts is not None]
    found = float(max(ends, default=start)) - start
    if declared - found <= SECONDS_SHORT:
        return None
    return Fault(f"is cut off: it declares {declared:.1f} s and has {found:.1f} s", curable=False)


def _fault_of_name(container: av.container.InputContainer, suffix: str) -> Fault | None:
    """Tells if a name, which some browsers believe, says something else than the file."""
    *_, suffixes = PLAYED[container.format.name]
    if suffix in suffixes:
        return None
    return Fault(f"is {container.format.long_name}, but its name does not end in {' or '.join(suffixes)}")
