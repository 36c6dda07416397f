"""A checkpoint is assembled from repositories on a Hub as from files."""

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from modeling_clue.assembly import TowerSize, assemble
from tests.hub.test_research import UPLOAD
from tests.modeling_clue.test_assembly import write_gguf
from tests.tiny_sources import write_language_model, write_whisper


pytestmark = pytest.mark.processes


def test_from_repositories(hub, tmp_path):
    """A GGUF file and a Whisper give what they give from this machine, bit by bit."""
    (tmp_path / "llama").mkdir()
    file = write_gguf(
        write_language_model(tmp_path / "source", LlamaConfig, LlamaForCausalLM), tmp_path / "llama" / "model.gguf"
    )
    whisper = write_whisper(tmp_path / "whisper")
    for name in ("llama", "whisper"):
        hub.run(tmp_path / "author", UPLOAD, f"tester/assembly-{name}", tmp_path / name)
    assemble(file, tmp_path / "from_files", audio_tower=whisper, vision_tower=TowerSize(1, 64))
    command = ["-m", "modeling_clue.conversion", "assemble", "--output-dir", tmp_path / "from_hub"]
    command += ["--language-model", "tester/assembly-llama/model.gguf", "--audio-tower", "tester/assembly-whisper"]
    hub.call(tmp_path / "stranger", *command, "--vision-layers", "1", "--vision-width", "64", token=False)
    for name in ("model.safetensors", "config.json", "processor_config.json", "tokenizer.json"):
        assert (tmp_path / "from_hub" / name).read_bytes() == (tmp_path / "from_files" / name).read_bytes(), name
