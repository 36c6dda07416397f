"""WikiVideo: label rules, all claims against all videos, topics held out, judgements kept to their modality."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from common.errors import InputError
from datasets_scripts.build import main as build
from datasets_scripts.load import load_split
from datasets_scripts.schema import row_complaint
from datasets_scripts.sources import wikivideo
from datasets_scripts.sources.urn_media import write_video
from datasets_scripts.sources.wikivideo_labels import TEST_TOPICS, held_out, plain_title
from modeling_clue.modalities import TABLE
from tests.datasets_scripts.sources.reading import Drafts, drafts_of, problems_of, rows_of, touch


FLAGS = list(itertools.product([False, True], repeat=3))
VIDEOS = [f"v{k}" for k in range(len(FLAGS))]
EVIDENCE = {
    "nothing": [],
    "sound": ["audio"],
    "picture": ["video"],
    "writing": ["text"],
    "picture and writing": ["text", "video"],
    "picture and sound": ["audio", "video"],
    "all": ["audio", "text", "video"],
    "unknown": None,
}


def topic(claims: dict[str, dict[str, tuple[bool, bool, bool]]], **others) -> dict:
    """Returns a topic of the labels file: one claim a sentence, flags as (video, audio, ocr)."""
    support = {
        claim: {
            "supporting_videos": list(videos),
            "videos_modalities": {
                video: dict(zip(("video", "audio", "ocr"), flags, strict=True)) for video, flags in videos.items()
            },
        }
        for claim, videos in claims.items()
    }
    return {
        "original_article": [f"It says: {claim}" for claim in claims],
        "claims": [[claim] for claim in claims],
        "claims_to_supporting_videos": support,
    } | others


LABELS = {
    "Storm in a teacup": topic({"Tea is spilt": {"tea1": (True, False, False)}, "It is hot": {}}, videos={"tea2": {}}),
    "Notre-Dame_fire": topic({"A roof burns": dict(zip(VIDEOS, FLAGS, strict=True))}),
    "Cheese rolling": topic({"A cheese rolls": {"-ch_1": (True, True, True)}}),
}


class Raw:
    """Holds a folder with raw files, and reads them."""

    def __init__(self, folder: Path):
        self.folder, self.labels = folder, LABELS
        touch(folder / "videos", *(f"{video}.mp4" for video in ("tea1", "tea2", "-ch_1", *VIDEOS)))

    def judge(self, records: list[dict], lines: bool = False) -> None:
        """Writes judgements, as a JSON list or as JSON lines."""
        text = "\n".join(map(json.dumps, records)) if lines else json.dumps(records, indent=1)
        (self.folder / "judgements.json").write_text(text)

    def run(self, *arguments: object) -> dict[str, dict[str, Drafts]]:
        """Returns the drafts of each split of each config."""
        labels = self.labels if isinstance(self.labels, str) else json.dumps(self.labels)
        (self.folder / "labels.json").write_text(labels)
        places = ["--labels", self.folder / "labels.json", "--videos", self.folder / "videos"]
        if (self.folder / "judgements.json").exists():
            places += ["--judgements", self.folder / "judgements.json"]
        built = drafts_of(wikivideo, *places, *arguments)
        return {config.removeprefix("wikivideo-"): splits for config, splits in built.items()}


@pytest.fixture
def raw(tmp_path) -> Raw:
    """Three topics, one of them to test on."""
    return Raw(tmp_path)


def by_pair(drafts: Drafts) -> dict[tuple[str, str], dict]:
    """Returns rows by (claim, name of the clip's file without its ending)."""
    return {(row["hypothesis"], (row["video"] or row["audio"]).path.stem): row for row in rows_of(drafts)}


def test_label_rules(raw):
    """For all eight combinations of (video, audio, ocr), each modality's label is the one of this table."""
    expected = {
        # ---  --o  -a-  -ao  v--  v-o  va-  vao
        "video": [0, 1, 0, 1, 1, 1, 1, 1],
        "audio": [0, 0, 1, 0, 0, 0, 0, 0],
        "audiovisual": [0, 0, 1, 1, 1, 1, 1, 1],
    }
    built = raw.run()
    columns = ("label", "probability", "modality", "probability_source", "evidence")
    for modality, labels in expected.items():
        found = by_pair(built[modality]["test"])
        assert {pair: tuple(row[column] for column in columns) for pair, row in found.items()} == {
            ("A roof burns", video): (label, float(label), modality, "label", None)
            for video, label in zip(VIDEOS, labels, strict=True)
        }


def test_every_claim_meets_every_video_of_its_topic(raw):
    """A video is any that the topic names; a pair that isn't listed has label 0; other topics' videos aren't met."""
    for drafts in (splits["train"] for splits in raw.run().values()):
        found = {pair: row["label"] for pair, row in by_pair(drafts).items()}
        supported = int(drafts[0].row["modality"] != "audio")
        assert found == {
            ("Tea is spilt", "tea1"): supported,
            ("Tea is spilt", "tea2"): 0,
            ("It is hot", "tea1"): 0,
            ("It is hot", "tea2"): 0,
            ("A cheese rolls", "-ch_1"): supported,
        }
        row = by_pair(drafts)["It is hot", "tea2"]
        assert (row["topic"], row["context"]) == ("Storm in a teacup", "It says: It is hot")
        assert len({draft.row["id"] for draft in drafts}) == len(drafts)
        for draft in drafts:
            column = "audio" if draft.row["modality"] == "audio" else "video"
            assert row_complaint(draft.row | {column: "a.mp4"}) is None
    assert drafts[1].place == "labels.json, 'Storm in a teacup', claim 2, video tea1"


def test_repeated_claims_are_one_claim(raw):
    """The published file repeats all claims for each video: each is met once, under its first sentence."""
    entry = topic({"One": {"v1": (True, False, False)}, "Two ": {"v2": (True, False, False)}})
    entry["claims"] = entry["claims"] * 3 + [["One", "Two"]]
    entry["claims"][0].append("Two")
    raw.labels = {"Hurricane Irma": entry}
    drafts = raw.run("--dataset-configs", "wikivideo-video")["video"]["test"]
    found = {pair: (row["label"], row["context"]) for pair, row in by_pair(drafts).items()}
    assert found == {
        ("One", "v1"): (1, "It says: One"),
        ("One", "v2"): (0, "It says: One"),
        ("Two", "v1"): (0, "It says: One"),
        ("Two", "v2"): (1, "It says: One"),
    }
    assert len(drafts) == 4


@pytest.mark.parametrize("title", [*TEST_TOPICS, "Notre-Dame de Paris fire"])
def test_topics_are_held_out_under_any_spelling(title):
    """Underscores, case, dashes and escapes make no difference, nor does an earlier title; other words do."""
    spellings = {title, title.lower(), title.upper(), f" {title}. "}
    spellings |= {title.replace(*pair) for pair in ((" ", "_"), ("-", " "), ("-", "\u2013"), (" ", "%20"))}
    assert all(map(held_out, spellings))
    assert not any(map(held_out, [title.split(" ", 1)[1], f"Aftermath of {title}", title.replace("2", "3") + " II"]))


def test_missing_test_topics_are_told(raw, capsys):
    """Nine of ten are named, one with the training topic that is much like it; without any there is no build."""
    raw.labels = LABELS | {"Hurricane Irma 2017": LABELS["Cheese rolling"]}
    raw.run()
    notes = capsys.readouterr().out.splitlines()
    assert len([line for line in notes if line.startswith("not in the labels file: ")]) == 9
    assert "kept for training, but alike: Hurricane Irma 2017" in next(line for line in notes if "'Hurricane" in line)
    raw.labels = {"Cheese rolling": LABELS["Cheese rolling"]}
    with pytest.raises(InputError, match="none of the topics to test on"):
        raw.run()


def test_validation_topics(raw):
    """None by default; else whole training topics by seed, never a topic to test on."""
    raw.labels = LABELS | {f"Topic {k}": LABELS["Cheese rolling"] for k in range(6)}
    assert list(raw.run()["video"]) == ["train", "test"]
    drawn = set()
    for seed in range(4):
        built = raw.run("--validation-topics", 2, "--seed", seed)["video"]
        topics = {split: {draft.row["topic"] for draft in drafts} for split, drafts in built.items()}
        assert list(topics) == ["train", "validation", "test"] and topics["test"] == {"Notre-Dame_fire"}
        assert len(topics["validation"]) == 2 and not topics["validation"] & (topics["train"] | topics["test"])
        assert set.union(*topics.values()) == set(raw.labels)
        drawn.add(frozenset(topics["validation"]))
    assert len(drawn) > 1
    for number in (-1, 8):
        with pytest.raises(InputError, match="there are 8 topics to train on"):
            raw.run("--validation-topics", number)
    raw.labels = {"Notre-Dame fire": LABELS["Notre-Dame_fire"]}
    assert list(raw.run()["video"]) == ["test"]


def test_a_judgement_keeps_to_what_informed_it(raw, capsys):
    """To the audiovisual pair always; to video only without sound, to audio only by sound, to all if by nothing."""
    raw.judge(
        [
            {"claim": "A  roof burns ", "path": f"some/where/v{k}.mp4", "probability": k / 10, "evidence": evidence}
            for k, evidence in enumerate(EVIDENCE.values())
        ]
    )
    expected = {
        "video": {"nothing", "picture", "writing", "picture and writing"},
        "audio": {"nothing", "sound"},
        "audiovisual": set(EVIDENCE),
    }
    for modality, splits in raw.run().items():
        found = by_pair(splits["test"])
        for k, name in enumerate(EVIDENCE):
            row = found["A roof burns", f"v{k}"]
            human = name in expected[modality]
            assert (row["probability_source"], row["probability"], row["evidence"]) == (
                ("human", k / 10, EVIDENCE[name]) if human else ("label", float(row["label"]), None)
            )
        assert not problems_of(splits["test"])
    printed = capsys.readouterr().out
    for modality, names in expected.items():
        assert f"wikivideo-{modality}: {len(names)} of 8 human judgements" in printed


def test_labels_are_not_touched_by_judgements(raw):
    """With judgements or without, all rows and their labels are the same."""
    before = {config: by_pair(splits["test"]) for config, splits in raw.run().items()}
    raw.judge([{"claim": "A roof burns", "path": "v7", "probability": 0.1, "evidence": []}])
    after = {config: by_pair(splits["test"]) for config, splits in raw.run().items()}
    for config in before:
        assert {p: r["label"] for p, r in before[config].items()} == {p: r["label"] for p, r in after[config].items()}
        changed = {pair for pair in before[config] if before[config][pair] != after[config][pair]}
        assert changed == {("A roof burns", "v7")}


def test_aggregated_judgements(raw):
    """JSON lines with every annotator's number; a topic, where it is given, must fit, in any spelling."""
    shared = {"A roof burns": {"v0": (True, False, False)}}
    raw.labels = LABELS | {"Cathedral fires": topic(shared)}
    judgement = {"claim": "A roof burns", "video": "v0", "human_probabilities": [0.2, 0.4], "probability": 0.3}
    raw.judge([judgement | {"topic": "notre-dame fire", "evidence": ["audio"], "item": "1"}], lines=True)
    built = raw.run("--dataset-configs", "wikivideo-audiovisual")["audiovisual"]
    row = by_pair(built["test"])["A roof burns", "v0"]
    assert (row["probability"], row["human_probabilities"], row["evidence"]) == (0.3, [0.2, 0.4], ["audio"])
    assert by_pair(built["train"])["A roof burns", "v0"]["probability_source"] == "label"
    raw.judge([judgement], lines=True)
    built = raw.run("--dataset-configs", "wikivideo-audiovisual")["audiovisual"]
    for split in ("train", "test"):
        assert by_pair(built[split])["A roof burns", "v0"]["probability_source"] == "human"


def test_judgements_that_do_not_join_are_problems_of(raw):
    """Unknown claim, video or topic, a second judgement, and records that can't be read: each by its line."""
    good = {"claim": "A roof burns", "video": "v1", "probability": 0.5, "evidence": None}
    bad = [
        good | {"claim": "A roof leaks"},
        good | {"video": "v9"},
        good | {"video": "tea1"},
        good | {"topic": "Cheese rolling"},
        good | {"probability": 0.7},
        good | {"probability": 50},
        good | {"probability": "0.5"},
        good | {"probability": float("nan")},
        good | {"evidence": ["smell"]},
        good | {"evidence": "audio"},
        good | {"video": None},
        good | {"human_probabilities": [1.5]},
        ["no", "object"],
    ]
    raw.judge([good, *bad], lines=True)
    with (raw.folder / "judgements.json").open("a") as file:
        file.write("\n{cut off")
    for splits in raw.run().values():
        assert not problems_of(splits["train"])
        found = {int(p.place.removeprefix("judgements.json line ")): p.kind for p in problems_of(splits["test"])}
        assert found == {line: "join" if line <= 6 else "row" for line in range(2, 16)}
        assert len(splits["test"]) == 14 + len(FLAGS)
    row = by_pair(raw.run()["audiovisual"]["test"])["A roof burns", "v1"]
    assert row["probability"] == 0.5
    (raw.folder / "judgements.json").write_text("[{]")
    with pytest.raises(InputError, match="--judgements .* is no file of JSON lines"):
        raw.run()


def test_sound_is_given_or_extracted(raw):
    """The sound file where there is one, else the sound of the video; the other configs have the video itself."""
    sounds = touch(raw.folder / "sounds", "v3.wav")
    built = raw.run("--sounds", sounds)
    clips = {name: row["audio"] for (_, name), row in by_pair(built["audio"]["test"]).items()}
    assert (clips["v3"].path, clips["v3"].key, clips["v3"].sound_only) == (sounds / "v3.wav", "v3.wav", False)
    assert (clips["v4"].path, clips["v4"].sound_only) == (raw.folder / "videos/v4.mp4", True)
    for modality in ("video", "audiovisual"):
        for (_, name), row in by_pair(built[modality]["test"]).items():
            assert (row["video"].path, row["video"].sound_only) == (raw.folder / f"videos/{name}.mp4", False)


def test_videos_are_found_below_the_folder(raw):
    """In any subfolder and container; a missing one is drafted for the writer to report, a doubled one a problem."""
    (raw.folder / "videos/v1.mp4").unlink()
    (raw.folder / "videos/v2.mp4").unlink()
    touch(raw.folder / "videos/en", "v1.webm", "v3.mkv")
    drafts = raw.run()["video"]["test"]
    found = by_pair(drafts)
    assert found["A roof burns", "v1"]["video"].path == raw.folder / "videos/en/v1.webm"
    assert found["A roof burns", "v2"]["video"].path == raw.folder / "videos/v2.mp4"
    [problem] = problems_of(drafts)
    assert problem.kind == "media" and "v3.mp4" in problem.complaint and "v3.mkv" in problem.complaint
    with pytest.raises(InputError, match="--sounds .* is not a folder"):
        raw.run("--sounds", raw.folder / "nowhere")


@pytest.mark.parametrize(
    "flags", [{"video": True, "audio": False}, {"video": 1, "audio": 0, "ocr": 0}, ["video"], None]
)
def test_flags_that_say_nothing_cost_the_pair(raw, flags):
    """Such a pair is neither supported nor unsupported: a problem that names topic, claim and video, and no row."""
    entry = topic({"One": {"v0": (True, False, False), "v1": (True, False, False)}})
    entry["claims_to_supporting_videos"]["One"]["videos_modalities"]["v1"] = flags
    raw.labels = {"Hurricane Irma": entry}
    for splits in raw.run().values():
        assert list(by_pair(splits["test"])) == [("One", "v0")]
        [problem] = problems_of(splits["test"])
        assert problem.place == "labels.json, 'Hurricane Irma', claim 1 'One', video v1"
        assert problem.kind == "row" and "must be true or false" in problem.complaint


def test_malformed_topics_are_problems_of(raw):
    """Whatever can't be understood of a topic is named; the rest of it is built."""
    entry = topic({"One": {"v0": (True, False, False)}, "Lost": {}, "Two": {}, "Odd": {}})
    support = entry["claims_to_supporting_videos"]
    support["One"]["supporting_videos"].append("v1")
    support["Nobody's"] = support.pop("Lost")
    support["Odd"] = []
    support["Two"]["videos_modalities"] = {"../../etc/passwd": {"video": True, "audio": True, "ocr": True}}
    entry["claims"] += [["Of no sentence"], "One", [""]]
    raw.labels = {"Hurricane Irma": entry | {"videos": ["v2", 3]}}
    drafts = raw.run()["video"]["test"]
    assert set(by_pair(drafts)) == {("One", "v0"), ("One", "v2"), ("Two", "v0"), ("Two", "v1"), ("Two", "v2")}
    found = "\n".join(f"{problem.place}: {problem.complaint}" for problem in problems_of(drafts))
    for complaint in (
        "claim 1 'One', video v1: video, audio and ocr must be true or false",
        "claim 2 'Lost': is not in claims_to_supporting_videos",
        'claim ? "Nobody\'s": is in claims_to_supporting_videos, but not in claims',
        "claim 4 'Odd': videos_modalities must be an object",
        "claim 3 'Two': not the id of a video: '../../etc/passwd'",
        "claims of sentence 5: no such sentence in original_article: ['Of no sentence']",
        "claims of sentence 6: must be a list of non-empty strings",
        "claims of sentence 7: must be a list of non-empty strings",
        "videos: not the id of a video: 3",
    ):
        assert f"labels.json, 'Hurricane Irma', {complaint}" in found
    assert all(problem.kind == "row" for problem in problems_of(drafts))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is no JSON file"),
        ("[]", "must hold an object"),
        ('{"Hurricane Irma": []}', "'Hurricane Irma': original_article must be a list"),
        (
            '{"Hurricane Irma": {"original_article": [], "claims": []}}',
            "claims_to_supporting_videos must be an object",
        ),
        ('{"Hurricane Irma": {}, "Hurricane Irma": {}}', "'Hurricane Irma' twice"),
    ],
)
def test_other_files_are_refused(raw, text, complaint):
    """A file of another layout is an error at once."""
    raw.labels = text
    with pytest.raises(InputError, match=complaint):
        raw.run()


