"""CLUE-T from training to report: answers are generated, read as those of teachers, and counted without a number."""

import json
import shutil

import pytest
import torch
from transformers import AutoConfig

from evaluation import run
from evaluation.data import load_rows
from evaluation.predictors import checkpoints
from evaluation.predictors.checkpoints import TextPredictor, answer_format
from evaluation.target_floor import written_predictions
from modeling_clue.modalities import MODALITIES
from tests.reading import lines
from train.answers import CLUEForTextAnswers
from train.sft import main as train


@pytest.fixture(scope="module")
def trained(tiny_checkpoint, urn_world, tmp_path_factory):
    """A tiny CLUE-T that knows the answers to all training texts by heart, and hardly more."""
    folder = tmp_path_factory.mktemp("clue-t")
    train(
        [
            *(
                "--variant",
                "text",
                "--model_name_or_path",
                str(tiny_checkpoint),
                "--output_dir",
                str(folder / "model"),
            ),
            *("--dataset", str(urn_world), "--dataset-configs", "urn-text", "--use_cpu", "true"),
            *("--cache_premises", "true"),
            *("--max_steps", "150", "--learning_rate", "2.0e-3", "--warmup_steps", "10", "--save_strategy", "no"),
            *("--per_device_train_batch_size", "4", "--report_to", "none", "--disable_tqdm", "true"),
        ]
    )
    return folder / "model"


@pytest.fixture(scope="module")
def predictor(trained):
    """Treat it as read-only."""
    return TextPredictor(trained)


def evaluate(model, dataset, out, *options: str) -> dict:
    """The report of an evaluation."""
    given = ("--model", model, "--dataset", dataset, "--dataset-config", "urn-text", "--output-dir", out, *options)
    return run.main([str(part) for part in given])


def test_what_was_learnt_by_heart_is_answered(trained, urn_world, tmp_path):
    """Through the saved checkpoint and the command line, each training row gets its probability to two decimals."""
    report = evaluate(trained, urn_world, tmp_path, "--split", "train")
    predictions = lines(tmp_path / "predictions.jsonl")
    assert len(predictions) == 48
    for row in predictions:
        assert row["answer"] == f"{row['target']:.2f}" and row["prediction"] == float(row["answer"])
        assert row["reason"] is None
        assert not {"interval", "standard_deviation"} & row.keys(), "there is no distribution to take them from"
    assert report["without_number"] == {"n": 0, "reasons": {}}
    assert report["target_floor"]["target"] == "text"
    assert report["measures"]["mse"]["value"] == report["target_floor"]["measures"]["mse"]["value"] <= 0.005**2
    assert report["constant_mean"]["measures"]["mse"]["value"] > 0.01
    assert not {"sharpness", "entropy", "coverage", "interval_width"} & set(report["measures"]), "none, and not 0"
    assert "Answers without a number, which are in no measure: 0." in (tmp_path / "report.md").read_text()


@torch.no_grad()
@pytest.mark.parametrize("tokens", [8192, 60, 1])
def test_generation_writes_what_branches_would(trained, predictor, urn_world, monkeypatch, tokens):
    """In all modalities, rows of unequal length padded on the left get the answers that greedy decoding by branches of
    one premise gives them, token by token; whether many or few of them go together, or each alone."""
    monkeypatch.setattr(checkpoints, "TOKENS_PER_PASS", tokens)
    model = CLUEForTextAnswers.from_pretrained(trained).eval()
    rows = [load_rows(str(urn_world), f"urn-{name}", "test")[0] for name in MODALITIES]
    claims = [["The ball is red.", "It is neither red nor blue, and it is not green.", "No."]] * len(rows)
    asked = [{**row, "hypothesis": claim} for row, texts in zip(rows, claims, strict=True) for claim in texts]
    found = iter(predictor.predict(asked))
    (end,) = model.generation_config.eos_token_id
    answers = set()
    for row, texts in zip(rows, claims, strict=True):
        for text, answer in zip(texts, found, strict=False):
            inputs = predictor.processor(row, texts)  # the other branches are there, and must not matter
            branch = texts.index(text) + 1
            for _ in range(model.generation_config.max_new_tokens):
                last = int((inputs["branch_ids"][0] == branch).nonzero()[-1])
                token = model.lm_head(model.encode(**inputs)[0].last_hidden_state[0, last]).argmax()
                if token == end:
                    break
                for name, value in (("input_ids", token), ("branch_ids", branch), ("attention_mask", 1)):
                    parts = inputs[name][0, : last + 1], torch.tensor([value]), inputs[name][0, last + 1 :]
                    inputs[name] = torch.cat(parts)[None]
            in_branch = inputs["input_ids"][0][inputs["branch_ids"][0] == branch]
            asked = predictor.processor(row, text)
            asked = int((asked["branch_ids"] == 1).sum())
            assert predictor.processor.tokenizer.decode(in_branch[asked:]) == answer.answer
            answers.add(answer.answer)
    assert len(answers) > 3


