"""Tables of one's own: every format gives the same rows, what is wrong is told once by its row, splits stay apart."""

import csv
import json
import os
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from PIL import Image

from common.errors import InputError
from datasets_scripts.build import parse_arguments
from datasets_scripts.building.drafts import Clip, Draft
from datasets_scripts.schema import FEATURES, SPLITS
from datasets_scripts.sources import own
from datasets_scripts.sources.urn_media import write_video
from tests.datasets_scripts.sources.reading import Drafts, drafts_of, problems_of, rows_of


TEXT = ("--premise-column", "pre", "--hypothesis-column", "hyp", "--probability-column", "p")
MEDIA = ("--media-column", "file", "--hypothesis-column", "hyp", "--probability-column", "p")

ROWS = [
    {"n": "a", "pre": "A “café”,\nclosed.", "hyp": "It is open.", "p": 0.25, "yes": 0, "votes": [0.2, 0.3]},
    {"n": "b", "pre": "A dog runs.", "hyp": "It sleeps, or not.", "p": None, "yes": 1, "votes": None},
    {"n": "c", "pre": 'He says "hi".', "hyp": "Somebody speaks.", "p": 1.0, "yes": None, "votes": [1]},
]


def build(table: Path | list[Path], *arguments: object) -> dict[str, Drafts]:
    """Returns the drafts of each split."""
    tables = table if isinstance(table, list) else [table]
    return drafts_of(own, "--dataset-config", "mine", "--table", *tables, *arguments)["mine"]


def build_test(table: Path | list[Path], *arguments: object) -> Drafts:
    """Returns the drafts of a table whose rows are all to test on."""
    return build(table, *arguments, "--split", "test")["test"]


def complaints(drafts: Drafts) -> list[tuple[str, str, str]]:
    """Returns place, kind and complaint of the problems among drafts."""
    return [(one.place, one.kind, one.complaint) for one in problems_of(drafts)]


