"""The card: every number is that of the folder, nothing is described that isn't there, the front matter is valid."""

import json
from collections import Counter
from statistics import fmean

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import DatasetCard

from common.cards import bibtex
from common.errors import InputError
from datasets_scripts.release import choose_configs, parse_arguments
from datasets_scripts.releasing.card import DEFAULT_CONFIG, ReleasedConfig, facts_of, own_facts, render_card
from datasets_scripts.releasing.summary import ConfigSummary, SplitSummary, summarise_config
from datasets_scripts.schema import FEATURES, SPLITS
from datasets_scripts.sources.registry import FACTS
from evaluation.agreement import agreement_report
from tests.cards import check_layout


pytestmark = pytest.mark.usefixtures("strict_templates")
# What the Hub's documentation of dataset cards lists.
TASKS = {"text-classification", "audio-classification", "video-classification"}
CREATORS = {"found", "crowdsourced", "expert-generated", "machine-generated", "no-annotation", "other"}


def split_of(rows: int = 4, kind: str = "label", modality: str = "audio", clips: int = 2, **more) -> SplitSummary:
    """What is in a split that nobody built."""
    return SplitSummary(
        rows=rows,
        premises=2,
        clips={f"{number}.flac" for number in range(clips)},
        modalities=Counter({modality: rows}),
        probability_sources=Counter({kind: rows}),
        labels=Counter({1: 1, 0: rows - 1}),
        total=rows / 4,
        **more,
    )


def config_of(name: str, source: str, splits: dict[str, SplitSummary], default: bool = False, facts=None, **build):
    """A released config that nobody built, by default with the facts of its source."""
    told = {"config": name, "source": source, "options": {}, "skipped": {}, "ratio": "full", "version": "0"} | build
    files = [
        {"split": split, "path": [f"{name}/{split}/metadata.parquet", f"{name}/{split}/media/*.flac"]}
        for split in splits
    ]
    entry = {"config_name": name, "description": "sha256 12", "data_files": files, "decode_num_threads": 0}
    facts = facts or FACTS[source]
    entry |= {"default": True} if default else {}
    return ReleasedConfig(ConfigSummary(name, told, splits), facts, entry, facts.media_allowed)


def front_of(card: str) -> dict:
    """The front matter, which the Hub's client must read and write as the same."""
    front = yaml.safe_load(card.split("---\n")[1])
    assert DatasetCard(card).data.to_dict() == front
    return front


def table_of(card: str, heading: str) -> list[dict[str, str]]:
    """The first table below a heading."""
    lines = card.split(f"## {heading}\n")[1].split("\n## ")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


@pytest.fixture(scope="module")
def released(umui) -> list[ReleasedConfig]:
    """What a release of the small dataset would describe."""
    return choose_configs(umui, parse_arguments(["--repo", "clue/umui"]))


def test_every_number_is_that_of_the_rows(umui, released):
    """The table of configs and splits is what counting the rows one by one gives."""
    told = table_of(render_card(released, "clue/umui", None, None), "What is in it")
    assert len(told) == 5 * len(SPLITS)
    for line in told:
        folder = umui / line["config"].strip("`") / line["split"]
        rows = pq.read_table(folder / "metadata.parquet").to_pylist()
        premises = {row["premise"] or row["audio_file_name"] or row["video_file_name"] for row in rows}
        labels = Counter(row["label"] for row in rows)
        clips = sum(1 for _ in folder.glob("media/*"))
        assert line["rows"] == f"{len(rows):,}" and line["premises"] == f"{len(premises):,}"
        assert line["clips"] == (f"{clips:,}" if clips else "")
        assert [line[name] for name in ("label 1", "label 0", "no label")] == [f"{labels[k]:,}" for k in (1, 0, None)]
        assert line["mean probability"] == f"{fmean(row['probability'] for row in rows):.3f}"
        assert {line["probability from"]} == {row["probability_source"] for row in rows}
        assert {line["modality"]} == {row["modality"] for row in rows}


def test_front_matter_is_what_the_hub_takes(umui, released):
    """Valid values, sizes as counted; the builds' own list of configs goes through untouched."""
    front = front_of(render_card(released, "clue/umui", None, None))
    assert front["configs"] == yaml.safe_load((umui / "README.md").read_text().split("---\n")[1])["configs"]
    assert set(front["task_categories"]) == TASKS and front["language"] == ["en"]
    assert set(front["annotations_creators"]) == {"crowdsourced", "machine-generated"} <= CREATORS
    assert front["license"] == ["apache-2.0", "cc-by-sa-4.0"] and "license_name" not in front
    assert front["source_datasets"] == ["extended|snli", "original"]
    assert front["size_categories"] == ["1K<n<10K"]


