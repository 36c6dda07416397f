"""Releases on a Hub: loaded back by strangers, sent once, resumed after a kill, without what may not be passed on."""

import csv
import json
import os
import re
import shutil
import signal
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import yaml
from hf_xet import XetAuthenticationError

from common.benchmark import evaluation_entries
from common.errors import InputError
from common.hub import HubError, explain_hub_errors
from datasets_scripts import release as release_module
from datasets_scripts.build import main as build
from datasets_scripts.release import choose_configs, list_files, parse_arguments
from datasets_scripts.releasing.card import own_facts
from datasets_scripts.schema import FEATURES
from datasets_scripts.sources.urn_media import write_video
from tests.launching import Process, run, wait_for


pytestmark = pytest.mark.processes

TINY = "--train 3 --validation 1 --test 2 --hypotheses-per-premise 4 --workers 1".split()
EVENT = "Notre-Dame fire"
RELEASE = ["-m", "datasets_scripts.release"]

# Small commits, so that a handful of clips takes several.
IN_SMALL_COMMITS = """
import sys
from huggingface_hub import _upload_pipeline
_upload_pipeline.COMMIT_SIZE_SCALE, _upload_pipeline.INITIAL_COMMIT_SIZE_INDEX = [5], 0
from datasets_scripts.release import main
main(sys.argv[1:])
"""

TREE = """
import json, sys
from huggingface_hub import HfApi
from huggingface_hub.hf_api import RepoFile
tree = HfApi().list_repo_tree(sys.argv[1], repo_type="dataset", recursive=True, revision=sys.argv[2])
print(json.dumps({entry.path: entry.blob_id for entry in tree if isinstance(entry, RepoFile)}))
"""

TREE_OF = "/api/datasets/{}/tree/{}?recursive=true"

LOAD = """
import hashlib, json, sys
from datasets import Video, load_dataset
from modeling_clue.media import load_audio, load_video
repo, *configs = sys.argv[1:]
found = {}
for config in configs:
    for split, rows in load_dataset(repo, config).items():
        rows = rows.cast_column("audio", Video(decode=False)).cast_column("video", Video(decode=False))
        clips, told = {}, []
        for row in rows:
            told.append([row["id"], row["hypothesis"], row["probability"], row["label"], row["premise"]])
            for column in ("audio", "video"):
                if row[column] is not None:
                    path = row[column]["path"]
                    clips[path.rpartition("/")[2]] = hashlib.sha256(open(path, "rb").read()).hexdigest()
        row = rows[0]
        clip = row["audio"] or row["video"]
        sound = load_audio(clip) if clip and row["modality"] != "video" else None
        video = load_video(clip, fps=4, max_frames=8) if row["video"] else None
        found[f"{config}/{split}"] = {
            "columns": rows.column_names, "rows": told, "clips": clips,
            "seconds": sound and sound.duration, "frames": video and list(video.frames.shape),
        }
print(json.dumps(found))
"""

STREAM = """
import json, sys
import fsspec
from datasets import Video, load_dataset
from modeling_clue.media import load_audio, load_video
repo, *configs = sys.argv[1:]
found = {}
for config in configs:
    rows = load_dataset(repo, config, split="test", streaming=True)
    rows = rows.cast_column("audio", Video(decode=False)).cast_column("video", Video(decode=False))
    ids = []
    for row in rows:
        ids.append(row["id"])
    seconds = frames = None
    if row["audio"] or row["video"]:
        with fsspec.open((row["audio"] or row["video"])["path"], "rb") as file:
            content = file.read()
        seconds = None if row["modality"] == "video" else load_audio(content).duration
        frames = row["video"] and load_video(content, fps=4, max_frames=8).frames.shape[0]
    found[config] = [ids, seconds, frames]
print(json.dumps(found))
"""