def test_answers_without_a_number_are_counted(trained, urn_world, tmp_path, monkeypatch):
    """No number is no probability: such rows are null, named with a reason, and in no measure; never 0."""
    texts = iter(["0.25", "I cannot say.", "0.5 to 0.7", "1.5", "", "0.<|AUDIO|>5", "85%", "0.75"])

    def write(self, prompts):
        return [(text, text != "") for text in (next(texts) for _ in prompts)]

    monkeypatch.setattr(TextPredictor, "_write", write)
    report = evaluate(trained, urn_world, tmp_path, "--limit", "8")
    predictions = lines(tmp_path / "predictions.jsonl")
    by_text = {row["answer"]: row["prediction"] for row in predictions}
    assert by_text == {
        **{"0.25": 0.25, "85%": 0.85, "0.75": 0.75},
        **dict.fromkeys(["I cannot say.", "0.5 to 0.7", "1.5", "", "0.<|AUDIO|>5"]),
    }
    reasons = {"no number": 1, "a range": 1, "out of range": 1, "cut off in its answer": 1, "different numbers": 1}
    assert report["n"] == 8 and report["without_number"] == {"n": 5, "reasons": reasons}
    errors = [(row["prediction"] - row["target"]) ** 2 for row in predictions if row["prediction"] is not None]
    assert report["measures"]["mse"]["value"] == pytest.approx(sum(errors) / 3)
    assert report["constant_mean"]["measures"]["mse"]["n"] == report["measures"]["mse"]["n"] == 3
    written = (tmp_path / "report.md").read_text()
    assert "no measure: 5 (62.5% of the rows)." in written
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in written.splitlines()]
    assert ["with a number, measured", "3", "37.5%"] in cells and ["a range", "1", "12.5%"] in cells


def test_answers_that_all_lack_a_number_are_told(trained, urn_world, tmp_path, monkeypatch):
    """There is nothing to measure, and the texts to look at are kept."""
    monkeypatch.setattr(TextPredictor, "_write", lambda self, prompts: [("perhaps", True)] * len(prompts))
    with pytest.raises(ValueError, match="None of the 12 answers has a number.*'perhaps'"):
        evaluate(trained, urn_world, tmp_path)
    assert len(lines(tmp_path / "predictions.jsonl")) == 12


def test_the_format_leaves_an_error_of_its_own():
    """Two decimals are half a hundredth off at most."""
    assert written_predictions("{probability:.2f}<|im_end|>", [0, 1 / 3, 0.996, 1]).tolist() == [0, 0.33, 1, 1]


def test_other_models_are_refused(tiny_checkpoint, trained, tmp_path):
    """A Thinker without a prompt for answers is no CLUE-T; CLUE itself writes nothing."""
    configs = {path: AutoConfig.from_pretrained(path, trust_remote_code=True) for path in (tiny_checkpoint, trained)}
    assert answer_format(tiny_checkpoint, configs[tiny_checkpoint]) is None
    assert answer_format(trained, configs[trained]) == "{probability:.2f}<|im_end|>"
    shutil.copytree(trained, tmp_path / "other")
    settings = json.loads((tmp_path / "other/processor_config.json").read_text())
    del settings["prompt"]["answer"]
    (tmp_path / "other/processor_config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="neither CLUE, nor trained with"):
        answer_format(tmp_path / "other", configs[trained])
