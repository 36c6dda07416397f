"""Points to figure 5, which `python -m evaluation.figures batching` draws from the logs of training."""

import sys


if __name__ == "__main__":
    sys.exit("error: python -m train.plots is now python -m evaluation.figures batching RUN... --output figure5.png")
