"""
What the cards of datasets and of models have in common: each is a template, Markdown in Jinja, filled with facts.
"""

from pathlib import Path

import yaml
from huggingface_hub import CardData
from huggingface_hub.repocard import RepoCard


CITATION_FILE = Path(__file__).resolve().parents[1] / "CITATION.cff"


def fill_template(template: Path, metadata: CardData, **facts) -> str:
    """
    Fills the template of a card.

    Args:
        template (`Path`): The template. Beside the facts it can use `bibtex`, the entry of the paper, and `number`,
            which writes a count with commas.
        metadata (`CardData`): The front matter.
        facts: What the text tells.

    Returns:
        `str`: the whole README.md.
    """
    facts |= {"bibtex": bibtex(), "number": "{:,}".format}
    return str(RepoCard.from_template(metadata, template_path=template, **facts)).rstrip("\n") + "\n"


def joined(words: list[str], conjunction: str) -> str:
    """Joins words as a sentence does: `"a, b or c"`."""
    *most, last = words
    return f"{', '.join(most)} {conjunction} {last}" if most else last


def bibtex() -> str:
    """The paper as BibTeX, by CITATION.cff."""
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
