"""What annotators and the organiser are shown, what they may send, and the files that come out."""

import hashlib
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import krippendorff
import numpy as np
import pyarrow.parquet as pq
import pytest
from annotator_pages import AnnotatorPages, BadAnswer, read_answer, senses_of
from dashboard import Dashboard, alpha, judgement_lines, pilot_lines
from items import Item, Part, _premise, load_items, make_queue
from scale import scale
from settings import read_settings
from store import Judgement, NotAssigned, Store
from training import feedback, load_examples
from users import password_check, read_users

from datasets_scripts.judgements.read import aggregate, judgement_matrix, read_judgements
from evaluation.agreement import krippendorff_alpha


USERS = "# people\nannotator:ada:password-of-ada\norganiser:olga:password:of-olga\n"


@pytest.fixture
def study(umui, tmp_path):
    """Two annotators before the items of the dataset folder: the store, the pages, the dashboard."""
    items = load_items(str(umui), "own", "test", tmp_path / "clips")
    places, by_id = make_queue(items, 2, 0), {item.id: item for item in items}
    digests = {item.id: item.digest for item in items}
    store = Store(tmp_path / "data" / "a.sqlite", places, digests, ["ada", "ben"], 1, 100)
    return store, AnnotatorPages(store, by_id, load_examples()), Dashboard(store, by_id, places, 1), by_id, places


def test_items_are_those_of_the_folder(umui, tmp_path):
    """Every row is an item, claims about one clip together; the order is drawn by the seed alone."""
    items = load_items(str(umui), "own", "test", tmp_path)
    assert len(items) == 6 and {item.video for item in items} == {"harbour", "mirror"}
    assert {(item.topic, item.context, item.modality) for item in items} == {
        ("Harbour", "A ferry runs every hour.", "audiovisual")
    }
    orders = [[place.item for place in make_queue(items, 2, seed)] for seed in (0, 0, 1, 2, 3, 4)]
    assert orders[0] == orders[1] and len({tuple(order) for order in orders}) > 1
    for place_list in (make_queue(items, 2, seed) for seed in range(5)):
        chunks = [place.chunk for place in place_list]
        assert chunks == sorted(chunks) and [place.pilot for place in place_list] == [True] * 2 + [False] * 4


def test_an_item_is_the_same_as_long_as_people_see_the_same():
    """What is read, seen or told counts; a clip by its name, whose ending may change."""
    clip = Item("i", "audiovisual", "/there/a.mp4", "It rains.", "Rain", "A story.")
    changes = ({"claim": "It snows."}, {"modality": "video"}, {"premise": "/there/b.mp4"}, {"context": None})
    assert len({clip.digest, *(replace(clip, **change).digest for change in changes)}) == 5
    for name in ("/elsewhere/a.mp4", "a.avi", "a.mkv", "a.webm"):
        assert (replace(clip, premise=name).digest, replace(clip, premise=name).video) == (clip.digest, "a")
    # As databases have it that were begun before the story counted.
    said = hashlib.sha256(repr(("audiovisual", "a", "It rains.")).encode()).hexdigest()
    assert clip.digest.startswith(said)


def row_of(clip: Path) -> dict:
    """A row about a video."""
    return {"id": "i", "modality": "video", "video": {"bytes": None, "path": str(clip)}}


def test_a_clip_of_the_hub_keeps_its_name(tmp_path):
    """The Hub's cache has a link with a name to a file without one: players go by the ending, exports by the name."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "0a1b2c").write_bytes(b"clip")
    (tmp_path / "a.mp4").symlink_to(tmp_path / "blobs" / "0a1b2c")
    item = Item("i", "video", _premise(row_of(tmp_path / "a.mp4"), tmp_path), "It rains.")
    assert (item.premise, item.video) == (str(tmp_path / "a.mp4"), "a")
    # The same as long as the content is, as databases have it that were begun when the link was followed.
    assert item.digest == replace(item, premise=str(tmp_path / "blobs" / "0a1b2c")).digest


def test_webm_goes_by_its_own_name(tmp_path, write_clip):
    """Datasets store WebM as .mkv, which servers and browsers don't take for one; Matroska stays what it is."""
    for name, kind in (("webm.mkv", "webm"), ("matroska.mkv", "matroska")):
        write_clip(tmp_path / name, "libvpx", "libopus", format=kind)
    for _ in range(2):
        item = Item("i", "video", _premise(row_of(tmp_path / "webm.mkv"), tmp_path / "clips"), "It rains.")
        assert item.premise.endswith("/webm.webm") and Path(item.premise).samefile(tmp_path / "webm.mkv")
        assert item.digest == replace(item, premise=str(tmp_path / "webm.mkv")).digest and item.video == "webm"
    assert _premise(row_of(tmp_path / "matroska.mkv"), tmp_path / "clips") == str(tmp_path / "matroska.mkv")


