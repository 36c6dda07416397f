"""Draws belief over time: a curve over a clip's seconds or a text's sentences, its interval, and a cursor."""

import json
from html import escape
from textwrap import shorten

from wording import percent, seconds, unbroken


WIDTH, HEIGHT = 400, 100
# The elements of the page that play what was judged: `page.js` knows them by these names.
PLAYERS = {"audio": "sound", "video": "video", "audiovisual": "video"}
SCALE = f"<p class='scale' aria-hidden='true'>{''.join(f'<span>{tick} %</span>' for tick in (100, 50, 0))}</p>"


def draw_curve(over_time: dict, modality: str) -> str:
    """
    Formats the course of an answer as HTML; all that a visitor wrote is escaped.

    The cursor is a slider as high as the picture, which mouse, finger, keys and, by `page.js`, the player move.

    Args:
        over_time (`dict`): As `model.judge_over_time` gives it, at two times or more.
        modality (`str`): Of the premise.
    """
    times, sentences = over_time["times"], over_time["sentences"]
    start, end = (0 if sentences is None else times[0]), times[-1]
    first, last = (seconds(start), seconds(end)) if sentences is None else (f"sentence {start}", f"sentence {end}")
    readings = _readings(over_time)
    return (
        f"<figure class='curve'><figcaption>{'Over the clip' if sentences is None else 'Sentence by sentence'}"
        f"</figcaption><div class='field'>{SCALE}{_picture(over_time, start, end)}"
        f"<input type='range' min='{start}' max='{end}' step='{'any' if sentences is None else 1}' value='{end}' "
        f"aria-label='Moment' aria-valuetext='{escape(readings[-1])}' data-player='{PLAYERS.get(modality, '')}' "
        f"data-times='{json.dumps(times)}' data-readings='{escape(json.dumps(readings))}'></div>"
        f"<p class='span' aria-hidden='true'><span>{first}</span><span>{last}</span></p>"
        # The page's answers are announced when they come; what the cursor tells would be at every step of the player.
        f"<p class='moment' aria-live='off'>{escape(readings[-1])}</p></figure>"
    )


def _readings(over_time: dict) -> list[str]:
    """Returns what can be read at the cursor: before the first point, and from each point on."""
    times, sentences = over_time["times"], over_time["sentences"]
    if sentences is None:
        names = [seconds(time) for time in times]
    else:
        names = [
            f"sentence {time} (“{shorten(sentence, 60, placeholder=' …')}”)"
            for time, sentence in zip(times, sentences, strict=True)
        ]
    readings = [f"Before {names[0]} nothing was judged."]
    for name, mean, (low, high) in zip(names, over_time["probability"], over_time["interval"], strict=True):
        numbers = f"{percent(mean)}, {percent(low)} to {percent(high)}"
        readings.append(f"After {name}: " + unbroken(numbers))
    return readings


def _picture(over_time: dict, start: float, end: float) -> str:
    means, intervals = over_time["probability"], over_time["interval"]
    across = [(time - start) / (end - start) * WIDTH for time in over_time["times"]]
    line = _places(across, means)
    band = _places(across, [low for low, _ in intervals]) + _places(across, [high for _, high in intervals])[::-1]
    description = (
        f"Probability at {len(means)} moments: {percent(means[0])} at the first, {percent(means[-1])} at the last, "
        f"between {percent(min(means))} and {percent(max(means))}."
    )
    return (
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' preserveAspectRatio='none' role='img' aria-label='{description}'>"
        f"<path class='grid' d='M0 0h{WIDTH}M0 {HEIGHT / 2}h{WIDTH}M0 {HEIGHT}h{WIDTH}'/>"
        f"<path class='band' d='M{'L'.join(band)}z'/><path class='line' d='M{'L'.join(line)}'/>"
        # Lines of no length with round ends: circles would be stretched with the picture.
        f"<path class='points' d='{''.join(f'M{place}h0' for place in line)}'/></svg>"
    )


def _places(across: list[float], shares: list[float]) -> list[str]:
    return [f"{x:.1f} {HEIGHT * (1 - share):.2f}" for x, share in zip(across, shares, strict=True)]