def write(path: Path, records: list[dict]) -> Path:
    """Writes a table of the kind that its ending says; lists are JSON where there is no other way."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path, row_group_size=1 + len(records) // 2)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), "utf-8")
    else:
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, list(records[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            for record in records:
                writer.writerow(
                    {key: json.dumps(one) if isinstance(one, list) else one for key, one in record.items()}
                )
    return path


def write_text(path: Path, *lines: str) -> Path:
    """Writes a table of these lines."""
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def media(tmp_path_factory) -> Path:
    """A folder `clips` with a sound, a silent video and one with sound; beside it a secret, to which a link leads."""
    folder = tmp_path_factory.mktemp("media")
    root = folder / "clips"
    (root / "birds").mkdir(parents=True)
    rng = np.random.default_rng(0)
    soundfile.write(root / "birds" / "morning 1.wav", rng.uniform(-0.3, 0.3, 1600), 16000)
    soundfile.write(folder / "secret.wav", rng.uniform(-0.3, 0.3, 1600), 16000)
    write_video(root / "silent.mp4", ["red"] * 2, None, rng)
    write_video(root / "talkie.mp4", ["red"] * 2, ["low"] * 2, rng)
    (root / "text.mp4").write_text("no video " * 100)
    (root / "out.wav").symlink_to(folder / "secret.wav")
    (root / "way out").symlink_to(folder)
    (root / "in.wav").symlink_to(root / "birds" / "morning 1.wav")
    (root / "loop.wav").symlink_to(root / "loop.wav")
    os.mkfifo(root / "pipe.wav")
    return root


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_format_gives_the_same_rows(tmp_path, suffix):
    """Texts with line breaks, quotes and accents, numbers, lists and empty cells arrive the same."""
    votes = ("--label-column", "yes", "--human-probabilities-column", "votes")
    table = write(tmp_path / f"pairs{suffix}", ROWS)
    drafts = build_test(table, *TEXT, *votes, "--id-column", "n", "--topic-column", "n")
    expected = [
        ("a", "A “café”,\nclosed.", "It is open.", 0.25, 0, [0.2, 0.3], "human"),
        ("b", "A dog runs.", "It sleeps, or not.", 1.0, 1, None, "label"),
        ("c", 'He says "hi".', "Somebody speaks.", 1.0, None, [1.0], "human"),
    ]
    columns = ("id", "premise", "hypothesis", "probability", "label", "human_probabilities", "probability_source")
    assert [tuple(draft.row[column] for column in columns) for draft in drafts] == expected
    for row in rows_of(drafts):
        assert row.keys() == FEATURES.keys() and row["topic"] == row["id"]
        assert (row["source"], row["modality"], row["audio"], row["video"]) == ("mine", "text", None, None)
    first = {".csv": 2, ".tsv": 2}.get(suffix, 1)
    assert [one.place for one in drafts] == [f"pairs{suffix} row {first + k}" for k in range(3)]


def test_ids_tell_table_and_row(tmp_path):
    """Without a column of ids, rows of several tables never share one; two tables of one name are refused."""
    one, two = write(tmp_path / "one.csv", ROWS[:1]), write(tmp_path / "two.jsonl", ROWS[:1])
    assert [row["id"] for row in rows_of(build_test([one, two], *TEXT))] == ["mine-one-2", "mine-two-1"]
    with pytest.raises(InputError, match=r"several tables are called \['one'\]"):
        build([one, write(tmp_path / "one.jsonl", ROWS)], *TEXT)


def test_evidence_and_context_pass_through(tmp_path):
    """Evidence is a list, or joined by semicolons; an empty cell is no evidence, a key that is left out neither."""
    table = write_text(tmp_path / "t.csv", "pre,hyp,p,e,c", "P,H,1,text; audio,Before.", "P,I,0,,")
    lines = ['{"pre": "P", "hyp": "H", "p": 1}', '{"pre": "P", "hyp": "I", "p": 0, "e": ["video"], "c": "C"}']
    tables = [table, write_text(tmp_path / "u.jsonl", *lines)]
    drafts = build_test(tables, *TEXT, "--evidence-column", "e", "--context-column", "c")
    found = [(row["evidence"], row["context"]) for row in rows_of(drafts)]
    assert found == [(["text", "audio"], "Before."), (None, None), (None, None), (["video"], "C")]


# --- splits ---------------------------------------------------------------------------------------


def pairs(premises: int, hypotheses: int) -> list[dict]:
    """Returns rows about as many premises, in turn, so that those of one premise are far apart."""
    return [
        {"pre": f"Premise {k}.", "hyp": f"H{j}", "p": 0.5, "g": f"group {k // 10}", "s": ("dev", "Test ")[k % 2]}
        for j in range(hypotheses)
        for k in range(premises)
    ]


def split_of_each(splits: dict[str, Drafts], key=lambda row: row["premise"]) -> dict[str, str]:
    """Returns the split of each premise, or whatever `key` gives of a row, which must be one."""
    found = {(key(row), split) for split, drafts in splits.items() for row in rows_of(drafts)}
    assert len(dict(found)) == len(found)
    return dict(found)


@pytest.mark.parametrize("shares", [(0.8, 0.1, 0.1), (0.25, 0.5, 0.25)])
def test_a_premise_falls_into_one_split(tmp_path, shares):
    """Nothing is lost or doubled, no premise is in two splits, shares come out within 5 standard deviations."""
    splits = build(write(tmp_path / "t.parquet", pairs(4000, 2)), *TEXT, "--shares", *shares)
    assert list(splits) == list(SPLITS) and sum(map(len, splits.values())) == 8000
    premises = list(split_of_each(splits).values())
    assert len(premises) == 4000
    for split, share in zip(SPLITS, shares, strict=True):
        assert premises.count(split) == pytest.approx(4000 * share, abs=5 * (4000 * share * (1 - share)) ** 0.5)


def test_a_split_depends_on_the_seed_and_the_premise_alone(tmp_path):
    """Repeated it is the same, in whatever format; a row added moves no other; another seed gives another split."""
    records = pairs(200, 1)
    table = write(tmp_path / "t.csv", records)
    longer = write(tmp_path / "t.jsonl", pairs(10, 1)[::-1] + records[10:] + pairs(250, 1)[200:])
    where, again, other = (
        split_of_each(build(*one)) for one in ((table, *TEXT), (longer, *TEXT), (table, *TEXT, "--seed", 1))
    )
    assert len(again) == 250 and again.items() >= where.items() != other.items()


def test_writings_of_one_text_are_one_premise(tmp_path):
    """White space and the form of accents don't part a premise, which is stored composed."""
    writings = [unicodedata.normalize(form, "Café  numéro\n{}. ") for form in ("NFC", "NFD", "NFKD")]
    writings += ["Café numéro {}.", "  Café numéro   {}."]
    records = [{"pre": text.format(k), "hyp": "H", "p": 0.5} for k in range(40) for text in writings]
    splits = build(write(tmp_path / "t.csv", records), *TEXT)
    found = split_of_each(splits, lambda row: " ".join(row["premise"].split()))
    assert found.keys() == {f"Café numéro {k}." for k in range(40)}


def test_groups_are_the_same_by_value_in_every_table(tmp_path):
    """A recording 7 is that of 7.0, "7" and "7.0", in whatever kind of table and of whatever type."""
    kinds = {
        "a.parquet": int,
        "b.parquet": float,
        "c.csv": int,
        "d.csv": float,
        "e.jsonl": str,
        "f.jsonl": "{}.00".format,
    }
    tables = [
        write(tmp_path / name, [{"pre": f"{name} {k}", "hyp": "H", "p": 0.5, "r": kind(k)} for k in range(40)])
        for name, kind in kinds.items()
    ]
    splits = build(tables, *TEXT, "--split-by", "r")
    assert len(split_of_each(splits, lambda row: row["premise"].split()[1])) == 40
    assert sum(len(rows_of(drafts)) for drafts in splits.values()) == 240


