"""Tables: good ones as the library reads them, a lone quotation mark at the cost of its row, cells of any length."""

import csv
import io
import random

import pytest

from common.errors import InputError
from datasets_scripts.building.drafts import Problem
from datasets_scripts.tables import column_names, read_table


COLUMNS = ["id", "text", "claim", "p"]
WORDS = "the dog barks, loudly; she said hello 32 0.5 1 or,not, yes".split(" ")


def is_row(values: dict[str, str]) -> bool:
    """What a reader may know of its columns: the last is a number from 0 to 1."""
    try:
        return bool(values["claim"].strip()) and 0 <= float(values["p"]) <= 1
    except ValueError:
        return False


def prose(chance: random.Random) -> str:
    """A few words with commas, after most of which is a blank."""
    return " ".join(chance.choice(WORDS) for _ in range(chance.randint(1, 8)))


def cell(chance: random.Random) -> str:
    """A text, maybe with quotation marks or of several lines."""
    text = prose(chance) + chance.choice(["", "", ' "so, to say" and more', ' 6"', ' in ""', ' "x"'])
    return text if chance.random() < 0.6 else "\n".join([text, *(prose(chance) for _ in range(chance.randint(1, 3)))])


def made_up_rows(chance: random.Random) -> list[list[str]]:
    """A table's rows in which any text may be long."""
    return [[str(k), cell(chance), cell(chance), f"{chance.random():.2f}"] for k in range(10)]


def as_csv(row: list[str], end: str, quoting: int = csv.QUOTE_MINIMAL) -> str:
    """The lines of a row."""
    text = io.StringIO()
    csv.writer(text, lineterminator=end, quoting=quoting).writerow(row)
    return text.getvalue()


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_good_table_is_read_as_the_library_reads_it(tmp_path, quoting, end):
    """Line breaks, commas and marks in cells are no reason to doubt a row; rows are numbered as records."""
    for seed in range(15):
        rows = made_up_rows(random.Random(seed))
        text = as_csv(COLUMNS, end) + "".join(as_csv(row, end, quoting) for row in rows)
        (tmp_path / "t.csv").write_text(text, encoding="utf-8-sig", newline="")
        found = list(read_table(tmp_path / "t.csv", COLUMNS, is_row))
        assert [(one.number, list(one.values.values())) for one in found] == list(enumerate(rows, start=2))


@pytest.mark.parametrize("lost", ["closing", "opening"])
@pytest.mark.parametrize("how_many", [1, 2, 3])
def test_a_lone_quotation_mark_costs_its_own_row_alone(tmp_path, lost, how_many):
    """Wherever it stands and whatever marks are in other rows: all others are read as they are."""
    for seed in range(25):
        chance = random.Random(seed)
        rows = made_up_rows(chance)
        lines = [as_csv(row, "\n") for row in rows]
        # By hand, marks within a text are written as they are.
        for k in range(0, 10, 3):
            rows[k] = [str(k), 'a screen of 32"', prose(chance).replace(",", ""), "0.5"]
            lines[k] = ",".join(rows[k]) + "\n"
        broken = chance.sample(range(10), how_many)
        for k in broken:
            bad = [rows[k][0], *(prose(chance).replace(",", "") for _ in range(2)), rows[k][3]]
            place = chance.randint(1, 2)
            if lost == "closing":
                bad[place] = '"' + bad[place]
            else:
                bad[place] = f'"{bad[place]}" or "so"'
            lines[k] = ",".join(bad) + "\n"
        (tmp_path / "t.csv").write_text("".join([as_csv(COLUMNS, "\n"), *lines]), encoding="utf-8")
        found = list(read_table(tmp_path / "t.csv", COLUMNS, is_row))
        assert [one.place for one in found] == [f"t.csv row {number}" for number in range(2, 12)]
        for k, one in enumerate(found):
            if k in broken:
                assert isinstance(one, Problem) and "the quotation mark at line" in one.complaint
            else:
                assert list(one.values.values()) == rows[k]


