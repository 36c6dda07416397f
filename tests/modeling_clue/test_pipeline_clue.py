"""The pipeline: what it answers, in batches and streams, and in a process that has only the checkpoint."""

import json
import os
import pathlib
from fractions import Fraction

import av
import datasets
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, pipeline

from modeling_clue import CLUEForConfidenceEstimation, CLUEProcessor
from tests.launching import run


DATA = pathlib.Path(os.environ.get("UMUI_DATA_DIR", pathlib.Path(__file__).parents[2] / "../shared/data")).resolve()


@pytest.fixture(scope="module")
def clue(tiny_checkpoint):
    """The pipeline over a tiny random checkpoint."""
    return pipeline("uncertain-inference", model=str(tiny_checkpoint), trust_remote_code=True, device="cpu")


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> dict[str, pathlib.Path]:
    """A sound, a silent video and a video with sound, 2 s each."""
    folder = tmp_path_factory.mktemp("clips")
    tone = (0.3 * np.sin(np.arange(32000) / 5)).astype(np.float32)
    soundfile.write(folder / "sound.flac", tone, 16000)
    for name, has_sound in (("silent.mp4", False), ("video.mp4", True)):
        with av.open(str(folder / name), "w") as output:
            track = output.add_stream("libx264", rate=10)
            track.width = track.height = 56
            track.pix_fmt = "yuv420p"
            sound = output.add_stream("aac", rate=16000, layout="mono") if has_sound else None
            for index in range(20):
                picture = np.full((56, 56, 3), index * 12, np.uint8)
                output.mux(track.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            output.mux(track.encode(None))
            if sound is not None:
                frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
                frame.sample_rate, frame.time_base, frame.pts = 16000, Fraction(1, 16000), 0
                output.mux(sound.encode(frame))
                output.mux(sound.encode(None))
    return {path.stem: path for path in folder.iterdir()}


def questions(clips: dict[str, pathlib.Path]) -> list[dict]:
    """One input of each modality, and of each way to state hypotheses."""
    return [
        {"text": "An urn holds 3 red balls.", "hypotheses": ["The ball is red.", "It is blue.", "It is neither."]},
        {"video": str(clips["silent"]), "hypothesis": "The ball is red."},
        {"audio": str(clips["sound"]), "hypotheses": ["The sound is high.", "It is low."]},
        {"video": str(clips["video"]), "modality": "audiovisual", "hypotheses": ("Red and high.", "Blue.")},
        {"premise": "A random sound is high or low.", "hypotheses": "The sound is high."},
        {"premise": clips["sound"], "hypothesis": "The sound is low."},
    ]


def assert_same(answers: list[list[dict]], expected: list[list[dict]], tolerance: float = 1e-6) -> None:
    """Equal in everything, numbers up to `tolerance`."""
    assert len(answers) == len(expected)
    for results, others in zip(answers, expected, strict=True):
        for result, other in zip(results, others, strict=True):
            assert result.keys() == other.keys()
            for key in ("hypothesis", "modality", "notes"):
                assert result[key] == other[key]
            for key in ("probability", "distribution", "standard_deviation"):
                np.testing.assert_allclose(result[key], other[key], atol=tolerance)


def test_answer_is_the_distribution_of_the_model_and_its_summaries(clue, tiny_checkpoint, clips):
    """Each result holds softmax of the model's logits, and mean, deviation and quantiles computed by hand from it."""
    model = CLUEForConfidenceEstimation.from_pretrained(tiny_checkpoint).eval()
    processor = CLUEProcessor.from_pretrained(tiny_checkpoint)
    hypotheses = ["The ball is red.", "The ball is blue."]
    premise = {"video": str(clips["video"]), "modality": "audiovisual"}
    with torch.no_grad():
        logits = model(**processor(premise, hypotheses)).logits.double()
    results = clue({**premise, "hypotheses": hypotheses}, interval=0.8)
    bins = np.linspace(0, 1, 100)
    for result, hypothesis, expected in zip(results, hypotheses, logits.softmax(-1).numpy(), strict=True):
        assert result["hypothesis"] == hypothesis and result["modality"] == "audiovisual" and result["notes"] == []
        np.testing.assert_allclose(result["distribution"], expected, atol=1e-6)
        mean = (bins * expected).sum()
        assert result["probability"] == pytest.approx(mean, abs=1e-5)
        assert result["standard_deviation"] == pytest.approx(np.sqrt(((bins - mean) ** 2 * expected).sum()), abs=1e-5)
        low, high = result["interval"]
        assert low <= mean <= high
        assert expected[(bins >= low - 1e-6) & (bins <= high + 1e-6)].sum() >= 0.8 - 1e-6
        assert expected[bins < low - 1e-6].sum() < 0.1 and expected[bins > high + 1e-6].sum() <= 0.1
    json.dumps(results)


def test_every_form_of_input_gives_a_list_of_results(clue, clips):
    """One input gives one result a hypothesis, in order, whichever way premise and hypotheses are stated."""
    expected = ["text", "video", "audio", "audiovisual", "text", "audio"]
    for question, modality in zip(questions(clips), expected, strict=True):
        results = clue(question)
        given = question.get("hypotheses") or question.get("hypothesis")
        assert [result["hypothesis"] for result in results] == ([given] if isinstance(given, str) else list(given))
        assert {result["modality"] for result in results} == {modality}
        assert all(len(result["distribution"]) == 100 for result in results)


@pytest.mark.parametrize("batch_size", [1, 2, 4, 16])
def test_batches_equal_one_by_one(clue, clips, batch_size):
    """Lists, tuples and generators, batched in any way and of mixed modalities, give what each input alone does."""
    inputs = questions(clips)
    expected = [clue(question) for question in inputs]
    assert_same(clue(inputs, batch_size=batch_size), expected)
    assert_same(clue(tuple(inputs), batch_size=batch_size), expected)
    assert_same(list(clue((question for question in inputs), batch_size=batch_size)), expected)
    assert clue([], batch_size=batch_size) == []


def test_a_batch_is_one_forward_pass(clue, monkeypatch):
    """`batch_size` premises of like length share a pass of the model; the last batch may be smaller."""
    sizes = []
    forward = clue.model.forward
    monkeypatch.setattr(
        clue.model, "forward", lambda **inputs: (sizes.append(len(inputs["input_ids"])), forward(**inputs))[1]
    )
    clue([{"text": f"An urn holds {number} balls.", "hypothesis": "It is red."} for number in range(6)], batch_size=4)
    assert sizes == [4, 2]


def test_generators_are_read_as_they_go(clue):
    """A stream is never read further than the batch that is being answered."""
    read = []

    def stream():
        for number in range(100):
            read.append(number)
            yield {"text": f"An urn holds {number} balls.", "hypothesis": "The ball is red."}

    answers = clue(stream(), batch_size=2)
    assert read == []
    next(answers)
    assert len(read) == 2
    next(answers)
    next(answers)
    assert len(read) == 4


def test_rows_of_a_dataset_are_inputs(clue, clips):
    """Rows with a column for each kind of premise, mostly empty, and media as bytes, are answered as they are."""
    row = {"premise": None, "audio": None, "video": None, "hypothesis": "The ball is red."}
    rows = [
        {**row, "modality": "text", "premise": "An urn."},
        {**row, "modality": "audio", "audio": {"bytes": clips["sound"].read_bytes(), "path": "sound.flac"}},
        {**row, "modality": "audiovisual", "video": {"bytes": None, "path": str(clips["video"])}},
    ]
    media = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    text = datasets.Value("string")
    features = {"premise": text, "audio": media, "video": media, "hypothesis": text, "modality": text}
    table = datasets.Dataset.from_list(rows, features=datasets.Features(features))
    expected = [clue(one) for one in rows]
    assert [results[0]["modality"] for results in expected] == ["text", "audio", "audiovisual"]
    assert_same(list(clue(table, batch_size=2)), expected)
    assert_same(list(clue(table.to_iterable_dataset(), batch_size=2)), expected)


@pytest.mark.processes
def test_workers_decode_for_the_same_answers(clue, clips):
    """Decoding in other processes changes nothing, and an error there still names the input."""
    inputs = [question for question in questions(clips) if "hypotheses" in question]
    assert_same(clue(inputs, batch_size=2, num_workers=1), clue(inputs))
    with pytest.raises(ValueError, match="^Input 1: .*no/such/file") as error:
        clue([inputs[0], {"audio": "no/such/file", "hypothesis": "It is high."}], num_workers=1)
    assert len(str(error.value)) < 200


def test_limits_are_options_and_cuts_are_told(clue, tiny_checkpoint, clips):
    """Media limits can be set for a call or for the pipeline, and what they cost stands in every result."""
    question = {"video": str(clips["video"]), "modality": "audiovisual", "hypotheses": ["Red.", "Blue."]}
    limits = {"max_audio_seconds": 1.0, "max_frames": 4, "fps": 5.0}
    results = clue(question, **limits)
    for result in results:
        assert any("cut from 2.0 s to 1.0 s" in note for note in result["notes"])
        assert any("thinned from 10 to 4 frames" in note for note in result["notes"])
    limited = pipeline(
        "uncertain-inference", model=str(tiny_checkpoint), trust_remote_code=True, device="cpu", batch_size=2, **limits
    )
    assert_same(limited([question]), [results])
    assert_same([limited(question, max_audio_seconds=300.0, max_frames=100, fps=12.5)], [clue(question)])
    assert clue(question)[0]["notes"] == []


def test_missing_sound_is_an_error_or_is_told(clue, clips):
    """A silent clip given as audiovisual is refused; where allowed its frames are judged, and the result says so."""
    question = {"video": str(clips["silent"]), "modality": "audiovisual", "hypothesis": "Red."}
    with pytest.raises(ValueError, match="no sound track"):
        clue(question)
    [result] = clue(question, on_missing_sound="video")
    [plain] = clue({"video": str(clips["silent"]), "hypothesis": "Red."})
    assert result["modality"] == "video" and any("no sound track" in note for note in result["notes"])
    assert result["distribution"] == plain["distribution"] and plain["notes"] == []


@pytest.mark.parametrize(
    ("question", "complaint"),
    [
        ({"text": "An urn."}, "needs 'hypotheses'.*got neither"),
        ({"text": "An urn.", "hypotheses": None}, "got neither"),
        ({"text": "An urn.", "hypothesis": "Red.", "hypotheses": ["Red."]}, "got both"),
        ({"text": "An urn.", "hypotheses": []}, "'hypotheses' is empty"),
        ({"text": "An urn.", "hypotheses": ["Red.", 3]}, "Hypothesis 1 must be a sentence, got 3"),
        ({"text": "An urn.", "hypotheses": ["Red.", " "]}, "Hypothesis 1 must be a sentence"),
        ({"text": "An urn.", "hypothesis": 0.5}, "'hypothesis' must be a string or a list"),
        ({"hypothesis": "Red."}, "text, audio, video"),
        ({"vidoe": "clip.mp4", "hypothesis": "Red."}, "vidoe"),
        ({"video": "no/such/clip.mp4", "hypothesis": "Red."}, "no/such/clip.mp4"),
        ({"text": "  ", "hypothesis": "Red."}, "text"),
        ("An urn.", "dict"),
    ],
)
def test_unusable_input_is_named(clue, question, complaint):
    """What cannot be judged is refused with what to do, and by its place where there are many inputs."""
    good = {"text": "An urn.", "hypothesis": "Red."}
    with pytest.raises(ValueError, match=complaint):
        clue(question)
    for inputs in ([good, good, question], (one for one in [good, good, question])):
        with pytest.raises(ValueError, match=f"Input 2: .*{complaint}"):
            list(clue(inputs, batch_size=2))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"interval": 1.0}, ValueError),
        ({"interval": 0}, ValueError),
        ({"intervall": 0.9}, TypeError),
        ({"fps": -1}, ValueError),
    ],
)
def test_unusable_option_is_refused(clue, options, error):
    """An unknown option or one out of range is never ignored."""
    with pytest.raises(error, match=next(iter(options))):
        clue({"text": "An urn.", "hypothesis": "Red."}, **options)


