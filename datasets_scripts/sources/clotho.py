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
from pathlib import Path

from common.errors import InputError
from datasets_scripts.building.clips import NamedFiles, only_one
from datasets_scripts.building.drafts import Clip, Draft, Problem, new_row
from datasets_scripts.schema import one_form
from datasets_scripts.sources.facts import Facts
from datasets_scripts.tables import Record, read_table


DESCRIPTION = "Clotho entailment: audio clips, and their captions as text, from the published CSVs"
FACTS = Facts(
    title="Clotho entailment (CLE)",
    what=(
        "Everyday sounds of 15 to 30 seconds (Clotho), each with an entailed, a neutral and a contradicted "
        "statement (Audio Entailment)."
    ),
    url="https://github.com/microsoft/AudioEntailment",
    licences=("mit", "other"),
    terms=(
        "hypotheses and categories. The clips are from Freesound, each under its author's licence, and the "
        "captions under [Clotho's own terms](https://zenodo.org/records/4783391) (attribution, no commercial "
        "use): see there before you use either"
    ),
    media_allowed=False,
    labels=(
        "An entailed hypothesis has label 1 and probability 1, a contradicted one label 0 and probability 0. A "
        "neutral one is neither: it has no label, and probability 0.5 until a teacher or people have given one."
    ),
    limits=(
        "Clotho's hypotheses were written by a language model from the captions, not from the sounds; five "
        "recordings that Clotho cut up for two splits are left to the later split."
    ),
    citation=(
        "Soham Deshmukh, Shuo Han, Hazim Bukhari, Benjamin Elizalde, Hannes Gamper, Rita Singh and Bhiksha Raj "
        "(2025): Audio Entailment: Assessing Deductive Reasoning for Audio Understanding. AAAI. Konstantinos "
        "Drossos, Samuel Lipping and Tuomas Virtanen (2020): Clotho: an Audio Captioning Dataset. ICASSP."
    ),
    extends="extended|other-clotho",
    configs=r"clotho.*",
)

# Of a recording that is in two splits, the later of these keeps it.
PARTS = {"development": "train", "validation": "validation", "evaluation": "test"}
# Column of a hypothesis: its label, and its probability for want of a better one.
CATEGORIES = {"Entailment": (1, 1.0), "Neutral": (None, 0.5), "Contradiction": (0, 0.0)}
CLIP = "Audio file"
COLUMNS = (CLIP, "Caption", *CATEGORIES)
SUFFIXES = (".wav", ".flac", ".ogg")
# The longest of the published fields has 543 characters.
LONGEST_CAPTIONS = 10_000


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
    """Returns the drafts of each split of the configs asked for; read them once."""
    names = options.configs or (["clotho", "clotho-captions"] if options.clips else ["clotho-captions"])
    if "clotho" in names and options.clips is None:
        raise InputError("the config clotho needs the clips: pass --clips, or --dataset-configs clotho-captions")
    files = {part: options.raw / f"clotho_entailment_{part}.csv" for part in PARTS}
    files = {part: file for part, file in files.items() if file.is_file()}
    if not files:
        raise InputError(f"--raw {options.raw} must hold clotho_entailment_{{{','.join(PARTS)}}}.csv: found none")
    # What a row needs to know of all the others comes first; the rows themselves are read again when they are written.
    records = {part: [one for one in _records(file) if isinstance(one, Record)] for part, file in files.items()}
    later = _recordings_of_later_parts(records)
    clips = ClipFolder(options.clips, records) if "clotho" in names else None
    return {
        name: {
            PARTS[part]: _drafts(name, part, file, later, clips if name == "clotho" else None)
            for part, file in files.items()
        }
        for name in names
    }


def _records(file: Path) -> Iterator[Record | Problem]:
    """Reads the rows of a CSV file; one that can't be read, or whose clip is no file name, is a problem."""
    for record in read_table(file, COLUMNS, _is_row):
        if isinstance(record, Record) and not _is_file_name(record.values[CLIP]):
            yield Problem(record.place, "row", f"Audio file is not a file name: {record.values[CLIP]!r}")
        else:
            yield record


def _is_row(values: dict[str, str]) -> bool:
    try:
        _parse_captions(values["Caption"])
    except ValueError:
        return False
    return _is_file_name(values[CLIP])


def _is_file_name(name: str) -> bool:
    """Returns whether a name is that of a file in a folder, not a path that leads elsewhere."""
    return bool(name.strip(" .")) and not re.search(r"[/\\\0]", name)


