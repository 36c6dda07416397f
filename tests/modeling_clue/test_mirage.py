"""Claims of generated articles become items: each with the videos that it is to be judged by, none lost silently."""

import json
import re
import shutil
from pathlib import Path

import pytest

from modeling_clue import score
from modeling_clue.mirage import main, read_sentences, read_videos


PREDICTIONS = {
    "A_fire": {
        "prediction": "Two houses burn. A dog barks.",
        "sentences": ["Two houses burn.", "A dog barks.", "It rains."],
        "claims": [["A house burns.", "Two houses burn."], ["A dog barks."], ["It rains."]],
        "citations": [["/data/all videos/silent.mp4", "/other/talkie.mp4"], ["/data/silent.mp4"], []],
    },
    "A_flood": {"prediction": "", "claims": [["It is wet."]], "citations": [["talkie.mp4", "/twice/talkie.mp4"]]},
}
SUBMISSION = [
    {
        "metadata": {"run_id": "r", "query_id": "7", "team_id": "t", "task": "rag"},
        "responses": [{"text": "A house burns.", "citations": ["silent", "talkie"]}, {"text": "It rains."}],
        "references": ["silent", "talkie"],
    },
    {"metadata": {"query_id": 8}, "responses": [{"text": "It is wet.", "citations": ["talkie"]}]},
]


def made(tmp_path, text: str, *options: str) -> list[dict]:
    """The items that are made of a file with this text."""
    (tmp_path / "input").write_text(text)
    (tmp_path / "items.jsonl").unlink(missing_ok=True)
    assert main(["--input", str(tmp_path / "input"), "--output", str(tmp_path / "items.jsonl"), *options]) == 0
    return [json.loads(line) for line in (tmp_path / "items.jsonl").read_text().splitlines()]


def places(items: list[dict]) -> list[tuple]:
    """Topic, sentence, claim and video of items, whose ids have them."""
    assert all(item["id"]["video"] == item["video_id"] for item in items)
    return [(*list(item["id"].values())[:3], item["video_id"], item["claim"]) for item in items]


@pytest.mark.parametrize("indent", [None, 2])
def test_cited_videos_of_mirages_predictions(tmp_path, capsys, indent):
    """Each claim with each video of its sentence; a video that is cited twice is one, a claim without is counted."""
    items = made(tmp_path, json.dumps(PREDICTIONS, indent=indent))
    assert places(items) == [
        ("A_fire", 0, 0, "silent.mp4", "A house burns."),
        ("A_fire", 0, 0, "talkie.mp4", "A house burns."),
        ("A_fire", 0, 1, "silent.mp4", "Two houses burn."),
        ("A_fire", 0, 1, "talkie.mp4", "Two houses burn."),
        ("A_fire", 1, 0, "silent.mp4", "A dog barks."),
        ("A_flood", 0, 0, "talkie.mp4", "It is wet."),
    ]
    printed = capsys.readouterr()
    assert "6 items" in printed.out and "without an item: 1." in printed.err


def test_all_videos_of_a_topic(tmp_path, capsys):
    """With references each claim is judged by each of its topic's videos, a list of names or an object with them."""
    references = {
        "A_fire": {"article": "", "videos": {"silent": {}, "talkie": {}}, "claims_to_supporting_videos": {}},
        "A_flood": {"article": "", "videos": ["talkie"], "claims_to_supporting_videos": {}},
    }
    (tmp_path / "reference.json").write_text(json.dumps(references))
    options = ("--reference", str(tmp_path / "reference.json"), "--modality", "audiovisual")
    items = made(tmp_path, json.dumps(PREDICTIONS), *options)
    assert [item["video_id"] for item in items] == ["silent", "talkie"] * 4 + ["talkie"]
    assert {item["modality"] for item in items} == {"audiovisual"}
    assert not capsys.readouterr().err
    (tmp_path / "reference.json").write_text(json.dumps({"A_fire": references["A_fire"]}))
    with pytest.raises(ValueError, match="'A_flood' is not in"):
        made(tmp_path, json.dumps(PREDICTIONS), *options)


