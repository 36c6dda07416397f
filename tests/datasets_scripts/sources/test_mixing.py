"""Mixed clips hold what they are said to hold: the audible parts, as long as stated, at one level, all different."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from common.errors import InputError
from datasets_scripts.building.drafts import Clip, Problem
from datasets_scripts.sources.claims import Claim
from datasets_scripts.sources.mixing import FADE, audible, cut, drafts_about_mixes, mix, read_sound
from modeling_clue.media import MediaError


def tone(hertz: float, seconds: float, amplitude: float = 0.1) -> np.ndarray:
    """A sine at 16 kHz."""
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * 16_000)) / 16_000)


def test_silence_is_no_part_of_a_sound():
    """Only what is loud, with 0.1 s around it, is kept: long pauses become 0.2 s, short ones stay, hiss is silence."""
    hiss = 1e-4 * np.random.default_rng(0).standard_normal(16_000)
    parts = [hiss, tone(500, 0.2), hiss[:1600], tone(500, 0.2), hiss, tone(500, 0.2), hiss]
    heard = audible(np.concatenate(parts))
    assert len(heard) / 16_000 == pytest.approx(0.1 + 0.2 + 0.1 + 0.2 + 0.2 + 0.2 + 0.1, abs=0.03)
    loud = np.square(heard).reshape(-1, 320).mean(1) > 1e-4
    assert loud.sum() * 0.02 == pytest.approx(0.6, abs=0.03)


@pytest.mark.parametrize("seconds", [0.3, 1.0, 3.0])
def test_a_cut_has_the_length_asked_for(seconds):
    """A longer sound is cut anywhere, a shorter one begins anew."""
    sound, rng = np.arange(round(seconds * 16_000)), np.random.default_rng(0)
    cuts = [cut(sound, 16_000, rng) for _ in range(5)]
    assert {len(one) for one in cuts} == {16_000}
    for one in cuts:
        assert set(np.diff(one)) <= {1, 1 - len(sound)}
    assert len({one[0] for one in cuts}) == (1 if seconds == 1 else 5)


def test_neighbours_meet_in_the_middle_of_their_fade_at_one_level():
    """However loud the raw sounds were; the clip is 16 kHz mono FLAC, not clipped, and its name is its content's."""
    parts = [tone(500, 1, 0.01), tone(2000, 2, 0.9)]
    clip = mix(parts)
    mixed, rate = soundfile.read(io.BytesIO(clip.content))
    assert soundfile.info(io.BytesIO(clip.content)).format == "FLAC" and rate == 16_000 and mixed.ndim == 1
    assert len(mixed) == 3 * 16_000 - FADE and np.abs(mixed).max() < 1
    first, second = mixed[: 16_000 - FADE], mixed[16_000:]
    assert np.sqrt(np.mean(first**2)) == pytest.approx(np.sqrt(np.mean(second**2)), rel=0.01)
    assert mix(parts) == clip and mix(parts[::-1]).key != clip.key
    # A click is louder than all else: it is what is brought to full scale.
    click = np.zeros(16_000)
    click[::4000] = 1
    assert np.abs(soundfile.read(io.BytesIO(mix([click]).content))[0]).max() == pytest.approx(0.99, abs=0.001)


@pytest.mark.parametrize("samples", [np.zeros(16_000), np.full(100, 0.1)])
def test_a_clip_without_sound_is_named(tmp_path, samples):
    """Digital silence has nothing to be cut out, nor has a click of a few milliseconds."""
    soundfile.write(tmp_path / "a.wav", samples, 16_000)
    with pytest.raises(MediaError, match=r"a\.wav is silent"):
        read_sound(tmp_path / "a.wav")


def test_mixed_clips_are_different_and_problems_are_named():
    """One that was there is drawn anew; a raw clip that is no good costs its mixture alone; too many are refused."""
    clips = [Clip(Path(f"{k}.flac"), f"{k}.flac", content=b"") for k in (1, 1, 1, 2)]
    draws = iter([*clips, MediaError("x.wav is damaged"), clips[3]])

    def draw():
        drawn = next(draws, clips[3])
        if isinstance(drawn, MediaError):
            raise drawn
        return drawn, [[Claim(f"{drawn.key}.", 0.5, ())]]

    drafts = drafts_about_mixes(draw, 4, "--mixtures", lambda forms: forms[0], {}, "s")
    first, second, third = (next(drafts) for _ in range(3))
    assert [one.row["audio"].key for one in (first, second)] == ["1.flac", "2.flac"]
    assert third == Problem("s-00002", "media", "x.wav is damaged")
    with pytest.raises(InputError, match="4 different clips of s were asked for, and 3 were found: lower --mixtures"):
        next(drafts)