def test_the_mark_is_told_by_line_and_column(tmp_path):
    """Lines are those of the file, in which a row may have several."""
    lines = ["text,claim,p", '"Two', 'lines.",C,0.5', 'T,"Who knows,0.5', "T,C,0.5"]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    first, second, third = read_table(tmp_path / "t.csv", None, is_row)
    assert (first.number, third.number) == (2, 4) and second.place == "t.csv row 3"
    assert "at line 4 of the file, column 'claim', is not closed" in second.complaint


def test_a_table_within_a_cell_is_no_row(tmp_path):
    """A premise may be a table of as many columns; that its first line is no row tells it from rows."""
    premise = "team,wins,share\nreds,3,0.5\nblues,4,0.7"
    text = as_csv(["text", "claim", "p"], "\n") + as_csv([premise, "Reds won.", "0.9"], "\n")
    (tmp_path / "t.csv").write_text(text)
    (row,) = read_table(tmp_path / "t.csv", None, is_row)
    assert row.values["text"] == premise


@pytest.mark.parametrize("header", ['text,"claim,p', 'text,claim,p,"note', '"text,claim,p'])
def test_a_mark_in_the_header_costs_no_row_without_a_word(tmp_path, header):
    """Be it closed by nothing, by a later mark, or by one that makes it a name."""
    for last in ("T,C,0.5,N", 'T,"C",0.5,N', 'T,C,0.5,N"'):
        (tmp_path / "t.csv").write_text(f"{header}\nT,C,0.5,N\n{last}\n")
        with pytest.raises(InputError, match="t.csv"):
            list(read_table(tmp_path / "t.csv", ["text", "claim", "p"], is_row))


@pytest.mark.parametrize("lines", [1, 6000])
def test_cells_are_of_any_length(tmp_path, lines):
    """A transcript or a book is one cell, whose lines are no rows."""
    text = "\n".join(f"speaker {k}, says something, 0.5" + " " * (6000 // lines) for k in range(lines)) + "x" * 200_000
    (tmp_path / "t.csv").write_text(as_csv(["text", "claim", "p"], "\n") + as_csv([text, "C", "0.9"], "\n"))
    (row,) = read_table(tmp_path / "t.csv", None, is_row)
    assert row.values == {"text": text, "claim": "C", "p": "0.9"}


def test_a_quoted_end_of_line_belongs_to_its_cell(tmp_path):
    """Line ends of Windows and of old Macs, a byte-order mark, and no end at all behind the last row."""
    for end in ("\n", "\r\n", "\r"):
        (tmp_path / "t.csv").write_text(f'a,b{end}1,"x{end}y"{end}2,z', encoding="utf-8-sig", newline="")
        assert column_names(tmp_path / "t.csv") == ["a", "b"]
        assert [one.values["b"] for one in read_table(tmp_path / "t.csv")] == [f"x{end}y", "z"]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("t.csv", b"", "must begin with a row of column names"),
        ("t.csv", "id,text\n".encode("utf-16"), "in UTF-8"),
        ("t.csv", b"id,text,text\n1,T,T\n", r"several columns called \['text'\]"),
        ("t.csv", b"id;text;of whom, if known\n", "look separated by semicolons: save it anew, with commas"),
        ("t.tsv", b"id,text\n", "look separated by commas: save it anew, with tabs"),
        ("t.csv", b"sep=|\nid|text\n", r"look separated by bars \(\|\)"),
        ("t.parquet", b"no parquet at all", "can't be read"),
        ("t.xlsx", b"PK", "none of the kinds of tables"),
        ("missing.csv", None, "can't be read: .*No such file"),
        ("missing.parquet", None, "can't be read"),
    ],
)
def test_files_that_are_no_tables_are_refused(tmp_path, name, content, complaint):
    """The error names the file, and what to do where that can be known."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=complaint) as error:
        list(read_table(tmp_path / name, ["id", "text"]))
    assert name in str(error.value)