@pytest.mark.parametrize("lines", [1, 2])
def test_magmars_submissions(tmp_path, lines):
    """A line for each query, also if it is the only one; each response is a claim."""
    items = made(tmp_path, "".join(json.dumps(record) + "\n" for record in SUBMISSION[:lines]))
    wanted = [("7", 0, 0, "silent", "A house burns."), ("7", 0, 0, "talkie", "A house burns.")]
    assert places(items) == wanted + [("8", 0, 0, "talkie", "It is wet.")] * (lines - 1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Neither one JSON object nor lines of JSON: line 1"),
        ("[1]", "Line 1 needs `metadata` with a `query_id`"),
        ('{"t": {"claims": [["a"]]}}', "Topic 't' needs `claims` and `citations`"),
        ('{"t": {"claims": ["a"], "citations": [["b"]]}}', "Topic 't' needs `claims` and `citations`"),
        ('{"t": {"claims": [["a"]], "citations": [["b"], []]}}', "1 sentences, claims of 1 and citations of 2"),
        ('{"metadata": {"query_id": 1}, "responses": [{"text": 5}]}', "Line 1: response 0 needs a `text`"),
    ],
)
def test_another_format_is_refused(text, reason):
    """By what it lacks, with the topic or the line."""
    with pytest.raises(ValueError, match=reason):
        list(read_sentences(text))


def test_references_need_videos():
    """Their topics are named."""
    with pytest.raises(ValueError, match="Topic 't' of the references has no `videos`"):
        read_videos('{"t": {"article": "a"}}')
    with pytest.raises(ValueError, match="one JSON object"):
        read_videos("[]")


@pytest.fixture
def judged(tmp_path, clips, tiny_checkpoint, monkeypatch):
    """A function that judges a file of items in a folder with two videos, and returns the answers."""
    (tmp_path / "videos").mkdir()
    for name in ("silent", "talkie"):
        shutil.copy(getattr(clips, name), tmp_path / "videos" / f"{name}.mp4")
    monkeypatch.chdir(tmp_path)

    def judge(name: str) -> list[dict]:
        command = ["--input", name, "--output", "answers.jsonl", "--media-root", "videos"]
        assert score.main(["--model", str(tiny_checkpoint), *command]) == 0
        return [json.loads(line) for line in Path("answers.jsonl").read_text().splitlines()]

    return judge


def run_on_the_page(mark: str) -> dict:
    """Runs the Python on the page of judging that has `mark` in it; returns its variables."""
    page = Path(__file__).parents[2] / "docs/judging.md"
    (code,) = (code for code in re.findall("```python\n(.*?)```", page.read_text(), re.DOTALL) if mark in code)
    variables: dict = {}
    exec(code, variables)
    return variables


def test_mirages_claims_are_judged(tmp_path, judged):
    """From a file of predictions to answers that know their claim, and to what the page makes of them."""
    made(tmp_path, json.dumps(PREDICTIONS))
    answers = judged("items.jsonl")
    assert [answer["id"]["claim"] for answer in answers] == [0, 0, 1, 1, 0, 0]
    best = [max(answers[place]["probability"] for place in places) for places in ((0, 1), (2, 3), (4,), (5,))]
    shares = run_on_the_page("shares")["shares"]
    assert shares == {"A_fire": sum(one >= 0.5 for one in best[:3]) / 3, "A_flood": float(best[3] >= 0.5)}


def test_crafts_claims_are_judged(tmp_path, judged):
    """As they are, by frames alone or with sound; their answers become what its next step reads."""
    claim = {
        "claim_id": "q1_v7_c0",
        "query_id": "1",
        "video_id": "talkie",
        "topic": "A_fire",
        "claim": "A house burns.",
        "confidence": 0.9,
        "source": "video_visual",
        "timestamp": [0, 2],
    }
    claims = [claim, claim | {"claim_id": "q1_v7_c1", "modality": "audiovisual"}]
    (tmp_path / "query_conditioned_claims.jsonl").write_text("".join(json.dumps(claim) + "\n" for claim in claims))
    answers = judged("query_conditioned_claims.jsonl")
    assert [answer["id"] for answer in answers] == ["q1_v7_c0", "q1_v7_c1"]
    assert [answer["modality"] for answer in answers] == ["video", "audiovisual"]
    run_on_the_page("unli_predictions")
    predictions = [json.loads(line) for line in (tmp_path / "unli_predictions.jsonl").read_text().splitlines()]
    wanted = {"claim_id": "q1_v7_c1", "video_id": "talkie", "claim": claim["claim"], "prob": answers[1]["probability"]}
    assert len(predictions) == 2 and predictions[1] == wanted
