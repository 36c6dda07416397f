"""Answers as a visitor reads them: a number, its interval, the whole distribution as a picture and as a table."""

from html import escape


WIDTH, HEIGHT, BASE = 400, 88, 70


def percent(share: float) -> str:
    """A share as people say it: never 0 % or 100 % for what is merely close to it."""
    if 0 < share < 0.01:
        return "under 1 %"
    if 0.99 < share < 1:
        return "over 99 %"
    return f"{share:.0%}".replace("%", " %")


def show_answers(columns: dict[str, list[dict]]) -> str:
    """
    The answers as HTML.

    Args:
        columns (`dict[str, list[dict]]`): The pipeline's answers, the same hypotheses in each; what a column rests on
            is its name: one column, or with and without sound.

    Returns:
        `str`: with all that a visitor wrote escaped.
    """
    notes = list(dict.fromkeys(note for answers in columns.values() for answer in answers for note in answer["notes"]))
    cards = "".join(_card(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True))
    told = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f"<div class='answers'>{f'<ul class=notes>{told}</ul>' if told else ''}{cards}</div>"


def show_refusal(message: str) -> str:
    """A refusal as HTML."""
    return f"<div class='answers'><p class='refusal'><strong>Not judged.</strong> {escape(message)}</p></div>"


def _card(row: dict[str, dict]) -> str:
    hypothesis = escape(next(iter(row.values()))["hypothesis"])
    parts = "".join(_answer(name if len(row) > 1 else "", answer) for name, answer in row.items())
    return f"<article class='card'><h3>{hypothesis}</h3><div class='columns'>{parts}</div></article>"


def _answer(name: str, answer: dict) -> str:
    low, high = answer["interval"]
    label = f"<p class='condition'>{escape(name)}</p>" if name else ""
    return (
        f"<section>{label}<p class='number'><strong>{percent(answer['probability'])}</strong> "
        f"<span>{percent(low)} to {percent(high)}</span></p>{_plot(answer)}{_table(answer['distribution'])}</section>"
    )


def _plot(answer: dict) -> str:
    mean, bins, (low, high) = answer["probability"], answer["distribution"], answer["interval"]
    top, step = max(bins), WIDTH / len(bins)
    bars = "".join(
        f"M{k * step:.1f} {BASE}v-{64 * share / top:.2f}h{step - 0.6:.1f}V{BASE}z" for k, share in enumerate(bins)
    )
    ticks = "".join(
        f"<text x='{WIDTH * tick / 100:.0f}' y='{HEIGHT - 1}' text-anchor='{anchor}'>{tick}</text>"
        for tick, anchor in ((0, "start"), (25, "middle"), (50, "middle"), (75, "middle"), (100, "end"))
    )
    width = max((high - low) * WIDTH, 1)
    told = (
        f"Distribution over {len(bins)} levels of confidence: mean {percent(mean)}, 90 % of it between "
        f"{percent(low)} and {percent(high)}, highest at {percent(bins.index(top) / (len(bins) - 1))}."
    )
    return (
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{told}'>"
        f"<rect class='band' x='{low * WIDTH:.1f}' y='2' width='{width:.1f}' height='{BASE - 2}'/>"
        f"<path class='bars' d='{bars}'/><path class='axis' d='M0 {BASE}h{WIDTH}'/>"
        f"<path class='mean' d='M{mean * WIDTH:.1f} 2V{BASE + 4}'/>{ticks}</svg>"
    )


def _table(bins: list[float]) -> str:
    rows = "".join(f"<tr><td>{k / (len(bins) - 1):.3f}</td><td>{share:.4f}</td></tr>" for k, share in enumerate(bins))
    return (
        "<details><summary>All numbers</summary><div class='scroll' tabindex='0' role='region' "
        "aria-label='Table of the distribution'><table><thead><tr><th scope='col'>Probability</th>"
        f"<th scope='col'>Weight</th></tr></thead><tbody>{rows}</tbody></table></div></details>"
    )