@pytest.mark.parametrize("modality", ["text", "audio", "video", "audiovisual"])
def test_every_modality_is_read(urn_umui, modality, tmp_path):
    """A clip is a file that is there, a text is itself; claims about one premise share it."""
    items = load_items(str(urn_umui), f"urn-{modality}", "test", tmp_path)
    assert len(items) == 6 and len({item.premise for item in items}) == 2
    assert all(item.modality == modality for item in items)
    assert all(Path(item.premise).is_file() == (modality != "text") for item in items)


def test_a_combination_has_its_parts_in_order(parts_umui, tmp_path):
    """Claims about the same parts go together, a text among them may inform, and another part is another premise."""
    items = load_items(str(parts_umui), "parts", "test", tmp_path)
    assert [item.claim for item in items] == ["It rains.", "It is a ferry.", "The sun sets."]
    assert len({one.chunk for one in make_queue(items, 0, 0)}) == 2 == len({item.premise for item in items})
    first, _, other = items
    assert [part.modality for part in first.parts] == ["text", "image", "audiovisual"]
    assert [Path(part.content).is_file() for part in first.parts] == [False, True, True]
    assert (first.name, first.video, first.modality) == ("map.mkv, harbour", None, "audiovisual")
    assert senses_of(first) == ["video", "audio", "text"]
    sound = replace(other, modality="audio", premise=(Part("text", "It is late."), Part("audio", "a.wav")))
    assert senses_of(sound) == ["audio", "text"] and senses_of(replace(sound, premise="a.wav")) == ["audio"]
    text, picture, clip = first.parts
    changes = ((picture, text, clip), (text, clip), (replace(text, content="Late."), picture, clip))
    changes += ((text, picture, replace(clip, modality="video")), (text, picture, replace(clip, content="/b.mp4")))
    assert len({first.digest, *(replace(first, premise=parts).digest for parts in changes)}) == 6
    moved = (text, picture, replace(clip, content="/elsewhere/harbour.webm"))
    assert replace(first, premise=moved).digest == first.digest


def test_parts_that_are_incomplete_are_refused(tmp_path):
    """By the row and the part."""
    clip = {"bytes": None, "path": "a.png"}
    text, picture = {"modality": "text", "text": "It is late."}, {"modality": "image", "text": None}
    for parts, files, told in (
        ([text, picture], [], "its parts need 1 files, and part_clips has 0"),
        ([text, picture], [None], "part 2, of modality image, is empty"),
        ([text | {"text": None}, picture], [clip], "part 1, of modality text, is empty"),
        ([text, picture | {"modality": "smell"}], [clip], "part 2 must be one of text, audio, .* not 'smell'"),
    ):
        with pytest.raises(ValueError, match=f"row i: {told}"):
            _premise({"id": "i", "modality": "video", "parts": parts, "part_clips": files}, tmp_path)


def test_a_dataset_from_before_there_were_combinations(umui, tmp_path):
    """Its table lacks their columns, and its items are the same."""
    folder = shutil.copytree(umui, tmp_path / "umui")
    (table,) = folder.rglob("*.parquet")
    rows = pq.read_table(table)
    later = [name for name in rows.column_names if name.startswith("part")]
    assert later
    pq.write_table(rows.drop_columns(later).replace_schema_metadata(None), table)
    old, new = (load_items(str(one), "own", "test", tmp_path / "clips") for one in (folder, umui))
    assert [(item.id, item.digest) for item in old] == [(item.id, item.digest) for item in new]


def test_the_way_to_the_first_item(study):
    """Instructions, then each training item with its explanation, then items; a reload goes on where one was."""
    store, annotator, *_ = study
    assert annotator.resume("ada")["page"] == "instructions"
    page = annotator.begin("ada")
    for number, example in enumerate(load_examples()):
        assert (page["page"], page["id"]) == ("training", number)
        assert "why" not in json.dumps(page), "the explanation comes after the answer"
        explained = annotator.train("ada", {"probability": example.high, "evidence": example.evidence})
        assert explained["feedback"]["fits"] and explained["feedback"]["same_evidence"]
        annotator.trained("ada", number)
        page = annotator.trained("ada", number)
    assert page["page"] == "item" and page["answer"] is None and page["context"] == "A ferry runs every hour."
    assert annotator.resume("ada")["id"] == page["id"]


