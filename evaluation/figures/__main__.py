"""
Draws the figures of the paper, and those that show where a model can be trusted, from files.

```bash
python -m evaluation.figures agreement --raw raw.csv --out figure3.png
python -m evaluation.figures teachers --answers vl=answers-vl omni=answers-omni --judgements people.jsonl
python -m evaluation.figures batching runs/figure5/{mixed,batched}-{0,1,2} --out figure5.png
python -m evaluation.figures ratios 1:0.5=runs/half 1:1=runs/one 1:3=runs/three --out figure6.png
python -m evaluation.figures reliability text=runs/text audio=runs/audio --out reliability.png
python -m evaluation.figures risk-coverage text=runs/text audio=runs/audio --by standard_deviation entropy
python -m evaluation.figures item runs/text --model checkpoints/clue-urn-tiny --ids a-row another
```

`ratios`, `reliability`, `risk-coverage` and `item` take output folders of `python -m evaluation.run`. `--out` names
one file or several, `.png`, `.svg` or `.pdf`; the same input gives the same bytes. What a figure shows is printed,
written beside it as `.alt.txt` and kept in its metadata.
"""

import argparse
from collections import Counter
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from datasets_scripts.annotations import judgement_matrix, read_judgements
from datasets_scripts.arguments import positive, seed
from datasets_scripts.commands import in_words
from datasets_scripts.judgements.agreement import agreement_report, markdown_report
from datasets_scripts.judgements.figures import heatmaps
from evaluation.figures.distributions import draw_distributions, ratio_predictions, teacher_answers
from evaluation.figures.items import draw_items, read_items
from evaluation.figures.reliability import draw_reliability
from evaluation.figures.risk_coverage import RISKS, UNCERTAINTIES, draw_risk_coverage
from evaluation.plots import FORMATS, PAGE, PRINTED, save_figure
from evaluation.prediction_files import EvaluationRun, read_run
from evaluation.predictors.choose import find_checkpoint
from train.curves import Run, summarize
from train.curves import read_run as read_training
from train.plots import by_label, modalities_of
from train.plots import draw as draw_training


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    options = parse(arguments)
    with in_words():
        if options.command in ("ratios", "reliability", "risk-coverage"):
            _refuse_equal_names(options.runs)
        figure, words = options.draw(options)
        # All files and folders that can't be written are told before the first one is.
        for path in options.out:
            if path.is_dir():
                raise ValueError(f"--out {path} is a folder: name a file.")
            path.parent.mkdir(parents=True, exist_ok=True)
    for path in options.out:
        save_figure(figure, path, words, options.dpi)
        beside = path.with_suffix(".alt.txt")
        partial = beside.with_name(beside.name + ".partial")
        partial.write_text(words + "\n", encoding="utf-8")
        partial.replace(beside)
    print(words)
    print(f"\nWrote {', '.join(map(str, options.out))}")


def draw_agreement(options: argparse.Namespace) -> tuple[Figure, str]:
    """Figure 3: how far annotators agree, pair by pair, in four measures."""
    matrix, _, annotators = judgement_matrix(read_judgements(options.raw, percent=options.percent).judgements)
    report = agreement_report(matrix, annotators, options.bootstrap, options.seed)
    lead = "Heat maps of the agreement of pairs of annotators: Pearson, mean squared error, Jensen-Shannon, Spearman."
    return heatmaps(report), f"{lead}\n\n{markdown_report(report).strip()}"


def draw_teachers(options: argparse.Namespace) -> tuple[Figure, str]:
    """Figure 4: how people and teachers use the scale."""
    answers, people = teacher_answers(dict(options.answers), options.judgements)
    return draw_distributions(answers, people, "people")


@rc_context(PRINTED)
def draw_batching(options: argparse.Namespace) -> tuple[Figure, str]:
    """Figure 5: training loss and gradient norm of batches of one modality and of mixed ones."""
    labels = options.label or [None] * len(options.runs)
    if len(labels) != len(options.runs):
        raise ValueError(f"--label names {len(labels)} settings for {len(options.runs)} runs: give one for each.")
    runs = [read_training(folder, label) for folder, label in zip(options.runs, labels, strict=True)]
    _refuse_equal_names(runs)
    words = ["Training loss and gradient norm over the steps, of all steps and by modality; final losses:"]
    summaries = {run.name: summarize(run, dict.fromkeys(run.loss, 0.0)) for run in runs}
    for label, members in by_label(runs).items():
        for modality in modalities_of(members):
            finals = [summaries[run.name][modality]["final_loss"] for run in members if modality in run.loss]
            words.append(f"{label}, {modality}: {', '.join(f'{value:.4g}' for value in finals)}.")
    figure = draw_training(runs)
    # As it is drawn it fills a screen: here, a page.
    figure.set_size_inches(PAGE, 3.6)
    figure.supxlabel("step", fontsize=8)
    for axes in figure.axes:
        axes.title.set_fontsize(8)
        axes.xaxis.set_major_locator(MaxNLocator(2))
    return figure, "\n".join(words)


def draw_ratios(options: argparse.Namespace) -> tuple[Figure, str]:
    """Figure 6: how models trained on different ratios of data use the scale."""
    return draw_distributions(*ratio_predictions(options.runs), options.targets_are)


