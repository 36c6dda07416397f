"""Belief over time: from one reading of a premise, what would have been said of it cut there."""

import numpy as np
import pytest
import torch
from transformers import pipeline

from modeling_clue.auto import BACKBONES
from modeling_clue.encoded_premise import EncodedPremise
from modeling_clue.timeline import choose_cuts, find_cuts, judge_cuts
from tests.modeling_clue.conftest import RATE, write_clip


HYPOTHESES = ["The ball is red.", "It is neither red nor blue, as far as one can see.", "It rings."]
AT_NO_TIME = ("hypothesis", "modality", "notes")
TEXT = 'An urn holds 3 red balls. It was filled by Mr. Black at 3.5 to eight! "Is it full?" Nobody knows.'


@pytest.fixture(scope="module")
def long_premises(tmp_path_factory):
    """A sound of 25 s and videos of 9 s, with and without sound, of 20 s of one that goes on without it."""
    folder = tmp_path_factory.mktemp("long")
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 25 * RATE).astype(np.float32)
    talkie = write_clip(folder / "talkie.mp4", 17.0, sound=True, fps=4)
    return {
        "text": TEXT,
        "audio": {"audio": {"array": noise, "sampling_rate": RATE}},
        "video": {"video": write_clip(folder / "silent.mp4", 9.0, sound=False, fps=4)},
        "audiovisual": {"video": talkie, "modality": "audiovisual"},
        "short sound": {"video": talkie, "audio": {"array": noise[: 9 * RATE], "sampling_rate": RATE}},
    }


def cut_inputs(whole: EncodedPremise, cut: EncodedPremise, processor) -> EncodedPremise:
    """The cut premise with what the towers get of it, taken from the whole."""
    if cut.num_mel_frames is not None:
        cut.input_features = whole.input_features[:, : cut.num_mel_frames]
    if cut.video_grid_thw is not None:
        cut.pixel_values_videos = whole.pixel_values_videos[: int(cut.video_grid_thw.prod())]
    return cut


@torch.no_grad()
@pytest.mark.parametrize("tiny_checkpoint", BACKBONES, indirect=True)
@pytest.mark.parametrize("kind", ["text", "audio", "video", "audiovisual", "short sound"])
def test_every_time_is_the_premise_cut_there(attending, processor, long_premises, kind):
    """At each time the answers are those of a forward pass over the premise that ends there, to 1e-5."""
    whole = processor.encode_premise(long_premises[kind], fps=1.0)
    cuts = find_cuts(processor, whole, attending.sound_block)
    state = attending.read(**processor.collate_premises([whole]))
    logits = judge_cuts(attending, processor, state, cuts, HYPOTHESES)
    assert logits.shape == (len(cuts), len(HYPOTHESES), 100) and len(cuts) > 1
    for cut, found in zip(cuts, logits, strict=True):
        alone = cut_inputs(whole, cut.premise, processor)
        wanted = attending(**processor.collate([alone], [HYPOTHESES])).logits
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    moved = (logits[1:] - logits[:-1]).abs().amax(dim=(1, 2))
    assert (moved > 1e-4).all(), "what came since makes a difference"


def test_times_are_those_of_the_architecture(model, processor, long_premises):
    """Sound by blocks of two seconds, frames by pairs, both where both hold, texts by sentence; then the end."""
    block = model.sound_block
    assert block == 200
    times = {
        kind: [cut.at for cut in find_cuts(processor, processor.encode_premise(premise, fps=1.0), block)]
        for kind, premise in long_premises.items()
    }
    assert times["audio"] == [*range(2, 25, 2), 25]
    assert times["video"] == [2, 4, 6, 8, 10] and times["audiovisual"][:-1] == [2, 4, 6, 8, 10, 12, 14, 16]
    assert times["short sound"] == [2, 4, 6, 8, 10, 12, 14, 16, 18]
    ends = [TEXT[: int(at)].split()[-1] for at in times["text"]]
    assert ends[0] == "balls." and ends[-1] == "knows." and "eight!" in ends
    # A chunk of 2 s without frames of its own has those of a later one: of what came before nothing can be told apart.
    (end,) = find_cuts(processor, processor.encode_premise(long_premises["audiovisual"], fps=0.8), block)
    assert end.at == 17.5
    (whole,) = find_cuts(processor, processor.encode_premise(long_premises["audio"]), 3000)
    assert whole.at == 25


