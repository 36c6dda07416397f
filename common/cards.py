"""Fills the cards of datasets and of models: each is a template, Markdown in Jinja, filled with facts."""

from pathlib import Path

import yaml
from huggingface_hub import CardData
from huggingface_hub.repocard import RepoCard


CITATION_FILE = Path(__file__).resolve().parents[1] / "CITATION.cff"


def fill_template(template: Path, metadata: CardData, **facts) -> str:
    """Fills the template of a card with front matter and facts, and returns the whole README.md.

    Beside the facts a template has `bibtex`, the paper's entry, and `number`, which writes a count with commas.
    """
    facts |= {"bibtex": bibtex(), "number": "{:,}".format}
    return str(RepoCard.from_template(metadata, template_path=template, **facts)).rstrip("\n") + "\n"


def joined(words: list[str], conjunction: str) -> str:
    """Joins words as a sentence does: `"a, b or c"`."""
    *most, last = words
    return f"{', '.join(most)} {conjunction} {last}" if most else last


def bibtex() -> str:
    """Returns the paper as BibTeX, by CITATION.cff."""
    paper = yaml.safe_load(CITATION_FILE.read_text(encoding="utf-8"))["preferred-citation"]
    authors = " and ".join(f"{one['family-names']}, {one['given-names']}" for one in paper["authors"])
    return f"""@misc{{{paper["authors"][0]["family-names"].lower()}{paper["year"]}umui,
  title         = {{{paper["title"]}}},
  author        = {{{authors}}},
  year          = {{{paper["year"]}}},
  eprint        = {{{paper["journal"].rpartition(":")[2]}}},
  archivePrefix = {{arXiv}},
  url           = {{{paper["url"]}}}
}}"""
