"""A saved folder stands for itself: loaded as a stranger would, in a process with no code of ours but the folder's."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoProcessor

import modeling_clue
from modeling_clue.auto import BACKBONES
from modeling_clue.modalities import MODALITIES
from tests.conftest import TEXTS
from tests.launching import run
from train.tiny import build_tiny


pytestmark = pytest.mark.processes

HYPOTHESES = ["The ball is red.", "No."]

# What the stranger runs. The hook makes sure that our packages cannot be imported, installed or not.
STRANGER = """
import json, sys
from pathlib import Path

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("modeling_clue", "common", "chat", "train", "datasets_scripts", "evaluation"):
            raise ImportError(f"{name} is not there for strangers")

sys.meta_path.insert(0, Nothing())
try:
    import modeling_clue
    raise SystemExit("the package can be imported")
except ImportError:
    pass

import numpy as np, torch
from transformers import AutoConfig, AutoModel, AutoProcessor
torch.set_num_threads(1)

job = json.loads(sys.argv[1])
probabilities = {}
def answer(folder, name, dtype):
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    model, info = AutoModel.from_pretrained(
        folder, trust_remote_code=True, dtype=dtype, output_loading_info=True
    )
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info[kind], (kind, info[kind])
    assert type(model).__module__.startswith("transformers_modules."), type(model)
    talkie = {"video": job["talkie"], "modality": "audiovisual"}
    premises = [job["text"], Path(job["audio"]), Path(job["video"]), talkie]
    with torch.no_grad():
        output = model.eval()(**processor(premises, [job["hypotheses"]] * 4))
    assert output.probability.dtype == torch.float32
    probabilities[name] = output.probability.numpy()
    return model, processor

for backbone, (folder, copy, model_type) in job["folders"].items():
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    assert (config.model_type, config.num_bins, config.target) == (model_type, 100, "mean_preserving"), config
    model, processor = answer(folder, f"{backbone} float32", torch.float32)
    model.save_pretrained(copy)
    processor.save_pretrained(copy)
    answer(copy, f"{backbone} copy", torch.float32)
    answer(folder, f"{backbone} bfloat16", torch.bfloat16)
    # A checkpoint brings the code of its own backbone in, and of no other.
    others = [name for name in sys.modules if name.startswith("transformers_modules.") and "qwen3_omni" in name]
    assert bool(others) == (backbone == "qwen3-omni"), others
np.savez(job["out"], **probabilities)
"""


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    """A tiny checkpoint of each backbone."""
    root = tmp_path_factory.mktemp("checkpoints")
    return {
        name: build_tiny(TEXTS, root / name, vocab_size=420, num_hidden_layers=2, backbone=name) for name in BACKBONES
    }


@pytest.fixture(scope="module")
def stranger(checkpoints, clips, premises, tmp_path_factory):
    """Runs the stranger's script on the checkpoints: the folders it saved, and its probabilities by name."""
    folder = tmp_path_factory.mktemp("stranger")
    job = {
        "folders": {
            name: (str(path), str(folder / name), BACKBONES[name][0].model_type) for name, path in checkpoints.items()
        },
        "out": str(folder / "probabilities.npz"),
        "text": premises["text"],
        "audio": str(clips.sound),
        "video": str(clips.silent),
        "talkie": str(clips.talkie),
        "hypotheses": HYPOTHESES,
    }
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_MODULES_CACHE": str(folder / "modules"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = run("-c", STRANGER, json.dumps(job), folder=folder, environment=environment)
    assert done.returncode == 0, done.stderr
    assert "newly initialized" not in done.stderr
    return folder, dict(np.load(job["out"]))


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("name", ["float32", "copy", "bfloat16"])
def test_a_stranger_gets_the_same_probabilities(stranger, checkpoints, premises, backbone, name):
    """With remote code the probabilities of all modalities are ours to the bit, in float32 and bfloat16, and so are
    those of a copy that the stranger saved; no weight is missing or left over (asserted by the script)."""
    dtype = torch.bfloat16 if name == "bfloat16" else torch.float32
    ours = AutoModel.from_pretrained(checkpoints[backbone], dtype=dtype).eval()
    processor = AutoProcessor.from_pretrained(checkpoints[backbone])
    with torch.no_grad():
        output = ours(**processor([premises[modality] for modality in MODALITIES], [HYPOTHESES] * 4))
    assert np.array_equal(stranger[1][f"{backbone} {name}"], output.probability.numpy())


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_copy_is_as_complete(stranger, checkpoints, backbone):
    """What a stranger saves holds the same files, code included and byte for byte the same."""
    original, copied = checkpoints[backbone], stranger[0] / backbone
    names = sorted(path.name for path in original.iterdir())
    assert sorted(path.name for path in copied.iterdir()) == names
    for path in original.glob("*.py"):
        assert (copied / path.name).read_bytes() == path.read_bytes()


def test_nothing_in_the_folder_is_pickled(tiny_checkpoint):
    """A checkpoint holds weights as safetensors, and otherwise JSON and source code: nothing that runs when read."""
    suffixes = {path.suffix for path in tiny_checkpoint.iterdir()}
    assert suffixes <= {".safetensors", ".json", ".py", ".jinja"}


def test_the_code_in_the_folder_is_ours(tiny_checkpoint):
    """The source files in a checkpoint are those of the package, unchanged."""
    package = Path(modeling_clue.__file__).parent
    files = {path.name for path in tiny_checkpoint.glob("*.py")}
    assert files >= {"confidence.py", "configuration_clue.py", "media.py", "modeling_clue.py", "processing_clue.py"}
    for name in files:
        assert (tiny_checkpoint / name).read_bytes() == (package / name).read_bytes()
