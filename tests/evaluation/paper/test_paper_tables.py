"""Tables hold what was measured, tell the same in all three forms, and never mix different rows."""

import json
import re

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, log_loss

from common.digests import digest
from datasets_scripts.paper_numbers import paper_numbers
from evaluation.paper.__main__ import main
from evaluation.paper.layout import LATEX, short

from .conftest import read_csv, rows_of


PREDICTIONS = [0.9, 0.8, 0.3, 0.2, 0.6, None]
TARGETS = [1.0, 0.6, 0.4, 0.1, 0.3, 0.9]
LABELS = [1, 1, 0, 0, 0, 1]
PREMISES = ["a", "a", "b", "b", "c", "c"]


def make(folder, table, *predictions):
    """Makes a table and returns the rows of its CSV file by predictor (or ratio) and data."""
    main([table, "--predictions", *predictions, "--output-dir", str(folder)])
    return read_csv(folder / f"{table}.csv", "ratio" if table == "table4" else "predictor", "data")


def markdown_cells(path):
    """Cells of the Markdown table."""
    lines = [line for line in path.read_text().splitlines() if line.startswith("|")]
    split = [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [split[0], *split[2:]]


def latex_cells(path):
    """Cells of the LaTeX table, with its commands read back as the signs they stand for."""
    text = path.read_text()
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    back = sorted(((written, chr(sign)) for sign, written in LATEX.items()), key=lambda pair: -len(pair[0]))
    pattern = re.compile("|".join(re.escape(written) for written, _ in back))
    table = dict(back)
    lines = [line.removesuffix(r" \\") for line in body.splitlines() if line.endswith(r" \\")]
    return [
        [
            pattern.sub(lambda found: table[found[0]], cell.replace("-{}-", "--"))
            for cell in re.split(r"(?<!\\)&", line.replace(" & ", "&"))
        ]
        for line in lines
    ]


def test_measures_are_those_of_hand_and_sklearn(evaluation, tmp_path):
    """MSE, accuracy, F1, NLL and ECE over the rows with a number; the one without is counted and is no 0."""
    folder = evaluation("d", rows_of(PREDICTIONS, TARGETS, PREMISES, LABELS))
    p, t, y = (np.array(values[:5], dtype=float) for values in (PREDICTIONS, TARGETS, LABELS))
    tables = [make(tmp_path / "t", f"table{number}", f"CLUE-D={folder}") for number in (2, 3, 4, 8)]
    two, three, four, eight = (table["CLUE-D", "UNLI"] for table in tables)
    for one in (two, three, four, eight):
        assert (one["rows"], one["premises"], one["without number"]) == ("6", "3", "1")
    # .01 + .04 + .01 + .01 + .09 over 5
    assert float(three["MSE x100"]) == pytest.approx(100 * 0.16 / 5)
    assert float(eight["MSE"]) == float(four["MSE"]) == pytest.approx(0.16 / 5)
    assert float(two["accuracy x100"]) == pytest.approx(100 * accuracy_score(y, p >= 0.5)) == pytest.approx(80)
    assert float(four["F1"]) == pytest.approx(f1_score(y, p >= 0.5))
    soft = log_loss([1, 0] * 5, np.repeat(p, 2), sample_weight=np.stack([t, 1 - t], axis=1).ravel())
    assert float(eight["NLL"]) == pytest.approx(soft)
    # every prediction has a bin of its own
    assert float(eight["ECE"]) == pytest.approx(np.abs(p - t).mean())
    low, high = float(three["MSE x100 low"]), float(three["MSE x100 high"])
    assert low < 3.2 < high
    assert three["MSE x100 (paper)"] == "5.7"


def test_the_papers_numbers_stand_beside_ours_and_its_other_rows_stay(evaluation, tmp_path, capsys):
    """Each number of the paper's table is there once, in its order; data it does not have follow, without one."""
    rows = rows_of(PREDICTIONS, TARGETS)
    given = [
        f"mine={evaluation('urn', rows, 'urn-text')}",
        f"CLUE-T={evaluation('av', rows, 'wikivideo-audiovisual', weights='v')}",
        f"mine={evaluation('mine', rows, 'wikivideo-audiovisual')}",
    ]
    table = make(tmp_path / "t", "table3", *given)
    places = [(row, column.split()[0]) for row, column in paper_numbers(3)]
    assert list(table) == [*places, ("mine", "WV-AV"), ("mine", "urn-text")]
    for (row, column), number in paper_numbers(3).items():
        one = table[row, column.split()[0]]
        assert float(one["MSE x100 (paper)"]) == pytest.approx(float(number.printed))
        assert bool(one["MSE x100"]) == ((row, column) == ("CLUE-T", "WV-AV mse"))
    assert table["mine", "urn-text"]["MSE x100 (paper)"] == ""
    assert table["CLUE-T", "WV-AV"]["MSE x100 (paper) note"].startswith("Table 3 has 2.8")
    text = capsys.readouterr().out
    assert re.search(r"\|\s+2\.8 \(\d\) \|", text) and "tables 4 and 8 have .0978" in text
    assert (tmp_path / "t/table3.md").read_text() in text


def test_all_forms_tell_the_same(evaluation, tmp_path):
    """Cells of Markdown and LaTeX are equal, and the CSV file's digits, which are JSON's, round to them; any sign of a
    name survives."""
    name = r"[*]a_b & 50% #1 \x ^~{}$ <|> --fit ?`quoted'"
    folder = evaluation("d", rows_of(PREDICTIONS, TARGETS, PREMISES))
    given = [f"{name}={folder}", f"CLUE-D={folder}"]
    for number in (2, 3, 4, 7, 8):
        main([f"table{number}", "--predictions", *given, "--output-dir", str(tmp_path / "t")])
        stem = tmp_path / f"t/table{number}"
        shown = markdown_cells(stem.with_suffix(".md"))
        assert latex_cells(stem.with_suffix(".tex")) == shown
        assert any(row[0] == name for row in shown)
        table = read_csv(stem.with_suffix(".csv"))
        assert len(table) == len(shown) - 1
        told = json.loads(stem.with_suffix(".json").read_text())
        for record, row in zip(table, told["rows"], strict=True):
            assert record == {head: "" if row.get(head) is None else str(row[head]) for head in record}
        assert all(note in stem.with_suffix(".md").read_text() for note in told["notes"])
        for cells, record in zip(shown[1:], table, strict=True):
            told = dict(zip(shown[0], cells, strict=True))
            for head, cell in told.items():
                if head.endswith(" [95%]"):
                    keys = [head.removesuffix(" [95%]") + part for part in ("", " low", " high")]
                    numbers = re.findall(r"[-+.\de]*\d", cell)
                    assert numbers == [short(float(record[key])) for key in keys if record[key]]


def test_latex_is_whole(evaluation, tmp_path):
    """Every row has as many cells as columns are declared, environments close, no sign of a name is a command."""
    name = r"\input{x} % & [4pt] * --- `"
    main(["table8", "--predictions", f"{name}={evaluation('d_%&', rows_of([0.5, 0.1], [0.4, 0.2]))}"]
         + ["--output-dir", str(tmp_path / "t")])  # fmt: skip
    text = (tmp_path / "t/table8.tex").read_text()
    columns = re.search(r"\\begin\{tabular\}\{@\{\}([lr]+)@\{\}\}", text)[1]
    assert all(len(row) == len(columns) for row in latex_cells(tmp_path / "t/table8.tex"))
    assert re.findall(r"\\(begin|end)\{(.*?)\}", text) == [
        *[("begin", "table*"), ("begin", "tabular"), ("end", "tabular"), ("end", "table*")]
    ]
    assert text.count("--") == 0, "it would be printed as a dash"
    assert text.count(r"\ifdim\width>\textwidth\textwidth") == 1, "names may be long: it must fit the page"
    bare = re.sub(r"\\[\\%&#_{}$]", "", text.split("\n", 1)[1])
    assert "%" not in bare and "#" not in bare and "`" not in bare and "$" not in bare and "\\input" not in bare
    assert bare.count("{") == bare.count("}")
    commands = set(re.findall(r"\\([a-zA-Z]+)", bare))
    assert commands <= {
        *("begin", "end", "centering", "scriptsize", "footnotesize", "setlength", "tabcolsep", "caption", "label"),
        *("toprule", "midrule", "bottomrule", "par", "smallskip", "raggedright"),
        *("resizebox", "ifdim", "width", "textwidth", "else", "fi"),
        *(written[1:-2] for written in LATEX.values() if written.startswith("\\text")),
    }


def test_different_rows_are_never_compared(evaluation, tmp_path):
    """Rows, splits, files and models that differ are told with folders and ids, and nothing is written."""
    rows = rows_of([0.1, 0.2, 0.3], [0.2, 0.3, 0.4])
    first = evaluation("first", rows)

    def refused(match, *given):
        with pytest.raises(SystemExit, match=match):
            main(["table3", "--predictions", f"A={first}", *given, "--output-dir", str(tmp_path / "t")])
        assert not (tmp_path / "t").exists()

    fewer = evaluation("fewer", rows[1:])
    refused("first.*fewer.*not about the same rows of UNLI test.*1 rows only in .*first: r0", f"B={fewer}")
    other = evaluation("other", [{**rows[0], "target": 0.9}, {**rows[1], "premise": "x"}, rows[2]])
    refused("1 rows of another premise: r1; 1 rows of another target: r0", f"B={other}")
    labelled = evaluation("labelled", [{**row, "label": 1} for row in rows])
    refused("3 rows of another label: r0, r1, r2", f"B={labelled}")
    refused("different splits of UNLI", f"B={evaluation('dev', rows, split='validation')}")
    refused("A is given twice on UNLI", f"A={evaluation('again', rows)}")
    refused(
        "A is two predictors: weights of .*first and .*video",
        f"A={evaluation('video', rows, 'wikivideo-video', weights='others')}",
    )
    served = evaluation("served", rows, "clotho", weights=None, model="n")
    refused("A is two predictors: model, weights of", f"A={served}")
    refused("does not tell config", f"B={evaluation('bare', rows, None) and _without(tmp_path / 'bare', 'config')}")
    changed = evaluation("changed", rows)
    lines = (changed / "predictions.jsonl").read_text().replace('"target": 0.2', '"target": 0.25')
    (changed / "predictions.jsonl").write_text(lines)
    refused("changed: the rows of predictions.jsonl .* are not those that settings.json tells of", f"B={changed}")
    nothing = evaluation("nothing", rows_of([None] * 3, [0.2, 0.3, 0.4]))
    refused("B .*nothing.*: none of its 3 rows has a number", f"B={nothing}")
    with pytest.raises(SystemExit, match="is a file: name a folder"):
        main(["table3", "--predictions", f"A={first}", "--output-dir", str(first / "settings.json")])


def _without(folder, key):
    settings = json.loads((folder / "settings.json").read_text())
    del settings[key]
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "report.json").write_text(json.dumps({"n": 3, "settings": settings}))
    return folder