def test_checkpoint_names_its_pipeline(tiny_checkpoint):
    """What makes `pipeline(...)` find our class lies in the checkpoint: an entry in its configuration and the file."""
    config = json.loads((tiny_checkpoint / "config.json").read_text())
    assert config["custom_pipelines"] == {
        "uncertain-inference": {"impl": "pipeline_clue.UncertainInferencePipeline", "pt": ["AutoModel"]}
    }
    source = pathlib.Path(__file__).parents[2] / "modeling_clue" / "pipeline_clue.py"
    assert (tiny_checkpoint / "pipeline_clue.py").read_text() == source.read_text()


def test_a_saved_pipeline_is_a_checkpoint(clue, tmp_path, tiny_checkpoint):
    """`save_pretrained` writes all of what it was loaded from, and answers the same when loaded again."""
    clue.save_pretrained(tmp_path / "again")
    assert {path.name for path in (tmp_path / "again").iterdir()} >= {path.name for path in tiny_checkpoint.iterdir()}
    again = pipeline("uncertain-inference", model=str(tmp_path / "again"), trust_remote_code=True, device="cpu")
    question = {"text": "An urn holds 3 red balls.", "hypotheses": ["The ball is red.", "It is blue."]}
    assert_same([again(question)], [clue(question)], tolerance=0)
    config = AutoConfig.from_pretrained(tmp_path / "again", trust_remote_code=True)
    assert config.custom_pipelines["uncertain-inference"]["pt"] == ["AutoModel"]