def test_built_and_loaded(tmp_path):
    """As a user builds it, from real clips: three configs, sound extracted, a video without sound only seen."""
    folder = tmp_path / "videos"
    folder.mkdir()
    sounds = {"v0": ["low"] * 4, "v1": ["high"] * 4, "v2": None, "v3": ["low"] * 4}
    for seed, (video, pitches) in enumerate(sounds.items()):
        write_video(folder / f"{video}.mp4", ["red"] * 4, pitches, np.random.default_rng(seed))
    flags = {"v0": (False, True, False), "v1": (True, True, False), "v2": (False, False, True)}
    labels = {"Cheese": topic({"It rolls": {"v3": (True,) * 3}}), "notre-dame_FIRE": topic({"It burns": flags})}
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    human = {"claim": "It burns", "human_probabilities": [0.4, 0.8], "probability": 0.6}
    judgements = [human | {"video": "v0", "evidence": ["audio"]}, human | {"video": "v2", "evidence": ["text"]}]
    (tmp_path / "judgements.jsonl").write_text("\n".join(map(json.dumps, judgements)))
    places = {"--labels": "labels.json", "--videos": "videos", "--judgements": "judgements.jsonl"}
    places |= {"--output-dir": "umui"}
    arguments = ["wikivideo", *(str(part) for key, name in places.items() for part in (key, tmp_path / name))]
    with pytest.raises(SystemExit, match=r"wikivideo-audio has 1 problem \(media 1\)"):
        build([*arguments, "--dataset-configs", "wikivideo-audio"])
    build([*arguments, "--on-error", "skip"])
    found = {}
    for modality in wikivideo.MODALITIES:
        split = load_split(str(tmp_path / "umui"), f"wikivideo-{modality}", "test")
        assert set(split["topic"]) == {"notre-dame_FIRE"}
        column = "audio" if modality == "audio" else "video"
        for row in split:
            path = Path(row[column]["path"])
            found[modality, path.stem[:2]] = tuple(row[name] for name in ("label", "probability", "evidence"))
            assert row["human_probabilities"] == (None if row["evidence"] is None else [0.4, 0.8])
            assert row["probability_source"] == ("label" if row["evidence"] is None else "human")
            if modality == "audio":
                sound = soundfile.info(path)
                assert (sound.samplerate, sound.channels, sound.format) == (16000, 1, "FLAC")
        assert len(load_split(str(tmp_path / "umui"), f"wikivideo-{modality}", "train")) == 1
    assert found == {
        ("video", "v0"): (0, 0.0, None),
        ("video", "v1"): (1, 1.0, None),
        ("video", "v2"): (1, 0.6, ["text"]),
        ("audio", "v0"): (1, 0.6, ["audio"]),
        ("audio", "v1"): (0, 0.0, None),
        ("audiovisual", "v0"): (1, 0.6, ["audio"]),
        ("audiovisual", "v1"): (1, 1.0, None),
    }


