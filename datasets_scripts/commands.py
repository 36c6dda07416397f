"""How a command ends whose input is wrong."""

import sys
from collections.abc import Callable


def in_words(main: Callable[[], object]) -> None:
    """
    Runs a command. What is wrong with its input ends it with the message alone; `python -X dev` shows the traceback.

    Args:
        main (`Callable`): Runs the command line of the process.
    """
    try:
        main()
    except (ValueError, OSError) as error:
        if sys.flags.dev_mode:
            raise
        sys.exit(f"error: {error}")
