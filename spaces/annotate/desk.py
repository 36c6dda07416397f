"""What is on an annotator's screen, and what becomes of what they do there."""

from pathlib import Path
from urllib.parse import quote

from items import SENSES, Item
from scale import scale
from store import Judgement, NotYours, Store
from training import Example, feedback


LONGEST_NOTE = 2000
# What a page tells of a clip that it could not play, and what the organiser reads.
FAILURES = {
    "broken": "can't be played",
    "network": "did not load to its end",
    "picture": "shows no picture",
    "sound": "has no sound",
}


class BadAnswer(ValueError):
    """An answer that can't be kept; the message is for the annotator."""


class Desk:
    """
    The pages of annotators. Each method gives the page to show as data; `pages/` draws it.

    Args:
        store ([`Store`]): Where judgements are kept.
        items (`dict[str, Item]`): The items by their ids.
        examples (`list[Example]`): The training items.
    """

    def __init__(self, store: Store, items: dict[str, Item], examples: list[Example]):
        self._store, self._items, self._examples = store, items, examples
        # Clips come before texts.
        there = {item.modality for item in items.values()}
        self._modalities = [modality for modality in reversed(SENSES) if modality in there]

    def resume(self, annotator: str) -> dict:
        """
        The page at which somebody goes on.

        Args:
            annotator (`str`): Who.

        Returns:
            `dict`: the page.
        """
        self._store.arrive(annotator)
        instructed, trained = self._store.stages(annotator)
        if not instructed:
            return self.instructions(annotator)
        if trained < len(self._examples):
            return self._training(annotator, trained)
        return self._next(annotator)

    def instructions(self, annotator: str) -> dict:
        """The instructions; `annotator` (`str`) is who reads them."""
        ranges = scale(self._modalities[0])
        return self._page(annotator, "instructions", scale=ranges, modalities=self._modalities)

    def begin(self, annotator: str) -> dict:
        """Goes on from the instructions, which `annotator` (`str`) has read."""
        self._store.pass_stage(annotator, 0)
        return self.resume(annotator)

    def train(self, annotator: str, answer: object) -> dict:
        """
        Explains an answer to the training item that is somebody's next.

        Args:
            annotator (`str`): Who.
            answer (`object`): As the page sends it: `probability` and `evidence`.

        Returns:
            `dict`: the same page with the explanation.
        """
        trained = self._store.stages(annotator)[1]
        if trained >= len(self._examples):
            return self.resume(annotator)
        example = self._examples[trained]
        probability, evidence, _ = read_answer(answer, example.modality)
        page = self._training(annotator, trained)
        given = {"probability": probability, "evidence": evidence, "note": None}
        return page | {"answer": given, "feedback": feedback(example, probability, evidence)}

    def trained(self, annotator: str, number: object) -> dict:
        """
        Goes on from a training item.

        Args:
            annotator (`str`): Who.
            number (`object`): Which item it was, so that a second click skips none.

        Returns:
            `dict`: the next page.
        """
        if number == self._store.stages(annotator)[1]:
            self._store.pass_stage(annotator, number + 1)
        return self.resume(annotator)

    def judge(self, annotator: str, item: object, answer: object) -> dict:
        """
        Keeps a judgement, then gives what comes next.

        Args:
            annotator (`str`): Who.
            item (`object`): What it is about, as the page sends it.
            answer (`object`): `probability`, `evidence` and `note`, as the page sends them.

        Returns:
            `dict`: the next page, with `saved`.

        Raises:
            [`BadAnswer`], [`NotYours`]: if it can't be kept.
        """
        self._check(item)
        self._store.arrive(annotator)
        if any(task.unplayed for task in self._store.tasks(annotator) if task.item == item):
            raise BadAnswer("Its clip could not be played here, so no judgement is taken. Try it again first.")
        self._store.judge(Judgement(item, annotator, *read_answer(answer, self._items[item].modality)))
        return self._next(annotator) | {"saved": item}

    def open(self, annotator: str, item: object) -> dict:
        """
        Goes to an item of somebody's list.

        Args:
            annotator (`str`): Who.
            item (`object`): Which, as the page sends it.

        Returns:
            `dict`: the page.

        Raises:
            [`NotYours`]: if it is not in their list.
        """
        self._check(item)
        self._store.arrive(annotator)
        return self._item(annotator, item)

    def unplayed(self, annotator: str, item: object, why: object) -> dict:
        """
        Notes that the clip of an item could not be played: until it is opened again, no judgement of it is taken.

        Args:
            annotator (`str`): Who.
            item (`object`): What it is about, as the page sends it.
            why (`object`): One of `FAILURES`, as the page sends it.

        Returns:
            `dict`: the same page, with `unplayed`.

        Raises:
            [`BadAnswer`], [`NotYours`]: if there is no such failure, or the item is not in their list.
        """
        self._check(item)
        if not isinstance(why, str) or why not in FAILURES:
            raise BadAnswer("There is no such failure.")
        page = self._item(annotator, item)
        self._store.report(annotator, item, why)
        return page | {"unplayed": True}

    def _check(self, item: object) -> None:
        """Raises unless there is such an item."""
        if not isinstance(item, str) or item not in self._items:
            raise NotYours("This claim is not in your list.")

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
        place = [task.item for task in tasks].index(name)
        item, task = self._items[name], tasks[place]
        beside = [other for other in tasks if other.chunk == task.chunk]
        after = tasks[place + 1].item if place + 1 < len(tasks) and task.judged else None
        return self._page(
            annotator,
            "item",
            **_shown(item),
            id=name,
            topic=item.topic,
            pilot=task.pilot,
            number=place + 1,
            previous=tasks[place - 1].item if place else None,
            next=after,
            beside=[{"id": other.item, "judged": other.judged} for other in beside],
            answer=answer and {key: getattr(answer, key) for key in ("probability", "evidence", "note")},
        )

    def _training(self, annotator: str, number: int) -> dict:
        return self._page(
            annotator,
            "training",
            **_shown(self._examples[number]),
            id=number,
            topic=None,
            number=number + 1,
            total=len(self._examples),
            answer=None,
        )

    def _page(self, annotator: str, page: str, **content: object) -> dict:
        tasks = self._store.tasks(annotator)
        progress = {"judged": sum(task.judged for task in tasks), "total": len(tasks)}
        return {"page": page, "user": annotator, "progress": progress, **content}


