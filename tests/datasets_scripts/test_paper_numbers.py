"""The paper's numbers are read once, and those that it prints twice agree or are listed as contradictions."""

import pytest

from datasets_scripts.paper_numbers import notes_on, paper_numbers


TABLES = (1, 2, 3, 4, 5, 7, 8)


def twice():
    """Pairs of places that hold the same number, in tables of the paper's own."""
    for row, column in paper_numbers(3):
        yield (3, row, column), (8, row, column)
    for ratio, row in (("1:1", "CLUE-D"), ("1:1 (token)", "CLUE-T")):
        yield (4, ratio, "WV-AV mse"), (8, row, "WV-AV mse")
        yield (4, ratio, "WV-AV mse"), (3, row, "WV-AV mse")
        yield (4, ratio, "WV-AV accuracy"), (2, row, "WV-AV accuracy")
    for row in ("CLUE-T", "CLUE-D"):  # no temperature was fitted to them
        for data in ("Clotho", "WV-V", "WV-A", "WV-AV"):
            yield (2, row, f"{data} accuracy"), (7, row, f"{data} accuracy")
    for row, column in paper_numbers(1):
        yield (1, row, column), (5, row, column)


def number(place):
    """The number at a place."""
    table, *cell = place
    return paper_numbers(table)[tuple(cell)]


def agree(first, second):
    """Whether both can be roundings of one number; table 5 cuts some of its accuracies off."""
    return abs(first.value - second.value) <= max(first.precision, second.precision) + 1e-12


def test_numbers_that_stand_in_two_tables_agree_or_are_listed():
    """Every disagreement is a listed contradiction, and every listed place disagrees with another one."""
    pairs = [(a, b) for a, b in twice()]
    apart = {place for a, b in pairs if not agree(number(a), number(b)) for place in (a, b)}
    assert len(pairs) == 48 and apart == set(notes_on("contradictions"))


def test_each_table_is_whole():
    """Tables have the numbers that the paper's have; dashes are no numbers."""
    assert [len(paper_numbers(table)) for table in TABLES] == [12, 18, 22, 18, 36, 18, 66]
    assert paper_numbers(2)["Q2-A", "WV-A accuracy"].value == pytest.approx(0.347)
    assert ("Q2-A", "WV-V accuracy") not in paper_numbers(2)
    assert paper_numbers(8)["CLUE-D", "WV-AV ece"].value == pytest.approx(0.0842)
    assert set(paper_numbers(2)) == set(paper_numbers(7))


def test_measures_are_possible():
    """Every number is one that its measure can have, and what is noted is about numbers that exist."""
    for table in TABLES:
        for (_, column), one in paper_numbers(table).items():
            assert 0 < one.value <= (20 if column.endswith("nll") else 1)
    for kind in ("contradictions", "unsure"):
        assert all(number(place) for place in notes_on(kind))
    assert paper_numbers(3)["CLUE-T", "WV-AV mse"].contradicted.startswith("Table 3 has 2.8")
    assert paper_numbers(8)["AF", "WV-A ece"].unsure


def test_log_losses_of_models_that_answer_yes_or_no_fit_their_calibration_errors():
    """Clipped at 1e-10 they are 23.03 times the error, which checks the digits of both, but for those marked."""
    for row, data in (("AF", "UNLI"), ("AF", "WV-A"), ("Q2-A", "UNLI"), ("Q2-A", "WV-A")):
        ece, nll = (paper_numbers(8)[row, f"{data} {measure}"] for measure in ("ece", "nll"))
        ratio_fits = abs(nll.value - 23.026 * ece.value) <= nll.precision + 23.026 * ece.precision
        assert ratio_fits or ece.unsure


def test_precision_is_half_a_unit_of_the_last_digit():
    """With and without an exponent and a scale."""
    assert paper_numbers(3)["CLUE-D", "UNLI mse"].precision == pytest.approx(0.0005)
    assert paper_numbers(8)["CLUE-D", "UNLI mse"].precision == pytest.approx(0.00005)
    assert paper_numbers(4)["1:1", "WV-AV mse"].precision == pytest.approx(0.0005)
