"""Tables are Markdown with the numbers of the report; figures are PNG files that show them."""

import re

import numpy as np
from PIL import Image

from evaluation.figures.style import prediction_histogram
from evaluation.metrics.uncertain_inference.measures import measure
from evaluation.stress.heatmap import heat_map
from evaluation.tables import (
    comparison_table,
    further_measures_table,
    lacking_table,
    markdown_table,
    measures_table,
    number,
    with_interval,
)


def a_report():
    """A report with a constant predictor, whose correlation is undefined."""
    targets = np.array([0.1, 0.4, 0.9])
    model, constant = measure(targets + 0.05, targets, resamples=50), measure(np.full(3, 0.5), targets)
    baselines = {key: {"measures": constant} for key in ("constant_mean", "hypothesis_only")}
    return {"n": 3, "measures": model, **baselines, "target_floor": {"measures": measure(targets, targets)}}


def test_columns_line_up():
    """Every line of a table is as long as the others and has as many columns, whatever stands in a cell."""
    table = markdown_table(["name", "value"], [["a", "1"], ["longer name", "0.25"], ["x|\n y", ""]]).splitlines()
    assert len({len(line) for line in table}) == 1
    assert table[1] == "|-------------|------:|" and table[4] == "| x\\| y       |       |"
    assert markdown_table(["a", "b"], [["c", "d"]], words=2).splitlines()[1] == "|---|---|"


def test_tables_tell_the_numbers_and_a_dash_where_there_is_none():
    """The model stands with its interval; what is undefined is a dash, not a zero."""
    table = {line.split("|")[1].strip(): line for line in measures_table(a_report()).splitlines()}
    assert "0.0025 [0.0025, 0.0025]" in table["mse"]
    assert table["spearman"].split("|")[3].strip() == "-"
    row = comparison_table({"urn-text": a_report()}).splitlines()[2]
    assert [cell.strip() for cell in row.split("|")[1:4]] == ["urn-text", "3", "0.0025 [0.0025, 0.0025]"]


def test_what_is_small_is_not_nothing():
    """An error of a few millionths keeps its first two digits, of either sign; what is left of rounding is 0."""
    shown = [number(value) for value in (0.0, 9e-9, 0.01234, 0.00006, 0.0000499, 3.97e-6, -2e-5, None)]
    assert shown == ["0.0000", "0.0000", "0.0123", "0.0001", "5.0e-05", "4.0e-06", "-2.0e-05", "-"]
    assert with_interval({"value": 4e-6, "interval": [0.0, 0.0002]}) == "4.0e-06 [0.0000, 0.0002]"


def test_every_measure_is_in_one_of_two_tables():
    """The few main ones and the rest; a baseline without a distribution has a dash there, and the nominal is told."""
    report = a_report()
    spread = {"interval": [[0.0, 0.2], [0.4, 0.6], [0.5, 0.8]]}
    report["measures"] |= measure([0.1, 0.5, 0.7], [0.1, 0.4, 0.9], distributions=spread, resamples=0)
    report["measures"]["coverage"]["nominal"] = 0.9
    tables = [measures_table(report).splitlines(), further_measures_table(report).splitlines()]
    names = [[line.split("|")[1].strip() for line in table[2:]] for table in tables]
    assert names[0] == ["mse", "ece", "ece_by_chance", "nll", "spearman", "accuracy", "f1"]
    assert sorted(names[0] + names[1]) == sorted({*report["measures"], "coverage (nominal 0.9)"} - {"coverage"})
    row = next(line for line in tables[1] if line.startswith("| coverage (nominal 0.9)"))
    assert [cell.strip() for cell in row.split("|")[2:-1]] == ["0.6667", "-", "-", "-"]


def test_figures_are_written_whole(tmp_path):
    """Few rows are drawn too, and no partial file is left."""
    for targets in (np.linspace(0, 1, 500), np.array([0.3])):
        prediction_histogram(targets**2, targets, tmp_path / "predictions.png", "title")
        image = np.asarray(Image.open(tmp_path / "predictions.png").convert("L"))
        assert image.min() < 100 < 250 < image.max()
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.png"]


def test_names_are_drawn_whole_and_are_no_formulas(tmp_path, monkeypatch):
    """Dollar signs of a name would be a formula, and no sound one; of a long title nothing is outside of a figure."""
    prediction_histogram([0.2], [0.3], tmp_path / "predictions.png", r"R&D_50% $\x^{$")
    drawn = []
    monkeypatch.setattr("evaluation.stress.heatmap.save_figure", lambda figure, *_, **__: drawn.append(figure))
    cell = {"modality": "audiovisual", "cell": "base", "knob": "base", "mae": {"value": 0.1}}
    heat_map([cell], tmp_path / "heatmap.png", r"scalar-Qwen3-Omni-30B-A3B-Instruct $\x^{$: error by difficulty")
    (figure,) = drawn
    figure.draw_without_rendering()
    title = figure.axes[0].title.get_window_extent()
    assert 0 <= title.x0 and title.x1 <= figure.bbox.x1 and title.y1 <= figure.bbox.y1


def test_rows_without_a_number_add_up():
    """Every row is in one line of the table, however many reasons there are, and a server's words break no cell."""
    reasons = {f"HTTP 400: request {index} | refused": 1 for index in range(15)} | {"no number": 5}
    table = lacking_table({"n": 20, "reasons": reasons}, 80).splitlines()
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table[2:]]
    assert cells[0] == ["with a number, measured", "60", "75.0%"] and cells[1] == ["no number", "5", "6.2%"]
    assert cells[-1] == ["6 other reasons (report.json)", "6", "7.5%"]
    assert sum(int(rows) for _, rows, _ in cells) == 80
