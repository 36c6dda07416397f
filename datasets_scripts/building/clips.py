"""A premise's sound or video on its way into the dataset: read to see that it can be, stored, and hashed."""

import os
import shutil
import stat
from pathlib import Path

import soundfile

from common.digests import file_digest
from common.files import replacing
from datasets_scripts.building.drafts import Clip
from modeling_clue.media import MediaError, load_audio, load_video


SAMPLING_RATE = 16_000
# Enough to decode in the first and in the last part of a clip, few enough to hold several videos at once in memory.
CHECKED_FRAMES = 8


class ClipError(ValueError):
    """A clip can't be a premise. The message names the file and what is wrong with it."""


def store_clip(clip: Clip, modality: str, target: Path) -> str:
    """
    Checks a raw clip by decoding it, and stores a copy, or its sound.

    Sound is decoded wholly; of pictures, a few frames spread over the whole video, after all packets were counted
    against the length that the file declares. The copy is independent of the raw file and has its modification time:
    a `target` with the same time (and, for a copy, the same size) was stored by an earlier, interrupted build, and is
    not made anew. Different targets may be stored by several threads at once.

    Args:
        clip (`Clip`): The raw file. With `sound_only`, its sound is stored as FLAC (16 kHz, mono, 16 bit).
        modality (`str`): `"audio"`, `"video"` or `"audiovisual"`: what the clip must hold.
        target (`Path`): Where to store it, in a folder that exists.

    Returns:
        `str`: the SHA-256 of the raw file's content, in hexadecimal.

    Raises:
        `ClipError`: if the file is missing, is no regular file, is empty, unreadable, damaged or truncated, lacks the
            pictures or the sound that `modality` wants, or changes meanwhile.
    """
    if clip.content is not None:
        return _store_content(clip, modality, target)
    before = _look_at(clip.path)
    if not _is_stored(target, before, clip.sound_only):
        with replacing(target) as partial:
            _check_and_write(clip, modality, partial)
            os.utime(partial, ns=(before.st_atime_ns, before.st_mtime_ns))
    try:
        digest = file_digest(clip.path)
    except OSError as error:
        raise ClipError(f"{clip.path} cannot be read: {error.strerror}") from error
    after = _look_at(clip.path)
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        # The copy may be a mixture of both, and the digest that of neither.
        target.unlink(missing_ok=True)
        raise ClipError(f"{clip.path} was changed while it was read: build again")
    return digest


def _store_content(clip: Clip, modality: str, target: Path) -> str:
    """Stores a clip that is no file by way of one."""
    raw = target.with_name(f".{target.name}.raw")
    try:
        raw.write_bytes(clip.content)
        # The key stands for the content: what an earlier build stored under it is the same.
        os.utime(raw, ns=(0, 0))
        return store_clip(Clip(raw, clip.key, clip.sound_only), modality, target)
    except ClipError as error:
        raise ClipError(str(error).replace(str(raw), str(clip.path))) from error
    finally:
        raw.unlink(missing_ok=True)


def _look_at(path: Path) -> os.stat_result:
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise ClipError(f"{path} does not exist") from error
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        raise ClipError(f"{path} cannot be read: {error}") from error
    if stat.S_ISDIR(found.st_mode):
        raise ClipError(f"{path} is a folder, not a clip")
    if not stat.S_ISREG(found.st_mode):
        # Opening a pipe would wait for ever.
        raise ClipError(f"{path} is no regular file")
    if found.st_size == 0:
        raise ClipError(f"{path} is empty (0 bytes)")
    return found


def _is_stored(target: Path, raw: os.stat_result, sound_only: bool) -> bool:
    if not target.is_file():
        return False
    there = target.stat()
    return there.st_mtime_ns == raw.st_mtime_ns and (sound_only or there.st_size == raw.st_size)


def _check_and_write(clip: Clip, modality: str, partial: Path) -> None:
    try:
        if modality != "audio":
            load_video(clip.path, fps=CHECKED_FRAMES, max_frames=CHECKED_FRAMES)
        # Of a video without its sound, the sound may be whatever it is, or none.
        sound = None if modality == "video" else load_audio(clip.path, sampling_rate=SAMPLING_RATE)
    except MediaError as error:
        raise ClipError(str(error)) from error
    if clip.sound_only:
        soundfile.write(partial, sound.waveform, SAMPLING_RATE, format="FLAC", subtype="PCM_16")
    else:
        shutil.copyfile(clip.path, partial)
