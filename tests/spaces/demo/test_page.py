"""The demo's page in a real browser: each modality, the keyboard, what a screen reader gets, refusals."""

import re

import pytest
from playwright.sync_api import Page

from tests.spaces.demo.conftest import draw_picture


pytestmark = pytest.mark.processes


def judge(page: Page) -> None:
    """Presses the button and waits for what comes."""
    page.get_by_role("button", name="Judge", exact=True).click()


def percentages(page: Page, number: int) -> list[str]:
    """The probabilities on the page, once there are so many."""
    page.locator(".number strong").nth(number - 1).wait_for()
    return page.locator(".number strong").all_inner_texts()


def expected(answers: list[dict]) -> list[str]:
    """The pipeline's probabilities as the page writes them, away from 0 and 1."""
    return [f"{round(answer['probability'] * 100)} %" for answer in answers]


def test_text(demo, visit, clue):
    """The page opens with a text ready to be judged, and the answers are the pipeline's, plotted and in a table."""
    page = visit(demo.url)
    judge(page)
    sentences = ["A random ball is red.", "It is neither red nor blue.", "The ball is either blue or green."]
    answers = clue({"text": "Balls in the urn: red, red, blue, green, red.", "hypotheses": sentences})
    assert percentages(page, 3) == expected(answers)
    assert page.locator(".card h3").all_inner_texts() == sentences
    page.locator(".card details summary").first.click()
    weights = page.locator(".card").first.locator("tbody td:nth-child(2)").all_inner_texts()
    assert weights == [f"{share:.4f}" for share in answers[0]["distribution"]]
    assert "60 %" in page.locator(".card svg").first.get_attribute("aria-label")


def test_sound(demo, visit, clue, clips):
    """A sound that a visitor uploads is judged as the pipeline judges it."""
    page = visit(demo.url, "phone")
    page.get_by_role("radio", name="Sound").check()
    page.locator("input[type=file]").first.set_input_files(clips / "beeps.flac")
    page.get_by_label("Hypotheses, one a line").fill("A random sound is high.\nIt is low.")
    page.get_by_role("button", name="Play", exact=True).wait_for()
    judge(page)
    answers = clue({"audio": str(clips / "beeps.flac"), "hypotheses": ["A random sound is high.", "It is low."]})
    assert percentages(page, 2) == expected(answers)


def test_a_recording(demo, visit):
    """What a visitor records with the microphone is judged."""
    page = visit(demo.url)
    page.get_by_role("radio", name="Sound").check()
    page.get_by_role("button", name="Record audio").click()
    page.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_timeout(1000)
    # What was recorded is played before the page has sent it: until then there is nothing to judge.
    with page.expect_response(lambda response: "/upload" in response.url):
        page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Play", exact=True).wait_for()
    page.get_by_label("Hypotheses, one a line").fill("It is low.")
    judge(page)
    assert len(percentages(page, 1)) == 1


def test_video_with_and_without_its_sound(demo, visit, clue, clips):
    """An uploaded video is judged with and without its sound, side by side."""
    page = visit(demo.url, dark=True)
    page.get_by_role("radio", name="Video").check()
    page.locator("input[type=file]").first.set_input_files(clips / "balls_that_beep.mp4")
    page.locator("video").wait_for()  # what is clicked while it comes may be drawn anew, as it was
    page.get_by_role("radio", name="Both, side by side").check()
    page.get_by_label("Hypotheses, one a line").fill("It is red and high.")
    judge(page)
    premise = {"video": str(clips / "balls_that_beep.mp4"), "hypotheses": ["It is red and high."]}
    heard, seen = clue({**premise, "modality": "audiovisual"}), clue({**premise, "modality": "video"})
    assert percentages(page, 2) == expected(heard) + expected(seen)
    assert page.locator(".condition").all_inner_texts() == ["with sound", "without sound"]