def write_raw(folder: Path) -> Path:
    """Raw files of Clotho (three clips) and WikiVideo (two videos of an event that is for testing, one judged)."""
    for part, names in {"development": ["Night rain.wav", "plain.wav"], "evaluation": ["Bell (1).wav"]}.items():
        (folder / "clips" / part).mkdir(parents=True)
        with (folder / f"clotho_entailment_{part}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["Dataset", "Audio file", "Caption", "Entailment", "Neutral", "Contradiction"])
            for seed, name in enumerate(names):
                writer.writerow(["ClothoV2", name, f"['It is {name}']", f"Yes {name}", f"Maybe {name}", f"No {name}"])
                noise = np.random.default_rng([seed, len(part)]).uniform(-0.3, 0.3, 4000)
                soundfile.write(folder / "clips" / part / name, noise, 16000)
    (folder / "videos").mkdir()
    for seed, video in enumerate(("v1", "v2")):
        colours, pitches = ["red", "blue", "green"], ["high", "low", "middle"]
        write_video(folder / "videos" / f"{video}.mp4", colours, pitches, np.random.default_rng(seed))
    marks = {"v1": {"video": True, "audio": False, "ocr": False}, "v2": {"video": False, "audio": True, "ocr": False}}
    topic = {
        "original_article": ["A roof burned."],
        "claims": [["A roof burns"]],
        "claims_to_supporting_videos": {
            "A roof burns": {"supporting_videos": list(marks), "videos_modalities": marks}
        },
    }
    (folder / "labels.json").write_text(json.dumps({EVENT: topic}))
    judgement = {"item": "1", "claim": "A roof burns", "video": "v1", "topic": EVENT, "probability": 0.8}
    judgement |= {"human_probabilities": [0.7, 0.9], "evidence": ["audio", "video"]}
    (folder / "judgements.jsonl").write_text(json.dumps(judgement) + "\n")
    return folder


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    """The raw files that datasets are built from."""
    return write_raw(tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="module")
def built(tmp_path_factory, raw) -> Path:
    """A dataset folder: generated clips, which may be passed on; Clotho's and WikiVideo's, which may not."""
    folder = tmp_path_factory.mktemp("built") / "umui"
    out = ["--output-dir", str(folder)]
    build(["urn", *TINY, *out])
    build(["clotho", "--raw", str(raw), "--clips", str(raw / "clips"), *out])
    videos = ["--videos", str(raw / "videos"), "--judgements", str(raw / "judgements.jsonl")]
    build(["wikivideo", "--labels", str(raw / "labels.json"), *videos, *out])
    return folder


@pytest.fixture
def umui(built, tmp_path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(built, tmp_path / "umui"))


def push(hub, home: Path, folder: Path, repo: str, *options: str, check: bool = True, token: bool = True):
    """Releases a folder, as a person would."""
    return hub.call(home, *RELEASE, "--repo", repo, "--dataset", folder, *options, check=check, token=token)


def tree(hub, home: Path, repo: str, revision: str = "main") -> dict[str, str]:
    """The paths in a repository and the hash of each."""
    return json.loads(hub.run(home, TREE, repo, revision).stdout)


def card_of(hub, repo: str) -> str:
    """A released card."""
    return hub.ask("GET", f"/datasets/{repo}/resolve/main/README.md").decode()


def front_matter(hub, repo: str) -> dict:
    """The front matter of a released card."""
    return yaml.safe_load(card_of(hub, repo).split("---\n")[1])


def split_rows(folder: Path, config: str, split: str) -> list[dict]:
    """The rows of a split as they lie in a folder."""
    return pq.read_table(folder / config / split / "metadata.parquet").to_pylist()


@pytest.fixture(scope="module")
def whole(hub, built, tmp_path_factory) -> str:
    """A repository with all of the dataset folder."""
    push(hub, tmp_path_factory.mktemp("home"), built, "clue/whole")
    return "clue/whole"


def test_a_stranger_loads_what_was_released(hub, built, whole, tmp_path):
    """Rows, probabilities and the bytes of clips come back from the Hub, decode, and stream; the default is judged."""
    urn = [f"urn-{modality}" for modality in ("text", "audio", "video", "audiovisual")]
    stranger = tmp_path / "stranger"
    done = hub.run(stranger, LOAD, whole, *urn, "clotho", "clotho-captions", token=False)
    loaded = json.loads(done.stdout.splitlines()[-1])
    for place, found in loaded.items():
        rows = split_rows(built, *place.split("/"))
        names = ("id", "hypothesis", "probability", "label", "premise")
        assert found["rows"] == [[row[name] for name in names] for row in rows]
        assert set(FEATURES) == set(found["columns"]) - {"clip"}
        kept = built / place / "media"
        clips = {file.name: sha256(file.read_bytes()).hexdigest() for file in kept.glob("*")}
        assert found["clips"] == ({} if place.startswith("clotho") else clips)
    assert loaded["urn-audio/test"]["seconds"] > 0.4 and loaded["urn-audiovisual/test"]["seconds"] > 0.4
    assert loaded["urn-video/test"]["frames"][1:] == [112, 112, 3]
    streamed = json.loads(hub.run(stranger, STREAM, whole, *urn, token=False).stdout.splitlines()[-1])
    for config, (ids, seconds, frames) in streamed.items():
        assert ids == [row["id"] for row in split_rows(built, config, "test")]
        assert (seconds is not None) == (config in ("urn-audio", "urn-audiovisual"))
        assert (frames is not None) == (config in ("urn-video", "urn-audiovisual"))
    default = [entry["config_name"] for entry in front_matter(hub, whole)["configs"] if entry.get("default")]
    assert default == ["wikivideo-audiovisual"]


def test_the_example_of_the_card_runs(hub, whole, tmp_path):
    """What the card says about loading is so, word for word."""
    code = card_of(hub, whole).split("```python\n")[1].split("```")[0]
    assert hub.run(tmp_path, f"{code}\nprint(rows[0]['probability'])", token=False).stdout.strip() == "0.8"


def test_second_push_sends_nothing(hub, built, whole, tmp_path):
    """What is there is neither sent nor committed again, from another computer neither."""
    hub.clear_log()
    told = push(hub, tmp_path / "other", built, whole).stdout
    assert hub.uploads() == hub.commits() == []
    assert "nothing sent" in told


def own_entries(folder: Path, built: Path) -> None:
    """Makes copies of configs, called `mine-...`, a folder of somebody's own."""
    front = yaml.safe_load((built / "README.md").read_text().split("---\n")[1])
    entries = []
    for config in sorted(path.name for path in folder.iterdir()):
        original = config.replace("mine", "wikivideo")
        entry = next(entry for entry in front["configs"] if entry["config_name"] == original)
        entries.append(json.loads(json.dumps(entry).replace(original, config)))
        path = folder / config / "build.json"
        told = json.loads(path.read_text()) | {"config": config, "source": "own"}
        path.write_text(json.dumps(told))
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': entries}, sort_keys=False)}---\n")


def kill_when_held(hub, home: Path, folder: Path, repo: str) -> None:
    """Starts a release in small commits, and kills it once the Hub holds one of its requests."""
    command = ["-c", IN_SMALL_COMMITS, "--repo", repo, "--dataset", folder]
    with Path(os.devnull).open("w") as nothing:
        release = Process(*command, environment=hub.env(home), stdout=nothing, stderr=nothing)
    wait_for(lambda: hub.held() or release.poll() is not None)
    assert hub.held() > 0, "the release ended before it was stopped"
    release.kill()
    assert release.wait() == -signal.SIGKILL
    hub.work_again()


@pytest.mark.parametrize("stop", [{"uploads": 1}, {"commits": 2}], ids=["uploading", "committing"])
def test_a_killed_push_goes_on(hub, built, tmp_path, stop):
    """Repeated after a SIGKILL, a release becomes whole, and commits no clip again that was committed."""
    repo = f"clue/killed-{next(iter(stop))}"
    hub.fail_after(**stop, how="hold")
    kill_when_held(hub, tmp_path / "home", built, repo)
    before = tree(hub, tmp_path / "home", repo).keys()
    assert all("/media/" in path for path in before - {".gitattributes"})
    assert "commits" not in stop or len(before) == 1 + 10
    sent = re.compile(r"(\d+) files sent")
    clips = sum(1 for path in [*built.glob("urn-*/*/media/*")])
    rest = len(list(built.glob("*/*/metadata.parquet"))) + len(list(built.glob("*/build.json"))) + 1
    told = push(hub, tmp_path / "home", built, repo).stdout
    assert int(sent.search(told)[1]) == clips + rest - (len(before) - 1)
    assert "nothing sent" in push(hub, tmp_path / "home", built, repo).stdout


def test_nothing_is_named_that_is_not_there(hub, umui, tmp_path):
    """In every commit, of a first release and of one that takes clips away, rows name clips that are there."""
    command = ["-c", IN_SMALL_COMMITS, "--repo", "clue/order", "--dataset", umui]
    hub.call(tmp_path / "home", *command)
    build(["urn", *TINY, "--modalities", "video", "--overwrite", "--seed", "7", "--output-dir", str(umui)])
    hub.call(tmp_path / "home", *command, "--dataset-configs", "urn-video", "urn-text")
    history = json.loads(hub.ask("GET", "/api/datasets/clue/order/commits/main"))
    titles = [commit["title"] for commit in history]
    assert len(titles) > 6 and {re.sub(r" \(part \d+\)", "", title) for title in titles} == {
        *("Release: rows and card", "Release: clips", "initial commit")
    }
    for commit in history:
        paths = {entry["path"] for entry in json.loads(hub.ask("GET", TREE_OF.format("clue/order", commit["id"])))}
        for path in paths:
            if path.endswith("metadata.parquet"):
                rows = hub.ask("GET", f"/datasets/clue/order/resolve/{commit['id']}/{path}")
                table = pq.read_table(BytesIO(rows), columns=["audio_file_name", "video_file_name"])
                named = {name for column in table.itercolumns() for name in column.to_pylist() if name}
                assert {f"{path.rpartition('/')[0]}/{name}" for name in named} <= paths


def test_nothing_else_is_sent(hub, umui, tmp_path):
    """Hidden files, what an interrupted build left, reports and a person's own notes stay at home."""
    expected = {path.relative_to(umui).as_posix() for path in umui.rglob("*") if path.is_file()}
    clips = {path for path in expected if path.startswith(("clotho/", "wikivideo")) and "/media/" in path}
    for junk in (
        *(".DS_Store", "urn-audio.problems.csv", "clotho.unlabelled.csv", "notes.txt", ".urn-text.partial/plan.json"),
        *("urn-audio/.hidden", "urn-audio/test/media/.x.mkv.flac", "urn-audio/test/media/in-no-row.mkv.flac"),
        *("urn-audio/test/notes.txt", "urn-audio/dev/metadata.parquet"),
    ):
        (umui / junk).parent.mkdir(parents=True, exist_ok=True)
        (umui / junk).write_text("not for others")
    push(hub, tmp_path / "home", umui, "clue/junk")
    assert tree(hub, tmp_path / "home", "clue/junk").keys() == (expected - clips) | {".gitattributes"}
    assert "not for others" not in card_of(hub, "clue/junk")


@pytest.mark.parametrize("stop", ["uploads", "commits"])
def test_refused_in_the_middle(hub, built, tmp_path, stop):
    """A request that the Hub refuses is an error in words; the next release goes on."""
    repo, some = f"clue/refused-{stop}", ["--dataset-configs", "urn-audio"]
    hub.fail_after(**{stop: 0})
    done = push(hub, tmp_path / "home", built, repo, *some, check=False)
    hub.work_again()
    assert done.returncode == 1 and "\nerror: " in f"\n{done.stderr}" and "403" in done.stderr
    assert "Traceback" not in done.stderr
    push(hub, tmp_path / "home", built, repo, *some)
    assert "README.md" in tree(hub, tmp_path / "home", repo)


# Releases while somebody else's commit comes in: before the clips, between two commits of clips, or after them.
MEANWHILE = """
import sys
from huggingface_hub import HfApi, _upload_pipeline
from datasets_scripts import release
when, *arguments = sys.argv[1:]
_upload_pipeline.COMMIT_SIZE_SCALE, _upload_pipeline.INITIAL_COMMIT_SIZE_INDEX = [5], 0
def theirs(call):
    def and_a_commit(*args, **kwargs):
        done = call(*args, **kwargs)
        if not theirs.made:
            theirs.made = True
            HfApi().create_commit(
                "clue/" + when, [release.CommitOperationAdd("urn-text/build.json", b"theirs")],
                commit_message="theirs", repo_type="dataset",
            )
        return done
    return and_a_commit
theirs.made = False
match when:
    case "before":
        release.stage = theirs(release.stage)
    case "between":
        _upload_pipeline._send_commit = theirs(_upload_pipeline._send_commit)
    case "after":
        release._head_after_clips = theirs(release._head_after_clips)
release.main(arguments)
"""


@pytest.mark.parametrize("when", ["before", "between", "after"])
def test_a_change_by_somebody_else_stops_it(hub, built, tmp_path, when):
    """A release never goes over what came into the branch while it was at work."""
    command = ["-c", MEANWHILE, when, "--repo", f"clue/{when}", "--dataset", built]
    done = hub.call(tmp_path / "home", *command, check=False)
    assert done.returncode == 1 and "was changed meanwhile: run this again" in done.stderr
    assert hub.ask("GET", f"/datasets/clue/{when}/resolve/main/urn-text/build.json") == b"theirs"
    assert "README.md" not in tree(hub, tmp_path / "home", f"clue/{when}")


def test_only_what_changed_is_sent(hub, umui, tmp_path):
    """After one config was built anew, its rows and the card are committed, and clips that stayed the same aren't."""
    push(hub, tmp_path / "home", umui, "clue/changed")
    before = tree(hub, tmp_path / "home", "clue/changed")
    more = [*TINY, "--hypotheses-per-premise", "5", "--modalities", "video", "--overwrite"]
    build(["urn", *more, "--output-dir", str(umui)])
    told = push(hub, tmp_path / "home", umui, "clue/changed").stdout
    after = tree(hub, tmp_path / "home", "clue/changed")
    rows = {f"urn-video/{split}/metadata.parquet" for split in ("train", "validation", "test")}
    differing = {path for path in after if after[path] != before.get(path)}
    assert rows <= differing <= rows | {path for path in after if path.startswith("urn-video/")} | {"README.md"}
    assert f"{len(differing)} files sent, {len(before.keys() - after.keys())} deleted" in told


def test_what_is_left_out_is_deleted(hub, umui, tmp_path):
    """A later release without a config takes its files and its entry away, and nobody else's files."""
    push(hub, tmp_path / "home", umui, "clue/deleted")
    add = """
import sys
from huggingface_hub import HfApi
for path in (
    "NOTES.md", "urn-video/NOTES.md", "urn-video/test/media/more/a.txt", "other/train/metadata.parquet",
    "other/more/build.json",
):
    HfApi().upload_file(path_or_fileobj=b"mine", path_in_repo=path, repo_id=sys.argv[1], repo_type="dataset")
"""
    hub.run(tmp_path / "home", add, "clue/deleted")
    kept = ["urn-text", "urn-audio"]
    told = push(hub, tmp_path / "home", umui, "clue/deleted", "--dataset-configs", *kept, "--dry-run").stdout
    assert "to delete" in told and "urn-video/build.json" in tree(hub, tmp_path / "home", "clue/deleted")
    push(hub, tmp_path / "home", umui, "clue/deleted", "--dataset-configs", *kept)
    paths = tree(hub, tmp_path / "home", "clue/deleted").keys()
    others = {"NOTES.md", "urn-video/NOTES.md", "urn-video/test/media/more/a.txt", "other/train/metadata.parquet"}
    others |= {"other/more/build.json", "README.md", ".gitattributes"}
    assert {path for path in paths if path.partition("/")[0] not in kept} == others
    assert {entry["config_name"] for entry in front_matter(hub, "clue/deleted")["configs"]} == set(kept)


def test_labels_without_clips_are_restored(hub, built, whole, raw, tmp_path):
    """What may not be passed on never leaves; the command on the card makes the same rows and clips of it again."""
    paths = tree(hub, tmp_path / "home", whole)
    assert not [path for path in paths if path.startswith(("clotho/", "wikivideo")) and "/media/" in path]
    forbidden = [*built.glob("clotho/*/media/*"), *built.glob("wikivideo*/*/media/*")]
    assert len(forbidden) == 9 and not hub.received() & {sha256(file.read_bytes()).hexdigest() for file in forbidden}
    commands = [line.strip() for line in card_of(hub, whole).splitlines() if " restore " in line]
    assert len(commands) == 4
    out, words = tmp_path / "restored", []
    for command in commands:
        clips = raw / ("clips" if "--dataset-config clotho" in command else "videos")
        words.append(command.replace("DIR", str(clips)).replace("-dir umui", f"-dir {out}").split()[3:])
    assert all(command.startswith("python -m datasets_scripts.build restore ") for command in commands)
    restore = """
import json, sys
from datasets_scripts.build import main
for words in json.loads(sys.argv[1]):
    main(words)
"""
    hub.run(tmp_path / "stranger", restore, json.dumps(words), token=False)
    configs = ["clotho", *(f"wikivideo-{modality}" for modality in ("video", "audio", "audiovisual"))]
    for config in configs:
        for split in [path.name for path in (built / config).iterdir() if path.is_dir()]:
            assert split_rows(out, config, split) == split_rows(built, config, split)
            for file in (built / config / split / "media").iterdir():
                assert (out / config / split / "media" / file.name).read_bytes() == file.read_bytes()
    judged = split_rows(tmp_path / "restored", "wikivideo-audiovisual", "test")
    assert [row["human_probabilities"] for row in judged] == [[0.7, 0.9], None]
    # What was restored is a config like any other: its labels can be released again, and still not its clips.
    told = push(hub, tmp_path / "home", tmp_path / "restored", "clue/labels-again").stdout
    assert told.count("labels without clips") == 4


def test_own_collections_say_their_terms(built, tmp_path):
    """A folder of one's own is not released until its licence and what becomes of its clips were said."""
    shutil.copytree(built / "wikivideo-video", tmp_path / "mine-video")
    own_entries(tmp_path, built)
    for missing in ([], ["--license", "mit"], ["--redistribute-media"]):
        with pytest.raises(InputError, match="mine-video.*--license"):
            choose_configs(tmp_path, parse_arguments(["--repo", "a/b", *missing]))
    for choice, expected in (("--redistribute-media", False), ("--no-redistribute-media", True)):
        (config,) = choose_configs(tmp_path, parse_arguments(["--repo", "a/b", "--license", "mit", choice]))
        assert config.labels_only == expected
        assert config.facts == own_facts("mine-video", "mit", not expected)
    with pytest.raises(InputError, match="none is released"):
        choose_configs(built, parse_arguments(["--repo", "a/b", "--license", "mit"]))


def test_visibility_is_never_changed(hub, built, tmp_path):
    """A new repository is private if asked; one that is there stays as it is, and a difference is told."""
    some = ["--dataset-configs", "urn-text"]
    push(hub, tmp_path / "home", built, "clue/hidden", *some, "--private")
    info = json.loads(hub.ask("GET", "/api/datasets/clue/hidden"))
    assert info["private"]
    assert "stays so" in push(hub, tmp_path / "home", built, "clue/hidden", *some).stdout
    push(hub, tmp_path / "home", built, "clue/open", *some)
    hub.clear_log()
    done = push(hub, tmp_path / "home", built, "clue/open", *some, "--private", check=False)
    assert done.returncode == 1 and "error: clue/open is public" in done.stderr
    assert not hub.uploads() and not hub.commits()
    assert not json.loads(hub.ask("GET", "/api/datasets/clue/open"))["private"]


def test_a_benchmark_names_the_tasks_of_its_models(hub, built, tmp_path):
    """eval.yaml has, for each config with a test split, the tasks that the results of a model on it name, and the
    commit that an evaluation reports is that of the release."""
    options = ("--dataset-configs", "urn-text", "urn-audio", "--evaluation-framework", "clue")
    push(hub, tmp_path, built, "clue/benchmark", *options)
    content = yaml.safe_load(hub.ask("GET", "/datasets/clue/benchmark/resolve/main/eval.yaml").decode())
    assert content["evaluation_framework"] == "clue"
    assert [list(task.values()) for task in content["tasks"]] == [
        [f"urn-{modality}-{measure}", f"urn-{modality}", "test"]
        for modality in ("audio", "text")
        for measure in ("mse", "ece")
    ]
    report = {"dataset": "clue/benchmark", "config": "urn-audio", "split": "test", "date": "2026-11-30", "command": []}
    entries = evaluation_entries(report | {"measures": {name: {"value": 0.5} for name in ("mse", "ece", "mae")}})
    assert {entry.task_id for entry in entries} < {task["id"] for task in content["tasks"]}
    revision = "from datasets_scripts.load import dataset_revision\nprint(dataset_revision(*sys.argv[1:]))"
    found = hub.run(tmp_path, f"import sys\n{revision}", "clue/benchmark", "urn-text").stdout.strip()
    head = json.loads(hub.ask("GET", "/api/datasets/clue/benchmark/revision/main"))["sha"]
    assert found == head


def test_a_branch(hub, built, tmp_path):
    """With --revision a release goes to a branch, made if need be; the others stay as they are."""
    push(hub, tmp_path / "home", built, "clue/branch", "--dataset-configs", "urn-text", "--revision", "v2")
    assert set(tree(hub, tmp_path / "home", "clue/branch")) == {".gitattributes"}
    assert "urn-text/build.json" in tree(hub, tmp_path / "home", "clue/branch", "v2")


def test_a_dry_run_changes_nothing(hub, built, tmp_path):
    """It tells what would go, by config, and only reads; without the Hub it tells what it can."""
    hub.clear_log()
    told = push(hub, tmp_path / "home", built, "clue/rehearsal", "--dry-run", token=False).stdout
    assert {entry["method"] for entry in hub.log() if entry["path"] != "/api/validate-yaml"} <= {"GET", "HEAD"}
    assert "is not there" in told and "clotho: 3 files" in told and "labels without clips" in told
    clips = sum(1 for _ in built.glob("urn-video/*/media/*"))
    assert f"urn-video: {clips + 4} files" in told
    environment = hub.env(tmp_path / "home") | {"HF_ENDPOINT": "http://127.0.0.1:9"}
    command = [*RELEASE, "--repo", "clue/rehearsal", "--dataset", str(built), "--dry-run"]
    done = run(*command, environment=environment)
    assert done.returncode == 0 and "can't be reached" in done.stdout and "urn-video: " in done.stdout


REFUSED = """
import json, os, sys
from huggingface_hub import constants
from datasets_scripts.release import main
hub, token = constants.ENDPOINT, os.environ["HF_TOKEN"]
for arguments, changed in json.loads(sys.argv[1]):
    constants.ENDPOINT, constants.HF_HUB_OFFLINE = changed.get("endpoint", hub), changed.get("offline", False)
    os.environ["HF_TOKEN"] = changed.get("token", token)
    try:
        main(arguments)
    except SystemExit as end:
        print(json.dumps(end.code))
"""


def test_errors_say_what_to_do(hub, built, tmp_path):
    """No token, a wrong one, somebody else's namespace, a Hub that is not there: an error that names it, no trace."""
    some = ["--dataset", str(built), "--dataset-configs", "urn-text"]
    fine = ["--repo", "clue/errors", *some]
    cases = [
        (fine, {"token": ""}, "set HF_TOKEN"),
        (fine, {"token": "hf_wrong"}, "doesn't know this token"),
        (fine, {"endpoint": "http://127.0.0.1:9"}, "can't be reached"),
        (fine, {"offline": True}, "HF_HUB_OFFLINE"),
        (["--repo", "strangers/errors", *some], {}, "may not write"),
        (["--repo", "errors", *some], {}, "ORG/NAME"),
        (["--repo", "clue/errors", "--dataset", str(tmp_path / "none")], {}, "is not a folder"),
        ([*fine, "--default", "unli"], {}, "--default unli"),
    ]
    asked = json.dumps([[arguments, changed] for arguments, changed, _ in cases])
    lines = hub.run(tmp_path / "home", REFUSED, asked).stdout.splitlines()
    told = [json.loads(line) for line in lines if line.startswith('"')]
    for said, (*_, expected) in zip(told, cases, strict=True):
        assert said.startswith("error: ") and expected in said and "hf_wrong" not in said


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("Network error: HTTP status client error (403 Forbidden)"),
        XetAuthenticationError("expired"),
        RuntimeError("Task error: no such xorb"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_sends_contents_fails_in_words(error):
    """Errors of hf_xet, which knows built-in ones alone, are told as those of the Hub are."""
    with pytest.raises(HubError, match=rf"could not be sent to a/b \({re.escape(str(error))}\): try again"):
        with explain_hub_errors("a/b"):
            raise error


def test_a_folder_that_the_hub_would_refuse(built, tmp_path, monkeypatch):
    """Too many clips in a folder, a clip that is gone, rows that don't fit build.json: said before any is sent."""
    monkeypatch.setattr(release_module, "FILES_IN_A_FOLDER", 2)
    options = parse_arguments(["--repo", "a/b", "--dataset-configs", "urn-audio"])
    with pytest.raises(InputError, match="urn-audio/train/media would hold 3 files"):
        list_files(built, choose_configs(built, options), tmp_path / "scratch")
    folder = Path(shutil.copytree(built, tmp_path / "umui"))
    next(folder.glob("urn-audio/test/media/*")).unlink()
    with pytest.raises(InputError, match="urn-audio/test/media/.*missing.*build urn-audio anew"):
        list_files(folder, choose_configs(folder, options), tmp_path / "more scratch")
    shutil.copy(folder / "urn-audio/train/metadata.parquet", folder / "urn-audio/test/metadata.parquet")
    with pytest.raises(InputError, match="build.json tells of"):
        choose_configs(folder, options)
    (folder / "urn-audio/build.json").unlink()
    with pytest.raises(InputError, match="urn-audio/build.json is missing"):
        choose_configs(folder, options)
