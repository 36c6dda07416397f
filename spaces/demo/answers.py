"""Shows answers to a visitor: a number, its interval, the whole distribution as a picture and as a table."""

from html import escape

from curve import draw_curve
from wording import percent, unbroken


WIDTH, HEIGHT = 400, 72
# Beside the picture, which is stretched to any width: letters are not.
TICKS = f"<p class='ticks' aria-hidden='true'>{''.join(f'<span>{tick}</span>' for tick in (0, 25, 50, 75, 100))}</p>"


def show_answers(columns: dict[str, list[dict]]) -> str:
    """
    Formats answers as HTML; all that a visitor wrote is escaped.

    Args:
        columns (`dict[str, list[dict]]`): The pipeline's answers, the same hypotheses in each; what a column rests on
            is its name: one column, or with and without sound. Those that have `over_time` are given a curve.
    """
    notes = list(dict.fromkeys(note for answers in columns.values() for answer in answers for note in answer["notes"]))
    cards = "".join(_card(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True))
    told = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f"<div class='answers'>{f'<ul class=notes>{told}</ul>' if told else ''}{cards}</div>"


def show_error(message: str) -> str:
    """Formats why nothing was judged as HTML."""
    return f"<div class='answers'><p class='refusal'><strong>Not judged.</strong> {escape(message)}</p></div>"


def _card(row: dict[str, dict]) -> str:
    hypothesis = escape(next(iter(row.values()))["hypothesis"])
    parts = "".join(_answer(name if len(row) > 1 else "", answer) for name, answer in row.items())
    return f"<article class='card'><h3 dir='auto'>{hypothesis}</h3><div class='columns'>{parts}</div></article>"


def _answer(name: str, answer: dict) -> str:
    low, high = answer["interval"]
    label = f"<p class='condition'>{escape(name)}</p>" if name else ""
    curve = draw_curve(answer["over_time"], answer["modality"]) if "over_time" in answer else ""
    return (
        f"<section>{label}<p class='number'><strong>{percent(answer['probability'])}</strong> "
        f"<span>{percent(low)} to {percent(high)}</span></p>{_withdrawn(answer)}{_plot(answer)}{curve}"
        f"{_table(answer['distribution'])}</section>"
    )


def _withdrawn(answer: dict) -> str:
    if not answer.get("novelty"):
        return ""
    share = unbroken(percent(answer["novelty"]))
    return f"<p class='withdrawn'>Unlike what this checkpoint knows: {share} of its answer is taken back.</p>"


def _plot(answer: dict) -> str:
    mean, bins, (low, high) = answer["probability"], answer["distribution"], answer["interval"]
    top, step = max(bins), WIDTH / len(bins)
    bars = "".join(
        f"M{k * step:.1f} {HEIGHT}v-{0.92 * HEIGHT * share / top:.2f}h{step - 0.6:.1f}V{HEIGHT}z"
        for k, share in enumerate(bins)
    )
    width = max((high - low) * WIDTH, 1)
    told = (
        f"Distribution over {len(bins)} levels of confidence: mean {percent(mean)}, 90 % of it between "
        f"{percent(low)} and {percent(high)}, highest at {percent(bins.index(top) / (len(bins) - 1))}."
    )
    return (
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' preserveAspectRatio='none' role='img' aria-label='{told}'>"
        f"<rect class='band' x='{low * WIDTH:.1f}' y='0' width='{width:.1f}' height='{HEIGHT}'/>"
        f"<path class='bars' d='{bars}'/><path class='axis' d='M0 {HEIGHT}h{WIDTH}'/>"
        f"<path class='mean' d='M{mean * WIDTH:.1f} 0v{HEIGHT}'/></svg>{TICKS}"
    )


def _table(bins: list[float]) -> str:
    rows = "".join(f"<tr><td>{k / (len(bins) - 1):.3f}</td><td>{share:.4f}</td></tr>" for k, share in enumerate(bins))
    return (
        "<details><summary>All numbers</summary><div class='scroll' tabindex='0' role='region' "
        "aria-label='Table of the distribution'><table><thead><tr><th scope='col'>Probability</th>"
        f"<th scope='col'>Weight</th></tr></thead><tbody>{rows}</tbody></table></div></details>"
    )