@pytest.mark.parametrize("value", [float("nan"), 2.0**53, float("inf")])
def test_a_number_that_names_nothing_is_no_group(tmp_path, value):
    """A float that may have been rounded could be that of another group."""
    records = [{"pre": f"P{k}", "hyp": "H", "p": 0.5, "r": float(k)} for k in range(40)]
    table = write(tmp_path / "t.parquet", [*records, {"pre": "P", "hyp": "H", "p": 0.5, "r": value}])
    found = by_place(build(table, *TEXT, "--split-by", "r"))
    assert list(found) == ["t.parquet row 41"] and "r must be text or a whole number" in found["t.parquet row 41"]


def test_groups_stay_together(tmp_path):
    """With `--split-by` all rows of one value fall into one split; a row without one is of none."""
    table = write(tmp_path / "t.csv", [*pairs(400, 2), pairs(1, 1)[0] | {"g": " "}])
    splits = build(table, *TEXT, "--split-by", "g", "--shares", 0.5, 0.25, 0.25)
    assert len(split_of_each(splits, lambda row: int(row["premise"][8:-1]) // 10)) == 40
    assert by_place(splits) == {"t.csv row 802": "g is empty: it must say what the row belongs to"}


def test_named_splits(tmp_path):
    """A column names the split, in the usual words; splits it doesn't name are not there; other words are problems."""
    table = write(tmp_path / "t.csv", [*pairs(4, 1), pairs(1, 1)[0] | {"s": "holdout"}])
    splits = build(table, *TEXT, "--split-column", "s")
    assert {split: len(rows_of(drafts)) for split, drafts in splits.items()} == {"validation": 2, "test": 2}
    (problem,) = [problem for drafts in splits.values() for problem in complaints(drafts)]
    assert problem[:2] == ("t.csv row 6", "split") and "got 'holdout'" in problem[2]


def test_shares_that_leave_a_split_out(tmp_path):
    """A share of 0 makes no split; a share that gets no row by chance is an error that says what to do."""
    assert list(build(write(tmp_path / "t.csv", pairs(50, 1)), *TEXT, "--shares", 0, 0.5, 0.5)) == [
        "validation",
        "test",
    ]
    with pytest.raises(InputError, match="by chance no row came into .* too few groups"):
        build(write(tmp_path / "one.csv", pairs(1, 5)), *TEXT)


# --- what is wrong with rows ----------------------------------------------------------------------


def by_place(splits: dict[str, Drafts]) -> dict[str, str]:
    """Returns the complaints of all splits by place, of which each must have one."""
    found = [problem for drafts in splits.values() for problem in complaints(drafts)]
    assert len(found) == len({place for place, _, _ in found})
    return {place: complaint for place, _, complaint in found}


CSV_COMPLAINTS = {3: "no UTF-8", 5: "has 2 fields", 6: "has 4 fields", 7: "at line 8", 68: "malformed"}
JSONL_COMPLAINTS = {1: "no JSON", 2: "no JSON object", 3: "no UTF-8", 4: "half a character", 5: "no JSON"}
GOOD = [{"pre": f"Premise {k}.", "hyp": "H", "p": 0.5} for k in range(60)]
BAD_CSV = [b"pre,hyp,p", b'"Two', b'lines.",H,0.5', b"Caf\xe9,H,0.5", b"", b"P,H", b"P,H,0.5,0.5", b'"P"x,H,1']
BAD_CSV += [*(f"{row['pre']},H,0.5".encode() for row in GOOD), b'"never closed,H,1']
BAD_JSONL = [b"\xef\xbb\xbf{", b"[1, 2]", b'{"pre": "Caf\xe9"}', b'{"pre": "\\ud800", "hyp": "H", "p": 0}']
BAD_JSONL += [b"[" * 100_000, b" ", *(json.dumps(row).encode() for row in GOOD)]


@pytest.mark.parametrize(
    ("name", "lines", "bad", "good"),
    [
        ("t.csv", BAD_CSV, CSV_COMPLAINTS, [2, *range(8, 68)]),
        ("t.jsonl", BAD_JSONL, JSONL_COMPLAINTS, range(7, 67)),
    ],
)
def test_bad_lines_are_told_once_by_their_row(tmp_path, name, lines, bad, good):
    """A record over two lines is one row, an empty line counts; the rows after a bad one go on."""
    (tmp_path / name).write_bytes(b"\r\n".join([*lines, b""]))
    splits = build(tmp_path / name, *TEXT)
    found = by_place(splits)
    assert list(found) == [f"{name} row {number}" for number in bad]
    for number, complaint in bad.items():
        assert complaint in found[f"{name} row {number}"]
    ids = {row["id"] for drafts in splits.values() for row in rows_of(drafts)}
    assert ids == {f"mine-t-{number}" for number in good}


def test_damaged_parquet_is_told_by_its_rows(tmp_path):
    """Of a group of rows that can't be read the others are told, as is a text that is no UTF-8; other groups go on."""
    texts = pa.array([b"Premise %d." % k for k in range(400)], pa.binary()).cast(pa.string())
    bytes_with_latin = pa.array([b"Caf\xe9", *[b"H%d" % k for k in range(399)]], pa.binary())
    hypotheses = pa.StringArray.from_buffers(400, bytes_with_latin.buffers()[1], bytes_with_latin.buffers()[2])
    table = pa.table({"pre": texts, "hyp": hypotheses, "p": pa.array(np.linspace(0, 1, 400))})
    path = tmp_path / "t.parquet"
    pq.write_table(table, path, row_group_size=200, use_dictionary=False, write_page_checksum=False)
    column = pq.ParquetFile(path).metadata.row_group(1).column(1)
    content = bytearray(path.read_bytes())
    start = column.data_page_offset
    content[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(content)
    drafts = build_test(path, *TEXT)
    assert [place for place, _, _ in complaints(drafts)] == ["t.parquet row 1", "t.parquet rows 201 to 400"]
    assert len(rows_of(drafts)) == 199


@pytest.mark.parametrize(
    ("cell", "probability"),
    [("0.85", 0.85), (" .5 ", 0.5), ("1e-3", 0.001), ("+1.", 1.0), ("7", 7.0), ("-1", -1.0)]
    + [(cell, None) for cell in ("85%", "0,85", "nan", "inf", "1_0", "0x1", "half", "٠٫٥", "0.7 to 0.8", "--1")],
)
def test_numbers_are_read_strictly(tmp_path, cell, probability):
    """A number is written as numbers are, or told; whether it lies in [0, 1] is for the writer to say."""
    (draft,) = build_test(write(tmp_path / "t.csv", [ROWS[0] | {"p": cell}]), *TEXT)
    if probability is None:
        assert draft.kind == "row" and draft.complaint.startswith("p ") and repr(cell)[1:-1] in draft.complaint
    else:
        assert draft.row["probability"] == probability


def test_percent(tmp_path):
    """With `--percent` all numbers are per cent; without it a percent sign is a problem that says what to do."""
    records = [ROWS[0] | {"p": "85%", "votes": [80, 90]}, ROWS[1] | {"p": "7"}, ROWS[2] | {"p": "%"}]
    table = write(tmp_path / "t.csv", records)
    drafts = build_test(table, *TEXT, "--percent", "--human-probabilities-column", "votes")
    assert [row["probability"] for row in rows_of(drafts)] == [0.85, 0.07]
    assert rows_of(drafts)[0]["human_probabilities"] == [0.8, 0.9]
    assert [place for place, _, _ in complaints(drafts)] == ["t.csv row 4"]
    assert "pass --percent" in complaints(build_test(table, *TEXT))[0][2]


@pytest.mark.parametrize(
    ("cells", "options", "complaint"),
    [
        (["85", "0.9", "0.2", "70"], ["--percent"], "p has per cent and fractions, such as 0.2, 0.9"),
        (["85%", "0.9", "70%"], ["--percent"], "p has per cent and fractions, such as 0.9"),
        (["85%", "1", "0"], ["--percent"], "p has per cent and fractions, such as 1"),
        (["85", "100", "1", "0"], [], "p goes up to 100, .*: pass --percent"),
        (["85", "70", "1", "0.5"], [], "p goes up to 85, .*: pass --percent"),
    ],
)
def test_two_scales_are_not_mixed(tmp_path, cells, options, complaint):
    """Neither fractions among per cent nor per cent taken as fractions, even where bad rows are to be left out."""
    table = write(tmp_path / "t.csv", [{"pre": "P", "hyp": f"H{k}", "p": cell} for k, cell in enumerate(cells)])
    with pytest.raises(InputError, match=complaint):
        build_test(table, *TEXT, *options)
    votes = write(tmp_path / "v.jsonl", [{"pre": "P", "hyp": "H", "p": None, "y": 1, "votes": cells}])
    with pytest.raises(InputError, match=complaint.replace("p ", "votes ", 1)):
        build_test(votes, *TEXT[:4], "--label-column", "y", "--human-probabilities-column", "votes", *options)


@pytest.mark.parametrize("cells", [["0.5", "3", "12", "90"], ["0.3%", "0.2%", "60%"], ["0.1", "0.2", "2", "3", "99"]])
def test_a_few_small_numbers_are_per_cent_too(tmp_path, cells):
    """People who are careful answer below 1 %, and a sign leaves no doubt."""
    table = write(tmp_path / "t.csv", [{"pre": "P", "hyp": f"H{k}", "p": cell} for k, cell in enumerate(cells)])
    drafts = build(table, *TEXT, "--split", "test", "--percent")["test"]
    assert [row["probability"] for row in rows_of(drafts)] == [float(cell.rstrip("%")) / 100 for cell in cells]


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        (["0", "1", "False", "TRUE", "2", "yes", "", "0.5"], [0, 1, 0, 1, None, None, None, None]),
        ([True, 0, 1.0, 0.5, [1]], [1, 0, 1, None, None]),
    ],
)
def test_labels(tmp_path, cells, labels):
    """0, 1, false and true in any case and type; nothing else; one of label and probability must be there."""
    records = [{"pre": "P", "hyp": str(cell), "y": cell} for cell in cells]
    table = write(tmp_path / ("t.csv" if isinstance(cells[0], str) else "t.jsonl"), records)
    drafts = build_test(table, *TEXT[:4], "--label-column", "y")
    assert [one.row["label"] if isinstance(one, Draft) else None for one in drafts] == labels
    for row in rows_of(drafts):
        assert (row["probability"], row["probability_source"]) == (float(row["label"]), "label")
    assert ("there is neither a probability nor a label" in [one[2] for one in complaints(drafts)]) == ("" in cells)


def test_all_complaints_about_a_row_are_named(tmp_path):
    """Not only the first, and values of any kind are no crash."""
    odd = {"pre": {"a": 1}, "hyp": ["x"], "p": True, "votes": "[", "e": 5, "y": 10**400}
    table = write(tmp_path / "t.jsonl", [odd, odd | {"p": 10**400}])
    options = ("--human-probabilities-column", "votes", "--evidence-column", "e", "--label-column", "y")
    drafts = build_test(table, *TEXT, *options)
    for _, kind, complaint in complaints(drafts):
        assert kind == "row"
        for column in ("pre", "hyp", "p", "votes", "e", "y"):
            assert f"{column} must be" in complaint
    assert len(drafts) == 2


# --- clips ----------------------------------------------------------------------------------------


def clip_drafts(media: Path, table: Path, files: list[str], *arguments: object) -> Drafts:
    """Returns the drafts of rows about these files, all to test on."""
    write(table, [{"file": file, "hyp": f"H{k}", "p": 0.5} for k, file in enumerate(files)])
    return build_test(table, "--media-root", media, *MEDIA, *arguments)


def test_clips_are_judged_by_content(media, tmp_path):
    """A video with sound is taken as video unless asked for; paths are normal and relative to the root."""
    files = ["birds/morning 1.wav", "./birds//morning 1.wav", "silent.mp4", "talkie.mp4", "in.wav"]
    drafts = clip_drafts(media, tmp_path / "t.csv", files)
    real = media.resolve()
    morning = Clip(real / "birds/morning 1.wav", "birds/morning 1.wav")
    assert [(row["modality"], row["audio"] or row["video"]) for row in rows_of(drafts)] == [
        ("audio", morning),
        ("audio", morning),
        ("video", Clip(real / "silent.mp4", "silent.mp4")),
        ("video", Clip(real / "talkie.mp4", "talkie.mp4")),
        ("audio", Clip(morning.path, "in.wav")),
    ]


def test_a_stated_modality_is_taken(media, tmp_path):
    """Audiovisual fills the video column; audio of a video is its sound; the writer reports files that are missing."""
    (draft,) = clip_drafts(media, tmp_path / "t.csv", ["talkie.mp4"], "--modality", "audiovisual")
    assert draft.row["modality"] == "audiovisual" and draft.row["video"].key == "talkie.mp4"
    drafts = clip_drafts(media, tmp_path / "t.csv", ["talkie.mp4", "in.wav", "gone.wav"], "--modality", "audio")
    assert [row["audio"].sound_only for row in rows_of(drafts)] == [True, False, False]


def test_a_stated_modality_that_a_clip_lacks_is_a_problem(media, tmp_path):
    """Also where the same clip was taken for another modality before, which is when the writer checks it."""
    lines = ["silent.mp4,G,1,video", "silent.mp4,H,1,audiovisual", "in.wav,G,1,audio", "in.wav,H,1,video"]
    table = write_text(tmp_path / "t.csv", "file,hyp,p,m", *lines)
    drafts = build_test(table, "--media-root", media, *MEDIA, "--modality-column", "m")
    assert [row["modality"] for row in rows_of(drafts)] == ["video", "audio"]
    (silent, sound) = complaints(drafts)
    assert silent[:2] == ("t.csv row 3", "media") and "has no sound" in silent[2]
    assert sound[:2] == ("t.csv row 5", "media") and "has no pictures" in sound[2]


def test_premises_of_all_modalities_in_one_table(media, tmp_path):
    """A column of modalities, or which cell is filled, says what the premise is; what leaves it open is told."""
    header = "m,pre,file,hyp,p"
    lines = ["text,A text.,in.wav,H,1", "audio,,talkie.mp4,H,1", "audiovisual,,talkie.mp4,H,1", "smell,,in.wav,H,1"]
    lines += [",A text.,,H,1", "video,A text.,,H,1"]
    table = write_text(tmp_path / "t.csv", header, *lines)
    options = (table, *TEXT, "--media-root", media, "--media-column", "file")
    drafts = build_test(*options, "--modality-column", "m")
    assert [row["modality"] for row in rows_of(drafts)] == ["text", "audio", "audiovisual"]
    assert [place for place, _, _ in complaints(drafts)] == ["t.csv row 5", "t.csv row 6", "t.csv row 7"]
    table = write_text(table, header, ",A text.,,H,1", ",,in.wav,H,1", ",A text.,in.wav,H,1", ",,,H,1")
    drafts = build_test(*options)
    assert [row["modality"] for row in rows_of(drafts)] == ["text", "audio"]
    assert [complaint for _, _, complaint in complaints(drafts)] == [
        "there is both a text and a file for a premise",
        "there is neither a text nor a file for a premise",
    ]


OUTSIDE = ["/etc/passwd", "../secret.wav", "birds/../../secret.wav", "out.wav", "way out/secret.wav", "a\\u0000b.wav"]
NO_CLIPS = ["loop.wav", "gone.wav", "pipe.wav", "text.mp4", "birds", "x" * 300]


@pytest.mark.parametrize(
    ("file", "modality"), [*((file, "") for file in OUTSIDE + NO_CLIPS), *((file, "video") for file in OUTSIDE)]
)
def test_paths_that_lead_nowhere_are_problems(media, tmp_path, file, modality):
    """Neither absolute paths nor `..` nor links get out of the root, judged by content or not; others are no clips."""
    (tmp_path / "t.jsonl").write_text(f'{{"file": "{file}", "hyp": "H", "p": 0.5}}\n')
    stated = ("--modality", modality) if modality else ()
    drafts = build_test(tmp_path / "t.jsonl", "--media-root", media, *MEDIA, *stated)
    assert [kind for _, kind, _ in complaints(drafts)] == ["media"]


@pytest.fixture
def hub(tmp_path) -> Path:
    """A snapshot in the Hub's cache, a link to a blob in it; names as other systems write them."""
    (tmp_path / "cache" / "blobs").mkdir(parents=True)
    clips = tmp_path / "cache" / "snapshots" / "main" / "clips"
    (clips / "sub").mkdir(parents=True)
    for name in (unicodedata.normalize("NFD", "café.wav"), "Dog.WAV", "sub/x.wav", "two.wav", "Two.wav"):
        soundfile.write(clips / name, np.zeros(1600), 16000, format="WAV")
    soundfile.write(tmp_path / "cache" / "blobs" / "0a1b", np.zeros(1600), 16000, format="WAV")
    soundfile.write(tmp_path / "beside.wav", np.zeros(1600), 16000)
    (clips / "hub.wav").symlink_to("../../../blobs/0a1b")
    (clips / "out.wav").symlink_to("../../../../beside.wav")
    return clips


NFC, NFD = (unicodedata.normalize(form, "café.wav") for form in ("NFC", "NFD"))
SPELLINGS = {
    NFC: NFD,
    "CAFÉ.wav": NFD,
    "dog.wav": "Dog.WAV",
    "sub\\x.wav": "sub/x.wav",
    ".\\SUB\\X.wav": "sub/x.wav",
    "./sub//x.wav ": "sub/x.wav",
    "hub.wav": "hub.wav",
    "two.wav": "two.wav",
}


def test_a_clip_is_found_however_its_name_is_written(hub, tmp_path):
    """Accents, case, back slashes and the Hub's links: the clip is that on disk."""
    drafts = clip_drafts(hub, tmp_path / "t.csv", list(SPELLINGS))
    assert [row["audio"] for row in rows_of(drafts)] == [
        Clip((hub / key).resolve(), key) for key in SPELLINGS.values()
    ]


def test_a_clip_is_of_one_split_however_its_name_is_written(hub, tmp_path):
    """A split by chance goes by the clip on disk; files that are missing make up the rest."""
    files = [*SPELLINGS, *SPELLINGS.values(), *(f"gone {k}.wav" for k in range(20))]
    table = write(tmp_path / "t.csv", [{"file": file, "hyp": f"H{k}", "p": 0.5} for k, file in enumerate(files)])
    for seed in range(5):
        chance = ("--modality", "audio", "--shares", 0.5, 0.5, 0, "--seed", seed)
        found = split_of_each(build(table, "--media-root", hub, *MEDIA, *chance), lambda row: row["audio"].key)
        assert found.keys() >= set(SPELLINGS.values()) and set(found.values()) == {"train", "validation"}


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("TWO.wav", "may be 'Two.wav' or 'two.wav'"),
        ("out.wav", "is a link that leads out of it: put a copy in its place"),
        ("C:\\clips\\x.wav", "must be a path below --media-root, without .."),
        ("..\\clips\\sub\\x.wav", "must be a path below --media-root, without .."),
        ("https://example.org/x.wav", "got an address"),
        ("file:///clips/x.wav", "got an address"),
        ("gone.wav", "is missing"),
    ],
)
def test_a_name_that_is_no_clips_is_refused_with_the_reason(hub, tmp_path, name, complaint):
    """Where several may be meant none is taken, and nothing outside of the root."""
    ((_, kind, found),) = complaints(clip_drafts(hub, tmp_path / "t.csv", [name]))
    assert kind == "media" and complaint in found


