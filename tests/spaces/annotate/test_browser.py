"""Two people annotate at once in a real browser, the server is killed in between, and the export is what they said."""

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Dialog, Page, expect
from training import load_examples

from datasets_scripts.build import main as build
from datasets_scripts.judgements.read import read_judgements


pytestmark = pytest.mark.processes

PASSWORDS = {"ada": "password-of-ada", "ben": "password-of-ben", "olga": "password-of-olga"}
ROLES = {"ada": "annotator", "ben": "annotator", "olga": "organiser"}
KEYS = {"video": "v", "audio": "a", "text": "t"}
LABELS = {"video": "Seen", "audio": "Heard", "text": "Writing|The text"}


@pytest.fixture(scope="module")
def settings(umui) -> dict[str, str]:
    """Two items for everybody, one judge for each of the other four."""
    users = "\n".join(f"{ROLES[name]}:{name}:{password}" for name, password in PASSWORDS.items())
    told = {"DATASET": umui, "CONFIG": "own", "PILOT": 2, "USERS": users}
    return {f"ANNOTATE_{name}": str(value) for name, value in told.items()}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The home of the Space, which outlives its processes."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def space(start_space, settings, home):
    """The running Space."""
    return start_space("annotate", home, ANNOTATE_DATA=str(home / "data"), **settings)


def log_in(page: Page, name: str) -> None:
    """Logs in with the keyboard alone."""
    for label, text in (("username", name), ("password", PASSWORDS[name])):
        field = page.get_by_label(label)
        expect(field).to_be_visible()
        for _ in range(10):
            if field.evaluate("field => field === document.activeElement"):
                break
            page.keyboard.press("Tab")
        page.keyboard.type(text)
    page.keyboard.press("Enter")


def with_keys(page: Page, probability: int, evidence: list[str]) -> None:
    """Sets an answer from the keyboard, from wherever the focus is."""
    page.keyboard.type(str(probability))
    for key in [KEYS[sense] for sense in evidence] or ["n"]:
        page.keyboard.press(key)


def with_taps(page: Page, probability: int, evidence: list[str]) -> None:
    """Sets an answer by touch: the line is tapped, then moved with its thumb to the very number."""
    line = page.get_by_role("slider")
    width = line.bounding_box()["width"]
    # The middle of the thumb runs from half a thumb to the width less half a thumb.
    line.tap(position={"x": 14 + (width - 28) * probability / 100, "y": 22})
    for sense in evidence:
        page.locator("label", has_text=re.compile(f"^({LABELS[sense]})")).tap()
    if not evidence:
        page.locator("label", has_text="Nothing").tap()


def read_and_train(page: Page, answer) -> None:
    """Instructions and training, each item with its explanation."""
    # With the keyboard alone, or by touch alone.
    by_keys = answer is with_keys
    begin = page.get_by_role("button", name="Begin")
    expect(begin).to_be_visible()
    page.keyboard.press("Enter") if by_keys else begin.tap()
    examples = load_examples()
    for number, example in enumerate(examples, start=1):
        expect(page.get_by_text(f"Training {number} of {len(examples)}")).to_be_visible()
        expect(page.locator(".claim")).to_have_text(example.claim)
        answer(page, 97, example.evidence if example.modality != "text" else ["text"])
        page.keyboard.press("Enter") if by_keys else page.get_by_role("button", name="Check").tap()
        said = "Yes." if example.low <= 97 <= example.high else "We would say"
        expect(page.locator(".feedback")).to_contain_text(said)
        expect(page.locator(".feedback")).to_contain_text(example.why[:40])
        page.keyboard.press("Enter") if by_keys else page.locator(".feedback button").tap()
    expect(page.get_by_text("about this video")).to_be_visible()


def count(page: Page) -> tuple[int, int]:
    """How many are judged, of how many."""
    judged, _, total = page.locator("header .count").inner_text().partition(" of ")
    return int(judged), int(total)


