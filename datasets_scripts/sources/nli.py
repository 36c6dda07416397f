"""
Labelled and graded pairs of text: SNLI and MultiNLI (entailment, neutral, contradiction), and JOCI (1 to 5).

SNLI's and MultiNLI's tables have the columns premise, hypothesis and label; JOCI's is as published. Probabilities
stand for the categories: to be trained on before people's own numbers, such as UNLI's.
"""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

from common.cli import unit_float
from common.errors import InputError
from datasets_scripts.building.drafts import Draft, Problem, new_row
from datasets_scripts.schema import name_of, one_form
from datasets_scripts.sources.facts import Facts
from datasets_scripts.tables import read_table


DESCRIPTION = "labelled pairs of SNLI and MultiNLI, and JOCI's grades, from their tables"
FACTS = Facts(
    title="SNLI, MultiNLI and JOCI",
    what=(
        "Premise-hypothesis pairs with a category: of photographs' captions (SNLI), of written and spoken English "
        "(MultiNLI), of common sense (JOCI)."
    ),
    url="https://nlp.stanford.edu/projects/snli/",
    licences=("cc-by-sa-4.0", "other"),
    terms="SNLI and what is made of it; MultiNLI's texts have terms by genre, most of them the OANC's",
    labels=(
        "The probability stands for the category: by default what people say on average about UNLI's development set "
        "(entailment .96, neutral .37, contradiction .02), and for JOCI's grades 1 to 5 the numbers 0, .25, .5, .75 "
        "and 1. The label is 1 for entailment, 0 for contradiction, and none for the others."
    ),
    limits="A category is no probability; two pairs of one category may differ much in how probable they are.",
    citation=(
        "Samuel R. Bowman, Gabor Angeli, Christopher Potts and Christopher D. Manning (2015): A large annotated "
        "corpus for learning natural language inference. EMNLP. Adina Williams, Nikita Nangia and Samuel Bowman "
        "(2018): A Broad-Coverage Challenge Corpus for Sentence Understanding through Inference. NAACL. Sheng "
        "Zhang, Rachel Rudinger, Kevin Duh and Benjamin Van Durme (2017): Ordinal Common-sense Inference. TACL."
    ),
    extends="extended|snli",
    configs=r"snli|mnli|joci",
)

# The tables by config.
FILES = {"snli": "snli_dev.csv", "mnli": "mnli_dev_matched.csv", "joci": "joci.csv"}
LABELS = {"entailment": 1, "neutral": None, "contradiction": 0}
COLUMNS = ("premise", "hypothesis", "label")
JOCI_COLUMNS = ("CONTEXT", "HYPOTHESIS", "LABEL")
GRADES = {"1": 0.0, "2": 0.25, "3": 0.5, "4": 0.75, "5": 1.0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this source."""
    names = ", ".join(FILES.values())
    parser.add_argument("--raw", type=Path, required=True, help=f"the folder with one or more of {names}")
    parser.add_argument(
        "--class-probabilities",
        type=unit_float,
        nargs=3,
        default=(0.96, 0.37, 0.02),
        metavar=tuple(name.upper() for name in LABELS),
        help="of the three categories (default: people's means on UNLI's development set, 0.96 0.37 0.02)",
    )


def configs(options: argparse.Namespace) -> dict[str, dict[str, Iterable[Draft | Problem]]]:
    """Returns the drafts of each table that is there, all of them to train on."""
    there = {config: options.raw / file for config, file in FILES.items() if (options.raw / file).is_file()}
    if not there:
        raise InputError(f"--raw {options.raw} holds none of {', '.join(FILES.values())}")
    categories = dict(zip(LABELS, options.class_probabilities, strict=True))
    scales = dict.fromkeys(there, (COLUMNS, categories)) | {"joci": (JOCI_COLUMNS, GRADES)}
    return {config: {"train": read_rows(path, config, *scales[config])} for config, path in there.items()}


def read_rows(
    path: Path, config: str, columns: tuple[str, str, str], scale: dict[str, float]
) -> Iterator[Draft | Problem]:
    """
    Yields a draft or a problem for each row of a table, in its order; the header is row 1.

    Args:
        path (`Path`): The table.
        config (`str`): The name of its config.
        columns (`tuple[str, str, str]`): Its columns of the premise, the hypothesis and the category.
        scale (`dict[str, float]`): The probability of each category.
    """
    for record in read_table(path, columns, lambda values: values[columns[2]] in scale):
        if isinstance(record, Problem):
            yield record
            continue
        premise, hypothesis, category = (record.values[name] or "" for name in columns)
        premise, hypothesis, category = one_form(premise), one_form(hypothesis), name_of(category)
        complaints = [f"{columns[k]} is empty" for k, text in enumerate((premise, hypothesis)) if not text]
        if category not in scale:
            complaints.append(f"{columns[2]} must be one of {list(scale)}, got {category!r}")
        if complaints:
            yield Problem(record.place, "row", "; ".join(complaints))
            continue
        row = new_row(
            id=f"{config}-{record.number}",
            source="nli",
            modality="text",
            premise=premise,
            hypothesis=hypothesis,
            probability=scale[category],
            label=LABELS.get(category),
            probability_source="label",
            evidence=["text"],
        )
        yield Draft(record.place, row)