@pytest.mark.parametrize("kind", ["struct", "binary", "large_binary", "nameless"])
def test_clips_in_parquet_are_taken(media, tmp_path, kind):
    """Sounds and videos as `datasets` pushes them, or bare bytes; no folder, and one premise for equal bytes."""
    contents = [(media / name).read_bytes() for name in ("birds/morning 1.wav", "birds/morning 1.wav", "talkie.mp4")]
    names = ["a.wav", "other/name.WAV", "x.mp4?download=1"]
    if kind in ("struct", "nameless"):
        contents = [
            {"bytes": content, "path": name if kind == "struct" else None}
            for content, name in zip(contents, names, strict=True)
        ]
    type_ = None if kind in ("struct", "nameless") else getattr(pa, kind)()
    columns = {"file": pa.array(contents, type_), "hyp": ["H0", "H1", "H2"], "p": [0.5] * 3}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    drafts = build_test(tmp_path / "t.parquet", *MEDIA)
    assert not complaints(drafts)
    first, second, video = (row["audio"] or row["video"] for row in rows_of(drafts))
    assert first == second and first.content == (media / "birds" / "morning 1.wav").read_bytes()
    assert (first.path.suffix, video.path.suffix) == (".wav", ".mp4") and rows_of(drafts)[2]["modality"] == "video"