def test_instructions_name_every_kind_there_is(study):
    """A set that mixes clips and texts is told of as such, clips first, with their ranges."""
    store, _, _, by_id, _ = study
    one, other = list(by_id)[:2]
    mixed = by_id | {one: replace(by_id[one], modality="text"), other: replace(by_id[other], modality="audio")}
    page = AnnotatorPages(store, mixed, load_examples()).instructions("ada")
    assert page["kinds"] == [["audiovisual"], ["audio"], ["text"]] and page["scale"] == scale("audiovisual")


def test_feedback_tells_apart():
    """Outside the range, or informed by something else."""
    example = load_examples()[-1]
    assert not feedback(example, example.high + 1, example.evidence)["fits"]
    assert not feedback(example, 0, ["video"])["same_evidence"]


def test_going_back_and_changing(study):
    """What was said is shown again, can be changed, and then the first open item comes."""
    store, annotator, *_ = study
    first = annotator._next("ada")
    second = annotator.judge("ada", first["id"], {"probability": 0, "evidence": [], "note": " why? "})
    assert second["previous"] == first["id"] and second["progress"]["judged"] == 1
    back = annotator.open("ada", first["id"])
    assert back["answer"] == {"probability": 0, "evidence": [], "note": "why?"} and back["next"] == second["id"]
    after = annotator.judge("ada", first["id"], {"probability": 100, "evidence": ["audio"]})
    assert after["id"] == second["id"] and store.judgements()[0].probability == 100


def test_nobody_is_shown_what_another_said(study):
    """No page of one annotator holds a trace of the other's judgement, and their items can't be opened."""
    store, annotator, *_ = study
    item = annotator._next("ben")["id"]
    annotator.judge("ben", item, {"probability": 37, "evidence": ["text"], "note": "seen by ben alone"})
    pages = [annotator.resume("ada"), annotator.open("ada", item)]
    assert all("seen by ben" not in json.dumps(page) and not page.get("answer") for page in pages)
    others = {task.item for task in store.tasks("ben")} - {task.item for task in store.tasks("ada")}
    for name in [*others, "../../etc/passwd", None, ["x"], 7]:
        with pytest.raises(NotAssigned):
            annotator.open("ada", name)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {},
        {"probability": None, "evidence": []},
        {"probability": 101, "evidence": []},
        {"probability": -1, "evidence": []},
        {"probability": 50.5, "evidence": []},
        {"probability": True, "evidence": []},
        {"probability": "50", "evidence": []},
        {"probability": math.nan, "evidence": []},
        {"probability": 50, "evidence": None},
        {"probability": 50, "evidence": ["smell"]},
        {"probability": 50, "evidence": [["audio"]]},
        {"probability": 50, "evidence": [], "note": "x" * 2001},
        {"probability": 50, "evidence": [], "note": "\ud800"},
        {"probability": 50, "evidence": [], "note": 3},
    ],
)
def test_bad_answers_are_refused(answer):
    """A judgement needs a number that somebody set, and what informed it."""
    with pytest.raises(BadAnswer):
        read_answer(answer, ["video", "audio", "text"])


def test_evidence_is_of_the_modality():
    """Nobody hears a text."""
    assert read_answer({"probability": 5, "evidence": ["text"]}, ["text"]) == (5, ["text"], None)
    with pytest.raises(BadAnswer):
        read_answer({"probability": 5, "evidence": ["audio"]}, ["text"])


def test_the_export_is_read_by_the_datasets_own_module(study, tmp_path):
    """Every number, sense, note and fact arrives as it was said, also across lines and quotes."""
    store, annotator, _, by_id, places = study
    said = {}
    for name, step in (("ada", 7), ("ben", 11)):
        for number, task in enumerate(store.tasks(name)):
            evidence = [[], ["audio"], ["text", "video"]][number % 3]
            note = ['two\nlines, "quoted"', None, "=1+1\u2028;"][number % 3]
            answer = {"probability": (step * number) % 101, "evidence": evidence, "note": note}
            annotator.open(name, task.item)
            annotator.judge(name, task.item, answer)
            said[name, task.item] = (answer["probability"] / 100, tuple(evidence), note)
    file = tmp_path / "judgements.jsonl"
    file.write_text(judgement_lines(store.judgements(), by_id), encoding="utf-8")
    reading = read_judgements([file])
    assert not reading.skipped and not reading.ignored
    assert {(one.annotator, one.item): (one.probability, one.evidence, one.note) for one in reading.judgements} == said
    assert len(aggregate(reading.judgements)) == 6
    for one in reading.judgements:
        item = by_id[one.item]
        assert one.facts == {"claim": item.claim, "video": item.video, "topic": item.topic}
    pilot = pilot_lines(places, store.judgements()).split()
    assert pilot == [place.item for place in places if place.pilot]
    matrix, _, _ = judgement_matrix([one for one in reading.judgements if one.item in pilot])
    expected = krippendorff_alpha(matrix, range(len(matrix)), 2)["value"]
    assert alpha([one for one in store.judgements() if one.item in pilot])["value"] == pytest.approx(expected)