def _recording_of(clip: str) -> str:
    """
    Returns the recording that a clip was cut from, by its name.

    Clotho writes one name in two ways: special characters as entities of HTML, or with `_` in place of `&`, `#`, `;`.
    """
    return one_form(html.unescape(re.sub(r"__(\d+)_", r"&#\1;", clip)))


def _recordings_of_later_parts(records: dict[str, list[Record]]) -> dict[tuple[str, str], str]:
    """Returns the place of a clip of the same recording in a later part for each (part, recording) that has one."""
    places = defaultdict(dict)
    for part, those in records.items():
        for record in those:
            places[_recording_of(record.values[CLIP])].setdefault(part, record.place)
    return {
        (part, recording): list(found.values())[-1] for recording, found in places.items() for part in list(found)[:-1]
    }


class ClipFolder:
    """
    Finds Clotho's clips in a folder: one folder a part (`development`, `validation`, `evaluation`), or all in one.

    A clip is found by its name: as it is, else with another ending (FLAC and Ogg take less room), and with differences
    of case, of white space, of entities (`&#39;`) and of characters that some file systems don't allow passed over.

    Args:
        folder (`Path`): The folder.
        records (`dict[str, list[Record]]`): The rows of all parts, which say what such differences would mix up.
    """

    def __init__(self, folder: Path, records: dict[str, list[Record]]):
        self._files, self._named = NamedFiles(folder, SUFFIXES, "--clips", _plain_stem), defaultdict(set)
        for part, those in records.items():
            for record in those:
                clip = record.values[CLIP]
                self._named[_plain_stem(Path(clip).stem)].add((part, clip))

    def find(self, part: str, name: str) -> Path:
        """Returns the file of a clip of a part, or where it should be; one that can't be told apart is an error."""
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
            for other, clip in self._named[_plain_stem(stem)] - {(part, name)}
            if other == part or files is shared
        }
        twins = sorted(other for other, clip in rivals if clip == name)
        if files and twins:
            raise InputError(f"{files[0]} may be the clip of {part} or of {twins[0]}: make a folder for each of them")
        found = [path for path in files if path.name == name] or [path for path in files if path.stem == stem]
        if not found and not rivals:
            found = files
        return only_one(found, name) or self._files.folder / part / name


def _plain_stem(stem: str) -> str:
    return one_form(re.sub(r'[<>:"|?*]', "_", html.unescape(stem)).casefold())


def _drafts(
    config: str, part: str, file: Path, later: dict[tuple[str, str], str], clips: ClipFolder | None
) -> Iterator[Draft | Problem]:
    """
    Yields three drafts for each row of a part, about its clip or, without `clips`, about its captions.

    The hypotheses were written from all captions of a clip: one caption alone need not entail them. So a text premise
    is all of them, as sentences, each once.
    """
    for record in _records(file):
        if isinstance(record, Problem):
            yield record
            continue
        name = record.values[CLIP]
        if kept := later.get((part, _recording_of(name))):
            yield Problem(record.place, "split", f"{name!r} is of the same recording as {kept}, which is kept")
            continue
        try:
            if clips:
                path = clips.find(part, name)
                clip = Clip(path, f"{part}/{Path(name).stem}{path.suffix}")
                premise = {"modality": "audio", "audio": clip, "evidence": ["audio"]}
            else:
                text = _as_sentences(_parse_captions(record.values["Caption"]))
                premise = {"modality": "text", "premise": text, "evidence": ["text"]}
        except InputError as error:
            yield Problem(record.place, "media", str(error))
            continue
        except ValueError as error:
            yield Problem(record.place, "row", f"Caption {error}")
            continue
        for category, (label, probability) in CATEGORIES.items():
            row = new_row(
                id=f"{config}-{part}-{record.number:06d}-{category.lower()}",
                source="clotho",
                hypothesis=one_form(record.values[category]),
                probability=probability,
                label=label,
                probability_source="label",
                **premise,
            )
            yield Draft(f"{record.place}, {category}", row)


def _parse_captions(text: str) -> list[str]:
    """Reads a Python list of strings; a `ValueError` says what else the text is."""
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


def _as_sentences(captions: list[str]) -> str:
    """Returns captions that say anything, each once, with a capital at the head and a full stop at the end."""
    found = {}
    for text in map(one_form, captions):
        bare = text.rstrip(" .").casefold()
        if bare and bare not in found:
            found[bare] = text[0].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
    return " ".join(found.values())
