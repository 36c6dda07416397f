"""Human judgements: every bad line named, every annotator's number kept, not asked kept apart from nothing named."""

import csv
import json
import random
import unicodedata
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from common.errors import InputError
from datasets_scripts.annotations import main
from datasets_scripts.judgements.read import aggregate, judgement_matrix, read_judgements


GOOD = [
    {"annotator": "ben", "item": "b", "probability": 30, "evidence": ["video", "audio"], "note": "dark", "claim": "C"},
    {"annotator": "ann", "item": "b", "probability": 85.5, "evidence": ["audio"], "video": "v1", "topic": "T"},
    {"annotator": "ann", "item": "a", "probability": 100, "evidence": []},
    {"annotator": "cho", "item": "c", "probability": 0},
]


def write(path, records):
    """Writes judgements as JSON lines."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def write_csv(path, header, rows):
    """Writes judgements as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def aggregate_files(out, *annotations):
    """Runs the command; options may follow the files."""
    main(["aggregate", "--output", str(out), "--annotations", *map(str, annotations)])


def complaints(paths, **options):
    """Returns the lines of the error that reading raises, without the heading."""
    with pytest.raises(InputError) as caught:
        read_judgements(paths, **options)
    return str(caught.value).split("\n  ")[1:]


def test_aggregated_lines_are_those_of_the_contract(tmp_path):
    """Worked by hand: items by name, numbers by annotator, facts from whoever told them, evidence with its votes."""
    raw, out = write(tmp_path / "raw.jsonl", GOOD), tmp_path / "new" / "out.jsonl"
    aggregate_files(out, raw)
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    nothing = {"claim": None, "video": None, "topic": None}
    assert lines == [
        {"item": "a", **nothing, "probability": 1.0, "human_probabilities": [1.0], "annotators": ["ann"]}
        | {"evidence": [], "evidence_votes": {}, "notes": [None]},
        {"item": "b", "claim": "C", "video": "v1", "topic": "T", "probability": (0.855 + 0.3) / 2}
        | {"human_probabilities": [0.855, 0.3], "annotators": ["ann", "ben"]}
        | {"evidence": ["audio", "video"], "evidence_votes": {"audio": 2, "video": 1}, "notes": [None, "dark"]},
        {"item": "c", **nothing, "probability": 0.0, "human_probabilities": [0.0], "annotators": ["cho"]}
        | {"evidence": None, "evidence_votes": {}, "notes": [None]},
    ]
    assert [path.name for path in out.parent.iterdir()] == ["out.jsonl"]


def test_evidence_is_unknown_where_somebody_was_not_asked(tmp_path):
    """One annotator's silence must not make a judgement pass for one of a single modality; the votes stay."""
    records = [
        {"annotator": "ann", "item": "a", "probability": 50, "evidence": ["video", "video"]},
        {"annotator": "ben", "item": "a", "probability": 70, "evidence": None},
    ]
    (line,) = aggregate(read_judgements([write(tmp_path / "raw.jsonl", records)]).judgements)
    assert (line["evidence"], line["evidence_votes"]) == (None, {"video": 1})


def test_the_order_of_lines_and_files_changes_nothing(tmp_path):
    """Any order of the judgements, in one file or several, gives the same bytes."""
    raw = [
        {"annotator": f"person {k % 5}", "item": f"i{k // 5}", "probability": k * 37 % 101, "evidence": ["text"]}
        for k in range(60)
    ]
    texts = []
    for seed in range(3):
        random.Random(seed).shuffle(raw)
        files = [write(tmp_path / f"{seed}{k}.jsonl", raw[k::2]) for k in range(2)]
        aggregate_files(tmp_path / "out.jsonl", *files)
        texts.append((tmp_path / "out.jsonl").read_bytes())
    assert texts[0] == texts[1] == texts[2]
    for line in map(json.loads, texts[0].splitlines()):
        exact = sum(Fraction(p) for p in line["human_probabilities"]) / 5
        assert line["probability"] == pytest.approx(float(exact), abs=1e-15)