def test_a_background_story_comes_before_the_clip(raw):
    """Rows are those without it but for the premise, which is the story and the clip, for each modality."""
    stories = {"storm in a Teacup": "You live by the sea.", "Notre-Dame fire": "It is 2019.", "Cheese_rolling": "Run."}
    file = raw.folder / "stories.json"
    file.write_text(json.dumps(stories))
    plain, told = raw.run(), raw.run("--backgrounds", file)
    assert list(told) == [f"{modality}-background" for modality in plain]
    by_title = {plain_title(title): {"modality": "text", "text": text} for title, text in stories.items()}
    for modality, splits in plain.items():
        column = TABLE[modality].column
        for split, drafts in splits.items():
            others = rows_of(told[f"{modality}-background"][split])
            for one, other in zip(rows_of(drafts), others, strict=True):
                assert other["parts"] == [by_title[plain_title(one["topic"])], {"modality": modality, "text": None}]
                assert other["part_clips"] == [one[column]]
                assert {name for name in one if one[name] != other[name]} == {"id", column, "parts", "part_clips"}
    for wrong, message in (
        ({**stories, "notre-dame fire": "Again."}, "has a topic twice: Notre-Dame fire, notre-dame fire"),
        ({"Cheese rolling": "Run."}, "has no story of Storm in a teacup, Notre-Dame_fire"),
        ({**stories, "Cheese_rolling": " "}, "with a text for each topic"),
        ([], "must be a JSON object"),
    ):
        file.write_text(json.dumps(wrong))
        with pytest.raises(InputError, match=message):
            raw.run("--backgrounds", file)
