"""A dataset folder to annotate, and the Space's own modules."""

import csv
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image


SPACE = Path(__file__).resolve().parents[3] / "spaces" / "annotate"
# As on the Hub, where the Space's folder is the root.
sys.path.insert(0, str(SPACE))

CLAIMS = {
    "harbour.mp4": ["A vessel crosses.", "The sun sets.", "<b onclick=alert(1)>It rains.</b>"],
    "mirror.mp4": ["A bird is seen.", "A horn is heard.", "Somebody speaks."],
}
STORY = "A ferry runs every hour."


@pytest.fixture(scope="session")
def umui(tmp_path_factory) -> Path:
    """A dataset folder with two clips, three claims about each."""
    from datasets_scripts.build import main as build

    folder = tmp_path_factory.mktemp("annotate")
    clip = (SPACE / "training" / "harbour.mp4").read_bytes()
    (folder / "clips").mkdir()
    (folder / "clips" / "harbour.mp4").write_bytes(clip)
    # A free box at the end of the file makes it another clip.
    (folder / "clips" / "mirror.mp4").write_bytes(clip + b"\x00\x00\x00\x08free")
    with (folder / "pairs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "claim", "p", "topic", "story"])
        for name, claims in CLAIMS.items():
            writer.writerows([name, claim, 0.5, "Harbour", STORY] for claim in claims)
    options = "--dataset-config own --media-column file --hypothesis-column claim --probability-column p"
    options += " --topic-column topic --context-column story --modality audiovisual --split test --workers 1"
    table, clips = folder / "pairs.csv", folder / "clips"
    build(
        [
            *("own", *options.split(), "--table", str(table)),
            *("--media-root", str(clips), "--output-dir", str(folder / "umui")),
        ]
    )
    return folder / "umui"


@pytest.fixture
def parts_umui(tmp_path) -> Path:
    """A dataset folder of combinations: a story, a map and a clip, two claims; the clip before another story, one."""
    from datasets_scripts.build import main as build

    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "harbour.mp4").write_bytes((SPACE / "training" / "harbour.mp4").read_bytes())
    Image.new("RGB", (160, 90), (40, 90, 160)).save(tmp_path / "files" / "map.png")
    with (tmp_path / "parts.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["story", "map", "clip", "claim", "p"])
        writer.writerows([STORY, "map.png", "harbour.mp4", claim, 0.5] for claim in ("It rains.", "It is a ferry."))
        writer.writerow(["<b>It is late.</b>", "map.png", "harbour.mp4", "The sun sets.", 0.5])
    options = "--dataset-config parts --hypothesis-column claim --probability-column p --split test --workers 1"
    columns = ("--part-columns", "story=text", "map=image", "clip=audiovisual")
    folders = ("--media-root", str(tmp_path / "files"), "--output-dir", str(tmp_path / "umui"))
    build(["own", *options.split(), *columns, *folders, "--table", str(tmp_path / "parts.csv")])
    return tmp_path / "umui"


@pytest.fixture(scope="session")
def urn_umui(tmp_path_factory) -> Path:
    """A dataset folder of all four modalities, two test premises each, three claims about each."""
    from datasets_scripts.build import main as build

    folder = tmp_path_factory.mktemp("urn") / "umui"
    sizes = "--train 1 --validation 1 --test 2 --hypotheses-per-premise 3 --workers 1"
    build(["urn", "--output-dir", str(folder), *sizes.split()])
    return folder


@pytest.fixture(scope="session")
def write_clip() -> Callable[..., Path]:
    """Two seconds of a grey that brightens and a noise: `write_clip(path, "libx264", "aac", pix_fmt="yuv444p")`."""

    def write(path: Path, picture: str | None, sound: str | None, pix_fmt="yuv420p", rate=8, **options) -> Path:
        rng = np.random.default_rng(0)
        with av.open(str(path), "w", **options) as container:
            video = picture and container.add_stream(picture, rate)
            audio = sound and container.add_stream(sound, 48000)
            if video:
                video.width, video.height, video.pix_fmt = 64, 48, pix_fmt
            if audio:
                audio.layout = "mono"
            for second in range(2):
                for shade in range(rate) if video else ():
                    grey = np.full((48, 64, 3), 100 * second + 3 * shade, np.uint8)
                    container.mux(video.encode(av.VideoFrame.from_ndarray(grey)))
                if audio:
                    noise = av.AudioFrame.from_ndarray(rng.normal(0, 3000, (1, 48000)).astype("i2"), "s16", "mono")
                    noise.sample_rate, noise.pts, noise.time_base = 48000, 48000 * second, Fraction(1, 48000)
                    container.mux(audio.encode(noise))
            for stream in filter(None, (video, audio)):
                container.mux(stream.encode())
        return path

    return write
