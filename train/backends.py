"""What several processes train with: DDP, DeepSpeed or FSDP."""

import os


def keep_to_torch_collectives() -> None:
    """Has DeepSpeed use torch's collectives on the CPU. Its own, for one machine with a processor that has AVX-512,
    would be compiled when the processes meet: two minutes, and an error without a C++ compiler.

    Call it before `TrainingArguments` are made: they bring the processes together.
    """
    if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true":
        import deepspeed

        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