def answer_all(annotator: AnnotatorPages, store: Store, name: str, probability: int = 50) -> None:
    """Judges whatever somebody has."""
    for task in store.tasks(name):
        annotator.open(name, task.item)
        annotator.judge(name, task.item, {"probability": probability, "evidence": []})


def test_no_judgement_of_a_clip_that_did_not_play(study):
    """It is passed over with all its claims, the organiser reads why, and it can be tried again."""
    store, annotator, dashboard, by_id, _ = study
    first = annotator._next("ada")
    good = {"probability": 50, "evidence": []}
    page = annotator.unplayed("ada", first["id"], "sound")
    assert page["unplayed"] and page["id"] == first["id"]
    with pytest.raises(BadAnswer, match="could not be played"):
        annotator.judge("ada", first["id"], good)
    for other in (one["id"] for one in first["beside"]):
        assert annotator.resume("ada").get("id") != other
    told = dashboard.page("olga")
    assert told["unplayed"] == [f"{by_id[first['id']].video} has no sound for ada"] and told["judgements"] == 0
    rest = [task.item for task in store.tasks("ada") if not task.unplayed]
    for item in rest:
        annotator.open("ada", item)
        page = annotator.judge("ada", item, good)
    page = page if rest else annotator._next("ada")
    assert page["page"] == "done" and page["unplayed"] == first["id"]
    assert page["progress"] == {"judged": len(rest), "total": len(store.tasks("ada"))}
    again = annotator.open("ada", first["id"])
    assert "unplayed" not in again and dashboard.page("olga")["unplayed"] == []
    assert annotator.judge("ada", first["id"], good)["progress"]["judged"] == len(rest) + 1


@pytest.mark.parametrize("why", ["<b>", "", None, 7, ["broken"]])
def test_only_failures_that_there_are_can_be_told(study, why):
    """Nothing that a page sends is passed on to the organiser as it is."""
    store, annotator, *_ = study
    with pytest.raises(BadAnswer):
        annotator.unplayed("ada", annotator._next("ada")["id"], why)
    others = {task.item for task in store.tasks("ben")} - {task.item for task in store.tasks("ada")}
    for item in (*others, None, "none"):
        with pytest.raises(NotAssigned):
            annotator.unplayed("ada", item, "broken")
    assert store.unplayed() == []


@pytest.mark.parametrize(
    ("people", "judged", "given_on", "complete", "short"),
    [
        # Who has judged nothing yet is waited for; who has left is not, nor do their answers stand for others'.
        # Two items are for everybody; of the other four ada has three, ben one.
        ("ada ben", "", "", 0, 0),
        ("ada ben", "ada ben", "", 6, 0),
        ("ben cleo", "ada ben", "", 4, 0),
        ("ben", "ada ben", "", 6, 0),
        ("ben", "ada", "", 3, 0),
        ("ada ben", "ben", "ada", 3, 0),
        ("cleo dora", "ada ben", "", 4, 0),
        ("ada ben cleo", "ada ben", "cleo", 6, 0),
    ],
)
def test_progress_is_of_those_who_are_there(umui, tmp_path, people, judged, given_on, complete, short):
    """An item of the pilot set is complete when all who are there have judged it, others when enough people have."""
    items = load_items(str(umui), "own", "test", tmp_path / "clips")
    places, by_id = make_queue(items, 2, 0), {item.id: item for item in items}
    digests = {item.id: item.digest for item in items}

    def begin(names: list[str]) -> Store:
        return Store(tmp_path / "a.sqlite", places, digests, names, 1, 100)

    store = begin(["ada", "ben"])
    for name in judged.split():
        answer_all(AnnotatorPages(store, by_id, []), store, name)
    store = begin(people.split())
    page = Dashboard(store, by_id, places, 1).page("olga")
    if given_on:
        page = Dashboard(store, by_id, places, 1).reassign("olga", given_on)
    assert (page["complete"], page["short"]) == (complete, short)


