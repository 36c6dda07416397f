"""A saved folder stands for itself: loaded as a stranger would, in a process with no code of ours but the folder's."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import modeling_clue
from modeling_clue import CLUEForConfidenceEstimation
from modeling_clue.processing_clue import MODALITIES
from tests.launching import run


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

config = AutoConfig.from_pretrained(job["folder"], trust_remote_code=True)
assert (config.model_type, config.num_bins, config.target) == ("clue", 100, "mean_preserving"), config
model, processor = answer(job["folder"], "float32", torch.float32)
model.save_pretrained(job["copy"])
processor.save_pretrained(job["copy"])
answer(job["copy"], "copy", torch.float32)
answer(job["folder"], "bfloat16", torch.bfloat16)
np.savez(job["out"], **probabilities)
"""


@pytest.fixture(scope="module")
def stranger(tiny_checkpoint, clips, premises, tmp_path_factory):
    """Runs the stranger's script on the checkpoint: the folder it saved, and its probabilities by name."""
    folder = tmp_path_factory.mktemp("stranger")
    job = {
        "folder": str(tiny_checkpoint),
        "copy": str(folder / "copy"),
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
    return Path(job["copy"]), dict(np.load(job["out"]))


@pytest.mark.parametrize("name", ["float32", "copy", "bfloat16"])
def test_a_stranger_gets_the_same_probabilities(stranger, tiny_checkpoint, processor, premises, name):
    """With remote code the probabilities of all modalities are ours to the bit, in float32 and bfloat16, and so are
    those of a copy that the stranger saved; no weight is missing or left over (asserted by the script)."""
    dtype = torch.bfloat16 if name == "bfloat16" else torch.float32
    ours = CLUEForConfidenceEstimation.from_pretrained(tiny_checkpoint, dtype=dtype).eval()
    with torch.no_grad():
        output = ours(**processor([premises[modality] for modality in MODALITIES], [HYPOTHESES] * 4))
    assert np.array_equal(stranger[1][name], output.probability.numpy())


def test_the_copy_is_as_complete(stranger, tiny_checkpoint):
    """What a stranger saves holds the same files, code included and byte for byte the same."""
    copied, _ = stranger
    names = sorted(path.name for path in tiny_checkpoint.iterdir())
    assert sorted(path.name for path in copied.iterdir()) == names
    for path in tiny_checkpoint.glob("*.py"):
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
