"""What can go wrong when a teacher is asked: one answer is missing, or the run can't go on."""


class RunStoppedError(ValueError):
    """The run can't go on; the message says why and what to do. Pairs that are finished stay so."""


class AnswerFailedError(Exception):
    """There is no answer to one request; the message is the reason. Holds no request: that may have megabytes."""


class DeclinedError(AnswerFailedError):
    """A server that is well won't answer this request: it was flagged or refused, and others may still be answered."""


class FailureCounter:
    """
    Stops a run in which nothing succeeds any more: a dead server must not cost a million pairs their answers.

    Args:
        limit (`int`): How many requests in a row may fail.
    """

    def __init__(self, limit: int):
        self.limit = limit
        self.in_a_row = 0
        self.any_succeeded = False

    def succeeded(self) -> None:
        """Counts a request that was answered."""
        self.in_a_row = 0
        self.any_succeeded = True

    def failed(self, error: AnswerFailedError) -> None:
        """
        Counts a request that failed for good; not one that a server declined which answers others.

        Raises:
            `RunStoppedError`: if too many have failed in a row.
        """
        if isinstance(error, DeclinedError) and self.any_succeeded:
            return
        self.in_a_row += 1
        if self.in_a_row >= self.limit:
            raise RunStoppedError(
                f"{self.in_a_row} requests in a row failed, the last with: {error}. Put that right and run the same "
                "command again: it goes on where it stopped (--ask-again-failed also repeats the failed answers)"
            )
