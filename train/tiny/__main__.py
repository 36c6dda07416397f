"""Writes a tiny CLUE checkpoint with random weights: see `train.tiny`."""

import argparse

from common.cli import ArgumentParser, exit_on_error
from modeling_clue.auto import BACKBONES
from train import tiny


def main() -> None:
    """Writes the checkpoint that the command line asks for."""
    parser = ArgumentParser(
        prog="python -m train.tiny",
        description=tiny.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dataset", default="umui", help="dataset folder or Hub repository (default: %(default)s)")
    parser.add_argument("--dataset-configs", nargs="+", help="its configs to take text from (default: all)")
    parser.add_argument("--output-dir", required=True, help="folder to write the checkpoint to")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights (default: %(default)s)")
    parser.add_argument(
        "--backbone", choices=BACKBONES, default="qwen2.5-omni", help="whose architecture (default: %(default)s)"
    )
    parser.add_argument("--vocab-size", type=int, default=768, help="of the tokenizer (default: %(default)s)")
    parser.add_argument("--hidden-size", type=int, default=128, help="of the language model (default: %(default)s)")
    parser.add_argument(
        "--num-hidden-layers", type=int, default=4, help="of the language model (default: %(default)s)"
    )
    arguments = parser.parse_args()
    out = tiny.build_tiny(
        tiny.training_texts(arguments.dataset, arguments.dataset_configs),
        arguments.output_dir,
        seed=arguments.seed,
        backbone=arguments.backbone,
        vocab_size=arguments.vocab_size,
        hidden_size=arguments.hidden_size,
        num_hidden_layers=arguments.num_hidden_layers,
    )
    print(f"Wrote a tiny checkpoint with random weights to {out}.")


if __name__ == "__main__":
    with exit_on_error():
        main()