def test_a_row_is_the_papers_by_what_its_data_is(evaluation, tmp_path):
    """Source and modality decide, not the config's name; a teacher's probabilities are not those of people."""
    rows = rows_of([0.1, 0.2, 0.3], [0.2, 0.3, 0.4])
    facts = {"sources": ["wikivideo"], "modalities": ["audiovisual"], "probability_sources": ["human"]}
    facts |= {"ratio": "1:1", "teacher": {"model": "Qwen3"}}
    cases = {
        "wikivideo-audiovisual-1to1": (facts, "WV-AV"),
        "by-sight": (facts | {"modalities": ["video"]}, "WV-V"),
        "unli": (facts | {"sources": ["mine"]}, "unli"),
        "clotho": (
            facts | {"sources": ["clotho"], "modalities": ["audio"], "probability_sources": ["teacher"]},
            "clotho",
        ),
        "WV-A": (facts | {"sources": ["mine", "wikivideo"]}, "WV-A (not the paper's)"),
    }
    given = [f"A={evaluation(config, rows, config, data=data)}" for config, (data, _) in cases.items()]
    found = {data for name, data in make(tmp_path / "t", "table3", *given) if name == "A"}
    assert found == {data for _, data in cases.values()}
    notes = (tmp_path / "t/table3.md").read_text()
    assert "does not tell what these rows are" not in notes
    assert "config wikivideo-audiovisual-1to1, probabilities by human, training split 1:1, labelled by Qwen3" in notes