@pytest.mark.parametrize(
    "rows, size",
    [(999, "n<1K"), (1000, "1K<n<10K"), (10_000, "10K<n<100K"), (999_999, "100K<n<1M"), (10**6, "1M<n<10M")],
)
def test_size_category(rows, size):
    """The category is that of all rows together."""
    half = {"train": split_of(rows // 2), "test": split_of(rows - rows // 2)}
    assert front_of(render_card([config_of("urn-audio", "urn", half)], "a/b", None, None))["size_categories"] == [size]


def test_only_sources_that_are_there_are_described(released):
    """A card of some configs is silent about the sources, licences and kinds of probability of others."""
    urn = [config for config in released if config.name == "urn-audio"]
    card = render_card(urn, "clue/umui", None, None)
    for facts in FACTS.values():
        assert (facts.title in card) == (facts is FACTS["urn"])
        for text in (facts.what, facts.terms, facts.labels, facts.limits):
            assert (text in card) == (facts is FACTS["urn"])
    for word in ("UNLI", "Clotho", "WikiVideo", "human`:", "teacher`:", "annotators had", "cc-by-sa", "restore"):
        assert word not in card
    assert front_of(card)["license"] == "apache-2.0" and front_of(card)["task_categories"] == ["audio-classification"]
    assert 'load_dataset("clue/umui", "urn-audio", split="test")' in card


def test_default_config(released):
    """The judged audiovisual config loads by itself where it is released, else what the builds say, or the option."""

    def default(configs, option=None):
        entries = front_of(render_card(configs, "a/b", option, None))["configs"]
        (name,) = [entry["config_name"] for entry in entries if entry.get("default")]
        return name

    assert default(released) == "unli" and default(released, "urn-text") == "urn-text"
    judged = config_of(DEFAULT_CONFIG, "wikivideo", {"test": split_of(kind="human", modality="audiovisual")})
    assert default([*released, judged]) == DEFAULT_CONFIG
    without = [config for config in released if config.name != "unli"]
    assert default(without) == without[0].name
    with pytest.raises(InputError, match="--default mine .*unli"):
        render_card(released, "a/b", "mine", None)


def test_labels_without_clips():
    """A config whose clips may not be passed on: no clips in its entry, last in the list, and how to rebuild it."""
    clotho = config_of("clotho", "clotho", {"train": split_of(), "test": split_of()}, default=True)
    urn = config_of("urn-audio", "urn", {"test": split_of()})
    card = render_card([clotho, urn], "clue/umui", None, None)
    # Captions and clips of Clotho have other terms than the labels.
    assert front_of(card)["license"] == ["apache-2.0", "mit", "other"] and front_of(card)["license_name"]
    first, last = front_of(card)["configs"]
    assert (first["config_name"], last["config_name"]) == ("urn-audio", "clotho")
    assert first == urn.entry
    assert last.pop("default") and last == {
        "config_name": "clotho",
        "description": "sha256 12, labels without clips",
        "data_files": [{"split": s, "path": [f"clotho/{s}/metadata.parquet"]} for s in ("train", "test")],
    }
    assert card.count("build restore --dataset clue/umui --dataset-config clotho --clips DIR --output-dir umui") == 1
    assert [line["clips"] for line in table_of(card, "What is in it")] == ["(2)", "(2)", "2"]
    assert [line["column"] for line in table_of(card, "Columns")] == [f"`{name}`" for name in (*FEATURES, "clip")]


def test_protocol_and_agreement():
    """The protocol is told with judgements of WikiVideo only; agreement is the report's, annotators unnamed."""
    splits = {"test": split_of(kind="human", modality="audiovisual", judges=Counter({2: 3, 1: 1}))}
    judged = config_of(DEFAULT_CONFIG, "wikivideo", splits)
    marked = config_of("wikivideo-video", "wikivideo", {"test": split_of(modality="video")})
    assert "How people judged" not in render_card([marked], "a/b", None, None)
    card = render_card([judged], "a/b", None, None)
    assert "How people judged" in card and "No report on agreement is included." in card
    assert "1 in 1 row, 2 in 3 rows" in card
    matrix = np.array([[0.1, 0.2], [0.9, 0.8], [0.4, 0.6]])
    report = agreement_report(matrix, ["zoe", "adam"], range(3), resamples=20)
    card = render_card([judged], "a/b", None, json.loads(json.dumps(report)))
    assert f"{report['alpha']['value']:.4f}" in card and "3 items were judged by 2 annotators" in card
    (pair,) = [pair for pair in report["pairs"] if pair["first"] != pair["second"]]
    (line,) = table_of(card, "Agreement of the annotators")
    assert line["annotators"] == "1 and 2" and line["Pearson"] == f"{pair['pearson']:.4f}"
    assert "zoe" not in card and "adam" not in card


def test_what_the_build_left_out():
    """Problems passed over, thinning and missing splits are told by config; nothing else is."""
    config = config_of("urn-audio", "urn", {"train": split_of()}, skipped={"media": 1200, "row": 2}, ratio="1:2")
    text = render_card([config], "a/b", None, None).split("## What the build left out\n\n")[1].split("\n\n")[0]
    assert text == (
        "- `urn-audio`: problems passed over: 1,200 media, 2 row; training rows thinned to 1:2 positives to "
        "negatives; no validation and no test split."
    )
    whole = config_of("urn-audio", "urn", {split: split_of() for split in SPLITS})
    assert "left out\n\nNothing." in render_card([whole], "a/b", None, None)


def test_teacher():
    """How a teacher's answers became probabilities is told as the build noted it."""
    options = {"labelled_by": {"model": "Qwen/X", "answers": 5, "temperature": 0.7, "seed": 0}, "vote": "mean"}
    options |= {"config": "clotho", "min_valid": 3, "drop_disagreeing": False}
    splits = {"train": split_of(kind="teacher", answers=Counter({5: 3, 4: 1}))}
    config = config_of("clotho-teacher", "clotho", splits, options=options, ratio="1:1")
    card = render_card([config], "a/b", None, None)
    assert "`Qwen/X`, asked 5 times a pair at temperature 0.7" in card
    assert "at least 3 valid answers has their mean" in card and "were kept" in card
    assert "4 in 1 row, 5 in 3 rows" in card and "thinned to 1:1" in card
    assert front_of(card)["annotations_creators"] == ["machine-generated"]


def test_own_collection():
    """A collection of one's own has the terms its publisher gave, and no language that nobody told."""
    mine = config_of("mine", "own", {"test": split_of(kind="human")}, facts=own_facts("mine", "cc0-1.0", True))
    assert facts_of(mine.summary) is None
    card = render_card([mine], "a/b", None, None)
    front = front_of(card)
    assert front["license"] == "cc0-1.0" and "language" not in front and front["annotations_creators"] == ["other"]
    assert "How people judged" not in card


def test_source_of_a_restored_config():
    """It is that of its rows; rows of several sources have no single licence."""
    told = {"source": "restore", "options": {}}
    one = ConfigSummary("clotho", told, {"test": split_of(sources=Counter({"clotho": 4}))})
    assert facts_of(one) is FACTS["clotho"]
    two = ConfigSummary("clotho", told, {"test": split_of(sources=Counter({"clotho": 2, "urn": 2}))})
    with pytest.raises(InputError, match="mixes the sources"):
        facts_of(two)


def test_sources_are_cited(released):
    """Every source described is cited, and no other, below the paper."""
    card = render_card(released, "a/b", None, None)
    assert f"```bibtex\n{bibtex()}\n```" in card
    assert FACTS["unli"].citation in card and FACTS["clotho"].citation not in card


@pytest.mark.parametrize("with_report", [False, True])
def test_layout(released, with_report):
    """What depends on what is released is Markdown in any combination: of every config alone, and of all."""
    options = {"labelled_by": None, "vote": "majority", "config": "clotho", "min_valid": 1, "drop_disagreeing": True}
    taught = split_of(kind="teacher", answers=Counter({5: 3}))
    judged = split_of(kind="human", modality="audiovisual", judges=Counter({2: 3}))
    own = {split: split_of(kind="exact", modality="video") for split in SPLITS}
    configs = [
        *released,
        config_of("clotho", "clotho", {"train": split_of()}, skipped={"media": 3}),
        config_of("clotho-teacher", "clotho", {"train": taught}, options=options),
        config_of(DEFAULT_CONFIG, "wikivideo", {"test": judged}),
        *(config_of("mine", "own", own, facts=own_facts("mine", "mit", passed_on)) for passed_on in (False, True)),
    ]
    matrix = np.array([[0.1, 0.2, 0.3], [0.9, 0.8, 0.1], [0.4, 0.6, np.nan]])
    report = agreement_report(matrix, ["zoe", "adam", "eve"], range(3), 20) if with_report else None
    for some in (*([config] for config in configs), configs[:-1]):
        check_layout(render_card(some, "clue/umui", None, report))


def test_a_clip_outside_of_the_folder_is_refused(umui, tmp_path):
    """A row can't make a release send any other file than a clip of its split."""
    for place in ("../secret.flac", "media/../../secret.flac", "/etc/passwd", "media/.hidden", "media/a/b.flac"):
        folder = tmp_path / place.replace("/", "_") / "urn-audio"
        for split in SPLITS:
            (folder / split).mkdir(parents=True)
            table = pq.read_table(umui / "urn-audio" / split / "metadata.parquet")
            names = [place] * len(table)
            table = table.set_column(table.column_names.index("audio_file_name"), "audio_file_name", [names])
            pq.write_table(table, folder / split / "metadata.parquet")
        (folder / "build.json").write_text((umui / "urn-audio" / "build.json").read_text())
        with pytest.raises(InputError, match="must lie in media/"):
            summarise_config(folder.parent, "urn-audio")
