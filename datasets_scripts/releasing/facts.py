"""Facts of each source for the card of a release: where it is from, its terms, how its labels come."""

from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Facts:
    """Holds what the card says of a source; `facts.yaml` says what each field is."""

    title: str
    what: str
    url: str | None
    licences: tuple[str, ...]
    terms: str
    media_allowed: bool
    labels: str
    limits: str | None
    citation: str | None
    extends: str
    people: str | None


_FACTS = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
FACTS = {name: Facts(**facts | {"licences": tuple(facts["licences"])}) for name, facts in _FACTS.items()}


def own_facts(config: str, licence: str, media_allowed: bool) -> Facts:
    """Returns the facts of a config built from a folder of one's own."""
    return Facts(
        title=f"`{config}`",
        what="A collection of the publisher of this dataset.",
        url=None,
        licences=(licence,),
        terms="texts and labels" + (" and clips" if media_allowed else "; the clips are not passed on"),
        media_allowed=media_allowed,
        labels="Labels and probabilities are those of the publisher's own files.",
        limits=None,
        citation=None,
        extends="original",
        people="other",
    )
