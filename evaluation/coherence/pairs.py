"""
Coherence on pairs of any dataset: what follows from a hypothesis, whatever it says, asked beside it.

Of one hypothesis follow its denial and its affirmation; of two about one premise also both and either. Nothing is
known of what they mean: which of them exclude or imply each other is not asked, nor is any answer called right or
wrong. The sentences are English.
"""

import re
from collections import Counter
from itertools import product

from datasets import Dataset

from evaluation.coherence.questions import Check, Question, QuestionSet, check


# Written small within a sentence; other words may be names.
SMALL = frozenset(
    "a an the there here it he she they we you this that these those his her its their our my your some someone "
    "somebody something any anyone each every everyone everybody all both no nobody none nothing one two three four "
    "five six seven eight nine ten many most much more several few another other people men women children at in on "
    "by with from after before during while when if only at least".split()
)
SEVERAL = "of several sentences, which can't be put into one"
QUESTION = "a question"
REPEATED = "asked twice about one premise"


def pair_questions(name: str, rows: Dataset, keys: list[str]) -> QuestionSet:
    """
    Makes the questions about the pairs of a split.

    Args:
        name (`str`): What the set is called.
        rows (`datasets.Dataset`): Rows of [`~evaluation.data.load_rows`].
        keys (`list[str]`): The premise of each row.

    Returns:
        `QuestionSet`: with rows like those given, one a question, whose hypotheses are the questions'; they have no
        probability.

    Raises:
        `ValueError`: if no hypothesis can be asked about.
    """
    hypotheses = rows["hypothesis"][:]
    left_out, by_premise = Counter(), {}
    for place, (key, hypothesis) in enumerate(zip(keys, hypotheses, strict=True)):
        known = by_premise.setdefault(key, [])
        reason = unfit(hypothesis)
        if reason is None and any(within(hypotheses[other]) == within(hypothesis) for other in known):
            reason = REPEATED
        if reason is None:
            known.append(place)
        else:
            left_out[reason] += 1
    questions, checks, places = [], [], []
    for key, known in by_premise.items():
        for start in range(0, len(known), 2):
            pair = known[start : start + 2]
            made, rules = _of_pair(key, f"{pair[0]:06d}", [hypotheses[place] for place in pair])
            questions += (question for question, _ in made)
            places += (pair[number] for _, number in made)
            checks += rules
    if not questions:
        reasons = ", ".join(f"{count:,} are {reason}" for reason, count in left_out.items())
        raise ValueError(f"{name} has no hypothesis that coherence can be measured on: {reasons}.")
    return QuestionSet(name, questions, checks, _with(rows, questions, places), [keys[p] for p in places], left_out)


def unfit(hypothesis: str) -> str | None:
    """Returns why a hypothesis can't stand behind "It is not true that"; `None` if it can."""
    text = hypothesis.strip()
    if re.search(r"[.!?]['\")]*\s+\S", text):
        return SEVERAL
    return QUESTION if text.endswith("?") else None


def within(hypothesis: str) -> str:
    """Returns a hypothesis as it stands within a sentence: no full stop, and small at the start unless it may be a
    name."""
    text = _bare(hypothesis)
    first = re.match(r"\w+", text)
    return text[0].lower() + text[1:] if first and first[0].lower() in SMALL else text


def _bare(hypothesis: str) -> str:
    return hypothesis.strip().rstrip(".! ")


def _of_pair(key: str, group: str, hypotheses: list[str]) -> tuple[list[tuple[Question, int]], list[Check]]:
    """Returns the questions about one or two hypotheses, each with the number of the hypothesis whose row it takes,
    and what must hold."""
    worlds = list(product((True, False), repeat=len(hypotheses)))
    made: list[tuple[Question, int]] = []

    def ask(number: int, sentence: str, holds, denial: bool = False) -> Question:
        name = f"{group}-{len(made):02d}"
        made.append((Question(name, key, group, sentence, tuple(map(holds, worlds)), None, denial), number))
        return made[-1][0]

    asked = [ask(number, text, lambda world, n=number: world[n]) for number, text in enumerate(hypotheses)]
    inner, checks = [within(text) for text in hypotheses], []
    for number, (text, question) in enumerate(zip(inner, asked, strict=True)):
        denial = ask(number, f"It is not true that {text}.", lambda world, n=number: not world[n], denial=True)
        again = ask(number, f"It is true that {text}.", lambda world, n=number: world[n])
        checks += [check("denial", question, denial), check("paraphrase", question, again)]
    if len(asked) == 2:
        both = ask(0, f"It is true that {inner[0]}, and that {inner[1]}.", all)
        either = ask(0, f"It is true that {inner[0]}, or that {inner[1]}, or both.", any)
        checks += [check("intersection", both, *asked), check("union", either, *asked)]
        checks += [check("monotonicity", both, one) for one in asked]
        checks += [check("monotonicity", one, either) for one in asked]
    return made, checks


def _with(rows: Dataset, questions: list[Question], places: list[int]) -> Dataset:
    """Returns the rows at the places, each with a question in the place of its hypothesis."""
    new = {
        "id": [question.id for question in questions],
        "hypothesis": [question.hypothesis for question in questions],
        # They are the pair's, and would be compared with what is another question.
        **{name: [None] * len(questions) for name in ("probability", "label")},
    }
    taken = rows.select(places)
    kept = taken.remove_columns(list(new))
    for name, values in new.items():
        kept = kept.add_column(name, values, feature=rows.features[name])
    return kept
