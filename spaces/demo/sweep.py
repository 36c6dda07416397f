"""Deletes what visitors sent: also uploads that were broken off, of which Gradio keeps no list."""

import os
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory


MINUTES = 10


def own_folder() -> TemporaryDirectory:
    """A folder for uploads that no other app shares, which goes when this process ends. Before Gradio's import."""
    folder = TemporaryDirectory(prefix="clue-demo-", dir=os.environ.get("GRADIO_TEMP_DIR"))
    os.environ["GRADIO_TEMP_DIR"] = folder.name
    return folder


def sweep(folder: Path, before: float) -> None:
    """
    Deletes files that were written before a moment.

    Args:
        folder (`Path`): Where they lie, at any depth.
        before (`float`): The moment, in seconds since the epoch.
    """
    for file in folder.rglob("*"):
        try:
            if file.is_file() and file.stat().st_ctime < before:
                file.unlink()
        except FileNotFoundError:
            continue  # somebody else was quicker


def sweep_now_and_then(folder: Path) -> None:
    """Sweeps every few minutes, as long as this process lives; `folder` (`Path`) is as of [`sweep`]."""

    def forever() -> None:
        while True:
            time.sleep(60 * MINUTES)
            sweep(folder, time.time() - 60 * MINUTES)

    threading.Thread(target=forever, daemon=True).start()
