"""Belief over time in the demo: what is asked and drawn, and in a browser the cursor that goes with the player."""

import json
from html.parser import HTMLParser

import pytest

from tests.spaces.demo.conftest import run_in_space


pytestmark = pytest.mark.processes

DRAWN = """
import json, sys
from answers import show_answers
print(show_answers(json.load(sys.stdin)))
"""
ASKED = """
import json, sys
import model
read, reads = model.clue.model.read, []
model.clue.model.read = lambda **inputs: reads.append(1) or read(**inputs)
given = json.load(sys.stdin)
answers = [model.judge_over_time(premise, hypotheses) for premise, hypotheses in given]
plain = [model.judge(premise, hypotheses) for premise, hypotheses in given]
print(json.dumps([answers, plain, len(reads)]))
"""


class Elements(HTMLParser):
    """The elements of HTML: name and attributes of each, and all text."""

    def __init__(self, html: str):
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        """Notes an element."""
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        """Notes text."""
        self.text += data

    def of_class(self, name: str) -> list[dict]:
        """The attributes of all elements of a class."""
        return [attributes for _, attributes in self.found if attributes.get("class") == name]


def answer(modality: str, **over_time: list | None) -> dict:
    """An answer as the page gets it, sure that half is right."""
    course = {"over_time": {"sentences": None} | over_time} if over_time else {}
    said = {"hypothesis": "It's <b>red</b>.", "probability": 0.5, "interval": [0.4, 0.6], "distribution": [0.5, 0.5]}
    return {**said, "modality": modality, "notes": [], **course}


def draw(columns: dict[str, list[dict]]) -> Elements:
    """What the page shows of answers."""
    done = run_in_space(DRAWN, {}, json.dumps(columns))
    assert done.returncode == 0, done.stderr
    return Elements(done.stdout)


def test_a_curve_for_each_answer_that_has_a_course():
    """One for each hypothesis and column, with a point and a part of the band for each time; none for an end alone."""
    intervals = [[0, 0], [0.2, 0.3], [0.4, 0.6]]
    clip = answer("video", times=[0.5, 1.0, 2.0], probability=[0, 0.25, 0.5], interval=intervals)
    drawn = draw({"with sound": [answer("audiovisual")] * 2, "without sound": [clip] * 2})
    assert len(drawn.of_class("curve")) == 2
    assert drawn.of_class("points")[0]["d"] == "M100.0 100.00h0M200.0 75.00h0M400.0 50.00h0"
    assert drawn.of_class("line")[0]["d"] == "M100.0 100.00L200.0 75.00L400.0 50.00"
    assert drawn.of_class("band")[-1]["d"] == (
        "M100.0 100.00L200.0 80.00L400.0 60.00L400.0 40.00L200.0 70.00L100.0 100.00z"
    )
    cursors = [attributes for tag, attributes in drawn.found if tag == "input"]
    assert {(cursor["min"], cursor["max"], cursor["value"], cursor["data-player"]) for cursor in cursors} == {
        ("0", "2.0", "2.0", "video")
    }
    readings = [line.replace("\u00a0", " ") for line in json.loads(cursors[0]["data-readings"])]
    assert readings == [
        "Before 0.5 s nothing was judged.",
        "After 0.5 s: 0 %, 0 % to 0 %",
        "After 1 s: 25 %, 20 % to 30 %",
        "After 2 s: 50 %, 40 % to 60 %",
    ]


def test_sentences_of_a_text_are_escaped():
    """What a visitor wrote ends no attribute and opens no element, also in what the cursor tells."""
    sentences = ["'><img src=x onerror='alert(1)'>.", 'He said "<b>no</b>".']
    course = {"times": [1, 2], "sentences": sentences, "probability": [0.2, 0.5], "interval": [[0, 1], [0, 1]]}
    drawn = draw({"": [answer("text", **course)]})
    assert {tag for tag, _ in drawn.found}.isdisjoint({"img", "b"})
    (cursor,) = (attributes for tag, attributes in drawn.found if tag == "input")
    assert "onerror" not in cursor
    assert sentences[0] in json.loads(cursor["data-readings"])[1]
    assert sentences[1] in cursor["aria-valuetext"] and sentences[1] in drawn.text


