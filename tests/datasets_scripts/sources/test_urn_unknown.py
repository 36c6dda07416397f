"""Premises outside of the urn world: of each kind what it says, beside ones that are the training data's."""

import argparse
import re

import numpy as np
import pytest

from datasets_scripts.sources import urn_unknown
from datasets_scripts.sources.urn import write_clip
from datasets_scripts.sources.urn_language import COLOURS
from datasets_scripts.sources.urn_unknown import APART, FAMILIAR, KINDS, ask, kinds_of, make_suite
from modeling_clue.media import load_audio, load_video
from modeling_clue.modalities import MODALITIES


def options(**given) -> argparse.Namespace:
    """The options of a suite."""
    return argparse.Namespace(**({"modalities": list(MODALITIES), "premises": 6, "hypotheses": 4, "seed": 0} | given))


def test_a_suite_is_the_same_every_time_and_grows_at_its_end():
    """Names are unique; more premises and other modalities beside it change none of them, another seed does."""
    suite = make_suite(options())
    assert suite == make_suite(options())
    assert len({asked.name for asked in suite}) == len(suite) == 6 * (9 + 3 * 8)
    larger = {asked.name: asked for asked in make_suite(options(premises=8))}
    assert all(larger[asked.name] == asked for asked in suite)
    alone = make_suite(options(modalities=["video"]))
    assert alone == [asked for asked in suite if asked.modality == "video"]
    assert make_suite(options(seed=1)) != suite
    assert {kind for modality in MODALITIES for kind in kinds_of(modality)} == set(KINDS)


@pytest.mark.parametrize("number", range(12))
def test_texts_are_what_their_kind_says(number):
    """By reading them: zero counts say 0 and have the truth of the counts, contradictions name two urns in known
    words, a shuffled text has the words of one that is familiar, and strangers no known colour."""
    of = {kind: ask("text", kind, number, 4, 0) for kind in kinds_of("text")}
    counts = {colour: int(count) for count, colour in re.findall(r"(\d+) (\w+)", of["zero"].text)}
    assert set(counts) == set(COLOURS) and 0 in counts.values() and any(counts.values())
    for sentence, truth in zip(of["zero"].hypotheses, of["zero"].probabilities, strict=True):
        named = [colour for colour in COLOURS if colour in sentence]
        share = sum(counts[colour] for colour in named) / sum(counts.values())
        denied = " not " in sentence or "neither" in sentence
        assert truth == pytest.approx(1 - share if denied else share)
    first, second = re.findall(r"(\d+) (\w+) balls", of["contradictory"].text)
    assert first[1] != second[1] and {first[1], second[1]} <= set(COLOURS)
    assert all(probability is None for probability in of["contradictory"].probabilities)
    words = of["shuffled"].text.split()
    assert set(re.sub(r"[.,:]", "", word) for word in words) <= KNOWN_WORDS | set(map(str, range(11)))
    assert not any(colour in of["strangers"].text for colour in COLOURS)
    for sentence, truth in zip(of["strangers"].hypotheses, of["strangers"].probabilities, strict=True):
        assert truth == (" not " in sentence or "neither" in sentence)
    assert all(not any(colour in sentence for colour in COLOURS) for sentence in of["hypothesis"].hypotheses)
    assert None not in of[FAMILIAR].probabilities


KNOWN_WORDS = {
    *COLOURS,
    *("An The There A and are is in the of urn holds Balls balls table lid room second out reach".split()),
}


@pytest.mark.parametrize("modality", ["audio", "video", "audiovisual"])
def test_clips_are_what_their_kind_says(modality, tmp_path):
    """Read back: silence has no sound and frames of one colour, noise no two frames alike, a familiar one is what the
    urn world would write; what asks alone differs keeps the clip; and each is written once."""
    of = {kind: ask(modality, kind, 1, 4, 0) for kind in kinds_of(modality)}
    written = {kind: asked.write(tmp_path) for kind, asked in of.items()}
    column = "audio" if modality == "audio" else "video"
    assert all(premise["modality"] == modality for premise in written.values())
    paths = {kind: premise[column] for kind, premise in written.items()}
    expected = tmp_path / f"expected{paths[FAMILIAR][paths[FAMILIAR].rindex('.') :]}"
    write_clip(expected, of[FAMILIAR].scene, np.random.default_rng(list(of[FAMILIAR].seed)))
    assert expected.read_bytes() == open(paths[FAMILIAR], "rb").read()
    before = {path: open(path, "rb").read() for path in paths.values()}
    for asked in of.values():
        asked.write(tmp_path)
    assert {path: open(path, "rb").read() for path in paths.values()} == before
    assert len(set(before.values())) == len(before), "no two kinds have the same clip"
    if modality != "video":
        sounds = {kind: load_audio(path).waveform for kind, path in paths.items()}
        assert np.abs(sounds["silence"]).max() < 1e-3
        assert all(np.abs(sound).max() > 0.02 for kind, sound in sounds.items() if kind != "silence")
    if modality != "audio":
        frames = {kind: load_video(path, fps=12.5, max_frames=64).frames.astype(float) for kind, path in paths.items()}
        deviation = {kind: of_kind.std(axis=(1, 2)).mean() for kind, of_kind in frames.items()}
        assert deviation["silence"] < 3 < deviation[FAMILIAR] < deviation["noise"]
        assert np.abs(np.diff(frames["silence"], axis=0)).max() < 5 < np.abs(np.diff(frames["noise"], axis=0)).mean()


def test_seeds_are_apart_from_the_training_data():
    """No premise has the generator of another suite's or of the training data's."""
    seeds = [asked.seed for asked in make_suite(options(premises=3))]
    assert len(set(seeds)) == len(seeds) and all(seed[2:5] == APART for seed in seeds)
    assert urn_unknown.suite_options(options())["version"] == urn_unknown.VERSION
