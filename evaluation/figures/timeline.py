"""A model's belief over the time of one premise, above what there was to read, see or hear at each time."""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from evaluation.figures.style import COLOURS, LINES, PAGE, PRINTED, draw_grid
from evaluation.tables import csv_table
from modeling_clue.media import has_audio, load_audio, load_video


# Inches of the axes across, about, and of each row that is drawn.
ACROSS, BELIEF, FRAMES, SOUND, TEXT_LINE = 6.1, 2.1, 0.62, 0.55, 0.125
# Letters of a text that stand beside each other across the axes; the most lines of a sentence, and its fewest letters.
LETTERS, MOST_LINES, NARROWEST = 145, 8, 6
# Letters of a line of a hypothesis.
NAME = 52
# Fewest and most frames of a strip; pixels of the height to which each is shrunk.
FEWEST, MOST, PIXELS = 4, 16, 160
# Columns of a waveform, each from its lowest to its highest sample.
COLUMNS = 1200
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@dataclass(frozen=True)
class Story:
    """
    A premise with the curves of the hypotheses about it.

    `curves` are as [`~UncertainInferencePipeline.timeline`] returns them. `frames` are shown one after the other, each
    for as long as the others, `(k, height, width, 3)` uint8; `sound` is the waveform up to the end, `(samples,)`.
    """

    title: str
    curves: list[dict]
    text: str | None = None
    frames: np.ndarray | None = None
    sound: np.ndarray | None = None

    @property
    def times(self) -> list[float]:
        """Returns the times of all curves, in seconds, or in characters of a text."""
        return self.curves[0]["times"]


def read_story(clue, premise: Mapping[str, str], hypotheses: list[str], **options) -> Story:
    """
    Asks about a premise over time, and reads what is to be shown of it.

    Args:
        clue ([`UncertainInferencePipeline`]): The model.
        premise (`Mapping[str, str]`): `text`, or the file of an `audio` or a `video`, which is judged with its sound
            where it has some and `modality` says nothing else.
        hypotheses (`list[str]`): About it, one a curve.
        options: Of [`~UncertainInferencePipeline.timeline`]: `every`, `interval`, `fps`.

    Raises:
        ValueError: if there are more hypotheses than colours, one comes twice, or the premise can't be used.
    """
    if len(hypotheses) > len(COLOURS):
        raise ValueError(
            f"{len(hypotheses)} curves could not be told apart: give at most {len(COLOURS)} --hypotheses."
        )
    if len(set(hypotheses)) < len(hypotheses):
        raise ValueError("A hypothesis is named twice: name each of --hypotheses once.")
    premise = dict(premise)
    if "video" in premise and premise.get("modality") is None:
        premise["modality"] = "audiovisual" if has_audio(premise["video"]) else "video"
    curves = clue.timeline(premise, hypotheses, **options)
    modality, end = curves[0]["modality"], curves[0]["times"][-1]
    (source,) = (premise[name] for name in ("text", "audio", "video") if name in premise)
    if modality == "text":
        return Story(textwrap.shorten(source, 80, placeholder=" …"), curves, text=source[: int(end)])
    frames = sound = None
    if modality in ("video", "audiovisual"):
        frames = _strip(source, end)
    if modality in ("audio", "audiovisual"):
        sound = load_audio(source)
        sound = sound.waveform[: round(end * sound.sampling_rate)]
    return Story(str(source), curves, frames=frames, sound=sound)


def _strip(source: str, end: float) -> np.ndarray:
    """Reads as many frames as fit beside each other, evenly from the first on."""

    def shrink(frame: np.ndarray, _: int) -> np.ndarray:
        height = min(PIXELS, frame.shape[0])
        width = max(1, round(frame.shape[1] * height / frame.shape[0]))
        return np.asarray(Image.fromarray(frame).resize((width, height)))

    first = load_video(source, fps=1 / end, max_frames=1, min_frames=1, shrink=shrink, end=end).frames[0]
    number = int(np.clip(round(ACROSS / FRAMES * first.shape[0] / first.shape[1]), FEWEST, MOST))
    return load_video(source, fps=number / end, max_frames=number, shrink=shrink, end=end).frames