def test_csv_says_the_same_as_json_lines(tmp_path):
    """Quoted commas and line breaks, a byte-order mark, blank rows and joined evidence are read as meant."""
    path = tmp_path / "raw.csv"
    path.write_text(
        'annotator,item,probability,evidence,note,claim\r\n ann ,a,85,audio; video,"dim, loud\nat once",\r\n\r\n'
        "ben,a,12.5,,,Ünder\r\n",
        encoding="utf-8-sig",
    )
    first, second = read_judgements([path]).judgements
    assert (first.annotator, first.probability, first.evidence) == ("ann", 0.85, ("audio", "video"))
    assert (first.note, first.facts, first.place) == ("dim, loud\nat once", {}, f"{path} row 2")
    assert (second.probability, second.evidence, second.note) == (0.125, (), None)
    assert (second.facts, second.place) == ({"claim": "Ünder"}, f"{path} row 4")
    without = write_csv(tmp_path / "two.csv", ["item", "annotator", "probability"], [["a", "cho", "1e1"]])
    (third,) = read_judgements([without]).judgements
    assert (third.probability, third.evidence) == (0.1, None)


def test_every_bad_line_is_named_with_its_row(tmp_path):
    """One error lists all bad lines of all files, and all that is wrong with each."""
    header = ["annotator", "item", "probability", "evidence", "claim"]
    rows = [
        ["ann", "a", "85%", "", ""],
        ["", " ", "100.5", "sight", ""],
        ["ann", "b", "50", "", "one claim"],
        ["ann", "b", "60", "", "one  claim "],
        ["ben", "b", "nan", "", ""],
        ["ben", "b", "70", "", "another claim"],
        ["ben", "c", "70", "", "too", "many"],
    ]
    table = write_csv(tmp_path / "raw.csv", header, rows)
    lines = tmp_path / "raw.jsonl"
    lines.write_text(
        '{"annotator": "cho", "item": 3, "probability": true, "note": 5, "evidence": "audio"}\n'
        '{"annotator": "cho"\n[1]\n\n'
        '{"annotator": "cho", "item": "x", "probability": null}\n' + "[" * 100_000 + "\n"
        '{"annotator": "cho", "item": "x", "probability": 5, "note": "\\ud83d"}\n',
        encoding="utf-8",
    )
    found = complaints([table, lines])
    expected = [
        (table, 2, ["probability must be a number from 0 to 100 (per cent), got '85%'"]),
        (table, 3, ["annotator must", "item must", "got 100.5", "evidence must be a list out of text, audio, video"]),
        (table, 5, [f"'ann' has judged item 'b' before, in {table} row 4", "keep the one that holds"]),
        (table, 6, ["got nan"]),
        (table, 7, [f"the claim of item 'b' is 'another claim', but 'one claim' in {table} row 4"]),
        (table, 8, ["6 fields, the header 5"]),
        (lines, 1, ["got True", "note must be a string, got 5", "evidence must"]),
        (lines, 2, ["no JSON"]),
        (lines, 3, ["no JSON object"]),
        (lines, 5, ["got None"]),
        (lines, 6, ["no JSON"]),
        (lines, 7, ["half a character"]),
    ]
    assert len(found) == len(expected)
    for complaint, (path, row, parts) in zip(found, expected, strict=True):
        assert complaint.startswith(f"{path} row {row}: ") and all(part in complaint for part in parts), complaint


def test_skipping_leaves_out_the_bad_lines_alone(tmp_path, capsys):
    """`--on-error skip` keeps the good lines, the first of a doubled judgement, and tells what it left out."""
    records = [*GOOD, {**GOOD[1], "probability": 1}, {**GOOD[0], "annotator": "dee", "claim": "D"}]
    raw = write(tmp_path / "raw.jsonl", [*records, {"annotator": "dee", "item": "b", "probability": -1}])
    reading = read_judgements([raw], on_error="skip")
    kept = [(one.annotator, one.item, one.probability) for one in reading.judgements]
    assert kept == [(one["annotator"], one["item"], one["probability"] / 100) for one in GOOD]
    assert [complaint.split(": ")[0] for complaint in reading.skipped] == [f"{raw} row {k}" for k in (5, 6, 7)]
    aggregate_files(tmp_path / "out.jsonl", raw, "--on-error", "skip")
    printed = capsys.readouterr()
    assert "skipped 3 bad judgements" in printed.err and f"{raw} row 6" in printed.err
    assert "3 items from 4 judgements, 2 judged by one annotator" in printed.out


