"""How cards are read by the tests: a template is right only if what it leaves between its blocks is Markdown."""

import re
from itertools import pairwise


def check_layout(card: str) -> None:
    """
    Fails where a block of Markdown isn't set apart from the one before, a table has rows of different widths, or a
    name between braces is left.
    """
    text = card.split("---\n", 2)[2]
    assert text.endswith("\n") and not text.endswith("\n\n") and not re.search(r"[ \t]\n", text)
    pieces = text.split("```")
    assert len(pieces) % 2 == 1
    for block in pieces[1::2]:
        assert re.fullmatch(r"(python|bash|bibtex|yaml)\n *\S.*\n *", block, re.DOTALL)
    for before, after in pairwise(pieces[::2]):
        assert re.search(r"\n\n *$", before) and re.match(r"\n(\n|$)", after)
    prose = "".join(pieces[::2])
    assert not re.search(r"\{[{%#]|[%#}]\}", prose)
    for before, line in pairwise(prose.splitlines()):
        kinds = [next((kind for kind in ("#", "|", "- ", "  ") if one.startswith(kind)), "") for one in (before, line)]
        if before and line:
            assert "#" not in kinds and (kinds in (["|", "|"], ["", ""]) or set(kinds) <= {"- ", "  "}), (before, line)
        if kinds == ["|", "|"]:
            assert before.count("|") == line.count("|")