@pytest.mark.parametrize(
    ("config", "data"),
    [
        ("wikivideo-audiovisual-1to1", "WV-AV"),
        ("clotho-teacher", "Clotho"),
        ("unlike", "unlike"),
        ("WV-A", "WV-A (not the paper's)"),
    ],
)
def test_of_an_evaluation_of_before_the_name_of_its_config_tells(evaluation, tmp_path, config, data):
    """A variant of one of the paper's stands in its row, and it is told that only the name is known."""
    table = make(tmp_path / "t", "table3", f"A={evaluation('a', rows_of([0.1, 0.2], [0.2, 0.3]), config)}")
    assert ("A", data) in table
    assert "does not tell what these rows are" in (tmp_path / "t/table3.md").read_text()


def test_the_order_of_rows_does_not_matter(evaluation, tmp_path):
    """Predictors whose files hold the same rows in another order stand in one table."""
    rows = rows_of([0.1, 0.2, 0.3], [0.2, 0.3, 0.4])
    given = [f"A={evaluation('a', rows)}", f"B={evaluation('b', rows[::-1])}"]
    table = make(tmp_path, "table3", *given)
    assert float(table["A", "UNLI"]["MSE x100"]) == pytest.approx(float(table["B", "UNLI"]["MSE x100"]))