CLEAN_PROCESS = """
import json, sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("modeling_clue", "common", "chat", "datasets_scripts", "train", "evaluation"):
            raise ModuleNotFoundError(f"{name} is not installed here")

sys.meta_path.insert(0, Block())
try:
    import modeling_clue
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("the package is installed here")
from transformers import pipeline

clue = pipeline("uncertain-inference", model=sys.argv[1], trust_remote_code=True, device="cpu")
questions = json.load(open(sys.argv[2]))
answers = {"one": [clue(question) for question in questions], "batched": clue(questions, batch_size=len(questions))}
try:
    clue(questions + [{"video": "missing.mp4", "hypothesis": "Red."}])
except ValueError as error:
    answers["error"] = [type(error).__name__, str(error)]
clue.save_pretrained(sys.argv[4])
json.dump(answers, open(sys.argv[3], "w"))
"""


@pytest.mark.processes
def test_a_clean_process_needs_the_checkpoint_alone(clue, tiny_checkpoint, clips, tmp_path):
    """Where our package is not installed, the checkpoint's own code answers all modalities, to the same bits."""
    inputs = [question for question in questions(clips) if not isinstance(question.get("premise"), pathlib.Path)]
    (tmp_path / "questions.json").write_text(json.dumps(inputs))
    (tmp_path / "elsewhere").mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"HF_MODULES_CACHE": str(tmp_path / "modules"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    paths = [tiny_checkpoint, tmp_path / "questions.json", tmp_path / "answers.json", tmp_path / "saved"]
    done = run("-c", CLEAN_PROCESS, *paths, folder=tmp_path / "elsewhere", environment=environment)
    assert done.returncode == 0, done.stderr
    answers = json.loads((tmp_path / "answers.json").read_text())
    expected = json.loads(json.dumps([clue(question) for question in inputs]))
    assert_same(answers["one"], expected, tolerance=0)
    assert_same(answers["batched"], expected)
    kind, message = answers["error"]
    assert kind == "MediaError" and f"Input {len(inputs)}: " in message and "missing.mp4" in message
    # A checkpoint saved from remote code can travel on.
    assert {path.name for path in (tmp_path / "saved").iterdir()} >= {path.name for path in tiny_checkpoint.iterdir()}


@pytest.mark.skipif(not (DATA / "video").is_dir(), reason=f"no real clips in {DATA} (set UMUI_DATA_DIR)")
def test_real_clips(clue):
    """A real sound, a real video with and without its sound: answered, alike in a batch and alone."""
    sound = sorted((DATA / "esc10").glob("rain/*.ogg"))[0]
    video = sorted((DATA / "video").glob("*.mp4"))[0]
    inputs = [
        {"audio": sound, "hypotheses": ["It rains.", "A dog barks."]},
        {"video": video, "hypothesis": "A flower is seen."},
        {"video": video, "modality": "audiovisual", "hypotheses": ["A flower is seen.", "A dog barks."]},
    ]
    limits = {"fps": 1.0, "max_frames": 8}
    answers = clue(inputs, batch_size=3, **limits)
    assert [results[0]["modality"] for results in answers] == ["audio", "video", "audiovisual"]
    assert_same(answers, [clue(question, **limits) for question in inputs], tolerance=1e-5)


def test_a_loaded_model_makes_its_pipeline(clue, clips):
    """`pipeline` takes a model that is loaded already, with its processor, and answers as from the folder."""
    loaded = pipeline("uncertain-inference", model=clue.model, processor=clue.processor)
    assert loaded(questions(clips)[0]) == clue(questions(clips)[0])


@pytest.mark.processes
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_that_do_not_fork(clue, clips, method):
    """Where processes are not forked, what a worker needs reaches it, and answers are the same."""
    before = torch.multiprocessing.get_start_method()
    torch.multiprocessing.set_start_method(method, force=True)
    try:
        assert clue(questions(clips), num_workers=1) == clue(questions(clips))
        with open(clips["sound"], "rb") as file:
            for inputs in ([{"audio": file, "hypothesis": "Red."}], (one for one in questions(clips))):
                with pytest.raises(ValueError, match="handed over to worker processes .*`num_workers`"):
                    list(clue(inputs, num_workers=1))
    finally:
        torch.multiprocessing.set_start_method(before, force=True)


def test_many_hypotheses_are_judged_in_parts(clue, clips):
    """More hypotheses than fit into one row answer as each of them alone, in a batch of several premises; the clip's
    towers run once."""
    many = [f"The ball has number {number}." for number in range(150)]
    inputs = [{"video": str(clips["video"]), "modality": "audiovisual", "hypotheses": many}, questions(clips)[0]]
    runs = []
    hook = clue.model.model.visual.register_forward_hook(lambda *_: runs.append(1))
    together = clue(inputs, batch_size=2)
    hook.remove()
    assert len(runs) == 1 and [len(answers) for answers in together] == [150, 3]
    alone = [clue({**inputs[0], "hypotheses": [many[number]]})[0] for number in (0, 63, 64, 149)]
    parts = [together[0][number] for number in (0, 63, 64, 149)]
    for one, other in zip(alone, parts, strict=True):
        assert one["hypothesis"] == other["hypothesis"]
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-6)


