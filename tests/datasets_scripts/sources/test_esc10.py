"""
ESC-10's claims against an independent reading of them.

Each kind of sound is a tone here: what a mixture holds is measured by the spectrum of the file that was written, and
sentences are read as English.
"""

import re
from collections import defaultdict
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import soundfile

from common.errors import InputError
from datasets_scripts.build import main as build
from datasets_scripts.load import load_split, split_names
from datasets_scripts.sources import esc10
from datasets_scripts.sources.claims import Balance
from datasets_scripts.sources.esc10 import SOUNDS
from datasets_scripts.sources.mixing import FADE
from evaluation.predictors.baselines import ConstantMean, HypothesisOnly
from tests.datasets_scripts.sources.reading import Drafts, drafts_of, problems_of, rows_of, touch
from tests.reading import files_of


HERTZ = {kind: 400.0 + 300 * k for k, kind in enumerate(SOUNDS)}
WORDS = {
    **{"baby_cry": "baby", "chainsaw": "chainsaw", "clock_tick": "clock", "dog_bark": "dog", "fire_crackling": "fire"},
    **{"helicopter": "helicopter", "person_sneeze": "sneez", "rain": "rain", "rooster": "rooster"},
    "sea_waves": "waves",
}
WINDOW = 400


def write_clip(path: Path, kind: str, rng: np.random.Generator) -> None:
    """Writes half a second of a tone, before and after which it is too faint to be heard, but not to be measured."""
    before = int(rng.integers(4000))
    sound = 0.3 * np.sin(2 * np.pi * HERTZ[kind] * np.arange(before + 12_000) / 16_000)
    sound[:before] /= 100
    sound[-4000:] /= 100
    path.parent.mkdir(exist_ok=True, parents=True)
    soundfile.write(path, sound, 16_000)


def write_clips(folder: Path) -> Path:
    """Writes a clip of each kind in the folds 1, 3 and 4."""
    rng = np.random.default_rng(0)
    for kind in SOUNDS:
        for fold in (1, 3, 4):
            write_clip(folder / kind / f"{fold}-{rng.integers(10**5)}-A.wav", kind, rng)
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """Clips of three folds."""
    return write_clips(tmp_path_factory.mktemp("esc10"))


@pytest.fixture(scope="module")
def umui(clips) -> Path:
    """The dataset, with a mixture for each clip."""
    folder = clips.with_name("umui-esc10")
    build(f"esc10 --clips {clips} --output-dir {folder} --workers 1".split())
    return folder