def _shown(item: Item | Example) -> dict:
    """What an item and a training item have in common."""
    is_text = item.modality == "text"
    return {
        "modality": item.modality,
        "text": item.premise if is_text else None,
        "clip": None if is_text else clip_address(item.premise),
        "context": item.context,
        "claim": item.claim,
        "senses": SENSES[item.modality],
        "scale": scale(item.modality),
    }


def clip_address(path: str) -> str:
    """
    Where a browser finds a clip.

    Args:
        path (`str`): The file, one of those that the server may show.

    Returns:
        `str`: its address, relative to the page.
    """
    return "gradio_api/file=" + quote(Path(path).as_posix())


def read_answer(answer: object, modality: str) -> tuple[int, list[str], str | None]:
    """
    Checks what a page sent.

    Args:
        answer (`object`): An object with `probability` (an integer from 0 to 100), `evidence` (a list of senses; empty
            if nothing informed it) and perhaps a `note`.
        modality (`str`): The modality of the item.

    Returns:
        `tuple[int, list[str], str | None]`: probability, evidence, note.

    Raises:
        [`BadAnswer`]: if it is no good.
    """
    if not isinstance(answer, dict):
        raise BadAnswer("There is no answer to keep.")
    probability, evidence, note = (answer.get(name) for name in ("probability", "evidence", "note"))
    if type(probability) is not int or not 0 <= probability <= 100:
        raise BadAnswer("Set the slider first: any whole number from 0 to 100.")
    if not isinstance(evidence, list) or not all(sense in SENSES[modality] for sense in evidence):
        raise BadAnswer("Say what informed your judgement, or that nothing did.")
    if note is not None and not (isinstance(note, str) and len(note) <= LONGEST_NOTE):
        raise BadAnswer(f"A note has at most {LONGEST_NOTE:,} letters.")
    # JSON can spell halves of characters, which no file in UTF-8 can hold.
    if note and any("\ud800" <= letter <= "\udfff" for letter in note):
        raise BadAnswer("The note holds a broken character: write it anew.")
    return probability, sorted(set(evidence)), (note or "").strip() or None
