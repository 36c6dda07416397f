"""
Draws the figures of the paper, and those that show where a model can be trusted, from files.

```bash
python -m evaluation.figures agreement --annotations raw.csv --output agreement/agreement.png
python -m evaluation.figures annotators --annotations raw.csv
python -m evaluation.figures teachers --answers vl=answers-vl omni=answers-omni --judgements people.jsonl
python -m evaluation.figures batching runs/figure5/{mixed,batched}-{0,1,2} --output figure5.png
python -m evaluation.figures ratios 1:0.5=runs/half 1:1=runs/one 1:3=runs/three --output figure6.png
python -m evaluation.figures reliability text=runs/text audio=runs/audio --output reliability.png
python -m evaluation.figures risk-coverage text=runs/text audio=runs/audio --by standard_deviation entropy
python -m evaluation.figures item runs/text --model checkpoints/clue-urn-tiny --ids a-row another
python -m evaluation.figures timeline --model checkpoints/clue-urn-tiny --video clip.mp4 --hypotheses "It is red."
```

`ratios`, `reliability`, `risk-coverage` and `item` take output folders of `python -m evaluation.run`. `--output` names
one file or several, `.png`, `.svg` or `.pdf`; the same input gives the same bytes. What a figure shows is printed,
written beside it as `.alt.txt` and kept in its metadata.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from common.cli import ArgumentParser, exit_on_error, named_path, positive_float, positive_int, seed
from common.files import write_text
from common.hub import find_checkpoint
from datasets_scripts.judgements.read import add_raw_options, read_and_tell
from evaluation.agreement import agreement_of, histogram, markdown_report
from evaluation.belief_pipeline import load_belief_pipeline
from evaluation.figures.agreement import draw_heatmaps
from evaluation.figures.batching import draw_batching, logged_values, summary_table
from evaluation.figures.curves import Run
from evaluation.figures.curves import read_run as read_training
from evaluation.figures.distributions import draw_distributions, ratio_predictions, teacher_answers
from evaluation.figures.items import draw_items, read_items
from evaluation.figures.reliability import draw_reliability
from evaluation.figures.risk_coverage import RISKS, UNCERTAINTIES, draw_risk_coverage
from evaluation.figures.style import FORMATS, save_figure
from evaluation.figures.timeline import draw_timeline, read_story, timeline_values
from evaluation.metrics.uncertain_inference.measures import RESAMPLES
from evaluation.prediction_files import EvaluationRun, read_run


# A figure, what it shows in words, and the files of its numbers by their ending.
Drawn = tuple[Figure, str, dict[str, str]]


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    options = parse(arguments)
    with exit_on_error():
        if options.command in ("ratios", "reliability", "risk-coverage"):
            _refuse_equal_names(options.runs)
        figure, words, beside = options.draw(options)
        # All files and folders that can't be written are told before the first one is.
        for path in options.output:
            if path.is_dir():
                raise ValueError(f"--output {path} is a folder: name a file.")
            path.parent.mkdir(parents=True, exist_ok=True)
        for path in options.output:
            save_figure(figure, path, words, options.dpi)
            for ending, text in {".alt.txt": f"{words}\n", **beside}.items():
                write_text(path.with_suffix(ending), text)
    print(words)
    print(f"\nWrote {', '.join(map(str, options.output))}; beside: {', '.join(['.alt.txt', *beside])}")


def agreement(options: argparse.Namespace) -> Drawn:
    """Draws figure 3: agreement of annotators, pair by pair, in four measures."""
    report = agreement_of(read_and_tell(options), options.resamples, options.seed)
    table = markdown_report(report)
    # What is undefined is null.
    pairs = [{key: None if value != value else value for key, value in pair.items()} for pair in report["pairs"]]
    lead = "Heat maps of the agreement of pairs of annotators: Pearson, mean squared error, Jensen-Shannon, Spearman."
    beside = {".json": _as_json(report | {"pairs": pairs}), ".md": table}
    return draw_heatmaps(report), f"{lead}\n\n{table.strip()}", beside


def annotators(options: argparse.Namespace) -> Drawn:
    """Draws how each annotator uses the scale, beside all of them."""
    answers = {}
    for judgement in sorted(read_and_tell(options), key=lambda judgement: judgement.annotator):
        answers.setdefault(judgement.annotator, []).append(judgement.probability)
    return _distributions(answers, [value for given in answers.values() for value in given], "all annotators")


def teachers(options: argparse.Namespace) -> Drawn:
    """Draws figure 4: how people and teachers use the scale."""
    return _distributions(*teacher_answers(dict(options.answers), options.judgements), "people")


def batching(options: argparse.Namespace) -> Drawn:
    """Draws figure 5: training loss and gradient norm of batches of one modality and of mixed ones."""
    labels = options.label or [None] * len(options.runs)
    if len(labels) != len(options.runs):
        raise ValueError(f"--label names {len(labels)} settings for {len(options.runs)} runs: give one for each.")
    runs = [read_training(folder, label) for folder, label in zip(options.runs, labels, strict=True)]
    _refuse_equal_names(runs)
    return *draw_batching(runs), {".csv": logged_values(runs), ".md": summary_table(runs)}


def ratios(options: argparse.Namespace) -> Drawn:
    """Draws figure 6: how models trained on different ratios of data use the scale."""
    return *draw_distributions(*ratio_predictions(options.runs), options.targets_are), {}


def reliability(options: argparse.Namespace) -> Drawn:
    """Draws how far predictions are from targets."""
    return *draw_reliability(options.runs, options.bins, options.equal_mass, options.resamples, options.seed), {}


def risk_coverage(options: argparse.Namespace) -> Drawn:
    """Draws the error that is left when the least certain answers are deferred."""
    return *draw_risk_coverage(options.runs, options.by, options.risk, options.resamples, options.seed), {}


def item(options: argparse.Namespace) -> Drawn:
    """Draws the distributions that a model gives for single rows."""
    return *draw_items(read_items(options.run, options.ids, find_checkpoint(options.model), options.dataset)), {}


def timeline(options: argparse.Namespace) -> Drawn:
    """Draws what a model believes of hypotheses over the time of one premise."""
    premise = {name: getattr(options, name) for name in ("text", "audio", "video") if getattr(options, name)}
    if options.modality is not None:
        if "video" not in premise:
            raise ValueError("--modality says how a --video is judged: leave it out.")
        premise["modality"] = options.modality
    asked = {"every": options.every, "interval": options.interval}
    if options.fps is not None:
        asked["fps"] = options.fps
    story = read_story(load_belief_pipeline(find_checkpoint(options.model)), premise, options.hypotheses, **asked)
    return *draw_timeline(story), {".csv": timeline_values(story)}


def _distributions(answers: dict[str, list[float]], reference: list[float], name: str) -> Drawn:
    """Draws histograms, with their counts beside."""
    counts = [
        {"name": who, "n": len(values), "histogram": histogram(np.array(values)).tolist()}
        for who, values in [(name, reference), *answers.items()]
    ]
    return *draw_distributions(answers, reference, name), {".json": _as_json(counts)}


def _as_json(numbers) -> str:
    return json.dumps(numbers, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _refuse_equal_names(runs: list[EvaluationRun] | list[Run]) -> None:
    doubled = [name for name, count in Counter(run.name for run in runs).items() if count > 1]
    if doubled:
        raise ValueError(f"Several runs are called {', '.join(doubled)}: give NAME=FOLDER, or rename the folder.")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ArgumentParser(prog="python -m evaluation.figures", description=__doc__.splitlines()[1])
    commands = parser.add_subparsers(dest="command", required=True)
    resampling = ArgumentParser(add_help=False)
    resampling.add_argument(
        "--resamples", type=positive_int, default=RESAMPLES, help="resamples of whole premises (default: %(default)s)"
    )
    resampling.add_argument("--seed", type=seed, default=0, help="their seed (default: %(default)s)")
    runs = ArgumentParser(add_help=False)
    runs.add_argument("runs", type=_run, nargs="+", metavar="[NAME=]FOLDER", help="output folder of an evaluation")

    def command(name: str, draw, out: str, help: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        one = commands.add_parser(name, parents=parents, help=help)
        one.set_defaults(draw=draw)
        one.add_argument(
            "--output",
            type=_figure_file,
            nargs="+",
            default=[Path(out)],
            metavar="FILE",
            help=f"{', '.join(FORMATS)}; several are written alike (default: {out})",
        )
        one.add_argument("--dpi", type=positive_int, default=200, help="of PNG files (default: %(default)s)")
        return one

    add_raw_options(command("agreement", agreement, "figure3.png", "annotators, pair by pair", resampling))
    add_raw_options(command("annotators", annotators, "annotators.png", "annotators' answers against those of all"))
    one = command("teachers", teachers, "figure4.png", "teachers' answers against people's")
    one.add_argument("--answers", type=named_path, nargs="+", required=True, metavar="NAME=PATH")
    one.add_argument("--judgements", type=Path, required=True, metavar="FILE", help="aggregated judgements")
    one = command("batching", batching, "figure5.png", "training curves of runs")
    one.add_argument("runs", nargs="+", metavar="RUN", help="output folder of a training run")
    one.add_argument("--label", nargs="+", help="setting of each run (default: its folder's, without the seed)")
    one = command("ratios", ratios, "figure6.png", "predictions of models trained on different ratios", runs)
    one.add_argument("--targets-are", default="targets", metavar="WORD", help="name of the rows' probabilities")
    one = command("reliability", reliability, "reliability.png", "reliability diagrams", resampling, runs)
    one.add_argument("--bins", type=positive_int, default=10, help="default: %(default)s")
    one.add_argument("--equal-mass", action="store_true", help="bins that hold as many rows each")
    words = "error, the least certain deferred"
    one = command("risk-coverage", risk_coverage, "risk-coverage.png", words, resampling, runs)
    default = ["standard_deviation"]
    one.add_argument("--by", nargs="+", choices=UNCERTAINTIES, default=default, help="default: standard_deviation")
    one.add_argument("--risk", choices=RISKS, default="squared", help="default: %(default)s")
    one = command("item", item, "item.png", "distributions of single rows")
    one.add_argument("run", type=_run, metavar="[NAME=]FOLDER", help="output folder of an evaluation")
    one.add_argument("--model", required=True, help="its checkpoint, a folder or a name on the Hub")
    one.add_argument("--ids", nargs="+", required=True, metavar="ID", help="ids of rows")
    one.add_argument("--dataset", help="its dataset, if that has been moved")
    one = command("timeline", timeline, "timeline.png", "belief over the time of one clip or text")
    one.add_argument("--model", required=True, help="checkpoint of CLUE, a folder or a name on the Hub")
    premise = one.add_mutually_exclusive_group(required=True)
    premise.add_argument("--text", help="the premise, a text")
    premise.add_argument("--audio", metavar="FILE", help="or a sound")
    premise.add_argument("--video", metavar="FILE", help="or a video, with its sound where it has some")
    one.add_argument("--hypotheses", nargs="+", required=True, metavar="TEXT", help="about it, a curve each")
    one.add_argument("--modality", choices=("video", "audiovisual"), help="judge a video without, or with its sound")
    every = "seconds, or characters of a text, between two times (default: every time there is)"
    one.add_argument("--every", type=positive_float, metavar="N", help=every)
    one.add_argument("--fps", type=positive_float, help="frames a second that the model sees (default: its own)")
    share = "share of the distribution inside the band (default: %(default)s)"
    one.add_argument("--interval", type=positive_float, default=0.9, help=share)
    options = parser.parse_args(arguments)
    if options.command == "risk-coverage":
        options.by = list(dict.fromkeys(options.by))
    return options


def _figure_file(text: str) -> Path:
    path = Path(text)
    if path.suffix not in FORMATS:
        raise argparse.ArgumentTypeError(f"must end in {', '.join(FORMATS)}, got {text!r}")
    return path


def _run(text: str) -> EvaluationRun:
    name, folder = named_path(text) if "=" in text and not Path(text).is_dir() else (None, text)
    try:
        return read_run(folder, name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    main()