def save(page: Page, press) -> str:
    """Saves, and waits until the page says that it is kept. Returns the claim."""
    claim, (judged, total) = page.locator(".claim").inner_text(), count(page)
    press()
    expect(page.locator("header .count")).to_have_text(f"{judged + 1} of {total}")
    return claim


def test_two_people_at_once_and_a_kill(space, start_space, settings, home, visit, tmp_path):
    """What the export says is what was clicked and typed; a kill between loses nothing, saved or not."""
    ada, ben = visit(space.url), visit(space.url, "phone", dark=True)
    said = {}
    for page, name, answer in ((ada, "ada", with_keys), (ben, "ben", with_taps)):
        log_in(page, name)
        read_and_train(page, answer)

    # A screen reader finds the claim as the page's heading.
    expect(ada.get_by_role("heading", level=1)).to_have_count(1)
    # Nothing is sent before the slider is set, nor before it is said what informed the judgement.
    ada.keyboard.press("Enter")
    expect(ada.locator("p.status")).to_contain_text("Set the slider first")
    expect(ada.get_by_role("slider")).to_have_attribute("aria-valuetext", "not set")
    ada.keyboard.type("37")
    ada.keyboard.press("Enter")
    expect(ada.locator("p.status")).to_contain_text("Say what informed")
    ada.keyboard.press("v")
    ada.keyboard.press("t")
    expect(ada.get_by_text("A ferry runs every hour.")).to_be_hidden()
    ada.keyboard.press("b")
    expect(ada.get_by_text("A ferry runs every hour.")).to_be_visible()
    claim = save(ada, lambda: ada.keyboard.press("Enter"))
    said["ada", claim] = (37, ("text", "video"), None)

    # The middle of the line is an answer as any other.
    expect(ben.locator(".claim")).to_have_text(claim)
    expect(ben.get_by_role("slider")).to_have_attribute("aria-valuetext", "not set")
    with_taps(ben, 50, [])
    ben.get_by_text("Add a note").tap()
    ben.get_by_label("Note", exact=True).fill("of ben alone\n=1+1")
    said["ben", save(ben, lambda: ben.get_by_role("button", name="Save").tap())] = (50, (), "of ben alone\n=1+1")

    # Back, and changed: what is not saved outlives wherever one goes, and is asked about before the tab closes.
    ada.keyboard.press("p")
    number, unsaved = ada.get_by_label("Probability in per cent"), ada.get_by_role("button", name="1 not saved")
    expect(number).to_have_value("37")
    asked, replies = [], iter((Dialog.accept, Dialog.dismiss, Dialog.accept))
    ada.on("dialog", lambda dialog: (asked.append(dialog.type), next(replies)(dialog)))
    ways = {
        "Next": lambda: ada.get_by_role("button", name="Next").click(),
        "another claim": lambda: ada.get_by_role("button", name="Claim 2, ").click(),
        "the instructions": lambda: ada.get_by_role("button", name="Instructions").click(),
        "a reload": ada.reload,
    }
    for value, (way, go) in enumerate(ways.items(), start=85):
        ada.keyboard.type(str(value))
        expect(ada.locator("p.status")).to_contain_text("changed this answer and not saved")
        expect(unsaved).to_have_count(0)
        go()
        unsaved.click()
        expect(ada.locator(".claim")).to_have_text(claim)
        expect(number, way).to_have_value(str(value))
        expect(ada.locator("p.status")).to_contain_text("changed this answer and not saved")
    assert asked == ["beforeunload"]
    # The same as before is no change.
    ada.keyboard.type("37")
    expect(ada.locator("p.status")).to_have_text("")
    ada.reload()
    expect(ada.locator(".claim")).not_to_have_text(claim)
    assert asked == ["beforeunload"]
    ada.keyboard.press("p")
    expect(number).to_have_value("37")
    # Changed, asked, stayed, and on to the first that is open.
    ada.get_by_role("slider").focus()
    ada.keyboard.press("ArrowRight")
    with ada.expect_event("dialog"):
        ada.evaluate("setTimeout(() => location.reload())")
    ada.keyboard.press("Enter")
    expect(ada.locator(".claim")).not_to_have_text(claim)
    said["ada", claim] = (38, ("text", "video"), None)

    # Killed while Ada has set an answer that is not saved.
    with_keys(ada, 64, ["audio"])
    unsaved = ada.locator(".claim").inner_text()
    space.kill()
    again = start_space(
        "annotate",
        home,
        ANNOTATE_DATA=str(home / "data"),
        GRADIO_SERVER_PORT=str(urlsplit(space.url).port),
        **settings,
    )
    assert again.url == space.url
    for page, name in ((ada, "ada"), (ben, "ben")):
        page.goto(again.url)
        log_in(page, name)
        expect(page.locator("header .count")).to_contain_text("1 of")
    # What a browser notes of a server that is gone is no fault of the page.
    gone = ("net::ERR_", "401 (Unauthorized)")
    visit.complaints[:] = [text for text in visit.complaints if not any(word in text for word in gone)]
    expect(ada.locator(".claim")).to_have_text(unsaved)
    expect(ada.get_by_label("Probability in per cent")).to_have_value("64")
    said["ada", save(ada, lambda: ada.keyboard.press("Enter"))] = (64, ("audio",), None)

    numbers = iter((0, 100, 7, 93, 22, 81))
    for page, name, answer in ((ada, "ada", with_keys), (ben, "ben", with_taps)):
        judged, total = count(page)
        for _ in range(total - judged):
            number, evidence = next(numbers), ["video"]
            answer(page, number, evidence)
            press = page.get_by_role("button", name="Save")
            said[name, save(page, press.tap if name == "ben" else lambda: ada.keyboard.press("Enter"))] = (
                number,
                ("video",),
                None,
            )
        expect(page.get_by_text("That was everything.")).to_be_visible()
        assert "of ben alone" not in ada.content()

    olga = visit(again.url)
    log_in(olga, "olga")
    expect(olga.get_by_text("6 of 6")).to_be_visible()
    files = {}
    olga.on("download", lambda download: files.update({download.suggested_filename: download}))
    olga.get_by_role("button", name="Export").click()
    expect(olga.locator(".annotate:not([aria-busy])")).to_be_visible()
    while len(files) < 2:
        olga.wait_for_event("download") if not files else olga.wait_for_timeout(50)
    for name, download in files.items():
        download.save_as(tmp_path / name)
    reading = read_judgements([tmp_path / "judgements.jsonl"])
    found = {
        (one.annotator, one.facts["claim"]): (round(100 * one.probability), one.evidence, one.note)
        for one in reading.judgements
    }
    assert found == said and len(found) == 8
    assert len((tmp_path / "pilot.txt").read_text().split()) == 2


