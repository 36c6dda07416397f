"""Names the sources: a module each, with `DESCRIPTION`, `FACTS`, `add_arguments` and `configs`."""

from datasets_scripts.sources import clotho, nli, own, restore, unli, urn, urn_stress, wikivideo


SOURCES = {
    "urn": urn,
    "urn-stress": urn_stress,
    "unli": unli,
    "nli": nli,
    "clotho": clotho,
    "wikivideo": wikivideo,
    "own": own,
    "restore": restore,
}
FACTS = {name: source.FACTS for name, source in SOURCES.items() if source.FACTS}
