"""
Defines UMUI as a task of lmms-eval: what a model is asked, how its number is read, and the measures.

Prompt, reading and measures are those of `evaluation.run`; lmms-eval loads this file by its path, with this project's
root on PYTHONPATH.
"""

import base64
import io
import wave
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import av

from chat.answers import parse_answer
from chat.rubrics import rubric
from evaluation.metrics.uncertain_inference.measures import measure


MEDIA = ("audio", "video")
SAMPLING_RATE = 16000
# What lmms-eval puts in place of an answer after the last attempt; the error behind it may hold numbers.
FAILED = "[LMMS_EVAL_REQUEST_FAILED"


def undecoded(rows: Any) -> Any:
    """Leaves the clips of a `datasets.Dataset` in their files, so that no decoder is needed to list its rows."""
    for name in MEDIA:
        if name in rows.features:
            rows = rows.cast_column(name, type(rows.features[name])(decode=False))
    return rows


def no_visual(row: Mapping) -> list:
    """Returns no media: models that do not take messages are not supported, since they tell no sound from video."""
    raise ValueError(f"row {row['id']}: this task asks by messages; choose a chat model (without --force_simple).")


def prompt(row: Mapping) -> str:
    """Writes the text that a model is asked, that of `--predictor scalar`."""
    return rubric(row)


def messages(row: Mapping) -> list[dict]:
    """
    Builds lmms-eval's messages for one row: the media first, then the text.

    Sound travels as a WAV in a `data:` address, video as the path of its file; an audiovisual premise is both.

    Raises:
        `ValueError`: if the premise has several parts, its clip lies in no file, or it lacks sound.
    """
    content = []
    if row.get("parts"):
        raise ValueError(f"row {row['id']}: combinations are not supported here; use evaluation.run.")
    if row["modality"] != "text":
        clip = row["audio"] if row["modality"] == "audio" else row["video"]
        path = Path(clip["path"] or "")
        if not path.is_file():
            raise ValueError(f"row {row['id']}: there is no file {path}; build or download the dataset as a folder.")
        if row["modality"] != "audio":
            content.append({"type": "video", "url": str(path.absolute())})
        if row["modality"] != "video":
            sound = base64.b64encode(_wav(path)).decode()
            content.append({"type": "audio", "url": f"data:audio/wav;base64,{sound}"})
    return [{"role": "user", "content": [*content, {"type": "text", "text": prompt(row)}]}]


def process_results(row: Mapping, results: Sequence[str]) -> dict[str, dict]:
    """Reads one answer: for each measure the prediction, `None` where there is no number, and the target."""
    text = results[0]
    prediction = None if text.startswith(FAILED) else parse_answer(text).probability
    answer = {"prediction": prediction, "target": row["probability"]}
    return dict.fromkeys(("mse", "accuracy", "ece", "answered"), answer)


def mse(answers: Sequence[Mapping]) -> float:
    """Returns the mean squared error of the answers that have a number; NaN if none has."""
    return _measure("mse", answers)


def accuracy(answers: Sequence[Mapping]) -> float:
    """Returns the share of the answers with a number that are on the right side of 0.5; NaN if none has one."""
    return _measure("accuracy", answers)


def ece(answers: Sequence[Mapping]) -> float:
    """Returns the expected calibration error of the answers that have a number; NaN if none has."""
    return _measure("ece", answers)


def answered(answers: Sequence[Mapping]) -> float:
    """Returns the share of the answers that have a number."""
    return sum(answer["prediction"] is not None for answer in answers) / len(answers)


def _wav(path: Path) -> bytes:
    """Decodes a clip's sound into a WAV of one channel, with PyAV 15 too, as lmms-eval 0.7.3 requires."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLING_RATE)
    file = io.BytesIO()
    with av.open(str(path)) as container, wave.open(file, "wb") as target:
        if not container.streams.audio:
            raise ValueError(f"{path} has no sound: correct the row's modality, or leave it out.")
        target.setnchannels(1)
        target.setsampwidth(2)
        target.setframerate(SAMPLING_RATE)
        for frame in (*container.decode(audio=0), None):
            for part in resampler.resample(frame):
                target.writeframes(part.to_ndarray().tobytes())
    return file.getvalue()


def _measure(name: str, answers: Sequence[Mapping]) -> float:
    pairs = [(answer["prediction"], answer["target"]) for answer in answers if answer["prediction"] is not None]
    if not pairs:
        return float("nan")
    value = measure(*zip(*pairs, strict=True), resamples=0, only=[name])[name]["value"]
    return float("nan") if value is None else value
