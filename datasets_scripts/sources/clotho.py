"""
Clotho entailment (CLE; Deshmukh et al., 2024): for every clip of Clotho (Drossos et al., 2020) one hypothesis that
follows from it, one that may be true, and one that contradicts it.

Two configs: `clotho` has the clips as premises, `clotho-captions` their captions, as text. The published splits are
kept: development is for training, evaluation for testing (paper, appendix D).

CLE has categories, not probabilities. An entailed hypothesis has label 1 and probability 1, a contradicted one label 0
and probability 0. A neutral one is neither true nor false: it has no label and probability 0.5. The paper's binary
accuracies on Clotho (baselines near 50 %) are those of two classes. `probability_source` is `"label"`: the number
stands for its category until a teacher has given one.

Clotho's splits are not quite apart: five recordings of Freesound were cut up for two splits each, which their file
names tell. Training rows of a recording that validation or test has too, and validation rows of one that test has,
are reported as problems of kind `"split"` and give no row.
"""

import argparse
import ast
import html
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from common.errors import InputError
from datasets_scripts.building.clips import NamedFiles, only_one
from datasets_scripts.building.drafts import Clip, Draft, Problem, new_row
from datasets_scripts.schema import one_form
from datasets_scripts.tables import read_table


DESCRIPTION = "Clotho entailment: audio clips, and their captions as text, from the published CSVs"

# Of a recording that is in two splits, the later of these keeps it.
PARTS = {"development": "train", "validation": "validation", "evaluation": "test"}
# Column of a hypothesis: its label, and its probability for want of a better one.
CATEGORIES = {"Entailment": (1, 1.0), "Neutral": (None, 0.5), "Contradiction": (0, 0.0)}
COLUMNS = ("Audio file", "Caption", *CATEGORIES)
SUFFIXES = (".wav", ".flac", ".ogg")
# The longest of the published fields has 543 characters.
LONGEST_CAPTIONS = 10_000


