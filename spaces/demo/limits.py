"""What a visitor may send, checked on the server by content: a file's name and stated type count for nothing."""

import os
import re

import av


MAX_FILE_MB = 50
MAX_SECONDS = 120
MAX_PIXELS = 1920 * 1088
MAX_TEXT = 4_000
MAX_HYPOTHESES = 16
MAX_HYPOTHESIS = 300
# Tags, and the marks by which prompts are written.
MARKUP = re.compile(r"<\s*[/!|a-zA-Z]")
# Formats that hold their own data; a playlist would name other files.
FORMATS = "wav,w64,flac,ogg,mp3,aac,aiff,caf,mov,matroska,webm,avi,mpegts,asf,flv"


class Refusal(ValueError):
    """What was sent cannot be judged. The message is for the visitor and repeats nothing they sent."""


def split_hypotheses(lines: str) -> list[str]:
    """The hypotheses of a text, one a line; empty lines are passed over."""
    if not isinstance(lines, str) or len(lines) > MAX_HYPOTHESES * (MAX_HYPOTHESIS + 2) * 2:
        raise Refusal(f"Too much at once: give up to {MAX_HYPOTHESES} hypotheses, one a line.")
    hypotheses = [line.strip() for line in lines.splitlines() if line.strip()]
    if not hypotheses:
        raise Refusal("Write at least one hypothesis: a sentence that may be true or false, one a line.")
    if len(hypotheses) > MAX_HYPOTHESES:
        raise Refusal(f"That is {len(hypotheses)} hypotheses; up to {MAX_HYPOTHESES} are judged at once.")
    for place, hypothesis in enumerate(hypotheses, start=1):
        if len(hypothesis) > MAX_HYPOTHESIS:
            raise Refusal(f"Hypothesis {place} is longer than {MAX_HYPOTHESIS} characters: make it one sentence.")
        if MARKUP.search(hypothesis) or not hypothesis.isprintable():
            raise Refusal(f"Hypothesis {place} has markup in it: write it as a plain sentence.")
    return hypotheses


def check_text(text: str | None) -> str:
    """The text of a premise."""
    if not isinstance(text, str) or not text.strip():
        raise Refusal("Write the text that the hypotheses are about.")
    if len(text) > MAX_TEXT:
        raise Refusal(f"The text is longer than {MAX_TEXT:,} characters: shorten it.")
    if MARKUP.search(text):
        raise Refusal("The text has markup in it: write it in plain words.")
    return text


def check_clip(path: str | None, kind: str, with_sound: bool = False) -> str:
    """
    Checks a clip without decoding it.

    Args:
        path (`str`, *optional*): Where Gradio put the upload.
        kind (`str`): `"audio"` or `"video"`.
        with_sound (`bool`, *optional*, defaults to `False`): Whether a video must have sound.

    Returns:
        `str`: the path.

    Raises:
        Refusal: if it is none, too large, too long, or not of this kind.
    """
    word = "sound" if kind == "audio" else "video"
    if not path:
        raise Refusal(f"Add a {word} first: choose a file, record one, or take an example.")
    if os.path.getsize(path) > MAX_FILE_MB * 2**20:
        raise Refusal(f"The file is larger than {MAX_FILE_MB} MB.")
    unreadable = Refusal(f"This file is not a {word} that can be read, whatever its name says; or it is damaged.")
    try:
        # As an open file: no name is taken for an address.
        with open(path, "rb") as file, av.open(file, options={"format_whitelist": FORMATS}) as container:
            stream = container.streams.best(kind)
            if stream is None:
                raise Refusal(f"There is no {'sound' if kind == 'audio' else 'picture'} in this file.")
            if with_sound and container.streams.best("audio") is None:
                raise Refusal("This video has no sound: judge its picture only.")
            if kind == "video" and stream.width * stream.height > MAX_PIXELS:
                raise Refusal("The picture is larger than 1920 x 1080: make it smaller.")
            declared = (container.duration or 0) / av.time_base
            if declared > MAX_SECONDS or _lasts_too_long(container):
                raise Refusal(f"The {word} is longer than {MAX_SECONDS} seconds: cut it.")
    except (av.FFmpegError, OSError) as error:
        raise unreadable from error
    return path


def _lasts_too_long(container: av.container.InputContainer) -> bool:
    """Whether any packet lies beyond the limit: some recorders declare no length, and some headers lie."""
    for packet in container.demux():
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None and float(stamp * packet.time_base) > MAX_SECONDS + 1:
            return True
    return False
