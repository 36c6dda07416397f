"""Holds the examples of the page: those that the checkpoint knows something about."""

from pathlib import Path
from typing import NamedTuple


CLIPS = Path(__file__).resolve().parent / "examples"


class Example(NamedTuple):
    """Holds what an example puts into the page's inputs."""

    kind: str
    text: str
    audio: str | None
    video: str | None
    sound: str
    hypotheses: str


def _example(kind: str, premise: str, *hypotheses: str, sound: str = "Picture and sound") -> Example:
    clip = str(CLIPS / premise)
    inputs = (premise if kind == "Text" else "", clip if kind == "Sound" else None, clip if kind == "Video" else None)
    return Example(kind, *inputs, sound, "\n".join(hypotheses))


# For a checkpoint that knows ordinary English. "Dog Barks.wav" by UnderlinedDesigns, freesound.org, CC0, from ESC-10.
EVERYDAY = {
    "A concert": _example(
        "Text",
        "A man in a blue shirt is playing the guitar in front of a crowd.",
        *("A man is making music.", "The man is a musician.", "The man is famous.", "The man is asleep."),
    ),
    "A walk": _example(
        "Text",
        "Two women with umbrellas hurry along a wet street at night.",
        *("It is raining.", "They are outdoors.", "They are late.", "They are sisters."),
    ),
    "A sound": _example(
        "Sound",
        "dog.ogg",
        "A dog barks.",
        "It is raining.",
        "You can hear a baby that is crying.",
        "No dog can be heard.",
    ),
}
# Urns: here the truth follows by counting. The tiny checkpoint knows nothing else.
URN = {
    "An urn in words": _example(
        "Text",
        "Balls in the urn: red, red, blue, green, red.",
        *("A random ball is red.", "It is neither red nor blue.", "The ball is either blue or green."),
    ),
    "Beeps": _example("Sound", "beeps.flac", "A random sound is high.", "It is low.", "The sound is middle."),
    "Coloured balls": _example(
        *("Video", "balls.mp4", "The ball is red.", "It is not blue.", "A random ball is yellow."),
        sound="Picture only",
    ),
    "Balls that beep": _example(
        *("Video", "balls_that_beep.mp4", "It is red and high.", "The draw is red but not high.", "The ball is blue."),
        sound="Both, side by side",
    ),
}


def examples_for(model: str) -> dict[str, Example]:
    """Returns the examples of a checkpoint, by its folder or repository."""
    return URN if Path(model).name == "clue-urn-tiny" else EVERYDAY | URN
