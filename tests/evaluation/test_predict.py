"""The scoring of rows: what goes together, and what is prepared ahead of the model."""

import threading

import pytest

from evaluation import predict
from evaluation.predictors.prediction import Prediction, Predictor


ROWS = [{"id": f"row-{k}", "hypothesis": f"Hypothesis {k}.", "probability": k / 10, "label": None} for k in range(10)]
KEYS = [f"premise-{k // 2}" for k in range(10)]
BATCHES = predict.make_batches(list(range(10)), KEYS, 1)


class Counting(Predictor):
    """Answers 0.5 and keeps what happened; fails where told."""

    def __init__(self, bad_media: str = "", bad_answer: str = ""):
        self.bad_media, self.bad_answer = bad_media, bad_answer
        self.prepared, self.answered = [], []
        self.most_ahead = 0
        self.next_is_prepared = threading.Semaphore(0)

    def prepare(self, rows):
        assert threading.current_thread() is not threading.main_thread()
        name = rows[0]["id"]
        if name == self.bad_media:
            raise ValueError("the clip is torn")
        self.prepared.append(name)
        self.next_is_prepared.release()
        return name, len(rows)

    def answer(self, prepared):
        name, count = prepared
        if name == self.bad_answer:
            raise RuntimeError("the model is out of memory")
        if not self.answered:
            # Only a thread of its own can release it twice before the first answer is there.
            assert all(self.next_is_prepared.acquire(timeout=30) for _ in range(2))
        self.most_ahead = max(self.most_ahead, len(self.prepared) - len(self.answered))
        self.answered.append(name)
        return [Prediction(0.5, 0.1, 1.0, [0.4, 0.6], [0.1] * 10)] * count


def test_the_next_batch_is_prepared_during_the_present_one_and_no_more():
    """Decoding overlaps the model; two batches are in memory at most, whatever their number."""
    predictor = Counting()
    answers = [row for batch in predict.score_batches(predictor, ROWS, BATCHES, KEYS) for row in batch]
    assert [answer["id"] for answer in answers] == [row["id"] for row in ROWS]
    assert [answer["premise"] for answer in answers] == KEYS
    assert predictor.prepared == predictor.answered == ["row-0", "row-2", "row-4", "row-6", "row-8"]
    assert predictor.most_ahead == 2


def test_an_error_while_preparing_comes_up_after_the_batches_before_it():
    """What was answered before is not lost, the row is named, and no thread is left."""
    answered = []
    with pytest.raises(ValueError, match="rows row-4 could not be scored: the clip is torn"):
        for batch in predict.score_batches(Counting(bad_media="row-4"), ROWS, BATCHES, KEYS):
            answered += [row["id"] for row in batch]
    assert answered == ["row-0", "row-1", "row-2", "row-3"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prepare")]


def test_a_failing_model_leaves_no_thread_and_names_its_rows():
    """An error that is no matter of the input keeps its type, and tells which rows it came of."""
    with pytest.raises(RuntimeError, match="out of memory") as caught:
        list(predict.score_batches(Counting(bad_answer="row-2"), ROWS, BATCHES, KEYS))
    assert "rows row-2" in caught.value.__notes__[0]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prepare")]


def test_an_interrupted_run_leaves_no_thread():
    """Ctrl-C between two batches, or whoever stops asking, ends the thread too."""
    batches = predict.score_batches(Counting(), ROWS, BATCHES, KEYS)
    next(batches)
    with pytest.raises(KeyboardInterrupt):
        batches.throw(KeyboardInterrupt())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prepare")]


def test_rows_of_one_premise_are_scored_together():
    """Batches hold each row once, a premise's rows in one pass even where they lie apart, up to a limit."""
    keys = ["a", "b", "a", "c", "b"]
    assert predict.make_batches([0, 1, 2, 3, 4], keys, 2) == [[0, 2, 1, 4], [3]]
    assert predict.make_batches([2, 3], keys, 2) == [[2, 3]]
    assert list(map(len, predict.make_batches(list(range(150)), ["a"] * 150, 1, 64))) == [64, 64, 22]
    assert list(map(len, predict.make_batches(list(range(151)), ["a"] * 150 + ["b"], 2, 64))) == [128, 23]
    assert list(map(len, predict.make_batches(list(range(151)), ["a"] * 150 + ["b"], 1))) == [150, 1]
