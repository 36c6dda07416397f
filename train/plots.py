"""Figure 5 is drawn from the logs of training by `python -m evaluation.figures batching`."""

import sys


if __name__ == "__main__":
    sys.exit("error: python -m train.plots is now python -m evaluation.figures batching RUN... --output figure5.png")
