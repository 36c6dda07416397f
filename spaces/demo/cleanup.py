"""Deletes what visitors sent: also uploads that were broken off, of which Gradio keeps no list."""

import os
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory


MINUTES = 10


def make_upload_folder() -> TemporaryDirectory:
    """Makes a folder for uploads that goes when this process ends; must be called before Gradio's import."""
    folder = TemporaryDirectory(prefix="clue-demo-", dir=os.environ.get("GRADIO_TEMP_DIR"))
    os.environ["GRADIO_TEMP_DIR"] = folder.name
    return folder


def delete_old_files(folder: Path, before: float) -> None:
    """Deletes files at any depth that were written before a moment, in seconds since the epoch."""
    for file in folder.rglob("*"):
        try:
            if file.is_file() and file.stat().st_ctime < before:
                file.unlink()
        except FileNotFoundError:
            continue  # somebody else was quicker


def keep_clean(folder: Path) -> None:
    """Deletes old files every few minutes, as long as this process lives."""

    def forever() -> None:
        while True:
            time.sleep(60 * MINUTES)
            delete_old_files(folder, time.time() - 60 * MINUTES)

    threading.Thread(target=forever, daemon=True).start()
