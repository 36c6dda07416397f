"""Pages of the project lead somewhere."""

import re
from pathlib import Path

import pytest


ROOT = Path(__file__).resolve().parents[2]
# Cards that are filled from a template lead from the folders where they will lie.
TEMPLATES = ("model_card.md", "dataset_card.md", "folder_card.md", "about.md")
FOLDERS = ("benchmarks", "checkpoints", "datasets_scripts", "docs", "evaluation", "modeling_clue", "spaces", "train")
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md")))
    if path.name not in TEMPLATES
)


def headings(page: Path) -> set[str]:
    """Returns the anchors of a page's headings, as GitHub makes them."""
    lines = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page):
    """Every relative link names a file of the project, and a heading of it where it says so."""
    page = ROOT / page
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), target
        assert not anchor or anchor in headings(there), target