def test_a_temperature_is_fitted_to_other_rows_and_undoes_overconfidence(evaluation, tmp_path):
    """Log odds three times too large are divided by 3; decisions stay; a split of the same premises is refused."""
    generator = np.random.default_rng(0)

    def rows(first, number):
        truth = generator.uniform(0.02, 0.98, number)
        odds = (truth / (1 - truth)) ** 3
        made = rows_of((odds / (1 + odds)).tolist(), truth.tolist(), [f"{first}{k // 4}" for k in range(number)])
        return [{**row, "id": f"{first}{row['id']}"} for row in made]

    test = evaluation("test", rows("t", 200))
    dev = evaluation("dev", rows("v", 200), split="validation")
    command = (tmp_path / "t", "table7", f"Q2.5-O={test}", "--fit")
    one = make(*command, f"Q2.5-O={dev}")["Q2.5-O", "UNLI"]
    assert float(one["temperature"]) == pytest.approx(3, abs=0.01)
    assert one["accuracy x100"] == one["accuracy x100 before"]
    assert float(one["MSE x100"]) < 1e-3 < float(one["MSE x100 before"])
    with pytest.raises(SystemExit, match="shares 50 premises"):
        make(*command, f"Q2.5-O={test}")
    with pytest.raises(SystemExit, match="has no other on UNLI to be scaled"):
        make(*command, f"other={dev}")
    with pytest.raises(SystemExit, match="of another predictor than .*: weights"):
        make(*command, f"Q2.5-O={evaluation('o', rows('o', 40), split='validation', weights='other')}")


def test_a_checkpoints_own_temperature_is_told(evaluation, tmp_path):
    """Where a checkpoint was calibrated, its temperature stands in table 7 without values before."""
    folder = evaluation("d", rows_of([0.4, 0.6], [0.3, 0.9]), "clotho", calibration={"temperature": 1.5})
    one = make(tmp_path / "t", "table7", f"CLUE-D={folder}")["CLUE-D", "Clotho"]
    assert (float(one["temperature"]), one["MSE x100 before"], one["accuracy x100 (paper)"]) == (1.5, "", "95.8")
    by_modality = {"text": {"temperature": 1.7}, "audio": {"temperature": 1.2}}
    data = {"sources": ["clotho"], "modalities": ["audio"], "probability_sources": ["human"]}
    told = []
    for modalities in (["audio"], ["video"], ["audio", "text"]):
        name = "-".join(modalities)
        rows = rows_of([0.4, 0.6], [0.3, 0.9])
        folder = evaluation(name, rows, data={**data, "modalities": modalities}, calibration=by_modality)
        table = make(tmp_path / f"t-{name}", "table7", f"mine={folder}")
        told += [one["temperature"] for (predictor, _), one in table.items() if predictor == "mine"]
    assert told == ["1.2", "", ""]


def test_what_an_evaluation_writes_becomes_a_table(text_evaluation, tmp_path):
    """The digest of rows is that of the command itself, and the value its report's."""
    report = json.loads((text_evaluation / "report.json").read_text())
    one = make(tmp_path, "table8", f"tiny={text_evaluation}")["tiny", "urn-text"]
    for measure, head in (("mse", "MSE"), ("nll", "NLL"), ("ece", "ECE")):
        assert float(one[head]) == pytest.approx(report["measures"][measure]["value"])
        ends = [float(one[f"{head} low"]), float(one[f"{head} high"])]
        assert ends == pytest.approx(report["measures"][measure]["interval"])
    assert one["rows digest"] == report["settings"]["rows"] != digest([])


@pytest.mark.parametrize("given", ["nofolder", "=folder", "name="])
def test_a_predictor_needs_a_name_and_a_folder(given, capsys):
    """What is not NAME=PATH is refused by the command line."""
    with pytest.raises(SystemExit, match="2"):
        main(["table3", "--predictions", given])
    assert "must be NAME=PATH" in capsys.readouterr().err
