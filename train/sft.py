"""Trains CLUE on premises with their hypotheses.

```bash
# A tiny model from scratch on the urn world, on a CPU
python -m datasets_scripts.build urn --output-dir umui
python -m train.tiny --dataset umui --output-dir runs/demo/init
accelerate launch --config-file train/accelerate_configs/single.yaml \
    train/sft.py --config train/recipes/demo_cpu.yaml

# The same on two CPU processes
accelerate launch --config-file train/accelerate_configs/ddp_cpu.yaml \
    train/sft.py --config train/recipes/demo_cpu.yaml

# Go on where a run was cut off
accelerate launch train/sft.py --config train/recipes/demo_cpu.yaml --resume-from-checkpoint true

# The paper's token-based baseline, CLUE-T, which writes the probability
accelerate launch --config-file train/accelerate_configs/single.yaml \
    train/sft.py --config train/recipes/demo_cpu_text.yaml

# LoRA on the language model of a large checkpoint, one process a GPU
accelerate launch --config-file train/accelerate_configs/ddp.yaml \
    train/sft.py --model-name-or-path CHECKPOINT --dataset umui --dataset-configs unli --output-dir runs/lora \
    --use-peft --dtype bfloat16 --bf16 --learning-rate 1e-4
```
"""

import sys
from pathlib import Path

from peft import PeftModel
from transformers import AutoConfig, AutoModel, AutoProcessor, set_seed
from transformers.trainer import TRAINER_STATE_NAME
from trl import ModelConfig

from common.cli import exit_on_error
from modeling_clue import CLUEProcessor
from modeling_clue.backbone import TOWERS
from modeling_clue.checkpoint_parts import load_whole, read
from modeling_clue.configuration_clue import CLUEFields
from modeling_clue.modeling_clue import ConfidenceEstimation
from train.answers import CLUEForTextAnswers, answering_processor, load_text_model
from train.arguments import DataArguments
from train.backends import check_backend
from train.callbacks import CardCallback, PushCallback, local_trackers
from train.checkpoints import checkpoint_to_resume
from train.collator import PremiseCollator
from train.hub import check_push
from train.options import check_metric, parse_options
from train.prefixes import check_clock
from train.premises import PremiseDataset, check_split
from train.record import describe_run
from train.settings import run_settings
from train.towers import open_tower_cache
from train.trained import add_lora, keep_trained_in_float32, mark_trained_projections, trained_in
from train.trainer import CLUETrainer


def load_model(
    data_args: DataArguments, model_args: ModelConfig
) -> ConfidenceEstimation | CLUEForTextAnswers | PeftModel:
    """Loads the checkpoint (with LoRA a `PeftModel` of it), sets its target, and decides what is trained."""
    if model_args.model_name_or_path is None:
        raise ValueError("model_name_or_path is missing: name the CLUE checkpoint to start from.")
    freeze_towers = model_args.use_peft if data_args.freeze_towers is None else data_args.freeze_towers
    if data_args.train_projections and not freeze_towers:
        raise ValueError(
            "train_projections has no effect where whole towers are trained: add `--freeze-towers true`, or leave "
            "train_projections out."
        )
    checkpoint = model_args.model_name_or_path
    options = {
        "revision": model_args.model_revision,
        "dtype": model_args.dtype,
        "attn_implementation": model_args.attn_implementation,
    }
    if data_args.variant == "text":
        model = load_text_model(checkpoint, **options)
    else:
        config = read(AutoConfig, checkpoint, revision=model_args.model_revision)
        if not isinstance(config, CLUEFields):
            raise ValueError(
                f"'{checkpoint}' is a {config.model_type} checkpoint without a confidence head: make it one of CLUE "
                "with `python -m modeling_clue.conversion to-clue`, or go on with a CLUE-T by `--variant text`."
            )
        if data_args.sigma is not None and (data_args.target or config.target) == "mse":
            raise ValueError(f"sigma has no effect on '{checkpoint}', whose target is mse: leave it out.")
        model = load_whole(AutoModel, checkpoint, **options)
        if data_args.target is not None:
            model.config.target = data_args.target
        if data_args.sigma is not None:
            model.config.sigma = data_args.sigma
        # Nothing of the loss passes through it.
        model.lm_head.requires_grad_(False)
    # FSDP does not resume with a trained weight that has never had a gradient.
    for name in model.backbone.unused:
        model.get_parameter(name).requires_grad_(False)

    projections = []
    for tower in TOWERS if freeze_towers else ():
        model.model.get_submodule(tower).requires_grad_(False)
        if data_args.train_projections:
            layers = model.backbone.projections_of(model.model, tower)
            projections += [name for name, layer in layers.items() if [*layer.requires_grad_().parameters()]]

    if not model_args.use_peft:
        return model
    untrained = [*(TOWERS if freeze_towers else ()), *(["lm_head"] if data_args.variant == "distribution" else ())]
    model = add_lora(model, model_args, untrained, projections)
    if not freeze_towers and not trained_in(model, TOWERS):
        raise ValueError(
            "freeze_towers=false has no effect on this LoRA, which has no adapter in a tower: name layers of towers "
            "in lora_target_modules, such as q_proj, or leave freeze_towers out."
        )
    return model


