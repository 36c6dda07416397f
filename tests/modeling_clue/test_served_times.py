"""Numbers sent to a server make it order and place frames and sound as the model does, or there are none."""

import numpy as np
import pytest
import torch

from modeling_clue.backbone import QWEN2_5_OMNI
from modeling_clue.encoded_premise import EncodedPremise
from modeling_clue.served_times import served_times


FRAME, SOUND = "frame", "sound"


def premise(seconds: float, steps: int, mel_frames: int | None, tokens: int = 4) -> EncodedPremise:
    """A video of as many tokens a step, with sound or without."""
    grid = torch.tensor([steps, 2, 2 * tokens])
    kinds = {"video_grid_thw": grid, "video_second_per_grid": seconds, "num_mel_frames": mel_frames}
    return EncodedPremise("video" if mel_frames is None else "audiovisual", [], **kinds)


def own_order(given: EncodedPremise, tokens: int = 4) -> list[str]:
    """Frames and sound token by token, as CLUE's processor puts them."""
    sounds = QWEN2_5_OMNI.num_audio_tokens(given.num_mel_frames)
    steps = int(given.video_grid_thw[0])
    turns = QWEN2_5_OMNI.turns(steps, tokens, given.video_second_per_grid, sounds)
    return [kind for frames, sound in turns for kind in [FRAME] * frames + [SOUND] * sound]


def vllm_order(times: np.ndarray, sounds: int, *, skip_empty: bool, tokens: int = 4) -> list[str]:
    """Frames and sound token by token, chunk by chunk of two seconds, the rest of the sound behind the last."""
    order = []
    for chunk in range(int(times[-1]) // 50 + 1):
        inside = [time for time in times if chunk * 50 <= time < (chunk + 1) * 50]
        if inside or not skip_empty:
            order += [FRAME] * (tokens * len(inside)) + [SOUND] * min(50, sounds - order.count(SOUND))
    return order + [SOUND] * (sounds - order.count(SOUND))


@pytest.mark.parametrize("fps", [0.5, 1.0, 2.0, 4.0, 8.0])
def test_usual_rates_are_exact(fps):
    """In float64 as in float32, however long the video."""
    times = served_times(QWEN2_5_OMNI, premise(2 / fps, 384, None))
    assert times == (2 / fps, 0)


def test_a_rate_on_the_edge_is_as_near_as_can_be():
    """At 12.5 frames a second the model rounds some of the products down, and no number does in float64."""
    given = premise(0.16, 64, None)
    times = served_times(QWEN2_5_OMNI, given)
    wanted = QWEN2_5_OMNI.times(64, torch.tensor(0.16)).numpy()
    placed = (np.arange(64) * (float(np.float32(times.seconds)) * 25)).astype(int)
    assert times.displaced == (placed != wanted).sum() == 15 and abs(placed - wanted).max() == 1
    assert times.seconds == pytest.approx(0.16, abs=1e-6)
    # Four steps are exact with a neighbour of 0.16, which itself would put three of them elsewhere.
    times = served_times(QWEN2_5_OMNI, premise(0.16, 4, None))
    assert times.displaced == 0 and times.seconds != float(np.float32(0.16))


def test_sound_and_frames_take_turns_as_in_the_model():
    """For random videos with sound: token by token, in vLLM's order and in its positions, or refused."""
    rng = np.random.default_rng(0)
    served, refused = 0, []
    for number in range(300):
        seconds = float(rng.choice([4.0, 2.0, 1.0, 0.25, rng.uniform(0.1, 6.0)]))
        given = premise(seconds, int(rng.integers(1, 20)), int(rng.integers(20, 3000)))
        times = served_times(QWEN2_5_OMNI, given)
        if times is None:
            refused.append(seconds)
            continue
        served += 1
        steps, sounds = int(given.video_grid_thw[0]), QWEN2_5_OMNI.num_audio_tokens(given.num_mel_frames)
        ordered = (torch.arange(steps) * seconds * 25).long().numpy()
        placed = (np.arange(steps) * (float(np.float32(times.seconds)) * 25)).astype(int)
        assert vllm_order(ordered, sounds, skip_empty=False) == own_order(given), (number, given)
        assert vllm_order(placed, sounds, skip_empty=True) == own_order(given), (number, given)
        wanted = QWEN2_5_OMNI.times(steps, torch.tensor(seconds)).numpy()
        assert times.displaced == (placed != wanted).sum()
    assert served > 100 and refused
    # A frame every two seconds, the default: the model begins a chunk in the middle of a frame, and vLLM does not.
    assert served_times(QWEN2_5_OMNI, premise(4.0, 5, 1600)) is None
    assert all(seconds > 1.0 for seconds in refused)