def heard(file: Path) -> dict[str, float]:
    """Measures which kinds of sound a file has, in their order, and the share of each in its time."""
    samples = soundfile.read(file)[0]
    frames = samples[: len(samples) // WINDOW * WINDOW].reshape(-1, WINDOW)
    peaks = np.abs(np.fft.rfft(frames * np.hanning(WINDOW), 4000)).argmax(1) * 4
    kinds = [min(HERTZ, key=lambda kind: abs(HERTZ[kind] - peak)) for peak in peaks]
    runs = [(kind, sum(1 for _ in run)) for kind, run in groupby(kinds)]
    # Where two fade over, a frame or two may read as a third.
    runs = [(kind, number) for kind, number in runs if number > 4]
    shares = {}
    for kind, number in runs:
        shares[kind] = shares.get(kind, 0) + number / sum(number for _, number in runs)
    return shares


def read_claim(sentence: str, shares: dict[str, float]) -> float:
    """Reads a sentence as English and returns its probability of a sound with these shares."""
    text = re.sub("does not rain|not raining", "no rain", sentence.lower())
    named = sorted((text.index(word), kind) for kind, word in WORDS.items() if word in text)
    kinds = [kind for _, kind in named]
    share, order = [shares.get(kind, 0.0) for kind in kinds], list(shares)
    is_denied = bool(re.search(r"\b(no|nobody|not|neither)\b", text)) and "no sound in" not in text
    if "kinds of sound" in text:
        value = (kinds[0] in shares) / len(shares)
    elif "random" in text:
        value = sum(share)
    elif "less than half" in text:
        return float(share[0] < 0.5)
    elif "at least half" in text:
        return float(1 - share[0] >= 0.5 if is_denied else share[0] >= 0.5)
    elif "longer than" in text or "longest" in text:
        value = share[0] == max(shares.values())
    elif "last is" in text or "ends with" in text:
        value = kinds[0] == order[-1]
    elif "before" in text or text.startswith("first"):
        value = order.index(kinds[0]) < order.index(kinds[1])
    elif "first" in text or "begins with" in text:
        value = kinds[0] == order[0]
    elif len(kinds) == 2 and (is_denied or " or " in text):
        value = any(share)
    else:
        value = all(share)
    return float(1 - value if is_denied else value)


@pytest.mark.parametrize("split", ["train", "test"])
def test_probabilities_agree_with_what_is_heard(umui, split):
    """Of every row, about clips and mixtures: shares to a frame or two, everything else exactly."""
    table = load_split(str(umui), "esc10", split)
    found, seen = {}, defaultdict(int)
    for row in table:
        path = Path(row["audio"]["path"])
        if path not in found:
            found[path] = heard(path)
        assert read_claim(row["hypothesis"], found[path]) == pytest.approx(row["probability"], abs=0.015), row
        seen[row["probability_source"]] += 1
        is_certain = row["probability"] in (0, 1)
        assert row["label"] == (row["probability"] if is_certain else None)
        assert is_certain or row["probability_source"] == "exact"
    assert seen == {"label": 10 * 14, "exact": 10 * 14}
    assert {len(shares) for shares in found.values()} == {1, 2, 3}
    graded = [row["probability"] for row in table if row["label"] is None]
    assert len(set(graded)) > 6 and len(graded) > 20


def read_caption(caption: str) -> dict[str, float]:
    """Reads a caption as English: which kinds of sound there are, in their order, and the share of each."""
    text = caption.lower().replace("it is raining", "rain")
    kinds = [kind for _, kind in sorted((text.index(word), kind) for kind, word in WORDS.items() if word in text)]
    seconds = [float(number) for number in re.findall(r"[\d.]*\d(?= s)", text)] or [5.0]
    assert sum(seconds) == 5
    return dict(zip(kinds, (number / 5 for number in seconds), strict=True))


def test_probabilities_agree_with_the_captions(umui):
    """Of every row about a caption; there are captions in all words, alone and of mixtures, to train on alone."""
    assert split_names(str(umui), "esc10-captions") == ["train"]
    table = load_split(str(umui), "esc10-captions", "train")
    for row in table:
        shares = read_caption(row["premise"])
        assert read_claim(row["hypothesis"], shares) == pytest.approx(row["probability"]), row
    shares = [read_caption(caption) for caption in set(table["premise"])]
    assert {len(each) for each in shares} == {1, 2, 3} and len(shares) == 10 * len(esc10.CAPTIONS) + 10
    assert len({row["id"] for row in table}) == len(table) == 14 * len(shares)
    check_balance(table["hypothesis"], table["probability"])


def test_a_mixture_is_five_seconds_of_sound_alone(umui):
    """At 16 kHz, mono, without the silence of the raw clips; and content of one split is in no other."""
    files = list((umui / "esc10").glob("*/media/mix-*"))
    assert len(files) == 30 == len({file.read_bytes() for file in files})
    for file in files:
        samples, rate = soundfile.read(file)
        assert (len(samples), rate) == (80_000, 16_000)
        levels = np.sqrt(np.square(samples.reshape(-1, FADE)).mean(1))
        # A pause is shortened to 0.2 s, ten frames; two of them may meet.
        assert max((sum(1 for _ in run) for quiet, run in groupby(levels < 0.01) if quiet), default=0) <= 22


def test_folds_make_the_splits(umui, clips):
    """By default fold 4 is to test on, fold 3 to validate, all others to train on; both can be chosen."""
    for split, fold in {"train": "1", "validation": "3", "test": "4"}.items():
        names = {Path(clip["path"]).name for clip in load_split(str(umui), "esc10", split)["audio"]}
        assert {name[name.index("__") + 2] for name in names if not name.startswith("mix-")} == {fold}
    asked = ("--test-fold", 1, "--validation-fold", 4, "--mixtures", 0, "--clips", clips)
    assert {
        split: {row["audio"].path.name[0] for row in rows_of(drafts)}
        for split, drafts in drafts_of(esc10, *asked)["esc10"].items()
    } == {"train": {"3"}, "validation": {"4"}, "test": {"1"}}
    # Fold 5 is not at hand.
    assert drafts_of(esc10, "--test-fold", 5, "--clips", clips)["esc10"].keys() == {"train", "validation"}
    with pytest.raises(InputError, match="--test-fold and --validation-fold are both 3"):
        drafts_of(esc10, "--clips", clips, "--test-fold", 3)


def test_more_mixtures_to_train_on_leave_the_tests_as_they_are(clips):
    """As many as asked for, made as `--mixtures` makes them; of the other splits no row changes."""

    def said(*options) -> dict[str, list]:
        drafts = drafts_of(esc10, "--clips", clips, *options)["esc10"]
        return {split: [(row["id"], row["hypothesis"]) for row in rows_of(rows)] for split, rows in drafts.items()}

    one, two, other = said(), said("--mixtures", 2), said("--training-mixtures", 2)
    assert other["train"] == two["train"] and len(two["train"]) == len(one["train"]) + 10 * 14
    assert other["validation"] == one["validation"] and other["test"] == one["test"] != two["test"]


def test_a_rebuild_is_byte_identical(umui, clips, tmp_path):
    """The seed decides every byte, not the number of workers; another seed says other things."""
    build(f"esc10 --clips {clips} --output-dir {tmp_path} --workers 2".split())
    assert files_of(tmp_path) == files_of(umui)
    drafts = drafts_of(esc10, "--clips", clips, "--seed", 1, "--mixtures", 0)["esc10"]["test"]
    said = load_split(str(umui), "esc10", "test")["hypothesis"][: len(drafts)]
    assert said != [row["hypothesis"] for row in rows_of(drafts)]


def test_wording_gives_nothing_away(tmp_path):
    """Each sentence and template about a clip is as often true as false; knowing nothing else, none does better."""
    names = [f"{kind}/{fold}-{number}-A.ogg" for kind in SOUNDS for fold in (1, 3, 4) for number in range(8)]
    drafts = drafts_of(esc10, "--clips", touch(tmp_path, *names), "--mixtures", 0)["esc10"]
    pairs = {
        split: tuple(zip(*((row["hypothesis"], row["probability"]) for row in rows_of(rows)), strict=True))
        for split, rows in drafts.items()
    }
    check_balance(*pairs["train"])
    check_baseline(pairs)


def test_wording_of_mixtures_gives_nothing_away():
    """Nor does it of graded claims, whose mean is a half."""
    rng = np.random.default_rng(0)
    pairs = {}
    for split, number in {"train": 80, "validation": 40, "test": 40}.items():
        balance, claims = Balance(), []
        for _ in range(number):
            steps = esc10.sample_steps(list(SOUNDS), rng)
            assert sum(steps.values()) == esc10.STEPS and min(steps.values()) >= esc10.SHORTEST
            foils = [kind for kind in rng.permutation(list(SOUNDS)) if kind not in steps][:4]
            claims += balance.choose(esc10.mixture_forms(steps, foils), 14, rng)
        pairs[split] = [claim.sentence for claim in claims], [claim.probability for claim in claims]
    check_balance(*pairs["train"])
    check_baseline(pairs)


def check_balance(hypotheses, probabilities) -> None:
    """Counts how much more often than not sentences, and templates in other words, are true."""
    surplus = defaultdict(float)
    for sentence, probability in zip(hypotheses, probabilities, strict=True):
        surplus[sentence] += probability - 0.5
        template = sentence.lower()
        for sound in SOUNDS.values():
            for words in (sound.one, sound.thing, sound.happens, sound.never_happens, sound.goes_on):
                template = template.replace(words, "*")
            template = template.replace(sound.does_not_go_on, "*")
        surplus[template] += probability - 0.5
    assert len(surplus) > 60 and max(map(abs, surplus.values())) <= 3


def check_baseline(pairs: dict) -> None:
    """The best predictor from the hypothesis is the constant mean, or as good as that."""
    best = HypothesisOnly().fit(*pairs["train"], *pairs["validation"])
    constant = ConstantMean().fit(*pairs["train"])
    best, constant = (
        np.mean((predictor.predict(list(pairs["test"][0])) - np.array(pairs["test"][1])) ** 2)
        for predictor in (best, constant)
    )
    assert constant * 0.97 < best < constant * 1.05


def test_folders_that_are_no_class_or_missing_are_named(tmp_path):
    """Nothing is built of less than ten kinds, or of an eleventh."""
    touch(tmp_path, *(f"{kind}/1-1-A.ogg" for kind in SOUNDS if kind != "rain"))
    with pytest.raises(InputError, match="has no clips in the folders rain"):
        drafts_of(esc10, "--clips", tmp_path)
    touch(tmp_path, "rain/1-1-A.ogg", "cat/1-1-A.ogg")
    with pytest.raises(InputError, match="holds cat, which is no folder of a class"):
        drafts_of(esc10, "--clips", tmp_path)


def test_clips_that_are_no_good_are_problems(clips, tmp_path):
    """One without a fold in its name, once; one that can't be read, wherever it would be mixed in."""
    for file in clips.rglob("*.wav"):
        (tmp_path / file.parent.name).mkdir(exist_ok=True)
        (tmp_path / file.parent.name / file.name).symlink_to(file)
    touch(tmp_path, "rain/A-1.ogg")
    (broken,) = (tmp_path / "rain").glob("1-*")
    broken.unlink()
    broken.write_bytes(b"RIFF no sound")
    drafts: dict[str, Drafts] = drafts_of(esc10, "--clips", tmp_path, "--mixtures", 2)["esc10"]
    first, *others = problems_of(drafts["train"])
    assert first.kind == "row" and "A-1.ogg does not begin with a fold" in first.complaint
    assert others and all(one.kind == "media" and str(broken) in one.complaint for one in others)
    assert not problems_of(drafts["test"])
    with pytest.raises(SystemExit, match=r"row 1\)") as error:
        build(f"esc10 --clips {tmp_path} --output-dir {tmp_path / 'umui'} --workers 1".split())
    assert str(broken) in str(error.value)
