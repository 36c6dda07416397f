"""Checks what a visitor sends, by content: a file's name and stated type count for nothing."""

import os
import re
import warnings
from collections import Counter

import av
from PIL import Image


MAX_FILE_MB = 50
MAX_SECONDS = 120
MAX_PIXELS = 1920 * 1088
MAX_ASPECT = 20
# More than most cameras make; such a picture takes half a gigabyte while it is prepared.
MAX_PICTURE_PIXELS = 25_000_000
# A minute at 120 pictures a second: each is decoded, and a few bytes can stand for one.
MAX_PICTURES = 7_200
# Eight channels at 48 kHz, or two at 192 kHz: silence packs into next to nothing.
MAX_SAMPLES_A_SECOND = 8 * 48_000
MAX_TEXT = 4_000
MAX_HYPOTHESES = 16
MAX_HYPOTHESIS = 300
# Tags, and the marks by which prompts are written.
MARKUP = re.compile(r"<\s*[/!|a-zA-Z]")
# Invisible, but needed to write Persian, the languages of India, and families of emoji.
JOINERS = dict.fromkeys(map(ord, "\u200c\u200d"))
PICTURE_FORMATS = ("PNG", "JPEG", "GIF", "WEBP")
# Formats that hold their own data; a playlist would name other files.
FORMATS = "wav,w64,flac,ogg,mp3,aac,aiff,caf,mov,matroska,webm,avi,mpeg,mpegts,asf,flv"


class InvalidInput(ValueError):
    """Tells a visitor why what was sent cannot be judged, and repeats nothing of it."""


def split_hypotheses(lines: str) -> list[str]:
    """Returns the hypotheses of a text, one a line; empty lines are passed over."""
    if not isinstance(lines, str) or len(lines) > MAX_HYPOTHESES * (MAX_HYPOTHESIS + 2) * 2:
        raise InvalidInput(f"Too much at once: give up to {MAX_HYPOTHESES} hypotheses, one a line.")
    # Blanks of any kind are one blank: what is copied from a page has tabs and blanks that don't break.
    hypotheses = [" ".join(line.split()) for line in lines.splitlines() if line.strip()]
    if not hypotheses:
        raise InvalidInput("Write at least one hypothesis: a sentence that may be true or false, one a line.")
    if len(hypotheses) > MAX_HYPOTHESES:
        raise InvalidInput(f"That is {len(hypotheses)} hypotheses; up to {MAX_HYPOTHESES} are judged at once.")
    for place, hypothesis in enumerate(hypotheses, start=1):
        if len(hypothesis) > MAX_HYPOTHESIS:
            raise InvalidInput(f"Hypothesis {place} is longer than {MAX_HYPOTHESIS} characters: make it one sentence.")
        _check_letters(hypothesis, f"Hypothesis {place}")
    return hypotheses


def check_text(text: str | None) -> str:
    """Returns the text of a premise once it has been checked."""
    if not isinstance(text, str) or not text.strip():
        raise InvalidInput("Write the text that the hypotheses are about.")
    if len(text) > MAX_TEXT:
        raise InvalidInput(f"The text is longer than {MAX_TEXT:,} characters: shorten it.")
    _check_letters(" ".join(text.split()), "The text")
    return text


def _check_letters(words: str, name: str) -> None:
    if MARKUP.search(words):
        raise InvalidInput(f"{name} has markup in it, a < before a letter: write it in plain words.")
    if not words.translate(JOINERS).isprintable():
        raise InvalidInput(f"{name} has letters in it that nobody can see: type it anew.")


def check_clip(path: str | None, kind: str, with_sound: bool = False) -> str:
    """
    Checks a clip of kind `"audio"` or `"video"`, which must have sound if `with_sound`, without decoding it. Returns
    its path; raises [`InvalidInput`] if it is none, too large, too long, or not of this kind.
    """
    word = "sound" if kind == "audio" else "video"
    if not path:
        raise InvalidInput(f"Add a {word} first: choose a file, record one, or take an example.")
    _check_file(path, word)
    unreadable = InvalidInput(f"This file is not a {word} that can be read, whatever its name says; or it is damaged.")
    try:
        # As an open file: no name is taken for an address.
        with open(path, "rb") as file, av.open(file, options={"format_whitelist": FORMATS}) as container:
            pictures, sound = container.streams.best("video"), container.streams.best("audio")
            if kind == "video":
                _check_frames(pictures)
                if with_sound and sound is None:
                    raise InvalidInput("This video has no sound: judge its picture only.")
            if kind == "audio" or with_sound:
                _check_sound(sound)
            _check_length(container, word)
    except (av.FFmpegError, OSError) as error:
        raise unreadable from error
    return path


def check_picture(path: str) -> str:
    """Checks a picture, by reading it; returns its path, or raises [`InvalidInput`]."""
    _check_file(path, "picture")
    too_large = InvalidInput(f"The picture has more than {MAX_PICTURE_PIXELS:,} pixels: make it smaller.")
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=PICTURE_FORMATS) as image:
                if image.width * image.height > MAX_PICTURE_PIXELS:
                    raise too_large
                _check_sides(image.width, image.height)
                image.load()
    except InvalidInput:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise too_large from error
    # Pillow's decoders raise all of these on what is damaged.
    except (OSError, ValueError, SyntaxError) as error:
        raise InvalidInput(
            "This file is damaged, or not a picture that can be read, whatever its name says: give a PNG, JPEG, GIF "
            "or WebP."
        ) from error
    return path


def _check_file(path: str, word: str) -> None:
    if not os.path.exists(path):
        raise InvalidInput(f"This {word} is not here any more: files are deleted after some minutes. Choose it again.")
    if os.path.getsize(path) > MAX_FILE_MB * 2**20:
        raise InvalidInput(f"The file is larger than {MAX_FILE_MB} MB.")


def _check_frames(stream: av.VideoStream | None) -> None:
    if stream is None:
        raise InvalidInput("There is no picture in this file.")
    if stream.width * stream.height > MAX_PIXELS:
        raise InvalidInput("The picture is larger than 1920 x 1080: make it smaller.")
    _check_sides(stream.width, stream.height)


def _check_sides(width: int, height: int) -> None:
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise InvalidInput(f"The picture is a mere stripe: its sides may differ {MAX_ASPECT} times at most.")


def _check_sound(stream: av.AudioStream | None) -> None:
    if stream is None:
        raise InvalidInput("There is no sound in this file.")
    if stream.rate * stream.channels > MAX_SAMPLES_A_SECOND:
        raise InvalidInput("The sound has too many channels or samples a second: save it in stereo at 48 kHz.")


def _check_length(container: av.container.InputContainer, word: str) -> None:
    """Measures the packets too: some recorders declare no length, and some headers lie."""
    too_long = InvalidInput(f"The {word} is longer than {MAX_SECONDS} seconds: cut it.")
    if (container.duration or 0) / av.time_base > MAX_SECONDS:
        raise too_long
    pictures = Counter()
    for packet in container.demux():
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None and float(stamp * packet.time_base) > MAX_SECONDS + 1:
            raise too_long
        if packet.stream.type == "video":
            pictures[packet.stream.index] += 1
            if pictures[packet.stream.index] > MAX_PICTURES:
                raise InvalidInput(
                    f"The video has more than {MAX_PICTURES:,} pictures: cut it, or take fewer a second."
                )
