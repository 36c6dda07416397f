"""Keeps a copy of the database in a private dataset on the Hub, and restores it where the disk is new."""

from pathlib import Path
from shutil import copyfile

from huggingface_hub import CommitScheduler, HfApi, hf_hub_download
from store import Store


NAME = "annotations.sqlite"


class Sync(CommitScheduler):
    """
    Sends a snapshot of the database every few minutes, if it has changed.

    Args:
        store ([`Store`]): What to send: not the file itself, which may be in the middle of a change, but a
            copy made by SQLite.
        repository (`str`): The dataset, e.g. `"org/judgements"`; made, as a private one, if it isn't there.
        folder (`Path`): Where the copy is made.
        minutes (`float`): How often.

    Raises:
        `ValueError`: if the dataset is public: judgements carry names.
    """

    def __init__(self, store: Store, repository: str, folder: Path, minutes: float):
        self._store = store
        folder.mkdir(parents=True, exist_ok=True)
        api = HfApi()
        api.create_repo(repository, repo_type="dataset", private=True, exist_ok=True)
        if not api.repo_info(repository, repo_type="dataset").private:
            raise ValueError(f"ANNOTATE_SYNC {repository} is public, and judgements carry names: make it private")
        super().__init__(
            repo_id=repository, folder_path=folder, every=minutes, repo_type="dataset", private=True,
            allow_patterns=[NAME],
        )  # fmt: skip

    def push_to_hub(self):
        """Takes a snapshot and sends it."""
        self._store.snapshot(Path(self.folder_path) / NAME)
        return super().push_to_hub()


def restore(repository: str, file: Path) -> bool:
    """Fetches the copy on the Hub if there is one and no database yet; returns whether it did."""
    if file.exists() or not HfApi().file_exists(repository, NAME, repo_type="dataset"):
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".partial")
    copyfile(hf_hub_download(repository, NAME, repo_type="dataset"), partial)
    partial.replace(file)
    return True
