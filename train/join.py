"""Joins LoRA adapters that were trained one after the other, each on the model with those before it, into one.

```bash
python -m train.join --adapters runs/text/adapter runs/sound/adapter --output-dir runs/small/adapter
```

The sum of products `B_1 A_1 + B_2 A_2` is one product of the factors side by side, so the joined adapter does to the
first model what all of them did in turn; its rank is the sum of theirs. Of a weight trained whole, such as the
confidence head, the last adapter's counts.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from common.cli import ArgumentParser, exit_on_error
from common.files import replacing, write_text
from modeling_clue.adapter import check_config
from modeling_clue.checkpoint_parts import new_folder


CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
# Settings under which an adapter is not `W + B A * alpha / r` with one alpha and one r for all layers.
OTHER_FORMS = ("use_rslora", "rank_pattern", "alpha_pattern", "bias")
# The ends of the names of both factors, and along which dimension their rank is.
RANK_DIMENSIONS = {".lora_A.weight": 0, ".lora_B.weight": 1}


def join_adapters(folders: list[Path], out: Path, dtype: torch.dtype | None = None) -> Path:
    """Writes one adapter that does what several did in turn.

    Args:
        folders (`list[Path]`): adapters as PEFT saves them, in the order in which they were trained.
        out (`Path`): folder to write; it must not exist yet.
        dtype (`torch.dtype`, *optional*): of the weights written; their own by default.

    Returns:
        `Path`: the folder.

    Raises:
        FileExistsError: if the folder exists.
        OSError: if a file is missing.
        ValueError: if one of them is no LoRA of the usual form.
    """
    out = new_folder(out)
    configs: list[dict] = []
    factors: dict[str, dict[int, torch.Tensor]] = {}  # by the number of the adapter
    whole: dict[str, torch.Tensor] = {}
    for number, folder in enumerate(folders):
        config = _read_config(folder)
        if configs and config.get("exclude_modules") != configs[0].get("exclude_modules"):
            raise ValueError(f"'{folder}' and '{folders[0]}' leave out other layers (exclude_modules).")
        configs.append(config)
        for name, weight in load_file(folder / WEIGHTS).items():
            if not name.endswith(tuple(RANK_DIMENSIONS)):
                whole[name] = weight
                continue
            # The scale goes into B, so that adapters with others can stand beside each other.
            scale = config["lora_alpha"] / config["r"] if name.endswith(".lora_B.weight") else 1.0
            factors.setdefault(name, {})[number] = weight * scale
    ranks = [config["r"] for config in configs]
    rank = sum(ranks)
    joined = whole | {name: _side_by_side(name, given, ranks) for name, given in factors.items()}
    config = configs[-1] | {
        "r": rank,
        "lora_alpha": rank,
        "base_model_name_or_path": configs[0].get("base_model_name_or_path"),
        "target_modules": sorted({module for config in configs for module in _names(config, "target_modules")}),
        "modules_to_save": sorted({module for config in configs for module in _names(config, "modules_to_save")}),
    }
    joined = {name: weight.to(dtype or weight.dtype).contiguous() for name, weight in joined.items()}
    with replacing(out) as partial:
        partial.mkdir()
        save_file(joined, partial / WEIGHTS, metadata={"format": "pt"})
        write_text(partial / CONFIG, json.dumps(config, indent=2, sort_keys=True) + "\n")
    return out


def _read_config(folder: Path) -> dict:
    """Reads the settings of an adapter, which must be of the usual form."""
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    other = [name for name in OTHER_FORMS if config.get(name) not in (None, False, "none", {})]
    if config.get("peft_type") != "LORA" or other:
        raise ValueError(
            f"'{folder}' can't be joined: it is no LoRA of the usual form ({', '.join(other) or 'type'})."
        )
    check_config(config, f"'{folder / CONFIG}'")
    if isinstance(config.get("target_modules"), str):
        raise ValueError(f"'{folder}' names its layers by a pattern: train it with names in lora_target_modules.")
    return config


def _names(config: dict, field: str) -> list[str]:
    return config.get(field) or []


def _side_by_side(name: str, given: dict[int, torch.Tensor], ranks: list[int]) -> torch.Tensor:
    """Puts a layer's factors beside each other along their rank, with zeros for an adapter that lacks the layer."""
    dimension = next(dimension for end, dimension in RANK_DIMENSIONS.items() if name.endswith(end))
    other = next(iter(given.values()))

    def zeros(rank: int) -> torch.Tensor:
        shape = list(other.shape)
        shape[dimension] = rank
        return other.new_zeros(shape)

    parts = [given[number] if number in given else zeros(rank) for number, rank in enumerate(ranks)]
    return torch.cat(parts, dim=dimension)


def main() -> None:
    """Writes the adapter that the command line asks for."""
    parser = ArgumentParser(
        prog="python -m train.join", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--adapters", type=Path, nargs="+", required=True, help="their folders, the first one first")
    parser.add_argument("--output-dir", type=Path, required=True, help="folder to write, which must not exist yet")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="of the weights written (default: their own)")
    arguments = parser.parse_args()
    dtype = arguments.dtype and getattr(torch, arguments.dtype)
    print(f"Wrote {join_adapters(arguments.adapters, arguments.output_dir, dtype)}.")


if __name__ == "__main__":
    with exit_on_error():
        main()
