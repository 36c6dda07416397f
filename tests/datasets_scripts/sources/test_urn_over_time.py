"""What is true of a premise as far as it has gone: by hand, by reading files and sentences, and where nothing is."""

import argparse
import re

import numpy as np
import pytest

from common.errors import InputError
from datasets_scripts.sources.urn import Scene
from datasets_scripts.sources.urn_language import CORRECTION, Predicate, weighted_predicates
from datasets_scripts.sources.urn_over_time import EVENTS, SETS, Premise, add_arguments, make_premise, make_suite
from modeling_clue.media import load_audio, load_video
from modeling_clue.modalities import MODALITIES

from .test_urn import COLOURS, HERTZ, is_true


RED, BLUE, NOT_RED = (Predicate(*one) for one in (("is", ("red",)), ("is", ("blue",)), ("not", ("red",))))


def options(*given: str) -> argparse.Namespace:
    """The options of a suite."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    parser.set_defaults(seed=0)
    return parser.parse_args(given)


@pytest.fixture(scope="module")
def suite():
    """All sets of all modalities."""
    return make_suite(options("--premises", "24"))


def balls_of(sentence: str) -> list[set[str]] | None:
    """Reads the balls that a sentence says are in the urn; `None` if it is about something else."""
    if not re.search(r"An urn holds|in the urn|The urn( holds)?:", sentence):
        return None
    counted = re.findall(r"(\d+) (red|green|blue|yellow)", sentence)
    if counted:
        return [{colour} for number, colour in counted for _ in range(int(number))]
    return [{colour} for colour in re.findall(r"red|green|blue|yellow", sentence)]


def test_the_truth_of_a_prefix_by_hand():
    """Of a clip by whole events, none in the middle of one; what an encoder adds at the end changes nothing."""
    video = make_premise("v", "video", "steady", Scene(("red", "red", "blue", "red"), None), np.random.default_rng(0))
    assert [video.truth(RED, at) for at in (0.16, 0.32, 0.48, 0.64)] == [1, 1, 2 / 3, 0.75]
    assert [video.truth(NOT_RED, at) for at in (0.32, 0.48)] == [0, pytest.approx(1 / 3)]
    assert video.truth(RED, 0.4) is None and video.truth(RED, 0.1) is None
    assert video.truth(BLUE, 0.70) == 0.25
    both = Scene(("red", "red", "blue"), ("high", "low", "high"))
    clip = make_premise("b", "audiovisual", "steady", both, np.random.default_rng(0))
    red_and_high = Predicate("and", ("red", "high"))
    assert [clip.truth(red_and_high, at) for at in (0.2, 0.4, 0.6)] == [1, 0.5, pytest.approx(1 / 3)]
    assert (clip.fps, video.fps) == (10, 12.5)
    text = "There are 2 red balls in the urn. That is wrong. There are 3 blue balls in the urn."
    ends = tuple(match.end() for match in re.finditer(r"\.", text))
    known = ((("red",),) * 2, None, (("blue",),) * 3)
    taken_back = Premise("t", "text", "corrected", Scene(None, None), text, ends, known, (0,))
    assert [taken_back.truth(RED, at) for at in ends] == [1, None, 0]
    assert taken_back.truth(RED, ends[0] - 1) is None


def test_texts_say_what_is_known(suite):
    """Each prefix is read as English: balls add up, a correction takes them back, the rest is ignored."""
    seen = set()
    for asked in suite:
        premise = asked.premise
        if premise.modality != "text":
            continue
        balls, start = None, 0
        for end in premise.ends:
            sentence = premise.text[start:end].strip()
            start, said = end, balls_of(sentence)
            if sentence == CORRECTION:
                balls = None
            elif said is not None:
                balls = [*(balls or []), *said]
            for predicate, hypothesis in asked.hypotheses:
                found = premise.truth(predicate, end)
                assert (found is None) == (balls is None)
                assert balls is None or found == pytest.approx(np.mean([is_true(hypothesis, one) for one in balls]))
            seen.add((premise.set, balls is None, said is None))
        assert start == len(premise.text)
    assert {name for name, *_ in seen} == set(SETS)
    assert ("corrected", True, True) in seen and ("steady", True, True) in seen and ("steady", False, True) in seen


@pytest.mark.parametrize("modality", MODALITIES[1:])
def test_clips_show_what_is_known(suite, modality, tmp_path):
    """Colours and pitches are read back from the files, event by event, and the share is taken of them."""
    asked = [one for one in suite if one.premise.modality == modality and one.premise.name.endswith("-003")]
    assert len(asked) == 2
    for one in asked:
        premise = one.premise
        given = premise.write(tmp_path)
        source, events = given["audio" if modality == "audio" else "video"], [set() for _ in premise.ends]
        if modality != "video":
            sound = load_audio(source).waveform
            for event, piece in zip(events, sound[: 3200 * len(events)].reshape(-1, 3200), strict=True):
                peak = np.fft.rfftfreq(3200, 1 / 16_000)[np.abs(np.fft.rfft(piece)).argmax()]
                event.add(min(HERTZ, key=lambda name: abs(np.log(peak / HERTZ[name]))))
        if modality != "audio":
            frames = load_video(source, fps=premise.fps, max_frames=100).frames
            assert len(frames) == 2 * len(events)
            for event, frame in zip(events, frames[::2], strict=True):
                middle = frame[48:64, 48:64].mean((0, 1))
                event.add(min(COLOURS, key=lambda name: np.abs(middle - COLOURS[name]).sum()))
        for number, end in enumerate(premise.ends, start=1):
            for predicate, hypothesis in one.hypotheses:
                share = np.mean([is_true(hypothesis, event) for event in events[:number]])
                assert premise.truth(predicate, end) == pytest.approx(share)


def test_what_comes_first_is_overturned(suite):
    """In each sense the first third is alike, and no longer in the lead at the end, most often."""
    for modality in MODALITIES:
        premises = [a.premise for a in suite if (a.premise.modality, a.premise.set) == (modality, "overturned")]
        overtaken = 0
        for premise in premises:
            third = round(EVENTS[modality] / 3)
            assert len(set(premise.scene.events[:third])) == 1
            first = premise.scene.events[0]
            overtaken += sum(event == first for event in premise.scene.events) < len(premise.scene.events) / 2
        assert overtaken >= len(premises) - 2
    texts = [a.premise for a in suite if (a.premise.modality, a.premise.set) == ("text", "overturned")]
    assert all(len(set(text.known[0])) == 1 and len(text.known[0]) == 3 for text in texts)


def test_a_suite_follows_from_its_options(suite):
    """The same again; a larger one begins with a smaller; other seeds, other premises; every form is asked about."""
    assert make_suite(options("--premises", "24")) == suite
    fewer = make_suite(options("--premises", "2", "--modalities", "video"))
    names = {asked.premise.name: asked for asked in suite}
    assert len(fewer) == 4 and all(names[asked.premise.name] == asked for asked in fewer)
    forms = {predicate.form for asked in suite for predicate, _ in asked.hypotheses}
    assert forms == {p.form for _, group in weighted_predicates("audiovisual") for p in group}
    for number in (6, 7):
        premises = [asked.premise for asked in make_suite(options("--premises", "3", "--events", str(number)))]
        assert {premise.known[-1] is not None and len(premise.scene.events) for premise in premises} == {number}
    with pytest.raises(InputError, match="--events 5 are too few to overturn anything: give 6 or more"):
        make_suite(options("--events", "5"))
    with pytest.raises(InputError, match="different hypotheses exist about text premises, 1000"):
        make_suite(options("--hypotheses-per-premise", "1000"))