def test_nobody_gets_at_another_s_answers(start_space, settings, home, umui, visit):
    """Without a login nothing is told; an annotator reaches neither the database, nor the export, nor other files."""
    space = start_space("annotate", home, ANNOTATE_DATA=str(home / "data"), **settings)
    stranger = visit(space.url)
    expect(stranger).to_have_title("Annotate")
    forged = {"Cookie": "access-token-unsecure-x=ada; access-token-x=ada"}
    for path in ("config", "gradio_api/info", f"gradio_api/file={home}/data/annotations.sqlite"):
        for headers in ({}, forged):
            assert stranger.request.get(f"{space.url}/{path}", headers=headers).status == 401
    wrong = {"username": "ada", "password": "' OR '1'='1"}
    assert stranger.request.post(f"{space.url}/login", form=wrong).status == 400

    ben = visit(space.url)
    log_in(ben, "ben")
    expect(ben.locator("header .user")).to_have_text("ben")
    files = (home / "data" / "annotations.sqlite", home / "data" / "annotations.sqlite-wal", umui / "README.md")
    for file in (*files, "/etc/passwd", umui / "own" / "test" / "media" / ".." / "metadata.parquet"):
        assert ben.request.get(f"{space.url}/gradio_api/file={file}").status in (403, 404)
    config = ben.request.get(f"{space.url}/config").json()
    for number, dependency in enumerate(config["dependencies"]):
        if dependency["targets"][0][1] not in ("overview", "reassign", "export"):
            continue
        event = {"data": [], "event_data": {"annotator": "ada"}, "fn_index": number, "session_hash": f"hash{number}"}
        assert ben.request.post(f"{space.url}/gradio_api/queue/join", data=event).ok
        heard = ben.request.get(f"{space.url}/gradio_api/queue/data?session_hash=hash{number}").text()
        ended = [json.loads(line[6:]) for line in heard.splitlines() if "process_completed" in line]
        assert [message["success"] for message in ended] == [False] and "password" not in heard
    assert sum(d["targets"][0][1] in ("overview", "reassign", "export") for d in config["dependencies"]) == 3
    visit.complaints[:] = [text for text in visit.complaints if "401" not in text]


