"""Claims are chosen so that wording tells nothing of the answer, whatever premises come in whatever numbers."""

from collections import defaultdict

import numpy as np
import pytest

from common.errors import InputError
from datasets_scripts.sources.claims import Balance, Claim, drafts_about, make_claims
from tests.datasets_scripts.sources.reading import rows_of


IS, IS_NOT = ("{0} is here.", "there is {0}."), ("{0} is not here.",)


def forms(truth: str, names: str) -> list[list[Claim]]:
    """What may be said of a premise where one thing is here."""
    each = [(name,) for name in names]
    is_ = list(make_claims(IS, each, lambda name: name == truth))
    return [is_, list(make_claims(IS_NOT, each, lambda name: name != truth))]


def test_a_claim_is_a_template_with_its_terms():
    """Sentences begin with a capital; a truth is 1 or 0, a share itself; what can't be said gives no claim."""
    shares = {"a": True, "b": 0.25, "c": None}
    claims = list(make_claims(IS, [(name,) for name in shares], shares.get))
    assert [(claim.sentence, claim.probability) for claim in claims] == [
        ("A is here.", 1.0),
        ("There is a.", 1.0),
        ("B is here.", 0.25),
        ("There is b.", 0.25),
    ]
    assert claims[0].hints[1:] == claims[1].hints[1:] and claims[0].hints[0] != claims[1].hints[0]


@pytest.mark.parametrize("numbers", [[40, 40, 40, 40], [60, 40, 40, 20]])
def test_wording_gives_nothing_away(numbers):
    """Each sentence and template is as often true as false, also where some things are here more often than others."""
    rng, balance = np.random.default_rng(0), Balance()
    truths = rng.permutation(np.repeat(list("abcd"), numbers))
    said = [claim for truth in truths for claim in balance.choose(forms(truth, "abcd"), 4, rng)]
    surplus = defaultdict(float)
    for claim in said:
        for hint in (claim.sentence, *claim.hints):
            surplus[hint] += claim.probability - 0.5
    assert len(said) == 4 * len(truths) and len(surplus) > 12 + 3
    assert max(map(abs, surplus.values())) <= 2


def test_claims_about_a_premise_are_different():
    """A form that has none left is passed over; more than there are can't be had."""
    rng = np.random.default_rng(0)
    chosen = Balance().choose(forms("a", "ab"), 6, rng)
    assert len({claim.sentence for claim in chosen}) == 6
    with pytest.raises(InputError, match="only 6 different hypotheses exist about a premise, 7 were asked for"):
        Balance().choose(forms("a", "ab"), 7, rng)


def test_rows_have_a_label_where_that_is_certain():
    """1 and 0 are labels too, a share between them is none; ids and places are numbered."""
    claims = [Claim("A.", 1.0, ()), Claim("B.", 0.0, ()), Claim("C.", 0.4, ())]
    premise = {"source": "s", "modality": "text", "premise": "P.", "probability_source": "exact"}
    drafts = list(drafts_about(premise, "clip 1", "s-1", claims))
    assert [(row["id"], row["probability"], row["label"]) for row in rows_of(drafts)] == [
        ("s-1-00", 1.0, 1),
        ("s-1-01", 0.0, 0),
        ("s-1-02", 0.4, None),
    ]
    assert drafts[2].place == "clip 1, hypothesis 2"
