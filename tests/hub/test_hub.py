"""The local Hub, by the clients that real Hubs are used with."""

import pytest


pytestmark = pytest.mark.processes

PUSH = """
import sys
from huggingface_hub import HfApi
api = HfApi()
api.create_repo(sys.argv[1], repo_type="dataset", exist_ok=True)
print(api.upload_folder(repo_id=sys.argv[1], repo_type="dataset", folder_path=sys.argv[2]).oid)
"""


def test_second_push_sends_nothing(hub, tmp_path):
    """A folder that is there already is neither uploaded nor committed again."""
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Hello\n")
    (folder / "sub" / "clip.flac").write_bytes(b"fLaC" + bytes(1000))
    first = hub.run(tmp_path / "home", PUSH, "clue/twice", folder).stdout
    hub.clear_log()
    assert hub.run(tmp_path / "home", PUSH, "clue/twice", folder).stdout == first
    assert hub.uploads() == hub.commits() == []
