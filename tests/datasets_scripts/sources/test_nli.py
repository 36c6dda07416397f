"""Labelled pairs: categories become probabilities, bad rows are named, premises of a test set stay out."""

import hashlib

import pytest

from datasets_scripts.build import main as build
from datasets_scripts.load import load_split


PAIRS = (
    "premise,hypothesis,label\nA man sleeps.,A man rests.,entailment\nA  man sleeps.,He dreams.,neutral\n"
    "A dog runs.,A dog sleeps.,contradiction\n"
)
GRADES = "CONTEXT,HYPOTHESIS,LABEL,SUBSET\nA cat eats .,It is hungry .,4,AGCI\nIt rains .,It is dry .,1,AGCI\n"


@pytest.fixture
def raw(tmp_path):
    """A folder with a table of pairs and one of grades."""
    (tmp_path / "snli_dev.csv").write_text(PAIRS)
    (tmp_path / "joci.csv").write_text(GRADES)
    return tmp_path


def test_categories_become_probabilities(raw):
    """By default the stated ones; entailment and contradiction are labels; every table is a config of its own."""
    build(["nli", "--raw", str(raw), "--output-dir", str(raw / "umui")])
    snli, joci = (load_split(str(raw / "umui"), config, "train") for config in ("snli", "joci"))
    assert list(zip(snli["premise"], snli["hypothesis"], snli["probability"], snli["label"], strict=True)) == [
        ("A man sleeps.", "A man rests.", 0.96, 1),
        ("A man sleeps.", "He dreams.", 0.37, None),
        ("A dog runs.", "A dog sleeps.", 0.02, 0),
    ]
    assert (joci["probability"], joci["label"]) == ([0.75, 0.0], [None, None])
    assert {*snli["probability_source"], *joci["probability_source"]} == {"label"}
    given = ["--class-probabilities", "1", "0.5", "0", "--overwrite"]
    build(["nli", "--raw", str(raw), "--output-dir", str(raw / "umui"), *given])
    assert load_split(str(raw / "umui"), "snli", "train")["probability"] == [1.0, 0.5, 0.0]


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("premise,hypothesis,label\nP.,H.,hidden\n", "row 2: label must be one of"),
        ("premise,hypothesis,label\n,H.,neutral\n", "row 2: premise is empty"),
        ("premise,label\nP.,neutral\n", "lacks the columns ['hypothesis']"),
        (None, "holds none of snli_dev.csv"),
    ],
)
def test_bad_tables_are_refused(tmp_path, table, complaint):
    """The error says which row or column it is, or that there is nothing to read."""
    if table:
        (tmp_path / "snli_dev.csv").write_text(table)
    with pytest.raises(SystemExit) as error:
        build(["nli", "--raw", str(tmp_path), "--output-dir", str(tmp_path / "umui")])
    assert complaint in str(error.value)


def test_premises_of_a_test_set_are_left_out(raw, unli_raw, capsys):
    """By digest or by split, whatever the blanks, case and punctuation; what is left out is counted."""
    digests = raw / "test.sha256"
    digests.write_text(hashlib.sha256(b"acateats").hexdigest() + "\n")
    common = ["--output-dir", str(raw / "umui"), "--leave-out", str(digests)]
    build(["unli", "--raw", str(unli_raw), *common])
    test = load_split(str(raw / "umui"), "unli", "test")["premise"]
    (raw / "snli_dev.csv").write_text(PAIRS + f'"{test[0].upper().replace(" ", "  ")} !",A claim.,neutral\n')
    capsys.readouterr()
    build(["nli", "--raw", str(raw), *common, "unli/test"])
    printed = capsys.readouterr().out
    assert "joci: train 1 rows; 1 rows about premises of" in printed
    known = set(test)
    kept = load_split(str(raw / "umui"), "snli", "train")["premise"]
    assert kept == [text for text in ("A man sleeps.", "A man sleeps.", "A dog runs.") if text not in known]


@pytest.mark.parametrize(
    ("content", "complaint"), [("abc\n", "line 1 is no SHA-256"), (None, "neither a file of digests nor a split")]
)
def test_what_is_no_list_of_premises_is_refused(raw, content, complaint):
    """A file of something else, or a name that is nothing, would leave out nothing."""
    place = raw / "premises"
    if content:
        place.write_text(content)
    with pytest.raises(SystemExit) as error:
        build(["nli", "--raw", str(raw), "--output-dir", str(raw / "umui"), "--leave-out", str(place)])
    assert complaint in str(error.value)
