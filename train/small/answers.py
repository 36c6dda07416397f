"""Asks the small model about an ordinary sentence and about a real sound: `make small`.

```bash
python -m train.small.answers --model runs/small/clue-small
```
"""

import argparse
import time
from pathlib import Path

from transformers import pipeline

from common.cli import ArgumentParser, exit_on_error


# Of ESC-10's fold 4, which the model was not trained on: "Dog Barks.wav" by UnderlinedDesigns, freesound.org, CC0.
DOG = Path(__file__).resolve().parents[2] / "spaces/demo/examples/dog.ogg"
QUESTIONS = (
    {
        "text": "A man in a blue shirt is playing the guitar in front of a crowd.",
        "hypotheses": ["A man is making music.", "The man is a musician.", "The man is famous.", "The man is asleep."],
    },
    {
        "audio": str(DOG),
        "hypotheses": ["A dog is barking.", "There is an animal.", "It is raining.", "A baby is crying."],
    },
)


def main() -> None:
    """Prints the answers of the model that the command line names."""
    parser = ArgumentParser(
        prog="python -m train.small.answers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", type=Path, default=Path("runs/small/clue-small"), help="(default: %(default)s)")
    arguments = parser.parse_args()
    if not arguments.model.is_dir():
        raise FileNotFoundError(f"There is no '{arguments.model}' yet: `make small` builds it.")
    clue = pipeline("uncertain-inference", model=str(arguments.model), trust_remote_code=True)
    for question in QUESTIONS:
        began = time.perf_counter()
        answers = clue(question)
        seconds = time.perf_counter() - began
        print(f"\n{question.get('text') or question['audio']} ({seconds:.1f} s)")
        for answer in answers:
            low, high = answer["interval"]
            print(f"  {answer['probability']:.2f} [{low:.2f}, {high:.2f}]  {answer['hypothesis']}")


if __name__ == "__main__":
    with exit_on_error():
        main()