def test_people_who_are_missing_are_counted(umui, tmp_path):
    """Each item wants so many judges: what somebody said who has left counts, they themselves do not."""
    items = load_items(str(umui), "own", "test", tmp_path / "clips")
    places, by_id = make_queue(items, 2, 0), {item.id: item for item in items}
    digests = {item.id: item.digest for item in items}
    store = Store(tmp_path / "a.sqlite", places, digests, ["ada"], 2, 100)
    assert Dashboard(store, by_id, places, 2).page("olga")["short"] == 1
    answer_all(AnnotatorPages(store, by_id, []), store, "ada")
    store = Store(tmp_path / "a.sqlite", places, digests, ["ben"], 2, 100)
    assert Dashboard(store, by_id, places, 2).page("olga")["short"] == 0
    answer_all(AnnotatorPages(store, by_id, []), store, "ben")
    assert Dashboard(store, by_id, places, 2).page("olga")["complete"] == 6


def test_the_organiser_sees_how_it_stands(study):
    """Counts and alpha of what was said so far; giving on moves what is left."""
    store, annotator, dashboard, *_ = study
    page = dashboard.page("olga")
    assert (page["complete"], page["judgements"], page["alpha"]["value"]) == (0, 0, None)
    annotator.begin("ada")
    begun = {one["annotator"]: one["instructed"] for one in dashboard.page("olga")["people"]}
    assert begun == {"ada": True, "ben": False}, "who never came is not said to be here"
    shared = [task.item for task in store.tasks("ada") if task.pilot]
    numbers = {"ada": [10, 90], "ben": [20, 70]}
    for name, values in numbers.items():
        for item, value in zip(shared, values, strict=True):
            annotator.open(name, item)
            annotator.judge(name, item, {"probability": value, "evidence": []})
    page = dashboard.page("olga")
    expected = krippendorff.alpha(np.array(list(numbers.values())) / 100, level_of_measurement="interval")
    assert page["pilot_alpha"] == {"items": 2, "value": pytest.approx(expected), "reason": None}
    assert (page["complete"], page["judgements"]) == (2, 4)
    page = dashboard.reassign("olga", "ben")
    assert {one["annotator"]: (one["assigned"], one["present"]) for one in page["people"]} == {
        "ada": (6, True),
        "ben": (2, False),
    }


def test_alpha_is_undefined_without_difference():
    """One answer only: agreement says nothing."""
    same = [Judgement("i", name, 50, [], None) for name in ("ada", "ben")]
    assert alpha(same)["value"] is None and "same" in alpha(same)["reason"]


def test_users_and_passwords():
    """A password may hold colons; a name that is not there is refused as a wrong password is."""
    check = password_check(read_users(USERS))
    assert check("olga", "password:of-olga") and check("ada", "password-of-ada")
    assert not check("ada", "password:of-olga") and not check("eve", "") and not check("ada", "pässword")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("ada:password-of-ada", "role:name:password"),
        ("annotator:ada:short", "fewer than 12"),
        ("annotator:a/b:password-of-ada", "a name is"),
        ("annotator:ada:password-of-ada\nannotator:ada:password-of-ada", "twice"),
        ("organiser:olga:password-of-olga", "nobody may annotate"),
    ],
)
def test_bad_users_are_refused_without_telling_passwords(line, complaint):
    """The message names the line, never the password."""
    with pytest.raises(ValueError, match=complaint) as caught:
        read_users(line)
    assert "password-of" not in str(caught.value) and "short" not in str(caught.value)


def test_settings_name_what_is_wrong(tmp_path):
    """Every message names its variable; a password never shows where settings are printed."""
    good = {"ANNOTATE_DATASET": "umui", "ANNOTATE_CONFIG": "own", "ANNOTATE_USERS": USERS}
    settings = read_settings(good)
    assert settings.annotators == ["ada"] and "password-of-ada" not in repr(settings)
    (tmp_path / "users.txt").write_text(USERS)
    from_file = good | {"ANNOTATE_USERS": "", "ANNOTATE_USERS_FILE": str(tmp_path / "users.txt")}
    assert read_settings(from_file).users == settings.users
    for name, value in (
        ("ANNOTATE_DATASET", ""),
        ("ANNOTATE_PILOT", "-1"),
        ("ANNOTATE_PER_ITEM", "none"),
        ("ANNOTATE_PATIENCE_HOURS", "nan"),
    ):
        with pytest.raises(ValueError, match=name):
            read_settings(good | {name: value})
