"""Teachers that `transformers` runs: in this process, and behind its own server. The models are tiny and random."""

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2_5OmniConfig,
    Qwen2_5OmniForConditionalGeneration,
    Qwen2_5OmniProcessor,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    WhisperFeatureExtractor,
)

from chat.answers import parse_answer
from chat.client import RunStoppedError
from chat.local import LocalTeacher
from chat.messages import chat_messages
from chat.replies import AnswerFailedError
from datasets_scripts.teachers.ask import main as teacher
from modeling_clue.backbone import QWEN2_5_OMNI
from tests.datasets_scripts.teachers.test_ask import read, write_pairs
from tests.datasets_scripts.teachers.test_parts import MANY, combined, row
from tests.datasets_scripts.teachers.test_parts import dataset as media  # noqa: F401
from tests.launching import wait_for
from train.tiny import tiny_config, train_tokenizer


CHAT = """{% for message in messages %}<|im_start|>{{ message.role }}
{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}\
{% if part.type == 'audio' %}<|audio_bos|><|AUDIO|><|audio_eos|>\
{% elif part.type == 'image' %}<|vision_bos|><|IMAGE|><|vision_eos|>\
{% elif part.type == 'video' %}<|vision_bos|><|VIDEO|><|vision_eos|>\
{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def chat_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer with a chat template, trained on `texts` and two more."""
    trained = train_tokenizer([*texts, "A dog barks.", "How probable is it?"], 420, 2)
    return PreTrainedTokenizerFast(
        tokenizer_object=trained.backend_tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT,
        extra_special_tokens=QWEN2_5_OMNI.tokens,
    )


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer with a chat template."""
    return chat_tokenizer([])


@pytest.fixture(scope="module")
def talker(tokenizer, tmp_path_factory) -> Path:
    """A model for text whose answers are made of `0`, `1` and the end: `1` is a probability, `11` is none."""
    folder = tmp_path_factory.mktemp("talker")
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(config)
    spoken = {*tokenizer.convert_tokens_to_ids(["0", "1"]), tokenizer.eos_token_id}
    model.generation_config = GenerationConfig(
        suppress_tokens=[token for token in range(len(tokenizer)) if token not in spoken],
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def omni(tokenizer, tmp_path_factory) -> Path:
    """A whole Qwen2.5-Omni without its voice, for sound and video."""
    folder = tmp_path_factory.mktemp("omni")
    thinker = tiny_config(tokenizer, hidden_size=32, num_hidden_layers=1).to_dict()
    thinker = {
        name: value for name, value in thinker.items() if name not in ("model_type", "architectures", "auto_map")
    }
    config = Qwen2_5OmniConfig(thinker_config=thinker, enable_audio_output=False)
    torch.manual_seed(0)
    model = Qwen2_5OmniForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    Qwen2_5OmniProcessor(
        Qwen2VLImageProcessor(),
        Qwen2VLVideoProcessor(size={"shortest_edge": 28 * 28, "longest_edge": 28 * 28}),
        WhisperFeatureExtractor(feature_size=128, return_attention_mask=True),
        tokenizer,
        chat_template=CHAT,
    ).save_pretrained(folder)
    return folder


def local(dataset: Path, out: Path, model: Path, *more: str) -> list[str]:
    """A command line."""
    common = ["--dataset", str(dataset), "--dataset-config", "pairs", "--output-dir", str(out), "--model", str(model)]
    return [*common, "--max-tokens", "4", *more]


def test_a_local_model_answers_as_a_server_does(tmp_path, talker, capsys):
    """N sampled answers a pair, read by the same rules, the same in every run; a rerun loads no model."""
    pairs = write_pairs(tmp_path / "umui", ["is true."] * 4)
    teacher(local(pairs, tmp_path / "a", talker))
    answers = read(tmp_path / "a")
    assert [len(answers[str(number)]) for number in range(4)] == [5] * 4
    texts = Counter(answer["text"] for pair in answers.values() for answer in pair)
    assert len(texts) > 2
    assert set("".join(texts)) <= {"0", "1"}
    for pair in answers.values():
        for answer in pair:
            assert answer["probability"] in (None, parse_answer(answer["text"]).probability)
            assert (answer["probability"] is None) == (answer["reason"] is not None)
    assert any(answer["probability"] is not None for pair in answers.values() for answer in pair)
    assert "pairs: 4 of 4" in capsys.readouterr().out
    teacher(local(pairs, tmp_path / "b", talker))
    assert read(tmp_path / "b") == answers
    # Half of the answers are there: the other half come out as if nothing had happened.
    shard = tmp_path / "b" / "00000.jsonl"
    shard.write_text("".join(shard.read_text().splitlines(keepends=True)[:2]))
    teacher(local(pairs, tmp_path / "b", talker))
    assert read(tmp_path / "b") == answers


def test_a_local_model_hears_and_sees(omni, media):  # noqa: F811
    """Sound, video and both reach the model: another clip gives other logits, the same seed the same answer."""
    model = LocalTeacher(omni)
    saved = load_file(omni / "model.safetensors")
    loaded = [weight.flatten().tolist() for weight in model.model.state_dict().values()]
    # The names differ between the two, the numbers may not.
    assert all(weight.flatten().tolist() in loaded for weight in saved.values())
    other = media / "other.wav"
    soundfile.write(other, np.sin(np.arange(8000) / 3), 8000)
    lengths = {}
    for modality, path in (
        ("text", None),
        ("audio", media / "sound.wav"),
        ("video", media / "talkie.mp4"),
        ("audiovisual", media / "talkie.mp4"),
    ):
        messages = chat_messages(row(modality, path), media, MANY)
        one, two = (model.answer(messages, seed, 8, 1.0) for seed in (1, 2))
        assert model.answer(chat_messages(row(modality, path), media, MANY), 1, 8, 1.0) == one
        assert one["choices"][0]["message"] != two["choices"][0]["message"]
        lengths[modality] = model.encode(messages)["input_ids"][0].tolist()
    count = {modality: Counter(model.tokenizer.convert_ids_to_tokens(ids)) for modality, ids in lengths.items()}
    assert count["text"]["<|AUDIO|>"] == count["text"]["<|VIDEO|>"] == 0
    # 1 s of sound is 25 tokens (section 2 of Qwen2.5-Omni's report); the frames of 1 s at 1 a second are one step.
    assert (count["audio"]["<|AUDIO|>"], count["audio"]["<|VIDEO|>"]) == (25, 0)
    assert count["video"]["<|AUDIO|>"] == 0
    assert count["video"]["<|VIDEO|>"] == count["audiovisual"]["<|VIDEO|>"] > 0
    assert count["audiovisual"]["<|AUDIO|>"] == pytest.approx(25, abs=2)

    def logits(path: Path) -> torch.Tensor:
        inputs = model.encode(chat_messages(row("audio", path), media, MANY))
        with torch.inference_mode():
            return model.model(**inputs).logits[0, -1]

    assert torch.equal(logits(media / "sound.wav"), logits(media / "sound.wav"))
    assert not torch.allclose(logits(media / "sound.wav"), logits(other))


def test_a_local_model_takes_several_parts(omni, media):  # noqa: F811
    """All of a combination reaches the model, in its order."""
    Image.new("RGB", (56, 56), "red").save(media / "map.png")
    model = LocalTeacher(omni)
    parts = ("image", "map.png"), ("text", "It is late."), ("video", "talkie.mp4"), ("audio", "sound.wav")
    given = combined(media, *parts)
    ids = model.encode(chat_messages(given, media, MANY))["input_ids"][0].tolist()
    tokens = model.tokenizer.convert_ids_to_tokens(ids)
    media_tokens = [token for token in dict.fromkeys(tokens) if token in ("<|IMAGE|>", "<|VIDEO|>", "<|AUDIO|>")]
    assert media_tokens == ["<|IMAGE|>", "<|VIDEO|>", "<|AUDIO|>"]


def test_what_a_local_model_cannot_do_is_said(tmp_path, talker, media):  # noqa: F811
    """Media for a text model and missing weights end the run; a pair that is too long is that pair's reason."""
    model = LocalTeacher(talker)
    with pytest.raises(RunStoppedError, match="takes text alone"):
        model.answer(chat_messages(row("audio", media / "sound.wav"), media, MANY), 0, 3, 1.0)
    model.tokenizer.model_max_length = 100
    with pytest.raises(AnswerFailedError, match="tokens and 3 for the answer are more than the model's 100"):
        model.answer(chat_messages(row("text"), media, MANY), 0, 3, 1.0)
    pairs = write_pairs(tmp_path / "umui", ["is true."])
    with pytest.raises(SystemExit, match="no config.json"):
        teacher(local(pairs, tmp_path / "out", tmp_path))
    holed = tmp_path / "holed"
    shutil.copytree(talker, holed)
    weights = load_file(holed / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, holed / "model.safetensors", {"format": "pt"})
    with pytest.raises(SystemExit, match="holed lacks the weights lm_head.weight"):
        teacher(local(pairs, tmp_path / "out", holed))
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_text((talker / "config.json").read_text())
    torch.save({}, pickled / "pytorch_model.bin")
    with pytest.raises(SystemExit, match="has no weights in safetensors"):
        teacher(local(pairs, tmp_path / "out", pickled))


