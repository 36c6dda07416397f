"""`python -m evaluation.figures`: every figure from files, its numbers those of the files; what is refused."""

import json
import re
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets_scripts.annotations import main as annotations
from evaluation.agreement import agreement_report, histogram
from evaluation.figures import __main__ as figures
from evaluation.figures.distributions import draw_distributions, ratio_predictions, teacher_answers
from evaluation.figures.items import draw_items, read_items
from evaluation.prediction_files import read_run

from .conftest import run_of


NOISE = (("ann", 0), ("ben", 5))
PAGE = Path(figures.__file__).with_name("README.md")


@pytest.fixture
def people(tmp_path):
    """Raw judgements of two people about ten items, and two teachers' answers, one of them never readable."""
    lines = ["annotator,item,probability"]
    lines += [f"{who},{k},{min(100, 10 * k + more)}" for who, more in NOISE for k in range(10)]
    (tmp_path / "raw.csv").write_text("\n".join([*lines, "ann,alone,50"]) + "\n")
    annotations(["aggregate", "--annotations", str(tmp_path / "raw.csv"), "--output", str(tmp_path / "people.jsonl")])
    for name, probability, reason in (("sure", 1.0, None), ("mute", None, "no number")):
        answers = [{"text": "x", "probability": probability, "reason": reason}] * 3
        rows = [{"id": str(k), "config": "c", "split": "test", "answers": answers} for k in range(10)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def draw(*arguments):
    """Runs the command line."""
    figures.main([str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("command", "kinds"),
    [
        (["reliability", "--equal-mass"], ("png", "svg", "pdf")),
        (["risk-coverage", "--by", *["entropy", "interval"] * 3], ("svg",)),
        (["ratios"], ("svg",)),
    ],
)
def test_figures_of_an_evaluation_are_written_alike_and_described(text_evaluation, tmp_path, capsys, command, kinds):
    """A second time the same bytes; the words beside it, printed and in the metadata; nothing half. What is named more
    often is one curve."""
    places = [[tmp_path / turn / f"figure.{kind}" for kind in kinds] for turn in "ab"]
    for out in places:
        draw(*command, "--output", *out, "--", f"one={text_evaluation}", text_evaluation)
    for first, second in zip(*places, strict=True):
        assert first.read_bytes() == second.read_bytes()
    words = (tmp_path / "a/figure.alt.txt").read_text()
    assert words in capsys.readouterr().out
    assert words.count("one, by entropy") == ("risk-coverage" in command)
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"figure.alt.txt", *(path.name for path in places[0])}
    if "png" in kinds:
        with Image.open(places[0][0]) as image:
            assert image.text["Description"] == words.strip()
            assert np.asarray(image.convert("L")).min() < 100


def test_figure_3_and_its_numbers_are_of_the_judgements(people, capsys):
    """Words, table and JSON tell one report, null where it is undefined; the items of a video are one premise."""
    with (people / "raw.csv").open("w") as file:
        file.write("annotator,item,probability,video\n")
        file.writelines(f"{who},{k},{min(100, 10 * k + more)},v{k // 3}\n" for who, more in NOISE for k in range(10))
        file.write("cai,alone,50,\n")
    out = people / "new/agreement.png"
    draw("agreement", "--annotations", people / "raw.csv", "--output", out, "--resamples", 20)
    found = json.loads(out.with_suffix(".json").read_text())
    matrix = np.array([[min(100, 10 * k + more) / 100 for _, more in NOISE] for k in range(10)])
    known = agreement_report(matrix, ["ann", "ben"], [k // 3 for k in range(10)], 20)
    assert found["alpha"] == known["alpha"] and known["alpha"]["premises"] == 4
    pairs = {(pair["first"], pair["second"]): pair for pair in found["pairs"]}
    (pair,) = [pair for pair in known["pairs"] if pair["first"] != pair["second"]]
    assert pairs["ann", "ben"] == pair and pairs["ann", "cai"]["pearson"] is None
    table = out.with_suffix(".md").read_text()
    assert table.strip() in out.with_suffix(".alt.txt").read_text() and table.strip() in capsys.readouterr().out
    assert f"alpha (interval): {known['alpha']['value']:.4f}, 95% interval" in table
    assert "4 premises of 10 items, 20 resamples" in table
    assert {path.name.partition(".")[2] for path in out.parent.iterdir()} == {"png", "alt.txt", "json", "md"}
    (people / "pilot.txt").write_text("1\n2\n")
    draw("agreement", "--annotations", people / "raw.csv", "--items", people / "pilot.txt", "--output", out)
    assert json.loads(out.with_suffix(".json").read_text())["items"]["judged"] == 2


def test_annotators_are_drawn_beside_all_of_them(people):
    """Each has a panel, and its counts stand in the file beside."""
    draw("annotators", "--annotations", people / "raw.csv", "--output", people / "a.svg")
    together, ann, ben = json.loads((people / "a.json").read_text())
    assert [one["name"] for one in (together, ann, ben)] == ["all annotators", "ann", "ben"]
    assert (together["n"], ann["n"], ben["n"]) == (21, 11, 10)
    assert ann["histogram"] == [1, 1, 1, 1, 1, 2, 1, 1, 1, 1] and ben["histogram"] == [1] * 10


def test_figure_4_is_of_the_judgements(people):
    """Every answer of a teacher counts beside every one of people."""
    answers, said = teacher_answers({"sure": people / "sure.jsonl"}, people / "people.jsonl")
    figure, _ = draw_distributions(answers, said, "people")
    (axes,) = figure.axes
    bars = [bar for bar in axes.patches if bar.get_label() != "people"]
    assert [bar.get_height() for bar in bars] == [0] * 9 + [1]
    outline = next(patch for patch in axes.patches if patch.get_label() == "people")
    np.testing.assert_allclose(outline.get_data().values, histogram(np.array(said)) / 20)
    assert len(said) == 20, "what one person alone judged is no measure of people"
    judged = ["--judgements", people / "people.jsonl"]
    draw("teachers", "--answers", f"sure={people}/sure.jsonl", *judged, "--output", people / "4.svg")
    assert "100% from 0.9 on" in (people / "4.alt.txt").read_text()
    counts = json.loads((people / "4.json").read_text())
    assert [(one["name"], one["n"], one["histogram"][-1]) for one in counts] == [("people", 20, 2), ("sure", 30, 30)]
    with pytest.raises(SystemExit, match="None of the answers of mute"):
        draw("teachers", "--answers", f"mute={people}/mute.jsonl", *judged)


def test_the_page_of_figures_has_its_examples(urn_world, tmp_path, monkeypatch):
    """The script of made-up people gives what the commands take; each picture on the page is there, and small."""
    monkeypatch.setattr("sys.argv", ["made_up.py", str(urn_world), str(tmp_path)])
    runpy.run_path(str(PAGE.parent / "examples/made_up.py"), run_name="__main__")
    annotations(["aggregate", "--annotations", str(tmp_path / "raw.csv"), "--output", str(tmp_path / "people.jsonl")])
    answers, people = teacher_answers({"hasty": tmp_path / "hasty.jsonl"}, tmp_path / "people.jsonl")
    assert (len(answers["hasty"]), len(people)) == (12 * 5, 12 * 4)
    pictures = [PAGE.parent / name for name in re.findall(r"\]\((.*?\.png)\)", PAGE.read_text(encoding="utf-8"))]
    assert len(pictures) == 8
    assert max(path.stat().st_size for path in pictures if path.parent.name == "examples") < 60_000


def test_figure_6_is_of_the_same_rows():
    """Predictions are counted beside the targets; runs of other rows are refused."""
    tenths = [k / 10 for k in range(10)]
    one = run_of("1:1", [0] * 10, prediction=tenths, target=[0.25] * 10)
    two = run_of("1:3", [0] * 10, prediction=[None, *[0.05] * 9], target=[0.25] * 10)
    found, targets = ratio_predictions([one, two])
    figure, words = draw_distributions(found, targets, "people")
    heights = [[bar.get_height() for bar in axes.patches if bar.get_label() != "people"] for axes in figure.axes]
    np.testing.assert_allclose(heights, [[0.1] * 10, [1] + [0] * 9])
    np.testing.assert_allclose(figure.axes[1].patches[-1].get_data().values, [0, 0, 1] + [0] * 7)
    assert "1:3: n = 9, mean 0.050" in words
    other = run_of("other", [0] * 9, prediction=tenths[:9], target=[0.5] * 9)
    with pytest.raises(ValueError, match="1:1 and other are not of the same rows; 10 differ, the first is 0"):
        ratio_predictions([one, other])


def test_an_item_shows_the_distribution_that_was_measured(text_evaluation, tiny_checkpoint, tmp_path):
    """Its mean and spread are those saved; bars, line and target are read back from the axes."""
    saved = read_run(text_evaluation).predictions
    out = tmp_path / "item.svg"
    draw("item", text_evaluation, "--model", tiny_checkpoint, "--ids", saved[5]["id"], "--output", out)
    assert saved[5]["id"] in out.with_suffix(".alt.txt").read_text()
    ids = [saved[5]["id"], saved[1]["id"], saved[2]["id"]]
    items = read_items(read_run(text_evaluation), ids, tiny_checkpoint)
    figure, words = draw_items(items)
    assert len(figure.axes) == 3
    for item, axes, row in zip(items, figure.axes, (saved[5], saved[1], saved[2]), strict=True):
        mean = (item.values * item.distribution).sum()
        assert item.distribution.sum() == pytest.approx(1, abs=1e-5)
        assert mean == pytest.approx(row["prediction"], abs=1e-4)
        spread = ((item.values - mean) ** 2 * item.distribution).sum() ** 0.5
        assert spread == pytest.approx(row["standard_deviation"], abs=1e-4)
        bars = [patch for patch in axes.patches if patch.get_width() == pytest.approx(1 / (len(item.values) - 1))]
        np.testing.assert_allclose([bar.get_height() for bar in bars], item.distribution)
        assert axes.lines[0].get_xdata() == pytest.approx([row["target"]], abs=1e-3)
        assert axes.collections[0].get_segments()[0][0][0] == pytest.approx(row["prediction"])
        assert row["hypothesis"] in axes.get_title(loc="left")
        assert f"{row['id']}: " in words


def test_people_and_teachers_stand_above_the_distribution(text_evaluation, tiny_checkpoint):
    """Each number once, equal ones with their count."""
    (item,) = read_items(read_run(text_evaluation), [read_run(text_evaluation).predictions[0]["id"]], tiny_checkpoint)
    figure, words = draw_items(
        [replace(item, people=[0.2, 0.6, 0.6], teachers=[0.9], hypothesis="It costs $5 or $6.")]
    )
    (axes,) = figure.axes
    drawn = [sorted(line.get_xdata()) for line in axes.lines]
    assert drawn[1:] == [[0.9], [0.2, 0.6]]
    assert [text.get_text() for text in axes.texts] == ["×2"]
    assert min(line.get_ydata()[0] for line in axes.lines) > item.distribution.max()
    assert "people: 0.20, 0.60, 0.60; teacher: 0.90" in words


def test_an_item_of_another_model_or_row_is_refused(text_evaluation, tiny_checkpoint):
    """A changed prediction, an unknown row and other weights are told, not drawn."""
    evaluated = read_run(text_evaluation)
    name = evaluated.predictions[0]["id"]
    answers = [row | {"prediction": (row["prediction"] + 0.5) % 1} for row in evaluated.predictions]
    targets = [row | {"target": 0.123} for row in evaluated.predictions]
    for run_, model, message in (
        (evaluated, "checkpoints/clue-urn-tiny", "has other weights"),
        (replace(evaluated, settings={"predictor": "scalar"}), tiny_checkpoint, "of the predictor scalar: only CLUE"),
        (replace(evaluated, predictions=answers), tiny_checkpoint, re.escape(f"Row {name}: the model says")),
        (replace(evaluated, predictions=targets), tiny_checkpoint, "is not what it was"),
    ):
        with pytest.raises(ValueError, match=message):
            read_items(run_, [name], model)
    with pytest.raises(ValueError, match="has no row nobody; its ids are such as urn-text"):
        read_items(evaluated, ["nobody"], tiny_checkpoint)
    with pytest.raises(SystemExit, match="--model /nowhere is no folder"):
        draw("item", text_evaluation, "--model", "/nowhere", "--ids", name)


def test_wrong_options_are_told(text_evaluation, tmp_path, capsys):
    """Another ending, a folder that is no evaluation, equal names, and a folder in the place of the figure."""
    for arguments, told in (
        (["reliability", text_evaluation, "--output", "figure.jpg"], "must end in .png, .svg, .pdf"),
        (["reliability", f"x={tmp_path}"], "it is no finished evaluation"),
        (["teachers", "--answers", "file", "--judgements", "people"], "must be NAME=PATH"),
    ):
        with pytest.raises(SystemExit):
            draw(*arguments)
        assert told in capsys.readouterr().err
    for command in ("reliability", "risk-coverage", "ratios"):
        with pytest.raises(SystemExit, match="Several runs are called a: give NAME=FOLDER"):
            draw(command, f"a={text_evaluation}", f"a={text_evaluation}")
    (tmp_path / "a.png").mkdir()
    with pytest.raises(SystemExit, match="is a folder"):
        draw("reliability", text_evaluation, "--output", tmp_path / "a.png")
