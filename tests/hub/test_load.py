"""The dataset folder on a Hub: rows and clips as `load_dataset`, `load_split` and `stream_split` give them."""

import hashlib
import json
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from datasets_scripts.build import main as build
from datasets_scripts.load import split_names
from tests.datasets_scripts.sources.test_published import write_release


pytestmark = pytest.mark.processes

CONFIGS = ("urn-text", "urn-audio", "urn-video", "urn-audiovisual")
REPO = "clue/to-load"
PUSH = """
import sys
from huggingface_hub import HfApi
HfApi().create_repo(sys.argv[1], repo_type="dataset", private=True, exist_ok=True)
HfApi().upload_folder(repo_id=sys.argv[1], repo_type="dataset", folder_path=sys.argv[2])
"""
# Prints what rows hold, and decodes every clip as training does: `rows` is a function of a config.
TELL = """
import hashlib, json
from functools import lru_cache
from huggingface_hub import HfFileSystem
from modeling_clue.media import load_audio, load_video
@lru_cache(maxsize=None)
def read(path):
    return HfFileSystem().cat_file(path) if path.startswith("hf://") else open(path, "rb").read()
@lru_cache(maxsize=None)
def decode(content, sense):
    if sense == "audio":
        assert len(load_audio(content).waveform)
    else:
        assert load_video(content, fps=2, max_frames=8).frames.size
    return hashlib.sha256(content).hexdigest()
def clip(row):
    for sense in ("audio", "video"):
        if row[sense] is not None:
            return decode(row[sense]["bytes"] or read(row[sense]["path"]), sense)
def told(row):
    return {key: row[key] for key in ("id", "modality", "premise", "hypothesis", "probability")} | {"clip": clip(row)}
def tell(configs, rows):
    print(json.dumps({config: [told(row) for row in rows(config)] for config in configs}))
"""
LOAD_DATASET = """
from datasets import Video, load_dataset
def rows(config):
    rows = load_dataset(sys.argv[1], config, split="test", streaming=sys.argv[2] == "streamed")
    return rows.cast_column("audio", Video(decode=False)).cast_column("video", Video(decode=False))
"""
LOAD_SPLIT = """
from datasets_scripts.load import load_split, stream_split
def rows(config):
    rows = (stream_split if sys.argv[2] == "streamed" else load_split)(sys.argv[1], config, "test")
    if sys.argv[2] == "whole":
        for row in rows:
            # A path that anything can open.
            assert all(clip is None or clip["path"].startswith("/") for clip in (row["audio"], row["video"]))
    return rows
"""


def called(code: str) -> str:
    """A whole program of one of the ways to load."""
    return f"import sys\n{code}\n{TELL}\ntell(sys.argv[3:], rows)"


@pytest.fixture(scope="module")
def umui(hub, tmp_path_factory) -> Path:
    """A dataset folder that was pushed to a private repository as it is."""
    folder = tmp_path_factory.mktemp("data") / "umui"
    build(["urn", "--output-dir", str(folder), *"--train 3 --validation 2 --test 3 --workers 1".split()])
    hub.run(tmp_path_factory.mktemp("home"), PUSH, REPO, folder)
    return folder


@pytest.fixture(scope="module")
def expected(umui) -> dict[str, list[dict]]:
    """What the test splits hold, read from the folder without `datasets`."""
    rows = {}
    for config in CONFIGS:
        folder, rows[config] = umui / config / "test", []
        for row in pq.read_table(folder / "metadata.parquet").to_pylist():
            name = row.get("audio_file_name") or row.get("video_file_name")
            digest = hashlib.sha256((folder / name).read_bytes()).hexdigest() if name else None
            kept = ("id", "modality", "premise", "hypothesis", "probability")
            rows[config].append({key: row[key] for key in kept} | {"clip": digest})
    return rows


