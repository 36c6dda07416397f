"""The dataset folder: loads with `datasets` in a clean process, grows config by config, is never left half written."""

import json
import os
from itertools import permutations
from pathlib import Path

import pytest
import yaml

from common.errors import InputError
from datasets_scripts.build import main as build
from datasets_scripts.building.folder import check_free
from datasets_scripts.schema import FEATURES, SPLITS
from modeling_clue.modalities import MODALITIES
from tests.launching import run


ROOT = Path(__file__).resolve().parents[3]
CONFIGS = ["unli", *(f"urn-{modality}" for modality in MODALITIES)]
TINY = "--train 2 --validation 1 --test 1 --workers 1 --hypotheses-per-premise 2".split()


def run_beside(folder: Path, code: str, *arguments: str) -> dict | list:
    """Runs `code` in an offline process of its own beside the dataset folder; what it prints last is JSON."""
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(folder.parent / "hf"),
        "PYTHONPATH": str(ROOT),
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    }
    done = run("-c", code, *arguments, folder=folder.parent, environment=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def front_matter(folder: Path) -> dict:
    """The YAML of the folder's README."""
    return yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])


@pytest.mark.processes
def test_load_dataset_reads_every_config(umui):
    """A stranger with `datasets` alone gets the same columns from every config, clips by path, and a default."""
    found = run_beside(
        umui,
        """
import json, sys
from datasets import Audio, Video, load_dataset
found = {}
for config in sys.argv[1:]:
    splits = load_dataset("umui", config)
    rows = splits["test"].cast_column("audio", Audio(decode=False)).cast_column("video", Video(decode=False))
    found[config] = {"splits": {name: len(part) for name, part in splits.items()}, "row": rows[0]}
found["default"] = load_dataset("umui")["train"][0]["id"]
print(json.dumps(found))
""",
        *CONFIGS,
    )
    assert found.pop("default").startswith("unli-dev-")
    for config, parts in found.items():
        row = parts["row"]
        assert row.keys() == FEATURES.keys(), config
        if config != "unli":
            premises = {"train": 24 * (3 if config == "urn-text" else 1), "validation": 6, "test": 12}
            assert parts["splits"] == {split: 12 * number for split, number in premises.items()}
        held = {column for column in ("premise", "audio", "video") if row[column] is not None}
        assert held == {
            {"urn-audio": "audio", "urn-video": "video", "urn-audiovisual": "video"}.get(config, "premise")
        }
        for column in held - {"premise"}:
            assert row[column]["bytes"] is None and Path(row[column]["path"]).is_file()


@pytest.mark.processes
def test_load_split_gives_the_same_columns_whatever_else_was_built(umui, unli_raw, tmp_path):
    """Text alone (in a folder named like a loader of `datasets`), sound alone and everything together load alike."""
    build(["unli", "--raw", str(unli_raw), "--output-dir", str(tmp_path / "text")])
    build(["urn", "--modalities", "audio", "--output-dir", str(tmp_path / "sound"), *TINY])
    wanted = [(str(umui), config) for config in CONFIGS] + [("text", "unli"), ("sound", "urn-audio")]
    found = run_beside(
        tmp_path / "text",
        """
import json, sys
from datasets_scripts.load import load_split
from datasets_scripts.schema import FEATURES
found = []
for dataset, config in json.loads(sys.argv[1]):
    rows = load_split(dataset, config, "test")
    found.append([rows.features == FEATURES, rows[0]["modality"], rows[0]["audio"], rows[0]["video"]])
errors = []
for place in (("text", "urn-audio", "test"), ("text", "unli", "dev"), ("nowhere", "unli", "test")):
    try:
        load_split(*place)
    except (ValueError, FileNotFoundError) as error:
        errors.append(f"{type(error).__name__}: {error}")
print(json.dumps([found, errors]))
""",
        json.dumps(wanted),
    )
    rows, errors = found
    for (_, config), (same_features, modality, audio, video) in zip(wanted, rows, strict=True):
        assert same_features and modality == config.removeprefix("urn-").replace("unli", "text")
        assert (audio is not None, video is not None) == (modality == "audio", modality in ("video", "audiovisual"))
    assert errors[0].startswith("ValueError") and "'unli'" in errors[0]
    assert errors[1].startswith("ValueError") and "train" in errors[1] and "validation" in errors[1]
    assert errors[2].startswith("FileNotFoundError") and "nowhere" in errors[2]


