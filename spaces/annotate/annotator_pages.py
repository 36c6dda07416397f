"""Makes the pages that annotators see, and acts on what they send."""

from pathlib import Path
from urllib.parse import quote

from items import SENSES, Item, Part
from scale import scale
from store import Judgement, NotAssigned, Store
from training import Example, feedback


LONGEST_NOTE = 2000
# What a page tells of a clip that it could not play, and what the organiser reads.
FAILURES = {
    "broken": "can't be played",
    "unshown": "can't be shown",
    "network": "did not load to its end",
    "picture": "shows no picture",
    "sound": "has no sound",
}


class BadAnswer(ValueError):
    """Tells an annotator why an answer can't be kept."""


class AnnotatorPages:
    """
    Answers what an annotator does with the next page, as data that `pages/` draws. What was sent may be anything: an
    action raises [`BadAnswer`] or [`NotAssigned`] if it is no good.

    Args:
        store ([`Store`]): Where judgements are kept.
        items (`dict[str, Item]`): The items by their ids.
        examples (`list[Example]`): The training items.
    """

    def __init__(self, store: Store, items: dict[str, Item], examples: list[Example]):
        self._store, self._items, self._examples = store, items, examples
        present = {(item.modality, *(part.modality for part in item.parts)) for item in items.values()}
        # Clips come before texts, and what is one part before what is several.
        order = [*reversed(SENSES)]
        self._kinds = sorted(present, key=lambda kind: (order.index(kind[0]), len(kind), kind))

    def resume(self, annotator: str) -> dict:
        """Returns the page at which somebody goes on."""
        self._store.check_in(annotator)
        instructed, trained = self._store.stages(annotator)
        if not instructed:
            return self.instructions(annotator)
        if trained < len(self._examples):
            return self._training(annotator, trained)
        return self._next(annotator)

    def instructions(self, annotator: str) -> dict:
        """Returns the instructions."""
        modality, *_ = self._kinds[0]
        kinds = [list(parts) for _, *parts in self._kinds]
        return self._page(annotator, "instructions", scale=scale(modality), kinds=kinds)

    def begin(self, annotator: str) -> dict:
        """Goes on from the instructions."""
        self._store.pass_stage(annotator, 0)
        return self.resume(annotator)

    def train(self, annotator: str, answer: object) -> dict:
        """Explains an answer to the training item that is somebody's next, on the same page."""
        trained = self._store.stages(annotator)[1]
        if trained >= len(self._examples):
            return self.resume(annotator)
        example = self._examples[trained]
        probability, evidence, _ = read_answer(answer, senses_of(example))
        page = self._training(annotator, trained)
        given = {"probability": probability, "evidence": evidence, "note": None}
        return page | {"answer": given, "feedback": feedback(example, probability, evidence)}

    def trained(self, annotator: str, number: object) -> dict:
        """Goes on from the training item `number`, once: a second click skips none."""
        if number == self._store.stages(annotator)[1]:
            self._store.pass_stage(annotator, number + 1)
        return self.resume(annotator)

    def judge(self, annotator: str, item: object, answer: object) -> dict:
        """Keeps a judgement and returns the page that comes next, with `saved`."""
        self._check(item)
        self._store.check_in(annotator)
        if any(task.unplayed for task in self._store.tasks(annotator) if task.item == item):
            raise BadAnswer("Its clip could not be played here, so no judgement is taken. Try it again first.")
        self._store.judge(Judgement(item, annotator, *read_answer(answer, senses_of(self._items[item]))))
        return self._next(annotator) | {"saved": item}

    def open(self, annotator: str, item: object) -> dict:
        """Goes to an item of somebody's list."""
        self._check(item)
        self._store.check_in(annotator)
        return self._item(annotator, item)

    def unplayed(self, annotator: str, item: object, why: object) -> dict:
        """Notes for which of `FAILURES` a clip did not play: until it is opened again, no judgement is taken of it."""
        self._check(item)
        if not isinstance(why, str) or why not in FAILURES:
            raise BadAnswer("There is no such failure.")
        page = self._item(annotator, item)
        self._store.report_unplayed(annotator, item, why)
        return page | {"unplayed": True}

    def _check(self, item: object) -> None:
        if not isinstance(item, str) or item not in self._items:
            raise NotAssigned("This claim is not in your list.")

    def _next(self, annotator: str) -> dict:
        tasks = self._store.tasks(annotator)
        left = [task for task in tasks if not task.judged]
        first = next((task.item for task in left if not task.unplayed), None)
        if first is not None:
            return self._item(annotator, first)
        unplayed = left[0].item if left else None
        return self._page(annotator, "done", last=tasks[-1].item if tasks else None, unplayed=unplayed)

    def _item(self, annotator: str, name: str) -> dict:
        answer = self._store.open(annotator, name)
        tasks = self._store.tasks(annotator)
        index = [task.item for task in tasks].index(name)
        item, task = self._items[name], tasks[index]
        return self._page(
            annotator,
            "item",
            **_content(item),
            id=name,
            topic=item.topic,
            pilot=task.pilot,
            number=index + 1,
            previous=tasks[index - 1].item if index else None,
            next=tasks[index + 1].item if index + 1 < len(tasks) and task.judged else None,
            beside=[{"id": other.item, "judged": other.judged} for other in tasks if other.chunk == task.chunk],
            answer=answer and {key: getattr(answer, key) for key in ("probability", "evidence", "note")},
        )

    def _training(self, annotator: str, number: int) -> dict:
        content = _content(self._examples[number]) | {"id": number, "topic": None, "answer": None}
        return self._page(annotator, "training", **content, number=number + 1, total=len(self._examples))

    def _page(self, annotator: str, page: str, **content: object) -> dict:
        tasks = self._store.tasks(annotator)
        progress = {"judged": sum(task.judged for task in tasks), "total": len(tasks)}
        return {"page": page, "user": annotator, "progress": progress, **content}