def skip_training(home: Path) -> None:
    """Takes everybody past the instructions and the training."""
    with closing(sqlite3.connect(home / "data" / "annotations.sqlite")) as connection, connection:
        connection.execute("UPDATE annotators SET instructed = 1, trained = ?", (len(load_examples()),))


@pytest.fixture
def cards(tmp_path, write_clip) -> Path:
    """A dataset folder with three clips: one plays, of the others Chromium has the pictures or the sound alone."""
    (tmp_path / "clips").mkdir()
    kinds = {"good.webm": ("libvpx", "libopus"), "hevc.mp4": ("libx265", "aac"), "ac3.mp4": ("libx264", "ac3")}
    for name, codecs in kinds.items():
        write_clip(tmp_path / "clips" / name, *codecs)
    (tmp_path / "pairs.csv").write_text("file,claim,p\n" + "".join(f"{name},It is {name}.,0.5\n" for name in kinds))
    options = "--dataset-config cards --media-column file --hypothesis-column claim --probability-column p --workers 1"
    options += " --modality audiovisual --split test"
    paths = {"--table": "pairs.csv", "--media-root": "clips", "--output-dir": "umui"}
    build(["own", *options.split(), *(word for flag, name in paths.items() for word in (flag, str(tmp_path / name)))])
    return tmp_path / "umui"


def test_clips_that_do_not_play(start_space, cards, settings, tmp_path, write_clip, visit):
    """The organiser is told at the start and while it happens; no judgement is taken until the clip does play."""
    told = {"DATASET": cards, "CONFIG": "cards", "PILOT": 3, "DATA": tmp_path / "data"}
    told = {f"ANNOTATE_{name}": str(value) for name, value in told.items()}
    space = start_space("annotate", tmp_path, **settings | told)
    log = space.log.read_text()
    assert "hevc.mp4: its picture is hevc" in log and "ac3.mp4: its sound is ac3" in log and "ffmpeg" in log
    skip_training(tmp_path)
    ada, warned = visit(space.url), set()
    log_in(ada, "ada")
    judged = 0
    for _ in range(3):
        expect(ada.locator("header .count")).to_have_text(f"{judged} of 3")
        claim = ada.locator(".claim").inner_text()
        if claim == "It is good.webm.":
            clip = ada.locator("video").evaluate("clip => clip.currentSrc")
            assert ada.request.get(clip).headers["content-type"] == "video/webm"
            with_keys(ada, 20, [])
            save(ada, lambda: ada.keyboard.press("Enter"))
            judged += 1
        else:
            said = "shows no picture" if claim == "It is hevc.mp4." else "has no sound"
            expect(ada.locator(".premise .warning")).to_contain_text(said)
            expect(ada.get_by_role("button", name="Next")).to_be_visible()
            with_keys(ada, 30, [])
            ada.keyboard.press("Enter")
            expect(ada.locator("p.status")).to_contain_text("No judgement is taken")
            warned.add(said)
            ada.get_by_role("button", name="Next").click()
        expect(ada.locator("body")).not_to_contain_text(claim)
    expect(ada.get_by_text("That was all that could be played.")).to_be_visible()
    expect(ada.locator("header .count")).to_have_text("1 of 3")
    assert len(warned) == 2 and judged == 1
    olga = visit(space.url)
    log_in(olga, "olga")
    for said in ("hevc shows no picture for ada", "ac3 has no sound for ada", "hevc.mp4: its picture is hevc"):
        expect(olga.locator(".dashboard")).to_contain_text(said)

    # Encoded anew they play, and what had been set is there still.
    for name in ("hevc.mp4", "ac3.mp4"):
        write_clip(cards / "cards" / "test" / "media" / name, "libx264", "aac")
    ada.get_by_role("button", name="Try the clips again").click()
    for judged in (2, 3):
        expect(ada.get_by_label("Probability in per cent")).to_have_value("30")
        ada.keyboard.press("Enter")
        if judged == 2:
            expect(ada.locator("header .count")).to_have_text("2 of 3")
            ada.get_by_role("button", name="Try the clips again").click()
    expect(ada.get_by_text("That was everything.")).to_be_visible()
    expect(ada.locator("header .count")).to_have_text("3 of 3")