@pytest.mark.processes
def test_load_dataset_reads_a_rebuilt_folder_anew(tmp_path):
    """A stranger's `load_dataset` gives the rows of the last build, though it keeps a cache by name."""
    code = """
import json
from datasets import load_dataset
print(json.dumps(load_dataset("umui", "urn-text", split="test")["id"][:]))
"""
    sizes = ["--modalities", "text", *TINY, "--output-dir", str(tmp_path / "umui")]
    build(["urn", *sizes])
    before = run_beside(tmp_path / "umui", code)
    build(["urn", *sizes, "--overwrite", "--test", "3"])
    assert (len(before), len(run_beside(tmp_path / "umui", code))) == (2, 6)


def test_a_clip_is_stored_once(umui):
    """Twelve hypotheses about a clip name one file, and no file is unnamed."""
    for modality in MODALITIES[1:]:
        clips = list((umui / f"urn-{modality}" / "test" / "media").iterdir())
        assert len(clips) == 12


@pytest.mark.parametrize("order", list(permutations(["text", "audio", "video"])), ids="-".join)
def test_the_first_config_listed_has_video(tmp_path, order):
    """In whatever order configs are built, one with video is listed first and the first built is the default."""
    for modality in order:
        build(["urn", "--modalities", modality, "--output-dir", str(tmp_path), *TINY])
    configs = front_matter(tmp_path)["configs"]
    assert [config["config_name"] for config in configs] == ["urn-video", "urn-audio", "urn-text"]
    assert [config["config_name"] for config in configs if config.get("default")] == [f"urn-{order[0]}"]
    assert [part["split"] for part in configs[0]["data_files"]] == list(SPLITS)


def test_what_people_wrote_in_the_readme_stays(tmp_path):
    """A build adds its config to the README and leaves the rest of it alone."""
    build(["urn", "--modalities", "text", "--output-dir", str(tmp_path), *TINY])
    readme = tmp_path / "README.md"
    readme.write_text(
        readme.read_text().replace("pretty_name: UMUI", "pretty_name: Mine\nlicense: mit") + "\n---\nmy note\n"
    )
    build(["urn", "--modalities", "audio", "--output-dir", str(tmp_path), *TINY])
    front = front_matter(tmp_path)
    assert (front["pretty_name"], front["license"]) == ("Mine", "mit")
    assert {config["config_name"] for config in front["configs"]} == {"urn-text", "urn-audio"}
    assert readme.read_text().endswith("\n---\nmy note\n")


def test_a_config_is_replaced_only_on_request(tmp_path):
    """Without --overwrite nothing is built at all; with it the config is new and still the default."""
    build(["urn", "--modalities", "audio", "--output-dir", str(tmp_path), *TINY])
    before = (tmp_path / "urn-audio" / "train" / "metadata.parquet").read_bytes()
    again = ["urn", "--modalities", "text", "audio", "--output-dir", str(tmp_path), *TINY, "--seed", "1"]
    with pytest.raises(SystemExit, match="urn-audio exists already: pass --overwrite"):
        build(again)
    assert not (tmp_path / "urn-text").exists()
    build([*again, "--overwrite"])
    assert (tmp_path / "urn-audio" / "train" / "metadata.parquet").read_bytes() != before
    configs = {config["config_name"]: config for config in front_matter(tmp_path)["configs"]}
    assert configs["urn-audio"]["default"] and "default" not in configs["urn-text"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "urn-audio", "urn-text"]


@pytest.mark.parametrize(
    ("readme", "complaint"),
    [
        ("# hand-written", "no YAML front matter"),
        ("---\na: [\n---\n", "is broken"),
        ("---\nconfigs: none\n---\n", "list of configs"),
        ("---\nconfigs: [{name: x}]\n---\n", "list of configs"),
    ],
)
def test_a_readme_that_cannot_be_extended_is_refused_first(tmp_path, readme, complaint):
    """Somebody else's README is not overwritten, and the error comes before any work."""
    (tmp_path / "README.md").write_text(readme)
    with pytest.raises(InputError, match=complaint):
        check_free(tmp_path, "unli", overwrite=False)


@pytest.mark.parametrize("out", ["umui", "umui/inside"])
def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path, out):
    """--output-dir must be a folder, and so must what it lies in."""
    (tmp_path / "umui").write_text("")
    with pytest.raises(SystemExit, match="umui is a file"):
        build(["urn", "--output-dir", str(tmp_path / out), *TINY])


@pytest.mark.parametrize("option", ["--seed=-1", "--train=0", "--workers=0"])
def test_numbers_out_of_range_are_refused(tmp_path, capsys, option):
    """The option is named before anything is built."""
    with pytest.raises(SystemExit):
        build(["urn", "--output-dir", str(tmp_path), *TINY, option])
    assert f"argument {option.split('=')[0]}: must" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
