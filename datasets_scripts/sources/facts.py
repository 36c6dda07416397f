"""Holds what the card of a release says of a source: where it is from, its terms, how its labels come."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Facts:
    """Holds what the card says of a source."""

    title: str
    what: str  # it is, in a sentence or two
    licences: tuple[str, ...]  # ids on the Hub, the labels' first
    terms: str  # what the first licence covers, and what it doesn't
    labels: str  # how labels and probabilities come about
    url: str | None = None
    media_allowed: bool = True  # to be passed on with the labels
    limits: str | None = None  # what a user should know before relying on it
    citation: str | None = None
    extends: str = "original"  # its value among the card's `source_datasets`
    people: str | None = None  # who judged, as the card's `annotations_creators` puts it, where people did
    configs: str = ""  # a regular expression of the names of its configs, which nobody else's may have
