"""The annotation tool's copy on the Hub: private, whole, and enough to begin from on a new disk."""

import pytest


pytestmark = pytest.mark.processes

PRELUDE = """
import sqlite3, sys
from pathlib import Path
sys.path.insert(0, "spaces/annotate")
from assignment import QueuedItem
from store import Judgement, Store
from sync import NAME, Sync, restore
repository, folder = sys.argv[1], Path(sys.argv[2])
def open_store():
    return Store(folder / NAME, [QueuedItem("item", 0, True)], {"item": "digest"}, ["ada"], 1, 100)
"""
SEND = (
    PRELUDE
    + """
store = open_store()
sync = Sync(store, repository, folder / "sync", 1000)
for probability in (20, 80):
    store.open("ada", "item")
    store.judge(Judgement("item", "ada", probability, ["text"], None))
    sync.trigger().result()
sync.trigger().result()
sync.stop()
"""
)
FETCH = (
    PRELUDE
    + """
print(restore(repository, folder / NAME), [one.probability for one in open_store().judgements()])
print(restore(repository, folder / NAME))
"""
)


def test_a_new_disk_begins_from_the_copy(hub, tmp_path):
    """What was judged before the last snapshot is there again; an unchanged database is not sent twice."""
    hub.clear_log()
    hub.run(tmp_path / "home", SEND, "tester/judgements", tmp_path / "one")
    # The repository's own first commit aside, there is one for each judgement.
    assert 2 <= len(hub.commits()) <= 3
    done = hub.run(tmp_path / "other-home", FETCH, "tester/judgements", tmp_path / "two")
    assert done.stdout.splitlines() == ["True [80]", "False"]


def test_a_public_dataset_is_refused(hub, tmp_path):
    """Judgements carry names: they go to nobody who may not read them."""
    code = "import sys\nfrom huggingface_hub import HfApi\nHfApi().create_repo(sys.argv[1], repo_type='dataset')\n"
    hub.run(tmp_path / "home", code, "tester/public")
    hub.clear_log()
    done = hub.run(tmp_path / "home", SEND, "tester/public", tmp_path / "one", check=False)
    assert done.returncode != 0 and "public" in done.stderr and not hub.commits()