def test_what_is_taken_back_is_said():
    """Beside each answer that novelty took something of, and beside no other."""
    known, novel = ({"": [answer("video") | {"novelty": share}]} for share in (0.0, 0.004))
    assert not draw({"": [answer("video")]}).of_class("withdrawn") and not draw(known).of_class("withdrawn")
    drawn = draw(novel)
    assert len(drawn.of_class("withdrawn")) == 1 and "under 1\u00a0% of its answer is taken back" in drawn.text


def test_one_reading_gives_the_pipelines_timeline_and_the_answer(clue, clips):
    """Points and answers are the pipeline's; their number is bounded, and what has no course has no curve."""
    hypotheses = ["A random ball is red.", "It is blue."]
    balls, text = {"video": str(clips / "balls.mp4")}, {"text": "Red, red. Blue? And green again.  "}
    many = {"text": "A ball is red. " * 60}
    sixteen = [f"It is number {number}." for number in range(16)]
    fifteen = sixteen[:15]
    parts = {"parts": [text, balls]}
    endless = {"text": "Red. " * 200}
    given = [(balls, hypotheses), (text, hypotheses), (many, hypotheses[:1]), (many, fifteen)]
    given += [(parts, hypotheses), (endless, hypotheses), (many, sixteen)]
    done = run_in_space(ASKED, {}, json.dumps(given))
    assert done.returncode == 0, done.stderr
    answers, plain, reads = json.loads(done.stdout)
    assert reads == 4, "each premise with a curve is read once for it and the answer"
    for one, other in zip(sum(answers, []), sum(plain, []), strict=True):
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-5)
        assert one["distribution"] == pytest.approx(other["distribution"], abs=1e-5)
    courses = [[one.get("over_time") for one in about] for about in answers]
    for course, wanted in zip(courses[0], clue.timeline(balls, hypotheses), strict=True):
        assert course["times"] == pytest.approx(wanted["times"])
        assert course["probability"] == pytest.approx(wanted["probability"], abs=1e-5)
    assert courses[1][0]["times"] == [1, 2, 3]
    assert courses[1][0]["sentences"] == ["Red, red.", "Blue?", "And green again."]
    assert courses[2][0]["times"] == list(range(3, 61, 3)), "no more than twenty points"
    assert courses[3][0]["times"] == [30, 60], "no more than two points for each of fifteen hypotheses"
    assert courses[4] == courses[5] == [None] * 2 and courses[6] == [None] * 16


def test_the_cursor_goes_with_the_player(demo, visit, clue, clips):
    """It follows the video and tells the numbers, sends the video where a visitor puts it, and leaves other clips."""
    page = visit(demo.url, "phone")
    page.get_by_role("button", name="Coloured balls", exact=True).click()
    page.locator("video").wait_for()
    page.get_by_role("button", name="Judge", exact=True).click()
    page.locator(".curve").nth(2).wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the phone has to scroll sideways"
    video, cursor, reading = page.locator("video"), page.locator(".curve input").first, page.locator(".moment").first
    (red,) = clue.timeline({"video": str(clips / "balls.mp4")}, ["The ball is red."])

    def tell(place: int) -> str:
        low, high = (round(100 * share) for share in red["interval"][place])
        return f"After {red['times'][place]:g} s: {round(100 * red['probability'][place])} %, {low} % to {high} %"

    assert reading.inner_text().replace("\u00a0", " ") == tell(-1)
    video.evaluate("video => { video.currentTime = 0.7 }")
    page.wait_for_function("document.querySelector('.curve input').value == 0.7")
    assert reading.inner_text().replace("\u00a0", " ") == tell(3)
    video.evaluate("video => { video.muted = true; video.currentTime = 0; video.play() }")
    page.wait_for_function("document.querySelector('video').ended")
    page.wait_for_function("document.querySelector('.curve input').value == 1.28")

    cursor.focus()
    page.keyboard.press("Home")
    page.wait_for_function("document.querySelector('video').currentTime == 0")
    assert reading.inner_text() == "Before 0.16 s nothing was judged."

    page.locator("#video").get_by_role("button", name="Clear").click()
    page.locator("input[type=file]").first.set_input_files(clips / "balls_that_beep.mp4")
    page.wait_for_function("document.querySelector('video')?.currentSrc.includes('balls_that_beep')")
    page.locator("video").evaluate("video => { video.currentTime = 1 }")
    page.wait_for_timeout(300)
    assert cursor.input_value() == "0"