def main(arguments: list[str] | None = None) -> None:
    """Trains with the options of a command line, by default that of the process."""
    data_args, training_args, model_args = parse_options(arguments)
    resume_from_checkpoint = checkpoint_to_resume(training_args)
    check_push(data_args, training_args, model_args)
    Path(training_args.output_dir).mkdir(parents=True, exist_ok=True)  # not writable? Better known now than at the end

    evaluates = training_args.eval_strategy != "no"
    eval_configs = data_args.eval_configs or data_args.dataset_configs
    remedy = "set --train-split or --dataset-configs"
    check_split(data_args.dataset, data_args.dataset_configs, data_args.train_split, remedy)
    if evaluates:
        remedy = "set --eval-configs, --eval-split, or --eval-strategy no"
        check_split(data_args.dataset, eval_configs, data_args.eval_split, remedy)

    set_seed(training_args.seed)
    model = load_model(data_args, model_args)
    keep_trained_in_float32(model, training_args)
    processor = read(AutoProcessor, model_args.model_name_or_path, revision=model_args.model_revision)
    if data_args.variant == "text":
        processor = answering_processor(processor)

    if data_args.prefix_share:
        check_clock(processor)

    seed = training_args.seed if training_args.data_seed is None else training_args.data_seed

    def load_premises(configs: list[str], split: str, max_premises: int | None, **options) -> PremiseDataset:
        return PremiseDataset.load(
            data_args.dataset,
            configs,
            split,
            processor,
            max_premises=max_premises,
            cache=data_args.cache_premises,
            seed=seed,
            **options,
        )

    train_dataset = load_premises(
        data_args.dataset_configs,
        data_args.train_split,
        data_args.max_train_premises,
        teacher_answers=data_args.teacher_answers,
        weights=data_args.config_weights,
        with_prefixes=data_args.prefix_share > 0,
    )
    if data_args.train_projections and not {*train_dataset.modalities} - {"text"}:
        raise ValueError(
            "train_projections has no effect on text alone, of which there is nothing to project: leave it out."
        )
    if data_args.variant == "distribution":
        mark_trained_projections(model, train_dataset.modalities)
    eval_dataset = None
    if evaluates:
        eval_dataset = load_premises(eval_configs, data_args.eval_split, data_args.max_eval_premises)
        check_metric(training_args, data_args.variant, eval_dataset.modalities)
    trainer = CLUETrainer(
        model=model,
        args=training_args,
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        data_collator=PremiseCollator(
            processor,
            data_args.max_hypotheses_per_premise,
            seed,
            prefix_share=data_args.prefix_share,
            sound_block=model.sound_block if data_args.prefix_share else None,
        ),
        eval_collator=PremiseCollator(processor),
        processing_class=processor,
        modality_batching=data_args.modality_batching,
        settings=run_settings(data_args, training_args, model_args, train_dataset),
        callbacks=local_trackers(training_args, resumes=resume_from_checkpoint is not None),
    )
    check_backend(trainer)
    if data_args.tower_cache is not None:
        trainer.use_tower_cache(open_tower_cache(trainer, data_args.tower_cache, data_args.tower_cache_gb))
    arguments = sys.argv[1:] if arguments is None else arguments
    card = CardCallback(trainer, describe_run(trainer, arguments, data_args, model_args))
    push = PushCallback(trainer, card)
    trainer.add_callback(card)
    if training_args.push_to_hub:
        trainer.add_callback(push)
    trainer.train(resume_from_checkpoint=resume_from_checkpoint)
    if evaluates and card.measured() is None:
        trainer.evaluate()
    save(trainer, processor, card)
    if training_args.push_to_hub:
        push.push_saved()
    # Without it, a process that ends while gloo's threads still hold tensors is now and then aborted at the very end.
    trainer.accelerator.end_training()


def save(trainer: CLUETrainer, processor: CLUEProcessor, card: CardCallback) -> None:
    """Saves a whole checkpoint with its card in the output folder, which transformers loads without this repository.
    With LoRA it is the merged model, and `adapter/` has the adapter alone."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    with trainer.whole_model() as folder:
        trainer.save_model(folder / "adapter" if isinstance(model, PeftModel) else folder, _internal_call=True)
        if trainer.is_world_process_zero():
            if isinstance(model, PeftModel):
                model.merge_and_unload().save_pretrained(folder)
                processor.save_pretrained(folder)
            trainer.state.save_to_json(folder / TRAINER_STATE_NAME)
            card.write(folder)


if __name__ == "__main__":
    with exit_on_error():
        main()