def test_two_items_do_not_share_a_claim_about_a_video(tmp_path):
    """A pair under two names would be joined twice; under two topics it is two pairs."""
    one = {"annotator": "ann", "item": "a", "probability": 5, "claim": "C", "video": "v", "topic": "T"}
    same, other = {**one, "item": "b"}, {**one, "item": "c", "topic": "U"}
    raw = write(tmp_path / "raw.jsonl", [one, same, other])
    (complaint,) = complaints([raw])
    assert complaint == f"{raw} row 2: claim and video are those of item 'a' in {raw} row 1: give both one item"


def test_fractions_are_not_taken_for_per_cent(tmp_path):
    """
    An annotator whose answers all lie between 0 and 1 is refused by name; a careful one below 1 % is not, and of one
    who gave but one such answer a warning tells.
    """
    fractions = [{"annotator": "ann", "item": str(k), "probability": p} for k, p in enumerate((0, 0.2, 0.85, 1))]
    small = [{"annotator": "ben", "item": str(k), "probability": p} for k, p in enumerate((0, 0.5, 1, 100))]
    assert len(read_judgements([write(tmp_path / "small.jsonl", small)]).judgements) == 4
    with pytest.raises(InputError, match=r"\('ann': 0\.2, 0\.85, at most 1\): multiply these answers"):
        read_judgements([write(tmp_path / "raw.jsonl", fractions + small)])
    one = {"annotator": "dee", "item": "0", "probability": 1}
    assert read_judgements([write(tmp_path / "one.jsonl", [*small, one])]).doubtful == ["'dee'"]
    assert not read_judgements([tmp_path / "one.jsonl"], percent=True).doubtful


@pytest.mark.parametrize(
    ("answers", "suspects"),
    [
        ({"ann": (1, 0, 0.5)}, r"'ann': 0.5, at most 1\)"),
        ({"ann": (0, 1, 1), "ben": (90, 10, 70)}, r"'ann': 1, at most 1\)"),
        ({"ann": (0.9, 0.1, 70), "ben": (90, 10, 70)}, r"'ann': 0.1, 0.9, at most 70\)"),
        ({f"person {k}": (0.1 * k,) for k in range(1, 9)}, "all together: 0.1, 0.2, 0.3, at most 0.8"),
        ({f"person {k}": (0.1 * k if k % 2 else 10 * k + 1,) for k in range(1, 9)}, "all together: 0.1, 0.3, 0.5"),
    ],
)
def test_no_scale_is_mixed_with_another(tmp_path, answers, suspects):
    """Categories, one answer each, one person's slip, two habits in one file; `--percent` takes all as they are."""
    said = [
        {"annotator": name, "item": str(k), "probability": number}
        for name, numbers in answers.items()
        for k, number in enumerate(numbers)
    ]
    raw = write(tmp_path / "raw.jsonl", said)
    with pytest.raises(InputError, match=suspects):
        read_judgements([raw])
    taken = read_judgements([raw], percent=True).judgements
    assert [one.probability for one in taken] == [one["probability"] / 100 for one in said]


