"""Holds the examples of the page: those that the checkpoint knows something about."""

from pathlib import Path
from typing import NamedTuple


CLIPS = Path(__file__).resolve().parent / "examples"


class Example(NamedTuple):
    """Holds what an example puts into the page's inputs."""

    kind: str
    text: str
    picture: str | None
    audio: str | None
    video: str | None
    sound: str
    hypotheses: str


def _example(
    kind: str, *hypotheses: str, text: str = "", audio: str = "", video: str = "", sound: str = "Picture and sound"
) -> Example:
    clips = (str(CLIPS / clip) if clip else None for clip in (audio, video))
    return Example(kind, text, None, *clips, sound, "\n".join(hypotheses))


# For a checkpoint that knows ordinary English. "Dog Barks.wav" by UnderlinedDesigns, freesound.org, CC0, from ESC-10.
EVERYDAY = {
    "A concert": _example(
        *("Text", "A man is making music.", "The man is a musician.", "The man is famous.", "The man is asleep."),
        text="A man in a blue shirt is playing the guitar in front of a crowd.",
    ),
    "A walk": _example(
        *("Text", "It is raining.", "They are outdoors.", "They are late.", "They are sisters."),
        text="Two women with umbrellas hurry along a wet street at night.",
    ),
    "A sound": _example(
        *("Sound", "A dog barks.", "It is raining.", "You can hear a baby that is crying.", "No dog can be heard."),
        audio="dog.ogg",
    ),
}
URN_TEXT = "Balls in the urn: red, red, blue, green, red."
# Urns: here the truth follows by counting. The tiny checkpoint knows nothing else.
URN = {
    "An urn in words": _example(
        *("Text", "A random ball is red.", "It is neither red nor blue.", "The ball is either blue or green."),
        text=URN_TEXT,
    ),
    "Beeps": _example("Sound", "A random sound is high.", "It is low.", "The sound is middle.", audio="beeps.flac"),
    "Coloured balls": _example(
        *("Video", "The ball is red.", "It is not blue.", "A random ball is yellow."),
        video="balls.mp4",
        sound="Picture only",
    ),
    "Balls that beep": _example(
        *("Video", "It is red and high.", "The draw is red but not high.", "The ball is blue."),
        video="balls_that_beep.mp4",
        sound="Both, side by side",
    ),
    # Three of five balls are red, seven of ten beeps high and the others low.
    "Text and beeps": _example(
        *("Together", "A random ball is red.", "A random sound is high.", "The sound is low."),
        text=URN_TEXT,
        audio="beeps.flac",
    ),
    # Five of eight balls are red, none is yellow.
    "Beeps and balls": _example(
        *("Together", "A random ball is red.", "A random ball is yellow.", "A random sound is high."),
        audio="beeps.flac",
        video="balls.mp4",
        sound="Picture only",
    ),
}


def examples_for(model: str) -> dict[str, Example]:
    """Returns the examples of a checkpoint, by its folder or repository."""
    return URN if Path(model).name == "clue-urn-tiny" else EVERYDAY | URN