@pytest.mark.parametrize("how", ["whole", "streamed"])
@pytest.mark.parametrize("code", [LOAD_DATASET, LOAD_SPLIT], ids=["load_dataset", "load_split"])
def test_every_row_and_clip_comes_back(hub, expected, tmp_path, code, how):
    """Loaded or streamed, the Hub's rows are the folder's, and their clips are its files and can be decoded."""
    told = hub.run(tmp_path, called(code), REPO, how, *CONFIGS).stdout
    assert json.loads(told.splitlines()[-1]) == expected


def test_load_split_fetches_its_split_once(hub, umui, tmp_path):
    """No clip of another split or config is downloaded, and none twice: not even by another process."""
    code = "import sys\nfrom datasets_scripts.load import load_split\nload_split(sys.argv[1], 'urn-audio', 'test')"
    hub.clear_log()
    hub.run(tmp_path, code, REPO)
    read = [entry["path"] for entry in hub.log() if entry["method"] == "GET" and "/media/" in entry["path"]]
    clips = (umui / "urn-audio" / "test" / "media").iterdir()
    assert sorted(path.split("/urn-audio/")[1] for path in read) == sorted(f"test/media/{clip.name}" for clip in clips)
    hub.clear_log()
    hub.run(tmp_path, code, REPO)
    assert not [entry for entry in hub.log() if entry["method"] == "GET" and "/resolve/" in entry["path"]]


def test_clips_of_a_hub_reach_prompts(hub, umui, tmp_path):
    """A clip that was fetched lies in the cache, whence prompting reads it with the type that its name tells."""
    code = """
import sys
from argparse import ArgumentParser
from datasets_scripts.load import load_split
from evaluation.predictors.choose import add_predictor_options, choose_predictor
from evaluation.predictors.prompting import PromptingPredictor, ServerPrompting
ServerPrompting.__init__ = lambda self, messages, *rest: PromptingPredictor.__init__(self, messages)
parser = ArgumentParser()
add_predictor_options(parser)
args = parser.parse_args("--predictor binary --server http://127.0.0.1:1/v1 --server-model m".split())
predictor = choose_predictor(args, sys.argv[1]).make()
((messages, _),) = predictor.prepare([load_split(sys.argv[1], "urn-audiovisual", "test")[0]])
print([part["type"] for part in messages[0]["content"]])
"""
    told = hub.run(tmp_path, code, REPO).stdout.splitlines()[-1]
    assert told == "['video_url', 'input_audio', 'text']"