def test_together(demo, visit, clue, clips, tmp_path):
    """A text, a picture, a sound and a video are one premise in this order; one alone is refused."""
    picture = draw_picture(tmp_path / "ball.png")
    page = visit(demo.url, "phone")
    page.get_by_role("radio", name="Together").check()
    page.get_by_text("what they say of them is untested").wait_for()
    judge(page)
    page.locator(".refusal", has_text="at least two of these").wait_for()
    for kind, file, shown in (
        ("image", picture, page.locator(".image-frame img")),
        ("audio", clips / "beeps.flac", page.get_by_role("button", name="Play", exact=True)),
        ("video", clips / "balls_that_beep.mp4", page.locator("video")),
    ):
        page.locator(f"input[type=file][accept*='{kind}/']").set_input_files(file)
        shown.first.wait_for()
    page.get_by_role("radio", name="Both, side by side").check()
    page.get_by_label("Hypotheses, one a line").fill("It is red and high.")
    judge(page)
    video = {"video": clips / "balls_that_beep.mp4"}
    parts = [{"text": "Balls in the urn: red, red, blue, green, red."}, {"image": picture}]
    parts.append({"audio": clips / "beeps.flac"})
    heard, seen = (
        clue({"parts": [*parts, {**video, "modality": kind}], "hypotheses": ["It is red and high."]})
        for kind in ("audiovisual", "video")
    )
    assert percentages(page, 2) == expected(heard) + expected(seen)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the phone has to scroll sideways"


def test_every_example_is_judged(demo, visit):
    """Each example takes the place of the one before by one press, its answers too, and is judged by another."""
    page = visit(demo.url)
    # Without answers the first example's coming could not be told: what is judged before it is wiped by it.
    judge(page)
    percentages(page, 3)
    examples = {"An urn in words": 3, "Beeps": 3, "Coloured balls": 3, "Balls that beep": 6}
    for name, answers in (examples | {"Text and beeps": 3, "Beeps and balls": 3}).items():
        page.get_by_role("button", name=name, exact=True).click()
        page.locator("#answers .empty").wait_for()
        if "eeps" in name:
            page.get_by_role("button", name="Play", exact=True).first.wait_for()
        if "alls" in name:
            page.locator("video").wait_for()
        judge(page)
        assert len(percentages(page, answers)) == answers


def test_keyboard_alone(demo, visit):
    """From the top of the page to an answer with Tab, letters and Enter, and every stop has a name and is seen."""
    page = visit(demo.url)
    page.get_by_role("button", name="Judge", exact=True).wait_for()
    stops = []
    for _ in range(30):
        page.keyboard.press("Tab")
        stop = page.evaluate(
            """() => { const e = document.activeElement; const s = getComputedStyle(e);
            return [e.innerText || e.ariaLabel || (e.labels && e.labels[0] ? e.labels[0].innerText : ''),
                    e.tagName, s.outlineStyle]; }"""
        )
        stops.append(stop)
        if stop[1] == "TEXTAREA" and "Hypotheses" in stop[0]:
            page.keyboard.press("Control+A")
            page.keyboard.type("The ball is blue.")
        if stop[0].strip() == "Judge":
            page.keyboard.press("Enter")
            break
    assert [stop for stop in stops if not stop[0].strip() or stop[2] == "none"] == []
    assert stops[-1][0].strip() == "Judge"
    assert percentages(page, 1) == ["20 %"]


def test_names_and_announcements(demo, visit):
    """Every field and button has a name, the answers are announced, the page has a language and one main heading."""
    page = visit(demo.url, "phone")
    for kind in ("Text", "Sound", "Video", "Together"):
        page.get_by_role("radio", name=kind, exact=True).check()
        nameless = page.evaluate(
            """() => [...document.querySelectorAll('button, textarea, input:not([type=file]), select')]
            .filter(e => e.checkVisibility() && !(e.innerText || e.ariaLabel || e.title
                         || (e.labels && [...e.labels].some(l => l.innerText.trim()))))
            .map(e => e.outerHTML.slice(0, 200))"""
        )
        assert nameless == []
    assert page.locator("#answers").get_attribute("aria-live") == "polite"
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("h1").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the phone has to scroll sideways"


def test_refusals_are_told_on_the_page(demo, visit):
    """What can't be judged is told where the answers stand, and markup is shown to nobody as markup."""
    page = visit(demo.url)
    page.get_by_label("Hypotheses, one a line").fill("<img src=x onerror=alert(1)>")
    judge(page)
    page.locator(".refusal", has_text=re.compile("Hypothesis 1 has markup")).wait_for()
    page.get_by_label("Hypotheses, one a line").fill("It is red & blue.")
    judge(page)
    page.locator(".card h3", has_text="It is red & blue.").wait_for()
    page.get_by_role("radio", name="Video").check()
    judge(page)
    page.locator(".refusal", has_text="Add a video first").wait_for()


def test_what_the_number_means(demo, visit):
    """The page that explains the number is one press away."""
    page = visit(demo.url, "phone", dark=True)
    page.get_by_role("tab", name="What the number means").click()
    page.get_by_role("heading", name="What it doesn't mean").wait_for()