def draw_bins(options: argparse.Namespace) -> tuple[Figure, str]:
    """How far what is predicted is from what is so."""
    return draw_reliability(options.runs, options.bins, options.equal_mass, options.bootstrap, options.seed)


def draw_risks(options: argparse.Namespace) -> tuple[Figure, str]:
    """The error that is left when the least certain answers are deferred."""
    return draw_risk_coverage(options.runs, options.by, options.risk, options.bootstrap, options.seed)


def draw_item(options: argparse.Namespace) -> tuple[Figure, str]:
    """What a model holds possible of single rows."""
    return draw_items(read_items(options.run, options.ids, find_checkpoint(options.model), options.dataset))


def _refuse_equal_names(runs: list[EvaluationRun] | list[Run]) -> None:
    doubled = [name for name, count in Counter(run.name for run in runs).items() if count > 1]
    if doubled:
        raise ValueError(f"Several runs are called {', '.join(doubled)}: give NAME=FOLDER, or rename the folder.")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.figures", description=__doc__.splitlines()[1])
    commands = parser.add_subparsers(dest="command", required=True)
    resampling = argparse.ArgumentParser(add_help=False)
    resampling.add_argument("--bootstrap", type=positive, default=1000, help="resamples (default: %(default)s)")
    resampling.add_argument("--seed", type=seed, default=0, help="their seed (default: %(default)s)")

    def command(name: str, draw, out: str, help: str, parents: tuple = ()) -> argparse.ArgumentParser:
        one = commands.add_parser(name, parents=list(parents), help=help)
        one.set_defaults(draw=draw)
        one.add_argument(
            "--out",
            type=_figure_file,
            nargs="+",
            default=[Path(out)],
            metavar="FILE",
            help=f"{', '.join(FORMATS)}; several are written alike (default: {out})",
        )
        one.add_argument("--dpi", type=positive, default=200, help="of PNG files (default: %(default)s)")
        return one

    agreement = command("agreement", draw_agreement, "figure3.png", "annotators, pair by pair", (resampling,))
    agreement.add_argument("--raw", type=Path, nargs="+", required=True, metavar="FILE", help="judgements in tables")
    agreement.add_argument(
        "--percent", action="store_true", help="take answers from 0 to 1 as per cent, whatever they look like"
    )
    teachers = command("teachers", draw_teachers, "figure4.png", "teachers' answers against people's")
    teachers.add_argument("--answers", type=_named, nargs="+", required=True, metavar="NAME=FILE")
    teachers.add_argument("--judgements", type=Path, required=True, metavar="FILE", help="aggregated judgements")
    batching = command("batching", draw_batching, "figure5.png", "training curves of runs")
    batching.add_argument("runs", nargs="+", metavar="RUN", help="output folder of a training run")
    batching.add_argument("--label", nargs="+", help="setting of each run (default: its folder's, without the seed)")
    ratios = command("ratios", draw_ratios, "figure6.png", "predictions of models trained on different ratios")
    ratios.add_argument("--targets-are", default="targets", metavar="WORD", help="name of the rows' probabilities")
    reliability = command("reliability", draw_bins, "reliability.png", "reliability diagrams", (resampling,))
    reliability.add_argument("--bins", type=positive, default=10, help="default: %(default)s")
    reliability.add_argument("--equal-mass", action="store_true", help="bins that hold as many rows each")
    risk = command(
        "risk-coverage", draw_risks, "risk-coverage.png", "error, the least certain deferred", (resampling,)
    )
    risk.add_argument(
        "--by", nargs="+", choices=UNCERTAINTIES, default=["standard_deviation"], help="default: standard_deviation"
    )
    risk.add_argument("--risk", choices=RISKS, default="squared", help="default: %(default)s")
    for one in (ratios, reliability, risk):
        one.add_argument("runs", type=_run, nargs="+", metavar="[NAME=]FOLDER", help="output folder of an evaluation")
    item = command("item", draw_item, "item.png", "distributions of single rows")
    item.add_argument("run", type=_run, metavar="[NAME=]FOLDER", help="output folder of an evaluation")
    item.add_argument("--model", required=True, help="its checkpoint, a folder or a name on the Hub")
    item.add_argument("--ids", nargs="+", required=True, metavar="ID", help="ids of rows")
    item.add_argument("--dataset", help="its dataset, if that has been moved")
    options = parser.parse_args(arguments)
    if options.command == "risk-coverage":
        options.by = list(dict.fromkeys(options.by))
    return options


def _figure_file(text: str) -> Path:
    path = Path(text)
    if path.suffix not in FORMATS:
        raise argparse.ArgumentTypeError(f"must end in {', '.join(FORMATS)}, got {text!r}")
    return path


def _named(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not name or not equals or not path:
        raise argparse.ArgumentTypeError(f"must be NAME=FILE, got {text!r}")
    return name, Path(path)


def _run(text: str) -> EvaluationRun:
    name, equals, folder = text.partition("=")
    named = bool(name and equals and folder) and not Path(text).is_dir()
    try:
        return read_run(folder, name) if named else read_run(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    main()
