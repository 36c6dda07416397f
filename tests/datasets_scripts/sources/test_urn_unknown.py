"""What the urn world's models were not made for: every kind once a number, clips that can be read, truths by hand."""

import argparse

import av
import numpy as np
import soundfile

from datasets_scripts.sources import urn_unknown
from modeling_clue.modalities import MODALITIES


def suite(**changed):
    """A suite of two premises of each kind."""
    options = {"modalities": list(MODALITIES), "premises": 2, "hypotheses": 3, "seed": 0} | changed
    return urn_unknown.make_suite(argparse.Namespace(**options))


def test_every_kind_has_its_premises_and_the_seed_decides_them():
    """Names are unique; another seed tells of other urns; only what is known has a probability."""
    asked = suite()
    assert len({one.name for one in asked}) == len(asked) == 2 * 8 * len(MODALITIES)
    assert asked == suite() != suite(seed=1)
    for one in asked:
        known = one.kind in ("familiar", "zero", "strangers")
        assert len(one.hypotheses) == 3 and [p is not None for p in one.probabilities] == [known] * 3


def test_counts_of_zero_are_the_urn_that_they_tell_of():
    """The probability that a ball is red is the share of the numbers in the text."""
    for one in suite(modalities=["text"], premises=20, hypotheses=12):
        words = one.text.replace(",", "").split()
        if one.kind != "zero":
            continue
        counts = {words[place + 1]: int(word) for place, word in enumerate(words) if word.isdigit()}
        assert 0 in counts.values()
        for hypothesis, probability in zip(one.hypotheses, one.probabilities, strict=True):
            if hypothesis == "It is red.":
                assert probability == counts["red"] / sum(counts.values())


def test_clips_are_what_their_kind_says(tmp_path):
    """Silence is silent, every clip has its frames, and an audiovisual one its sound."""
    for one in suite(modalities=["audio", "video", "audiovisual"], premises=1):
        given = one.write(tmp_path)
        if one.modality == "audio":
            wave, rate = soundfile.read(given["audio"])
            assert rate == 16000 and len(wave) == 2560 * len(one.scene.events)
            assert (np.abs(wave).max() == 0) == (one.kind == "silence")
            continue
        with av.open(given["video"]) as container:
            assert len(container.streams.audio) == (one.modality == "audiovisual")
            assert sum(1 for _ in container.decode(video=0)) == 2 * len(one.scene.events)
