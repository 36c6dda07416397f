"""
Tells what the numbers mean: the ranges of the paper's protocol (figure 12) in our own words.

They are those that teachers are given too, so that people and models use one scale.
"""

# Lower end, upper end, name, and what it means for a clip and for a text.
RANGES = (
    (100, 100, "Certain", "It is shown or said outright; nothing is left to interpret.",
     "The text says it, in these or other words, or it follows with certainty."),
    (80, 100, "Very likely", "The core of it is there; a detail of who, where or how completely stays a little open.",
     "Its main point is there; at most a small detail is left open."),
    (60, 80, "Likely", "The evidence points clearly to it, but something that matters is missing or hard to make out.",
     "It is not said, but a sensible reader would conclude that it is probably so."),
    (40, 60, "Open", "Part of it fits, and much of it could be read either way.",
     "The subject is the same, and it may as well be true as false."),
    (20, 40, "Unlikely", "There are faint signs of it, too few to believe it.",
     "Little in the text speaks for it."),
    (0, 20, "Very unlikely", "No more than a setting or subject in common with it.",
     "It would be a guess with hardly anything to go by."),
    (0, 0, "Ruled out", "The clip has nothing to do with it, or shows the opposite.",
     "The text rules it out, or has nothing to do with it."),
)  # fmt: skip


def scale(modality: str) -> list[dict]:
    """Returns `low`, `high`, `name` and `meaning` of each range for a modality, from the highest to the lowest."""
    return [
        {"low": low, "high": high, "name": name, "meaning": of_text if modality == "text" else of_clip}
        for low, high, name, of_clip, of_text in RANGES
    ]