def write_clip(path: Path) -> None:
    """A second of sound, or of pictures, in the format of the name's ending."""
    if path.suffix in (".wav", ".flac", ".ogg"):
        soundfile.write(path, 0.3 * np.sin(np.arange(16_000) / 10), 16_000)
        return
    codec = {".mpg": "mpeg1video", ".webm": "libvpx", ".m4v": "mpeg4"}[path.suffix]
    with av.open(str(path), "w", format="mp4" if path.suffix == ".m4v" else None) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width = stream.height = 64
        for shade in range(25):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 8 * shade, np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_clips_of_all_kinds_come_back(hub, tmp_path):
    """Clips in formats that the video loader doesn't know by name are fetched from a Hub too, as they were."""
    kinds = {"pictures": ("mpg", "webm", "m4v"), "sounds": ("wav", "ogg", "flac")}
    clips = tmp_path / "clips"
    clips.mkdir()
    columns = "--media-column file --hypothesis-column sentence --probability-column p --split test".split()
    expected = {}
    for name, endings in kinds.items():
        files = [clips / f"a {ending}.{ending}" for ending in endings]
        for file in files:
            write_clip(file)
        table = tmp_path / f"{name}.csv"
        table.write_text("\n".join(["file,sentence,p", *(f"{file.name},It is {file.suffix},0.5" for file in files)]))
        paths = ["--table", table, "--media-root", clips, "--output-dir", tmp_path / "umui"]
        build(["own", "--dataset-config", name, *map(str, paths), *columns])
        expected[name] = {f"It is {file.suffix}": hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    hub.run(tmp_path / "home", PUSH, "clue/all-kinds", tmp_path / "umui")
    told = json.loads(
        hub.run(tmp_path, called(LOAD_DATASET), "clue/all-kinds", "whole", *kinds).stdout.splitlines()[-1]
    )
    assert {name: {row["hypothesis"]: row["clip"] for row in rows} for name, rows in told.items()} == expected


def test_new_revision_is_loaded_anew(hub, tmp_path):
    """After a push that changed the rows, a client that has the earlier ones in its cache gets the new ones."""
    code = """
import json, sys
from datasets_scripts.load import load_split
print(json.dumps(load_split("clue/revised", "urn-text", "test")["hypothesis"][:]))
"""
    told = []
    for seed in (1, 2):
        folder = tmp_path / str(seed) / "umui"
        options = f"--modalities text --train 1 --validation 1 --test 2 --seed {seed}".split()
        build(["urn", "--output-dir", str(folder), *options])
        hub.run(tmp_path / "home", PUSH, "clue/revised", folder)
        told.append(json.loads(hub.run(tmp_path / "home", code).stdout.splitlines()[-1]))
        rows = pq.read_table(folder / "urn-text" / "test" / "metadata.parquet")["hypothesis"].to_pylist()
        assert told[-1] == rows
    assert told[0] != told[1]


def test_private_dataset_is_not_for_strangers(hub, umui, tmp_path):
    """Without a token a private dataset is refused, with words that say how it could be had."""
    code = "import sys\nfrom datasets_scripts.load import load_split\nload_split(sys.argv[1], 'urn-text', 'test')"
    failed = hub.run(tmp_path, code, REPO, token=False, check=False)
    assert failed.returncode != 0 and "doesn't exist on the Hub or cannot be accessed" in failed.stderr


def test_no_such_split(hub, umui, tmp_path):
    """A split that the repository doesn't have is an error that names those it has."""
    code = "import sys\nfrom datasets_scripts.load import load_split\nload_split(sys.argv[1], 'urn-text', 'dev')"
    failed = hub.run(tmp_path, code, REPO, check=False)
    assert "has no split 'dev': it has ['test', 'train', 'validation']" in failed.stderr


def test_the_annotation_tool_fetches_its_split_alone(hub, umui, tmp_path):
    """What people judge is there as files of this machine; clips of the other splits stay on the Hub."""
    code = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "sys.path.insert(0, 'spaces/annotate')\n"
        "from items import load_items\n"
        "items = load_items(sys.argv[1], 'urn-audiovisual', 'test', Path(sys.argv[2]))\n"
        "assert all(Path(item.premise).is_file() for item in items)\n"
        "assert {item.video for item in items} <= {Path(name).stem for name in sys.argv[3:]}\n"
        "print(json.dumps([item.id for item in items]))\n"
    )
    hub.clear_log()
    stored = (umui / "urn-audiovisual/test/media").iterdir()
    done = hub.run(tmp_path / "home", code, REPO, tmp_path / "clips", *stored)
    rows = pq.read_table(umui / "urn-audiovisual/test/metadata.parquet")
    assert json.loads(done.stdout.splitlines()[-1]) == rows["id"].to_pylist()
    fetched = {entry["path"] for entry in hub.log() if entry["method"] == "GET" and "/media/" in entry["path"]}
    assert len(fetched) == 3 and all("/urn-audiovisual/test/media/" in path for path in fetched)


def test_the_authors_labels_are_fetched_without_their_clips(hub, tmp_path):
    """`build published --repo` brings what UNLI needs, and says which archives hold the clips of the rest."""
    release = write_release(tmp_path / "UMUI-data")
    (release / "wikivideo.tar.gz").write_bytes(b"17 GB")
    hub.run(tmp_path / "authors", PUSH, "clue/UMUI", release)
    command = ["-m", "datasets_scripts.build", "published", "--repo", "clue/UMUI", "--output-dir", tmp_path / "umui"]
    printed = hub.call(tmp_path / "reader", *command).stdout
    assert "unli: train 1 rows" in printed and "wikivideo.tar.gz (17 GB) are not below" in printed
    assert split_names(str(tmp_path / "umui"), "unli") == ["train", "validation", "test"]
    assert not list((tmp_path / "reader").rglob("*.tar.gz"))
