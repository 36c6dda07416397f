"""What the cards of datasets and of models have in common."""

from pathlib import Path

import pytest
import yaml
from huggingface_hub import CardData

from common.cards import bibtex, fill_template, joined


ROOT = Path(__file__).resolve().parents[2]


def test_bibtex_is_that_of_the_repository():
    """Title, authors, year and number are those of CITATION.cff."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())["preferred-citation"]
    first, *fields, last = bibtex().splitlines()
    values = dict(field.strip().rstrip(",").split(" = ") for field in (" ".join(line.split()) for line in fields))
    names = " and ".join(f"{one['family-names']}, {one['given-names']}" for one in cited["authors"])
    assert (first, last) == ("@misc{zhang2026umui,", "}") and values == {
        "title": f"{{{cited['title']}}}",
        "author": f"{{{names}}}",
        "year": f"{{{cited['year']}}}",
        "eprint": "{2604.08701}",
        "archivePrefix": "{arXiv}",
        "url": f"{{{cited['url']}}}",
    }


@pytest.mark.parametrize("words, text", [("a", "a"), ("ab", "a or b"), ("abc", "a, b or c"), ("abcd", "a, b, c or d")])
def test_joined(words, text):
    """Words are joined as in a sentence."""
    assert joined(list(words), "or") == text


def test_facts_are_filled_in_as_they_are(tmp_path):
    """A fact is text and no template itself; the front matter keeps its order; the file ends in one newline."""
    template = tmp_path / "card.md"
    template.write_text("---\n{{ card_data }}\n---\n\n{{ name }}: {{ number(rows) }}\n\n\n")
    metadata = {"tags": ["b", "a"], "license": "mit", "description": "{{ rows }} " + 30 * "long "}
    card = fill_template(template, CardData(**metadata), name="{{ rows }} {% if %} <ä> & 'b'", rows=1234567)
    front, text = card.removeprefix("---\n").split("---\n", 1)
    assert list(yaml.safe_load(front).items()) == list(metadata.items())
    assert text == "\n{{ rows }} {% if %} <ä> & 'b': 1,234,567\n"