@rc_context(PRINTED)
def draw_timeline(story: Story) -> tuple[Figure, str]:
    """Draws a curve a hypothesis with its interval, above what there was at each time; says in words what it shows."""
    heights, parts = [BELIEF], []
    if story.frames is not None:
        heights.append(ACROSS / len(story.frames) * story.frames.shape[1] / story.frames.shape[2])
        parts.append(_draw_frames)
    if story.sound is not None:
        heights.append(SOUND)
        parts.append(_draw_sound)
    if story.text is not None:
        heights.append(TEXT_LINE * (1 + max(said.count("\n") + 1 for _, _, said in _sentences(story))))
        parts.append(_draw_text)
    names = [textwrap.fill(curve["hypothesis"], NAME) for curve in story.curves]
    # Two names beside each other, unless one takes more than its half.
    columns = 2 if len(names) > 1 and max(map(len, names)) < NAME and "\n" not in "".join(names) else 1
    lines = sum(name.count("\n") + 1 for name in names) / columns
    figure = Figure(figsize=(PAGE, sum(heights) + 0.65 + 0.15 * lines), layout="constrained")
    belief, *rest = figure.subplots(len(heights), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for place, (curve, name) in enumerate(zip(story.curves, names, strict=True)):
        low, high = zip(*curve["interval"], strict=True)
        colour = COLOURS[place]
        belief.fill_between(story.times, low, high, color=colour, alpha=0.15, linewidth=0)
        look = {"linestyle": LINES[place % len(LINES)], "marker": MARKERS[place], "markersize": 3.5}
        belief.plot(story.times, curve["probability"], color=colour, label=name, **look)
    belief.set(xlim=(0, story.times[-1]), ylim=(-0.03, 1.03), ylabel="probability")
    # Markers at the end are not cut off.
    for line in belief.lines:
        line.set_clip_on(False)
    draw_grid(belief)
    for axes, draw in zip(rest, parts, strict=True):
        draw(axes, story)
    last = ([belief, *rest])[-1]
    if story.text is None:
        last.set_xlabel("seconds")
    else:
        last.set_xlabel("what has been read")
        # The grid's lines are where sentences end.
        last.set_xticks(story.times)
        last.tick_params(bottom=False, labelbottom=False)
        belief.tick_params(bottom=False)
    figure.legend(loc="outside upper center", ncols=columns, frameon=False)
    return figure, _in_words(story)


def _draw_frames(axes: Axes, story: Story) -> None:
    edges = np.linspace(0, story.times[-1], len(story.frames) + 1)
    for frame, start, end in zip(story.frames, edges, edges[1:], strict=False):
        axes.imshow(frame, extent=(start, end, 0, 1), aspect="auto", interpolation="antialiased")
        axes.axvline(end, color="w", linewidth=1)
    axes.set(xlim=(0, story.times[-1]), ylim=(0, 1), yticks=[])


def _draw_sound(axes: Axes, story: Story) -> None:
    pieces = np.array_split(story.sound, min(COLUMNS, len(story.sound)))
    places = np.linspace(0, story.times[-1], len(pieces))
    lowest, highest = [piece.min() for piece in pieces], [piece.max() for piece in pieces]
    axes.fill_between(places, lowest, highest, color="0.35", linewidth=0.3)
    loudest = max(float(np.abs(story.sound).max()), 1e-3)
    axes.set(ylim=(-1.05 * loudest, 1.05 * loudest), yticks=[])


def _draw_text(axes: Axes, story: Story) -> None:
    for place, (start, end, said) in enumerate(_sentences(story)):
        axes.axvspan(start, end, color="0.95" if place % 2 else "0.88", linewidth=0)
        axes.text((start + end) / 2, 0.5, said, ha="center", va="center", fontsize=6, parse_math=False, clip_on=True)
    axes.set(ylim=(0, 1), yticks=[])


def _sentences(story: Story) -> list[tuple[float, float, str]]:
    """Returns what was read from each time to the next, broken into lines as long as its part of the axis."""
    found, edges = [], [0.0, *story.times]
    for start, end in zip(edges, story.times, strict=False):
        width = int(0.92 * LETTERS * (end - start) / story.times[-1])
        said = " ".join(story.text[int(start) : int(end)].split())
        # Into less nothing would fit that can be read.
        fits = width >= NARROWEST
        found.append((start, end, textwrap.fill(said, width, max_lines=MOST_LINES, placeholder=" …") if fits else ""))
    return found


def _in_words(story: Story) -> str:
    unit = "characters" if story.text is not None else "s"
    words = [f"Belief over time about {story.title}, with intervals: what the model would say if it ended there."]
    for curve in story.curves:
        told = "; ".join(
            f"{probability:.3f} [{low:.3f}, {high:.3f}] at {time:g} {unit}"
            for time, probability, (low, high) in zip(
                story.times, curve["probability"], curve["interval"], strict=True
            )
        )
        words.append(f"{curve['hypothesis']}: {told}.")
    return "\n".join([*words, *(f"Note: {note}." for note in story.curves[0]["notes"])])


def timeline_values(story: Story) -> str:
    """Returns the numbers of the curves as CSV, a row a time of a hypothesis."""
    return csv_table(
        {"hypothesis": curve["hypothesis"], "time": time, "probability": probability, "low": low, "high": high}
        for curve in story.curves
        for time, probability, (low, high) in zip(story.times, curve["probability"], curve["interval"], strict=True)
    )
