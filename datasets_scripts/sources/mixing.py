"""
Clips made of others: sounds cut out where they can be heard, brought to one level and put one after the other.

A sound can be heard where 20 ms of it are less than 20 dB below its loudest 20 ms, and up to 0.1 s before and after:
pauses of up to 0.2 s between two barks belong to the barking, longer ones are shortened to that.
"""

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile
from scipy.ndimage import binary_dilation

from common.errors import InputError
from datasets_scripts.building.clips import SAMPLING_RATE
from datasets_scripts.building.drafts import Clip, Draft, Problem
from datasets_scripts.sources.claims import Claim, drafts_about
from modeling_clue.media import MediaError, load_audio


FRAME = SAMPLING_RATE // 50
# Of the level of the loudest frame: 20 dB below it.
AUDIBLE = 0.1
FRAMES_AROUND = 5
LEVEL = 0.05
HIGHEST_PEAK = 0.99
# The samples that two neighbours share.
FADE = SAMPLING_RATE // 50
# How often a clip that was there before is drawn anew.
ATTEMPTS = 100


def read_sound(path: Path) -> np.ndarray:
    """Returns a clip as a waveform at 16 kHz; an unreadable or silent one is a `MediaError`."""
    waveform = load_audio(path, sampling_rate=SAMPLING_RATE).waveform
    if not _frames(waveform).any():
        raise MediaError(f"{path} is silent: nothing can be mixed of it.")
    return waveform


def audible(waveform: np.ndarray) -> np.ndarray:
    """Returns what can be heard of a waveform, put together."""
    frames = _frames(waveform)
    levels = np.sqrt(np.square(frames, dtype=np.float64).mean(1))
    return frames[binary_dilation(levels >= AUDIBLE * levels.max(), iterations=FRAMES_AROUND)].ravel()


def cut(waveform: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Returns so many samples from anywhere in a waveform, which begins anew where it ends if it is shorter."""
    spare = len(waveform) - samples
    start = rng.integers(spare + 1 if spare >= 0 else len(waveform))
    return np.take(waveform, np.arange(start, start + samples), mode="wrap")


def mix(parts: list[np.ndarray]) -> Clip:
    """Returns a clip of waveforms one after the other, at one level; neighbours fade over in `FADE` samples."""
    rise = np.sqrt(np.linspace(0, 1, FADE))
    mixed = _levelled(parts[0])
    for part in map(_levelled, parts[1:]):
        shared = mixed[-FADE:] * rise[::-1] + part[:FADE] * rise
        mixed = np.concatenate([mixed[:-FADE], shared, part[FADE:]])
    mixed = mixed / max(1.0, np.abs(mixed).max() / HIGHEST_PEAK)
    file = io.BytesIO()
    soundfile.write(file, mixed, SAMPLING_RATE, format="FLAC", subtype="PCM_16")
    name = f"mix-{hashlib.sha256(file.getvalue()).hexdigest()[:16]}.flac"
    return Clip(Path(name), name, content=file.getvalue())


def drafts_about_mixes(
    draw: Callable[[], tuple[Clip, list[Iterable[Claim]]]],
    number: int,
    option: str,
    say: Callable[[list[Iterable[Claim]]], list[Claim]],
    premise: dict,
    name: str,
) -> Iterator[Draft | Problem]:
    """
    Yields the drafts about mixed clips, all different.

    Args:
        draw (`Callable`): Gives a clip and what may be said of it; a `MediaError` says which raw clip is no good.
        number (`int`): How many clips to mix.
        option (`str`): The option that asks for so many, for the error if there aren't.
        say (`Callable`): Chooses among what may be said.
        premise (`dict`), name (`str`): As of [`~datasets_scripts.sources.claims.drafts_about`], of all the clips.
    """
    seen = set()
    for k in range(number):
        place = f"{name}-{k:05d}"
        for _ in range(ATTEMPTS):
            try:
                clip, forms = draw()
            except MediaError as error:
                yield Problem(place, "media", str(error))
                break
            if clip.key not in seen:
                seen.add(clip.key)
                yield from drafts_about(premise | {"audio": clip}, place, place, say(forms))
                break
        else:
            raise InputError(f"{number} different clips of {name} were asked for, and {k} were found: lower {option}")


def _levelled(waveform: np.ndarray) -> np.ndarray:
    return waveform * (LEVEL / np.sqrt(np.square(waveform, dtype=np.float64).mean()))


def _frames(waveform: np.ndarray) -> np.ndarray:
    return waveform[: len(waveform) // FRAME * FRAME].reshape(-1, FRAME)
