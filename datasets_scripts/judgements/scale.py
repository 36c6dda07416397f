"""Tells per cent from fractions: on a scale from 0 to 100, the answer 0.9 is hardly ever meant."""


class Scale:
    """
    Counts numbers that may be per cent or fractions.

    A few answers below 1 % are nothing odd. They are fractions if there are several and more of them than of answers
    from 1 to 10 %: among 3,040 means of careful people (UNLI's), every tenth below 1 %, they are not.
    """

    def __init__(self):
        self.highest = 0.0
        # How many numbers are above 0, but not above 1.
        self.up_to_1 = 0
        self._shades: set[float] = set()
        self._below_1 = self._up_to_10 = self._above_1 = 0

    def add(self, number: float) -> None:
        """Notes one number."""
        self.highest = max(self.highest, number)
        self.up_to_1 += 0 < number <= 1
        self._above_1 += 1 < number <= 100
        self._up_to_10 += 1 < number <= 10
        if 0 < number < 1:
            self._below_1 += 1
            self._shades.add(number)

    @property
    def below_1(self) -> list[float]:
        """Returns the different numbers between 0 and 1."""
        return sorted(self._shades)

    @property
    def is_fractions(self) -> bool:
        """Returns whether no number is above 1, though some are above 0."""
        return 0 < self.highest <= 1

    @property
    def is_per_cent(self) -> bool:
        """Returns whether several numbers are above 1, and more than are fractions."""
        return self._above_1 > max(1, self._below_1)

    @property
    def is_mixed(self) -> bool:
        """Returns whether some numbers are fractions and others per cent."""
        return self.highest > 1 and len(self._shades) > 1 and self._below_1 > self._up_to_10