def test_bytes_that_are_no_clip_are_problems(tmp_path):
    """Neither a picture's or text's bytes, nor none, nor a path without a folder it starts from."""
    clips = [
        {"bytes": b"no clip " * 100, "path": "a.wav"},
        {"bytes": b"", "path": "b.wav"},
        {"bytes": None, "path": "c"},
    ]
    pq.write_table(pa.table({"file": clips, "hyp": ["H"] * 3, "p": [0.5] * 3}), tmp_path / "t.parquet")
    found = complaints(build_test(tmp_path / "t.parquet", *MEDIA))
    assert [(place, kind) for place, kind, _ in found] == [(f"t.parquet row {k}", "media") for k in (1, 2, 3)]
    assert "pass --media-root" in found[2][2]


# --- options and files ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--hypothesis-column", "hyp", "--label-column", "p"), "there is no premise"),
        (TEXT[:4], "pass --probability-column, --label-column or both"),
        ((*TEXT, "--media-column", "file"), "--media-column and --media-root go together"),
        ((*TEXT, "--modality", "video"), "--modality video needs --media-column"),
        ((*MEDIA, "--media-root", "no such folder"), "no such folder is not a folder"),
        ((*MEDIA, "--media-root", ".", "--premise-column", "pre", "--modality", "text"), "leave out the other"),
        ((*TEXT, "--shares", "0.5", "0.5", "0.5"), "three numbers that make 1"),
        ((*TEXT, "--shares", "nan", "0.5", "0.5"), "three numbers that make 1"),
        ((*TEXT, "--split", "test", "--shares", "1", "0", "0"), "--shares is for a split by chance"),
        ((*TEXT, "--topic-column", "tpoic"), r"lacks --topic-column 'tpoic': it has \['n', 'pre', 'hyp'"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, arguments, complaint):
    """At once, before a row is read, and with what to do."""
    with pytest.raises(InputError, match=complaint):
        build(write(tmp_path / "t.csv", ROWS), *arguments)