def test_a_cut_file_differs_by_what_goes_into_the_towers(model, processor, long_premises):
    """Only the spectrogram's last frames before the edge, and its floor where the rest was louder."""
    array = long_premises["audio"]["audio"]["array"]
    whole = processor.encode_premise({"audio": {"array": array, "sampling_rate": RATE}})
    cut = find_cuts(processor, whole, model.sound_block)[2]
    part = processor.encode_premise({"audio": {"array": array[: int(cut.at) * RATE], "sampling_rate": RATE}})
    assert part.input_ids == cut.premise.input_ids and part.num_mel_frames == cut.premise.num_mel_frames
    same = (whole.input_features[:, : part.num_mel_frames] - part.input_features).abs() < 1e-5
    torn = processor.feature_extractor.n_fft // processor.feature_extractor.hop_length
    assert same[:, :-torn].all() and not same[:, -1].all()


def test_cuts_are_chosen_by_time(processor, long_premises, model):
    """For each time the last cut before it, each once, and the end; what cannot be is said."""
    cuts = find_cuts(processor, processor.encode_premise(long_premises["audio"]), model.sound_block)
    assert choose_cuts(cuts, None, None) == cuts
    assert [cut.at for cut in choose_cuts(cuts, 5.0, None)] == [4, 10, 14, 20, 25]
    assert [cut.at for cut in choose_cuts(cuts, 0.5, None)] == [cut.at for cut in cuts]
    assert [cut.at for cut in choose_cuts(cuts, None, [1.0, 6.0, 7.9, 100.0])] == [6, 25]
    for every, times, message in (
        (1.0, [2.0], "not both"),
        (0, None, "`every` must be"),
        (None, [-1], "`times` must"),
    ):
        with pytest.raises(ValueError, match=message):
            choose_cuts(cuts, every, times)
    parts = processor.encode_premise({"parts": [{"text": "It is late."}, long_premises["video"]]})
    with pytest.raises(ValueError, match="combination of parts has no one time"):
        find_cuts(processor, parts, model.sound_block)


def test_the_pipeline_gives_a_curve_for_each_hypothesis(tiny_checkpoint, long_premises):
    """The last point is the answer to the whole premise; the points before are those of shorter sounds, nearly."""
    clue = pipeline("uncertain-inference", model=str(tiny_checkpoint), trust_remote_code=True)
    given = long_premises["audio"]
    curves = clue.timeline(given, HYPOTHESES, every=5.0)
    assert [curve["hypothesis"] for curve in curves] == HYPOTHESES
    for curve, answer in zip(curves, clue({**given, "hypotheses": HYPOTHESES}), strict=True):
        assert curve["times"] == [4, 10, 14, 20, 25] and curve["modality"] == "audio" and curve["notes"] == []
        for name in answer.keys() - {*AT_NO_TIME}:
            assert curve[name][-1] == pytest.approx(answer[name], abs=1e-5), name
    short = {"audio": {"array": given["audio"]["array"][: 10 * RATE], "sampling_rate": RATE}}
    (alone,) = clue({**short, "hypotheses": HYPOTHESES[:1]})
    assert curves[0]["probability"][1] == pytest.approx(alone["probability"], abs=0.02)
    (text,) = clue.timeline(TEXT, HYPOTHESES[0], calibrated=False)
    sentence = TEXT[: int(text["times"][0])]
    (alone,) = clue({"text": sentence, "hypotheses": HYPOTHESES[:1]})
    assert text["probability"][0] == pytest.approx(alone["probability"], abs=1e-5)
