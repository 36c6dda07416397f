"""A research checkpoint is converted from a repository on a Hub as from a folder."""

import shutil

import pytest
import yaml

from modeling_clue.conversion import from_research
from tests.modeling_clue.test_research import PROMPTS, in_old_names, write_adapter, write_root


pytestmark = pytest.mark.processes

UPLOAD = """
import sys
from huggingface_hub import HfApi
api = HfApi()
api.create_repo(sys.argv[1])
api.upload_folder(repo_id=sys.argv[1], folder_path=sys.argv[2])
"""


@pytest.mark.parametrize("layout", ["root", "model"])
def test_from_a_repository(hub, tmp_path, layout):
    """The files that come out are those that come out of the folder, bit by bit; the adapter is found in `lora/`, and
    the rest at the root or in `model/`."""
    root = write_root(tmp_path / "root")
    in_old_names(write_adapter(root, tmp_path / "adapter"), root / "lora")
    if layout == "model":
        (root / "lora").rename(tmp_path / "lora")
        root = root.rename(tmp_path / "model")
        root = shutil.copytree(root, tmp_path / "whole/model").parent
        (tmp_path / "lora").rename(root / "lora")
    prompts = tmp_path / "prompts.yaml"
    prompts.write_text(yaml.safe_dump(PROMPTS))
    hub.run(tmp_path / "author", UPLOAD, f"tester/{layout}", root)
    from_research(root, prompts, tmp_path / "from_folder")
    command = ["-m", "modeling_clue.conversion", "from-research", "--model", f"tester/{layout}"]
    command += ["--prompt", prompts, "--output-dir", tmp_path / "from_hub"]
    hub.call(tmp_path / "stranger", *command, token=False)
    for file in ("model.safetensors", "config.json", "processor_config.json", "tokenizer.json"):
        assert (tmp_path / "from_hub" / file).read_bytes() == (tmp_path / "from_folder" / file).read_bytes(), file