@dataclass(frozen=True)
class Record:
    """
    A row of a CSV file.

    Args:
        file (`Path`): The file.
        part (`str`): The part of Clotho it is about: a key of `PARTS`.
        number (`int`): Its number; the header is row 1.
        fields (`dict[str, str]`): The columns of `COLUMNS`.
    """

    file: Path
    part: str
    number: int
    fields: dict[str, str]

    @property
    def place(self) -> str:
        """Where it is, in a person's words."""
        return f"{self.file.name} row {self.number}"

    @property
    def clip(self) -> str:
        """The name of its clip."""
        return self.fields["Audio file"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this source."""
    parser.add_argument("--raw", type=Path, required=True, help="the folder with clotho_entailment_*.csv")
    parser.add_argument(
        "--clips",
        type=Path,
        help="the folder with Clotho's clips, one folder a split or all in one, as WAV, FLAC or Ogg "
        "(without it, only the captions are built)",
    )
    parser.add_argument(
        "--dataset-configs",
        dest="configs",
        nargs="+",
        choices=("clotho", "clotho-captions"),
        help="default: all that can be built",
    )


def configs(options: argparse.Namespace) -> dict[str, dict[str, Iterable[Draft | Problem]]]:
    """
    The configs asked for.

    Args:
        options (`argparse.Namespace`): The options of [`add_arguments`].

    Returns:
        `dict[str, dict[str, Iterable[Draft | Problem]]]`: the drafts of each split of each config; read them once.

    Raises:
        `InputError`: if a file or folder is missing or no good.
    """
    names = options.configs or (["clotho", "clotho-captions"] if options.clips else ["clotho-captions"])
    if "clotho" in names and options.clips is None:
        raise InputError("the config clotho needs the clips: pass --clips, or --dataset-configs clotho-captions")
    files = {part: options.raw / f"clotho_entailment_{part}.csv" for part in PARTS}
    files = {part: file for part, file in files.items() if file.is_file()}
    if not files:
        raise InputError(f"--raw {options.raw} must hold clotho_entailment_{{{','.join(PARTS)}}}.csv: found none")
    # What a row needs to know of all the others comes first; the rows themselves are read again when they are written.
    records = [record for part, file in files.items() for record in read_records(file, part)]
    records = [record for record in records if isinstance(record, Record)]
    doubled = recordings_in_later_parts(records)
    built = {}
    if "clotho" in names:
        clips = ClipFolder(options.clips, records)
        built["clotho"] = {
            PARTS[part]: clip_drafts(read_records(file, part), doubled, clips) for part, file in files.items()
        }
    if "clotho-captions" in names:
        built["clotho-captions"] = {
            PARTS[part]: caption_drafts(read_records(file, part), doubled) for part, file in files.items()
        }
    return {name: built[name] for name in names}


def read_records(file: Path, part: str) -> Iterator[Record | Problem]:
    """
    Reads one CSV file, row by row.

    Args:
        file (`Path`): The file.
        part (`str`): The part of Clotho it is about.

    Returns:
        `Iterator[Record | Problem]`: the rows; a problem for each that has too few or too many fields, or whose clip
            is not called by a file name.

    Raises:
        `InputError`: if the file can't be read or lacks columns.
    """
    for record in read_table(file, COLUMNS, _is_row):
        if isinstance(record, Problem):
            yield record
        elif not is_file_name(record.values["Audio file"]):
            complaint = f"Audio file is not a file name: {record.values['Audio file']!r}"
            yield Problem(record.place, "row", complaint)
        else:
            yield Record(file, part, record.number, record.values)


def _is_row(values: dict[str, str]) -> bool:
    try:
        parse_captions(values["Caption"])
    except ValueError:
        return False
    return is_file_name(values["Audio file"])


def is_file_name(name: str) -> bool:
    """Whether `name` is the name of a file in a folder, not a path that leads elsewhere."""
    return bool(name.strip(" .")) and not re.search(r"[/\\\0]", name)


def recording_of(clip: str) -> str:
    """
    The recording that a clip was cut from, by its name.

    Clotho writes one name in two ways: special characters as entities of HTML, or with `_` in place of `&`, `#`, `;`.
    """
    return one_form(html.unescape(re.sub(r"__(\d+)_", r"&#\1;", clip)))


def recordings_in_later_parts(records: Iterable[Record]) -> dict[tuple[str, str], str]:
    """
    Finds recordings that two parts share.

    Args:
        records (`Iterable[Record]`): The rows of all parts.

    Returns:
        `dict[tuple[str, str], str]`: for (part, recording), the place of a clip of that recording in a later part.
    """
    found = defaultdict(dict)
    for record in records:
        found[recording_of(record.clip)].setdefault(record.part, record.place)
    parts = list(PARTS)
    return {
        (part, recording): places[max(places, key=parts.index)]
        for recording, places in found.items()
        for part in places
        if part != max(places, key=parts.index)
    }


class ClipFolder:
    """
    Clotho's clips in a folder: one folder a part (`development`, `validation`, `evaluation`), or all in one.

    A clip is found by its name: as it is, else with another ending (FLAC and Ogg take less room), and with differences
    of case, of white space, of entities (`&#39;`) and of characters that some file systems don't allow passed over.

    Args:
        folder (`Path`): The folder.
        records (`Iterable[Record]`): The rows of all CSV files, which say what may be told apart by these means.

    Raises:
        `InputError`: if there is no such folder, or no clip in it.
    """

    def __init__(self, folder: Path, records: Iterable[Record]):
        self._files, self._records = NamedFiles(folder, SUFFIXES, "--clips", self._key), defaultdict(set)
        for record in records:
            self._records[self._key(Path(record.clip).stem)].add((record.part, record.clip))

    def find(self, part: str, name: str) -> Path:
        """
        Finds a clip.

        Args:
            part (`str`): The part of Clotho it is in.
            name (`str`): Its name in the CSV file.

        Returns:
            `Path`: its file; where it should be if there is none.

        Raises:
            `InputError`: if several files may be meant, or one file by clips of several parts.
        """
        own, shared, stem = [], [], Path(name).stem
        for path in self._files.find_all(stem):
            # The published archives are called clotho_audio_development and so on.
            folders = "/".join(path.relative_to(self._files.folder).parts[:-1]).lower()
            if part in folders:
                own.append(path)
            elif not any(other in folders for other in PARTS):
                shared.append(path)
        files = own or shared
        rivals = {
            (other, clip)
            for other, clip in self._records[self._key(stem)] - {(part, name)}
            if other == part or files is shared
        }
        twins = sorted(other for other, clip in rivals if clip == name)
        if files and twins:
            raise InputError(f"{files[0]} may be the clip of {part} or of {twins[0]}: make a folder for each of them")
        found = [path for path in files if path.name == name] or [path for path in files if path.stem == stem]
        if not found and not rivals:
            found = files
        return only_one(found, name) or self._files.folder / part / name

    @staticmethod
    def _key(stem: str) -> str:
        return one_form(re.sub(r'[<>:"|?*]', "_", html.unescape(stem)).casefold())


def clip_drafts(
    records: Iterable[Record | Problem], doubled: dict[tuple[str, str], str], clips: ClipFolder
) -> Iterator[Draft | Problem]:
    """
    The rows of the config `clotho` in one part.

    Args:
        records (`Iterable[Record | Problem]`): The rows of its CSV file.
        doubled (`dict[tuple[str, str], str]`): What [`recordings_in_later_parts`] found.
        clips (`ClipFolder`): The clips.

    Returns:
        `Iterator[Draft | Problem]`: three drafts a clip, or its problem.
    """
    for record in without_doubled(records, doubled):
        if isinstance(record, Problem):
            yield record
            continue
        try:
            path = clips.find(record.part, record.clip)
        except InputError as error:
            yield Problem(record.place, "media", str(error))
            continue
        clip = Clip(path, f"{record.part}/{Path(record.clip).stem}{path.suffix}")
        yield from hypothesis_drafts(record, "clotho", modality="audio", audio=clip, evidence=["audio"])


def caption_drafts(
    records: Iterable[Record | Problem], doubled: dict[tuple[str, str], str]
) -> Iterator[Draft | Problem]:
    """
    The rows of the config `clotho-captions` in one part.

    The hypotheses were written from all captions of a clip: one caption alone need not entail them. So the premise is
    all of them, as sentences, each once.

    Args:
        records (`Iterable[Record | Problem]`): The rows of its CSV file.
        doubled (`dict[tuple[str, str], str]`): What [`recordings_in_later_parts`] found.

    Returns:
        `Iterator[Draft | Problem]`: three drafts a clip, or its problem.
    """
    for record in without_doubled(records, doubled):
        if isinstance(record, Problem):
            yield record
            continue
        try:
            premise = " ".join(sentences(parse_captions(record.fields["Caption"])))
        except ValueError as error:
            yield Problem(record.place, "row", f"Caption {error}")
            continue
        yield from hypothesis_drafts(record, "clotho-captions", modality="text", premise=premise, evidence=["text"])


def without_doubled(
    records: Iterable[Record | Problem], doubled: dict[tuple[str, str], str]
) -> Iterator[Record | Problem]:
    """Passes records on, with a problem in place of each whose recording a later part has too."""
    for record in records:
        kept = isinstance(record, Record) and doubled.get((record.part, recording_of(record.clip)))
        if kept:
            complaint = f"{record.clip!r} is of the same recording as {kept}, which is kept"
            yield Problem(record.place, "split", complaint)
        else:
            yield record


def hypothesis_drafts(record: Record, config: str, **premise) -> Iterator[Draft]:
    """
    One draft for each hypothesis about a clip.

    Args:
        record (`Record`): The row of the CSV file.
        config (`str`): The config's name: ids begin with it.
        premise: The columns that say what the premise is.

    Returns:
        `Iterator[Draft]`: the entailed, the neutral and the contradicted one.
    """
    for category, (label, probability) in CATEGORIES.items():
        row = new_row(
            id=f"{config}-{record.part}-{record.number:06d}-{category.lower()}",
            source="clotho",
            hypothesis=one_form(record.fields[category]),
            probability=probability,
            label=label,
            probability_source="label",
            **premise,
        )
        yield Draft(f"{record.place}, {category}", row)


def parse_captions(text: str) -> list[str]:
    """
    Reads a Python list of strings.

    Args:
        text (`str`): Its text.

    Returns:
        `list[str]`: the captions.

    Raises:
        `ValueError`: if it is too long, or anything else than a list with a string or more.
    """
    if len(text) > LONGEST_CAPTIONS:
        raise ValueError(f"has {len(text)} characters, more than {LONGEST_CAPTIONS}")
    try:
        captions = ast.literal_eval(text)
    # Too many brackets or signs end in one of the latter two.
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(f"is no list of strings: {text[:60]!r}") from error
    if not isinstance(captions, list) or not captions or not all(isinstance(caption, str) for caption in captions):
        raise ValueError(f"is no list of strings: {text[:60]!r}")
    return captions


def sentences(captions: list[str]) -> list[str]:
    """
    Captions as sentences, each once, in their order.

    Args:
        captions (`list[str]`): The captions.

    Returns:
        `list[str]`: those that say anything, with a capital at the head and a full stop at the end.
    """
    found = {}
    for caption in captions:
        text = one_form(caption)
        bare = text.rstrip(" .").casefold()
        if bare and bare not in found:
            found[bare] = text[0].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
    return list(found.values())
