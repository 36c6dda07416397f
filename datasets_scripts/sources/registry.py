"""Names the sources: a module each, with `DESCRIPTION`, `FACTS`, `add_arguments` and `configs`."""

from datasets_scripts.sources import (
    clotho,
    crema_d,
    esc10,
    grid,
    nli,
    own,
    published,
    restore,
    speech_commands,
    unli,
    urn,
    urn_stress,
    wikivideo,
)


SOURCES = {
    "urn": urn,
    "urn-stress": urn_stress,
    "unli": unli,
    "nli": nli,
    "clotho": clotho,
    "esc10": esc10,
    "speech-commands": speech_commands,
    "grid": grid,
    "crema-d": crema_d,
    "wikivideo": wikivideo,
    "published": published,
    "own": own,
    "restore": restore,
}
FACTS = {name: source.FACTS for name, source in SOURCES.items() if source.FACTS}