def _content(item: Item | Example) -> dict:
    return {
        "parts": list(map(_shown, item.parts)),
        "context": item.context,
        "claim": item.claim,
        "senses": senses_of(item),
        "scale": scale(item.modality),
    }


def _shown(part: Part) -> dict:
    return {
        "modality": part.modality,
        "text": None if part.is_file else part.content,
        # One of the files that the server may show, relative to the page.
        "file": "gradio_api/file=" + quote(Path(part.content).as_posix()) if part.is_file else None,
    }


def senses_of(item: Item | Example) -> list[str]:
    """Returns what may inform a judgement of an item."""
    read = ["text"] if any(not part.is_file for part in item.parts) else []
    return list(dict.fromkeys([*SENSES[item.modality], *read]))


def read_answer(answer: object, senses: list[str]) -> tuple[int, list[str], str | None]:
    """Returns probability (0 to 100), evidence (empty if nothing informed it) and note; raises [`BadAnswer`]."""
    if not isinstance(answer, dict):
        raise BadAnswer("There is no answer to keep.")
    probability, evidence, note = (answer.get(name) for name in ("probability", "evidence", "note"))
    if type(probability) is not int or not 0 <= probability <= 100:
        raise BadAnswer("Set the slider first: any whole number from 0 to 100.")
    if not isinstance(evidence, list) or not all(sense in senses for sense in evidence):
        raise BadAnswer("Say what informed your judgement, or that nothing did.")
    if note is not None and not (isinstance(note, str) and len(note) <= LONGEST_NOTE):
        raise BadAnswer(f"A note has at most {LONGEST_NOTE:,} letters.")
    # JSON can spell halves of characters, which no file in UTF-8 can hold.
    if note and any("\ud800" <= letter <= "\udfff" for letter in note):
        raise BadAnswer("The note holds a broken character: write it anew.")
    return probability, sorted(set(evidence)), (note or "").strip() or None
