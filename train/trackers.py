"""Tracking with trackio on this machine alone: `--report-to trackio` writes files and asks nobody anything.

```bash
python train/sft.py --config train/recipes/urn_batched.yaml --report-to trackio
TRACKIO_DIR=runs/figure5/trackio trackio show --project clue
```
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import constants
from transformers.integrations import TrackioCallback

from train.arguments import CLUETrainingArguments


# Set by somebody who wants to track elsewhere: these settings of trackio's are left to work as it says.
ELSEWHERE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")


class LocalTrackioCallback(TrackioCallback):
    """Tracks in a folder: `TRACKIO_DIR`, or `trackio/` beside the folder of the run, so that runs that lie side by
    side are seen together, and nothing of it is pushed with the model.

    The run has the name of its folder. One that resumes goes on under its name; a new one in a folder whose name is
    taken has a number behind it.

    Args:
        args ([`~train.arguments.CLUETrainingArguments`]): `output_dir`, `project` and `run_name` are looked at.
        resumes (`bool`): Whether the run goes on from a checkpoint.
    """

    def __init__(self, args: CLUETrainingArguments, resumes: bool):
        # trackio reads it once, as it is imported.
        self.folder = os.environ.get("TRACKIO_DIR") or str(Path(args.output_dir).absolute().parent / "trackio")
        os.environ["TRACKIO_DIR"] = self.folder
        super().__init__()
        self.resumes = resumes

    def setup(self, args, state, model, **kwargs):
        """Begins the run, or goes on with it, on the main process."""
        if state.is_world_process_zero:
            if args.run_name is None:
                args.run_name = self._run_name(args)
            print(f"To see this run: TRACKIO_DIR={self.folder} trackio show --project {args.project}")
        # trackio would ask the Hub for the name of who is logged in.
        with _hub_offline():
            super().setup(args, state, model, **kwargs)

    def on_push_begin(self, args, state, control, model, **kwargs):
        """Leaves the logs here when the model is pushed, unless a Space is named for them."""
        if args.trackio_static_space_id:
            super().on_push_begin(args, state, control, model, **kwargs)

    def _run_name(self, args: CLUETrainingArguments) -> str:
        name = Path(args.output_dir).absolute().name
        try:
            taken = {run.name for run in self._trackio.Api().runs(args.project)}
        except ValueError:  # the project's first run
            return name
        names = [name]
        while names[-1] in taken:
            names.append(f"{name}-{len(names) + 1}")
        return names[-2] if self.resumes and len(names) > 1 else names[-1]


def local_trackers(args: CLUETrainingArguments, resumes: bool) -> list[TrackioCallback]:
    """Takes trackio out of `report_to` where it would track on this machine, for [`LocalTrackioCallback`] to do it.

    Args:
        args ([`~train.arguments.CLUETrainingArguments`]): The settings of the run; `report_to` is changed.
        resumes (`bool`): Whether the run goes on from a checkpoint.

    Returns:
        `list[TrackioCallback]`: To be given to the trainer.
    """
    elsewhere = args.trackio_space_id is not None or any(os.environ.get(name) for name in ELSEWHERE)
    if "trackio" not in args.report_to or elsewhere:
        return []
    args.report_to = [name for name in args.report_to if name != "trackio"]
    return [LocalTrackioCallback(args, resumes)]


@contextmanager
def _hub_offline() -> Iterator[None]:
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