@pytest.mark.processes
def test_the_server_of_transformers(tmp_path, talker, capsys):
    """A real server: every pair gets its answers; that it does not sample, and that none is whole, is told. No pair is
    asked twice."""
    pairs = write_pairs(tmp_path / "umui", ["is true."] * 5)
    command = [str(Path(sys.executable).parent / "transformers"), "serve", str(talker)]
    command += ["--host", "127.0.0.1", "--port", "0", "--log-level", "info", "--device", "cpu"]
    log = tmp_path / "log"
    with log.open("w") as file:
        server = subprocess.Popen(command, stdout=file, stderr=file, stdin=subprocess.DEVNULL)
    try:
        wait_for(lambda: re.search(r"running on (http://\S+)", log.read_text()) or server.poll() is not None)
        url = re.search(r"running on (http://\S+)", log.read_text())[1] + "/v1"
        more = ["--server", url, "--server-model", str(talker), "--max-tokens", "3", "--in-flight", "4"]
        command = ["--dataset", str(pairs), "--dataset-config", "pairs", "--output-dir", str(tmp_path / "out"), *more]
        # Greedy, this model never comes to its end.
        with pytest.raises(SystemExit, match="25 x cut off [(]finish_reason length[)]"):
            teacher(command)
        answers = read(tmp_path / "out")
        assert [len(answers[str(number)]) for number in range(5)] == [5] * 5
        assert not [answer for pair in answers.values() for answer in pair if answer["text"] is None]
        output = capsys.readouterr().out
        assert "answers: 25" in output
        assert "warning: the teacher gives the same text each time" in output
        asked = log.read_text().count("POST /v1/chat/completions")
        assert asked == 25
        with pytest.raises(SystemExit, match="cut off"):
            teacher(command)
        assert log.read_text().count("POST /v1/chat/completions") == asked
        with pytest.raises(SystemExit):
            other = ["--output-dir", str(tmp_path / "none"), "--server-model", "none", "--stop-after-failures", "3"]
            teacher([*command, *other])
    finally:
        server.kill()
        server.wait(timeout=10)
