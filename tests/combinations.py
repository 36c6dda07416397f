"""A small dataset of combinations: stories before clips, pictures beside sounds."""

from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from datasets_scripts.building.drafts import Clip, Draft, new_row
from datasets_scripts.building.writer import write_config
from datasets_scripts.schema import combination
from datasets_scripts.sources.urn_media import write_video


CONFIG = "combinations"
HYPOTHESES = ("The ball is red.", "It is neither red nor blue.", "A random sound is high or low.")
KINDS = {
    "audiovisual": (("text", "story"), ("audiovisual", "scene")),
    "audio": (("audio", "tone"), ("text", "story"), ("audio", "hum")),
    "video": (("image", "map"), ("video", "scene"), ("text", "story")),
}


def clips_below(folder: Path, number: int) -> dict[str, Clip]:
    """Writes a picture, two sounds and a video, told from others by their number."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 255, (28, 28, 3), np.uint8)
    Image.fromarray(pixels).save(folder / f"map-{number}.png")
    for name in ("tone", "hum"):
        soundfile.write(folder / f"{name}-{number}.flac", rng.uniform(-0.3, 0.3, 8_000), 16_000)
    write_video(folder / f"scene-{number}.mp4", ["red", "blue"], ["high", "low"], rng)
    return {path.name.split("-")[0]: Clip(path, path.name) for path in sorted(folder.glob(f"*-{number}.*"))}


def build_combinations(folder: Path, premises: int = 2) -> Path:
    """Builds a config with `premises` of each kind to train on and one to test on; every row has a probability of its
    own."""
    raw = folder / "raw"
    raw.mkdir(parents=True)
    splits: dict[str, list[Draft]] = {"train": [], "test": []}
    for number in range(premises + 1):
        contents = clips_below(raw, number) | {"story": f"An urn holds {number} red balls."}
        for parts in KINDS.values():
            columns = combination(*((kind, contents[name]) for kind, name in parts))
            for hypothesis in HYPOTHESES:
                count = sum(map(len, splits.values()))
                row = new_row(id=f"row-{count}", source="made-up", hypothesis=hypothesis, **columns)
                row |= {"probability": (count + 0.5) / 100, "probability_source": "exact"}
                splits["test" if number == premises else "train"].append(Draft(f"row {count}", row))
    write_config(folder / "umui", CONFIG, splits, {"source": "made-up"})
    return folder / "umui"