def test_rows_of_a_table_are_inputs(clue):
    """A row of pandas or numpy, whatever stands for nothing in it, is one input, and rows are many, whatever holds
    them and in their order; a table is told apart."""
    table = pd.DataFrame(
        [
            {"premise": "An urn.", "hypothesis": "Red.", "hypotheses": None, "audio": np.nan, "probability": 0.5},
            {"premise": "A bag.", "hypothesis": pd.NA, "hypotheses": np.array(["Red.", "Blue."]), "audio": None},
        ]
    )
    expected = [
        clue({"text": "An urn.", "hypothesis": "Red."}),
        clue({"text": "A bag.", "hypotheses": ["Red.", "Blue."]}),
    ]
    assert_same([clue(table.iloc[0]), clue(table.iloc[1])], expected)
    assert_same(clue([row for _, row in table.iterrows()]), expected)
    rows = table.to_dict("records")
    for several in (rows, np.array(rows, object), pd.Series(rows, index=[1, 0]), table.to_records()):
        assert_same(clue(several), expected)
    for table_like, message in ((table, "to_dict"), (table["audio"].to_numpy(float), "An input is a dict")):
        with pytest.raises(ValueError, match=message):
            clue(table_like)


def test_an_adapted_model(tiny_checkpoint, clue):
    """A model with an adapter, in training before, answers through its adapter, without dropout, and in parts too."""
    base = CLUEForConfidenceEstimation.from_pretrained(tiny_checkpoint)
    adapter = LoraConfig(r=2, lora_dropout=0.5, init_lora_weights=False, target_modules=["q_proj"])
    adapted = get_peft_model(base, adapter, low_cpu_mem_usage=False).train()
    question = {"text": "An urn.", "hypotheses": ["Red."] * 65}
    loaded = pipeline("uncertain-inference", model=adapted, processor=clue.processor)
    expected = float(adapted.eval()(**clue.processor("An urn.", "Red.")).probability)
    found = [answer["probability"] for answer in loaded(question)]
    assert found == pytest.approx([expected] * 65, abs=1e-6)
    assert expected != pytest.approx(clue(question)[0]["probability"], abs=1e-6)
    assert_same([type(clue)(model=adapted, processor=clue.processor)(question)], [loaded(question)])


def test_a_loaded_model_needs_its_processor(clue):
    """Without one the error says which is missing."""
    with pytest.raises(ValueError, match="needs its processor"):
        type(clue)(model=clue.model)


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_the_input_that_is_too_long_is_named(clue, monkeypatch, batch_size):
    """Of many inputs the error names the one with more positions than the model has, in batches too."""
    monkeypatch.setattr(clue.model.config.text_config, "max_position_embeddings", 60)
    inputs = [{"text": text, "hypothesis": "Red."} for text in ("An urn.", "A bag.", "Balls: " + "red, " * 60, "Urn.")]
    with pytest.raises(ValueError, match="^Input 2: .*built for 60: shorten the text"):
        clue(inputs, batch_size=batch_size)