def test_a_combination(start_space, parts_umui, settings, tmp_path, visit):
    """Its parts stand in their order, a text as text; no judgement is taken where one of them can't be shown."""
    told = {"DATASET": parts_umui, "CONFIG": "parts", "PILOT": 3, "DATA": tmp_path / "data"}
    space = start_space("annotate", tmp_path, **settings | {f"ANNOTATE_{key}": str(told[key]) for key in told})
    ada = visit(space.url, "phone")
    log_in(ada, "ada")
    expect(ada.get_by_text("You get a text with picture and video and claims about it")).to_be_visible()
    skip_training(tmp_path)
    ada.reload()
    for judged in range(3):
        expect(ada.locator("header .count")).to_have_text(f"{judged} of 3")
        expect(ada.locator(".premise > *:visible")).to_have_count(3)  # a picture is seen once it has come
        tags = ada.locator(".premise > *:visible").evaluate_all("all => all.map((one) => one.tagName)")
        assert tags == ["BLOCKQUOTE", "IMG", "VIDEO"]
        late = ada.locator(".claim").inner_text() == "The sun sets."
        story = "<b>It is late.</b>" if late else "A ferry runs every hour."
        expect(ada.locator("blockquote")).to_have_text(story)
        expect(ada.get_by_text("about this text with picture and video")).to_be_visible()
        assert (
            ada.locator("img").evaluate("async (image) => { await image.decode(); return image.naturalWidth }") == 160
        )
        assert not ada.locator("video").evaluate("clip => clip.muted")
        assert ada.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the phone has to scroll sideways"
        with_taps(ada, 40, ["audio"])
        ada.locator("label", has_text=re.compile("^Read")).tap()
        save(ada, lambda: ada.get_by_role("button", name="Save").tap())
    with closing(sqlite3.connect(tmp_path / "data" / "annotations.sqlite")) as connection:
        said = connection.execute("SELECT probability, evidence FROM latest").fetchall()
    assert [(number, json.loads(evidence)) for number, evidence in said] == [(40, ["audio", "text"])] * 3

    (picture,) = parts_umui.rglob("media/*.png")
    address = f"{space.url}/gradio_api/file={picture}"
    assert ada.request.get(address).headers["content-type"] == "image/png"
    assert ada.request.get(f"{space.url}/gradio_api/file={picture.parents[1]}/metadata.parquet").status == 403
    assert visit(space.url).request.get(address).status == 401
    picture.write_bytes(b"damaged")
    ben = visit(space.url)
    log_in(ben, "ben")
    expect(ben.locator(".premise .warning")).to_contain_text("The picture can't be shown here")
    expect(ben.get_by_role("button", name="Next")).to_be_visible()
    with_keys(ben, 30, ["text"])
    ben.keyboard.press("Enter")
    expect(ben.locator("p.status")).to_contain_text("No judgement is taken")
    olga = visit(space.url)
    log_in(olga, "olga")
    expect(olga.locator(".dashboard")).to_contain_text("map.mkv, harbour can't be shown for ben")
    visit.complaints[:] = [text for text in visit.complaints if "401" not in text]