def test_a_lone_quotation_mark_costs_its_own_judgement_alone(tmp_path):
    """Be it closed by nothing, or seemingly by a mark in a later note."""
    for last in ("", 'a screen of 32"'):
        rows = [["ann", f"i{k}", str(20 * k), ""] for k in range(1, 5)] + [["ben", "i4", "80", last]]
        rows[1][3] = '"no cat, only a dog'
        lines = ["annotator,item,probability,note", *map(",".join, rows)]
        (tmp_path / "raw.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        reading = read_judgements([tmp_path / "raw.csv"], on_error="skip")
        kept = [(one.annotator, one.item, one.note) for one in reading.judgements]
        assert kept == [(row[0], row[1], row[3] or None) for row in rows if row is not rows[1]]
        (complaint,) = reading.skipped
        assert complaint.startswith(f"{tmp_path / 'raw.csv'} row 3: ") and "column 'note'" in complaint


def test_names_are_the_same_in_every_form_and_table(tmp_path):
    """Annotators and items by Unicode form and by value: one person who judged twice is found out."""
    write_csv(tmp_path / "a.csv", ["annotator", "item", "probability"], [["René", "7", "50"]])
    write(tmp_path / "b.jsonl", [{"annotator": unicodedata.normalize("NFD", "René"), "item": 7.0, "probability": 60}])
    pq.write_table(pa.table({"annotator": ["René"], "item": [7], "probability": [70.0]}), tmp_path / "c.parquet")
    found = complaints([tmp_path / name for name in ("a.csv", "b.jsonl", "c.parquet")])
    assert len(found) == 2 and all("'René' has judged item '7' before" in complaint for complaint in found)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("raw.csv", b"annotator,item\n", r"lacks the columns \['probability'\]"),
        ("raw.csv", b"annotator;item;probability\n", "separated by semicolons"),
        ("raw.csv", b"annotator,item,probability\nann,\xff,5\n", "no judgement in .*, 1 bad ones aside"),
        ("raw.csv", b"annotator,item,probability\n", "no judgement in"),
        ("raw.jsonl", b"\n\n", "no judgement in"),
        ("raw.jsonl", b"\xff\n", "no judgement in .*, 1 bad ones aside"),
    ],
)
def test_a_file_that_is_not_judgements_is_refused(tmp_path, name, content, message):
    """What concerns a whole file is an error even where bad lines are skipped."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_judgements([tmp_path / name], on_error="skip")


def test_raw_files_are_never_written_to(tmp_path):
    """An output that is a raw file, however spelled, or a folder is refused, and a missing file named."""
    raw = write(tmp_path / "raw.jsonl", GOOD)
    (tmp_path / "link.jsonl").symlink_to(raw)
    before = raw.read_bytes()
    for out in (raw, tmp_path / "x" / ".." / "raw.jsonl", tmp_path / "link.jsonl", tmp_path):
        with pytest.raises(SystemExit, match="error: --output .* name another file"):
            aggregate_files(out, raw)
    assert raw.read_bytes() == before
    with pytest.raises(SystemExit, match="can't be read"):
        aggregate_files(tmp_path / "out.jsonl", tmp_path / "none.csv")
    assert not (tmp_path / "out.jsonl").exists()


def test_columns_that_mean_nothing_are_named(tmp_path, capsys):
    """A misspelt column is not lost without a word."""
    raw = write(tmp_path / "raw.jsonl", [{**GOOD[0], "evidance": ["audio"], "seconds": 3}])
    aggregate_files(tmp_path / "out.jsonl", raw)
    assert "ignored columns: evidance, seconds" in capsys.readouterr().err


def test_the_matrix_has_a_hole_where_an_item_was_skipped(tmp_path):
    """Every judgement stands once in the matrix, at its item and annotator; the rest is NaN."""
    judgements = read_judgements([write(tmp_path / "raw.jsonl", GOOD)]).judgements
    matrix, items, annotators = judgement_matrix(judgements)
    assert (items, annotators) == (["a", "b", "c"], ["ann", "ben", "cho"])
    filled = {(items[i], annotators[j]): matrix[i, j] for i, j in np.argwhere(~np.isnan(matrix))}
    assert filled == {(one.item, one.annotator): one.probability for one in judgements}


def test_some_items_are_read_alone(tmp_path):
    """`--items` gives what a file with those items only does; an item that nobody judged is named."""
    raw = [
        {"annotator": name, "item": f"i{k}", "probability": (k * 29 + 7 * shift) % 101}
        for shift, name in enumerate(("ann", "ben", "cho"))
        for k in range(12)
    ]
    every = write(tmp_path / "raw.jsonl", raw)
    some = write(tmp_path / "some.jsonl", [one for one in raw if "1" in one["item"]])
    pilot = tmp_path / "pilot.txt"
    pilot.write_text("i1\n i11 \n\ni10\n")
    aggregate_files(tmp_path / "one.jsonl", every, "--items", pilot)
    aggregate_files(tmp_path / "two.jsonl", some)
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()
    for text, complaint in (
        ("i1\nelse\nwhere\n", "nobody judged 2 of 3 items:\n  else\n  where"),
        ("", "names no item"),
    ):
        pilot.write_text(text)
        with pytest.raises(SystemExit, match=complaint):
            aggregate_files(tmp_path / "one.jsonl", every, "--items", pilot)
    with pytest.raises(SystemExit, match="can't be read"):
        aggregate_files(tmp_path / "one.jsonl", every, "--items", tmp_path / "none")