@pytest.mark.parametrize(
    "name", ["unli", "urn-text", "clotho", "clotho-mine", "wikivideo-video", "My", "a/b", "a--b", "..", ""]
)
def test_names_are_plain_and_ones_own(name, capsys):
    """A name is a folder and a config: no path, and none of another source."""
    options = ["--output-dir", "umui", "--table", "t.csv", "--dataset-config", name, "--hypothesis-column", "hyp"]
    with pytest.raises(SystemExit):
        parse_arguments(["own", *options])
    assert "argument --dataset-config" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("t.csv", b"pre,hyp,p\n", "no row of .* can be read"),
        ("t.csv", b"pre;hyp;p\n", "lacks .*, which look separated by semicolons: save it anew, with commas"),
        ("t.jsonl", b"", "lacks --hypothesis-column 'hyp'"),
    ],
)
def test_tables_without_rows_or_columns_are_refused(tmp_path, name, content, complaint):
    """The error names the file."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=complaint) as error:
        build(tmp_path / name, *TEXT)
    assert name in str(error.value)


def test_a_lone_quotation_mark_costs_its_own_row_alone(tmp_path):
    """Told by what the columns can hold, also where some later mark seems to close it and the record seems good."""
    lines = [f"Premise {k},Claim {k},0.{k}" for k in range(1, 9)]
    lines[1] = '"He left,Claim 2,0.2'
    lines[4] = 'A screen of 32",Claim 5,0.5'
    drafts = build_test(write_text(tmp_path / "t.csv", "pre,hyp,p", *lines), *TEXT)
    assert [row["hypothesis"] for row in rows_of(drafts)] == [f"Claim {k}" for k in (1, 3, 4, 5, 6, 7, 8)]
    ((place, kind, complaint),) = complaints(drafts)
    assert (place, kind) == ("t.csv row 3", "row") and "mark at line 3 of the file, column 'pre'" in complaint


PARTS = ("--hypothesis-column", "hyp", "--probability-column", "p")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_columns_make_a_combination(tmp_path, media, suffix):
    """Texts, clips and pictures of a row are one premise, in the order asked for; a text may be missing."""
    Image.new("RGB", (30, 20)).save(media / "map.png")
    rows = [
        {"story": "It is late.", "clip": "talkie.mp4", "map": "map.png", "hyp": "One rings.", "p": 0.5},
        {"story": "", "clip": "talkie.mp4", "map": "map.png", "hyp": "One rings.", "p": 0.5},
        {"story": "It is late.", "clip": "", "map": "map.png", "hyp": "One rings.", "p": 0.5},
        {"story": "It is late.", "clip": "silent.mp4", "map": "map.png", "hyp": "One rings.", "p": 0.5},
        {"story": "It is late.", "clip": "talkie.mp4", "map": "../map.png", "hyp": "One rings.", "p": 0.5},
    ]
    table = write(tmp_path / f"pairs{suffix}", rows)
    options = ("--media-root", media, *PARTS)
    drafts = build_test(table, *options, "--part-columns", "map=image", "story=text", "clip=audiovisual")
    whole, without = rows_of(drafts)
    clips = [Clip(media / name, name) for name in ("map.png", "talkie.mp4")]
    kinds = [("image", None), ("text", "It is late."), ("audiovisual", None)]
    assert [(part["modality"], part["text"]) for part in whole["parts"]] == kinds
    assert whole["part_clips"] == without["part_clips"] == clips and whole["modality"] == "audiovisual"
    assert [part["modality"] for part in without["parts"]] == ["image", "audiovisual"]
    places, kinds, messages = zip(*complaints(drafts), strict=True)
    assert all(place.startswith(f"pairs{suffix}") for place in places)
    assert "clip is empty: a premise needs its audiovisual" in messages[0] and "has no sound" in messages[1]
    assert "map must be a path below --media-root" in messages[2] and set(kinds) == {"media"}

    drafts = build_test(table, *options, "--part-columns", "story=text", "clip=audio")
    assert [row["modality"] for row in rows_of(drafts)] == ["audio"] * 4
    first, alone, *_ = rows_of(drafts)
    sound = Clip(media / "talkie.mp4", "talkie.mp4", sound_only=True)
    assert first["part_clips"] == [sound] and (alone["parts"], alone["audio"]) == (None, sound)


def test_a_combination_is_split_by_what_it_is(tmp_path, media):
    """All rows about the same parts are of one split."""
    clips = [name for _ in range(40) for name in ("in.wav", "birds/morning 1.wav")]
    rows = [
        {"story": f"It is {hour % 40 // 2}.", "clip": clip, "hyp": f"Rain {hour}.", "p": 0.5}
        for hour, clip in enumerate(clips)
    ]
    table = write(tmp_path / "pairs.csv", rows)
    drafts = build(table, "--media-root", media, *PARTS, "--part-columns", "story=text", "clip=audio")
    split_of = {}
    for split, those in drafts.items():
        for row in rows_of(those):
            split_of.setdefault((row["parts"][0]["text"], row["part_clips"][0].key), set()).add(split)
    assert len(split_of) == 40 and all(len(splits) == 1 for splits in split_of.values())
    assert set.union(*split_of.values()) == {*SPLITS}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["story=text", "clip"], "must be COLUMN=KIND, KIND one of text, image, audio"),
        (["story=text", "clip=smell"], "must be COLUMN=KIND, KIND one of text, image, audio"),
        (["story=text", "hyp=text"], "are all text are one text"),
        (["story=text", "story=audio"], "name story twice"),
        (["story=text", "other=audio"], "lacks --part-columns 'other'"),
        (["story=text", "clip=audio", "--premise-column", "story"], "leave out --premise-column"),
        (["story=text", "clip=audio", "--modality", "audio"], "leave out --modality"),
    ],
)
def test_part_columns_that_make_no_sense_are_refused(tmp_path, media, capsys, options, message):
    """Before a row is read."""
    table = write(tmp_path / "pairs.csv", [{"story": "It is late.", "clip": "in.wav", "hyp": "It rains.", "p": 0.5}])
    with pytest.raises((InputError, SystemExit)) as raised:
        build_test(table, "--media-root", media, *PARTS, "--part-columns", *options)
    assert message in f"{raised.value} {capsys.readouterr().err}"
