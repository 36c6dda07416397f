"""
Measures whether reading premises of different lengths together pays: one after the other, as a padded batch, in passes
of like length, and all in one row without padding, under a mask that keeps them apart. README.md says more.

```bash
python benchmarks/premise_lengths.py
```
"""

from collections.abc import Iterator

from benchmarks.measure import benchmark, build_model, in_process, stopwatch, table_line


# Words of eight premises.
LENGTHS = {"alike": (80,) * 8, "mixed": (20, 30, 40, 60, 80, 100, 130, 180), "one long": (10,) * 7 + (500,)}
WAYS = ("one by one", "padded", "passes", "one row")


def measure(lengths: str, way: str) -> dict:
    """Reads eight texts one way, in this process, and takes the best of two."""
    import torch

    from modeling_clue.passes import split_into_passes

    model, processor, _ = build_model()
    premises = [processor.encode_premise({"text": " ".join(["word"] * words)}) for words in LENGTHS[lengths]]
    ids = [torch.tensor(premise.input_ids) for premise in premises]
    row, sizes = torch.cat(ids)[None], list(map(len, ids))
    premise_of = torch.repeat_interleave(torch.arange(len(ids)), torch.tensor(sizes))
    apart = (premise_of[:, None] == premise_of).tril()[None, None]
    positions = torch.cat([torch.arange(len(one)) for one in ids]).expand(3, 1, -1)

    def one_row() -> None:
        embeds = model.get_input_embeddings()(row)
        model.model.language_model(inputs_embeds=embeds, attention_mask=apart, position_ids=positions, use_cache=True)

    def read(*batches: list) -> None:
        for batch in batches:
            model.read(**processor.collate_premises(batch))

    ways = {
        "one by one": lambda: read(*([premise] for premise in premises)),
        "padded": lambda: read(premises),
        "passes": lambda: read(*([premises[place] for place in one] for one in split_into_passes(sizes))),
        "one row": one_row,
    }
    taken = []
    with torch.inference_mode():
        for _ in range(2):
            with stopwatch() as seconds:
                ways[way]()
            taken.append(seconds)
    return {**min(taken, key=lambda one: one["cpu_seconds"]), "tokens": row.numel(), "longest": max(sizes)}


def run(threads: int) -> Iterator[str]:
    """Yields the report."""
    head = ("lengths", "tokens", "with padding", *(f"{way}: CPU s" for way in WAYS))
    yield table_line(head)
    yield table_line(["---"] + ["---:"] * (len(head) - 1))
    for lengths, words in LENGTHS.items():
        found = [in_process(lengths, way, threads=threads) for way in WAYS]
        tokens, padded = found[0]["tokens"], len(words) * found[0]["longest"]
        yield table_line((lengths, f"{tokens:,}", f"{padded:,}", *(f"{one['cpu_seconds']:.2f}" for one in found)))


if __name__ == "__main__":
    benchmark(__doc__, run, measure)
