"""A training run: a folder that holds everything about it, begun or taken up where it stopped."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import platform
import signal
import warnings
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import yaml

from leadline import checkpoint
from leadline.data.augment import AugmentConfig
from leadline.data.loading import BatchStream, Plan, Source, Stretch
from leadline.errors import UserError
from leadline.files import write_whole
from leadline.models import Network, Task, create
from leadline.models.backbones import load_backbone
from leadline.training.losses import TotalLoss
from leadline.training.recipe import Phase, Recipe, check_recipe, difference, dump_recipe, load_recipe
from leadline.training.teacher import with_teachers
from leadline.version import __version__


def train(
    recipe: Recipe | Mapping[str, Any] | str | os.PathLike,
    folder: str | os.PathLike | None = None,
    resume: bool = False,
    stop_after: int | None = None,
) -> Path:
    """Trains a network as a recipe says.

    A folder that holds a run of the same recipe is taken up where it stopped: the weights at the end are the same as
    without the interruption.

    Args:
        recipe: a Recipe, the path of one, or its content as plain values.
        folder: of the run; default runs/NAME.
        resume: refuse to begin a new run.
        stop_after: steps of this sitting; the run can be taken up again.

    Returns:
        The final checkpoint (`NAME.safetensors`), or `latest.safetensors` where the run stopped before its end.

    Raises:
        UserError: a mistake in the recipe, a folder with another run, nothing to resume, or a loss that is not finite.
    """
    if isinstance(recipe, Mapping):
        recipe = check_recipe(dict(recipe))
    elif not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe)
    folder = Path("runs") / recipe.name if folder is None else Path(folder)
    start = _find_start(recipe, folder, resume)
    final = folder / f"{recipe.name}.safetensors"
    if start >= recipe.total_steps and final.is_file():
        return final
    return _fit(recipe, folder, start, stop_after, final)


def _find_start(recipe: Recipe, folder: Path, resume: bool) -> int:
    """The step from which to go on; nothing is written."""
    last, kept = folder / "last.ckpt", folder / "recipe.yaml"
    if last.is_file():
        if not kept.is_file():
            raise UserError(f"{folder}: holds last.ckpt but no recipe.yaml: choose another folder with -o")
        old = yaml.safe_load(kept.read_text(encoding="utf-8"))
        changed = difference(dump_recipe(check_recipe(old, str(kept))), dump_recipe(recipe))
        if changed is not None:
            raise UserError(f"{folder}: the recipe of this run was another ({changed}): choose another folder with -o")
        return _read_step(last)
    if resume:
        raise UserError(f"{folder}: there is no last.ckpt to resume from: leave --resume out to begin")
    return 0


def _read_step(path: Path) -> int:
    try:
        return int(torch.load(path, map_location="cpu", weights_only=True, mmap=True)["global_step"])
    except Exception as error:
        raise UserError(f"{path}: not a readable checkpoint ({error}): delete it to begin anew") from error


def make_plan(recipe: Recipe, task: Task, rank: int = 0, ranks: int = 1) -> Plan:
    """The stream of batches that a recipe asks for; `task` is its network's."""
    phases = recipe.phases or [Phase(steps=recipe.total_steps)]
    stretches = []
    for phase in phases:
        crop = phase.crop or recipe.crop
        size = phase.render_size or (recipe.render_size if phase.crop is None else None) or crop
        stretches.append(Stretch(phase.steps * recipe.accumulate, phase.batch or recipe.batch, crop, size))
    sources = tuple(Source(source.source, source.weight, source.scenes) for source in recipe.data)
    augment = AugmentConfig(**recipe.augment.model_dump())
    return Plan(sources, tuple(stretches), recipe.seed, recipe.reuse, augment, task, rank, ranks)


def pairs_seen(recipe: Recipe, steps: int, ranks: int = 1) -> int:
    """How many pairs the first `steps` steps take."""
    seen = 0
    for phase in recipe.phases or [Phase(steps=recipe.total_steps)]:
        taken = min(steps, phase.steps)
        seen += taken * (phase.batch or recipe.batch)
        steps -= taken
    return seen * recipe.accumulate * ranks


def make_network(recipe: Recipe) -> Network:
    """The network of a recipe, from its seed or from the checkpoint that it starts from.

    Raises:
        UserError: unknown network or option, or a checkpoint or backbone weights that do not fit.
    """
    torch.manual_seed(recipe.seed)
    options = recipe.network.options
    backbone = options.pop("backbone_weights", None)
    network = create(recipe.network.name, **options)
    if backbone is not None and recipe.init is None:
        network.provenance = {"backbone": f"{backbone}: {load_backbone(network, str(backbone))}"}
    for stretch in make_plan(recipe, network.task).stretches:
        fits = network.padded_size(*stretch.crop)
        if fits != stretch.crop:
            raise UserError(
                f"crop {stretch.crop[0]}x{stretch.crop[1]}: {recipe.network.name} takes multiples of "
                f"{network.size_multiple}: take {fits[0]}x{fits[1]}"
            )
    if recipe.init is not None:
        from leadline.zoo import find_checkpoint

        start = checkpoint.load_network(find_checkpoint(recipe.init))
        if start.surgeries:  # trained on as the network that they made of it
            return _same(start, network, recipe.init)
        try:
            network.load_state_dict(start.state_dict())
        except RuntimeError as error:
            raise UserError(f"init: {recipe.init} holds a {start.name} that does not fit the network") from error
    return network


def _same(start: Network, network: Network, where: str) -> Network:
    """A compressed network to be trained on, if it is of the kind that the recipe names."""
    if (start.name, start.config) != (network.name, network.config):
        raise UserError(f"init: {where} holds a compressed {start.name}: a recipe has to name it with the same options")
    return start.train()


def _fit(recipe: Recipe, folder: Path, start: int, stop_after: int | None, final: Path) -> Path:
    import lightning
    from lightning.pytorch.loggers import TensorBoardLogger

    from leadline.training.callbacks import Average, Checkpoints, Finite, Journal, Progress, Signals, StopAfter
    from leadline.training.distill import make_distillation
    from leadline.training.growth import Growth, check_growth
    from leadline.training.module import Training
    from leadline.training.tensorboard import Board
    from leadline.training.validation import Pairs, Validation

    _quieten()
    if recipe.threads is not None:
        torch.set_num_threads(recipe.threads)
    precision = _precision(recipe)
    network = make_network(recipe)
    distillation = make_distillation(recipe, network)
    module = Training(network, recipe, distillation)
    if recipe.sparsify is not None:
        check_growth(network, recipe.network.name)
    module.configure_optimizers()  # once for its errors, before anything is written
    backbone = getattr(network, "provenance", {}).get("backbone")
    taught = with_teachers(recipe, folder, network.task)
    stream = BatchStream(make_plan(taught, network.task))
    if distillation is None:
        _check_truth(stream, module.loss)
    pairs = None if recipe.validate_ is None else Pairs(recipe, network.task)

    write_whole(folder / "recipe.yaml", yaml.safe_dump(dump_recipe(recipe), sort_keys=False).encode())
    logger = TensorBoardLogger(folder, name="", version="", purge_step=start + 1)
    journal = Journal(folder / "log.txt")
    if backbone is not None and not start:
        journal.tell(f"backbone weights {backbone}")
    finite = Finite(folder, recipe.log.every)

    def write_weights(step: int) -> None:
        checkpoint.save(module.trained, folder / "latest.safetensors", provenance(recipe, step, module.trainer))

    # In this order after each step: what is measured and written is that of the moved average.
    growth = [] if recipe.sparsify is None else [Growth(recipe.sparsify, recipe.total_steps)]
    callbacks: list[lightning.Callback] = [finite, *growth, Average(), Board(recipe.log, logger.experiment)]
    if pairs is not None and recipe.validate_ is not None:
        callbacks.append(Validation(pairs, recipe.validate_.every, logger.experiment, journal))
    signals = Signals(recipe.log.every, journal)
    callbacks.append(signals)
    if stop_after is not None:
        callbacks.append(StopAfter(stop_after))
    callbacks.append(Checkpoints(folder, recipe.checkpoint.every, finite, write_weights))
    callbacks.append(Progress(recipe.total_steps, recipe.log.every, journal))
    trainer = lightning.Trainer(
        accelerator=recipe.accelerator,
        devices=recipe.devices,
        strategy=_strategy(recipe, module),
        precision=precision,
        max_steps=recipe.total_steps,
        max_epochs=-1,
        accumulate_grad_batches=recipe.accumulate,
        sync_batchnorm=recipe.sync_batchnorm,
        deterministic=recipe.deterministic,
        use_distributed_sampler=False,
        logger=False,
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=str(folder),
    )
    last = folder / "last.ckpt"
    with _told(folder):
        try:
            batches = _data(taught, module.network.task, start)
            trainer.fit(module, batches, ckpt_path=last if start else None, weights_only=True)
        finally:
            logger.experiment.close()
    if signals.received is not None and trainer.global_step < recipe.total_steps:
        if trainer.is_global_zero:
            journal.tell(f"stopped at step {trainer.global_step}, which is kept: the same command goes on from there")
        if signals.received == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt
    if trainer.global_step < recipe.total_steps:
        return folder / "latest.safetensors"
    if trainer.is_global_zero:
        checkpoint.save(module.trained, final, provenance(recipe, trainer.global_step, trainer))
    return final


def _check_truth(stream: BatchStream, loss: TotalLoss) -> None:
    """Without a truth, losses on it are 0, and the run would learn nothing; a look at the first pair tells."""
    if not loss.needs_truth:
        return
    for name, data in stream.data_sets.items():
        if data[0].truth(loss.task) is None:
            raise UserError(
                f"{name}: its first sample has no truth for {loss.task.value}, and every loss of the recipe is on the "
                "truth: add it, or take losses without truth (photometric, census, smoothness, left_right)"
            )


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Turns what a run can meet on its way, beside mistakes in the recipe, into errors that say what to do."""
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    kept = "the last checkpoint is kept, and the same command goes on from it"
    _sweep(folder)
    try:
        yield
    except SystemExit as error:  # how Lightning ends after a signal
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        if isinstance(error, SIGTERMException):  # received while the run was being set up
            raise SystemExit(128 + signal.SIGTERM) from None
        raise
    except torch.OutOfMemoryError as error:
        raise UserError(
            "the device's memory does not suffice: make batch (and accumulate more) or crop smaller, or precision bf16"
        ) from error
    except (OSError, RuntimeError) as error:
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "PytorchStreamWriter" in str(error)
        if not full:
            raise
        raise UserError(f"{folder}: the disk is full: make room; {kept}") from error
    finally:
        _sweep(folder)


def _sweep(folder: Path) -> None:
    """Takes away what a write that was killed or failed has left."""
    if int(os.environ.get("LOCAL_RANK", "0")) == 0:
        for left in folder.glob(".last.ckpt.*"):
            left.unlink(missing_ok=True)


def _data(recipe: Recipe, task: Task, start: int) -> Any:
    """The stream as Lightning takes it; made late, when the rank is known."""
    import lightning

    class Data(lightning.LightningDataModule):
        def train_dataloader(self) -> BatchStream:
            assert self.trainer is not None
            plan = make_plan(recipe, task, self.trainer.global_rank, self.trainer.world_size)
            return BatchStream(plan, start * recipe.accumulate, recipe.workers)

    return Data()


def _precision(recipe: Recipe) -> Any:
    """Lightning's name for the precision, after a look at what the machine has."""
    on_gpu = recipe.accelerator in ("auto", "cuda") and torch.cuda.is_available()
    if recipe.accelerator == "cuda" and not on_gpu:
        raise UserError("accelerator cuda: PyTorch finds no CUDA GPU here: use auto, or install a CUDA build of it")
    if recipe.precision == "16" and not on_gpu:
        raise UserError("precision 16 needs a CUDA GPU: use 32 or bf16")
    if recipe.sync_batchnorm and not on_gpu:
        raise UserError("sync_batchnorm works between GPUs alone: leave it out")
    return {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}[recipe.precision]


def _strategy(recipe: Recipe, module: Any) -> str:
    """One process per device where there are several."""
    on_gpus = recipe.accelerator in ("auto", "cuda")
    found = torch.cuda.device_count() if on_gpus else 1
    several = found > 1 if recipe.devices == "auto" else recipe.devices > 1
    if not several:
        return "auto"
    # Looking for weights without a gradient takes time, and is needed where a head is left out of the loss.
    return "ddp" if module.loss.reaches_all else "ddp_find_unused_parameters_true"


def provenance(recipe: Recipe, steps: int, trainer: Any) -> dict[str, Any]:
    """Where weights come from, as JSON-able facts."""
    distillation = trainer.lightning_module.distillation
    return {
        "recipe": dump_recipe(recipe),
        "seed": recipe.seed,
        "steps": steps,
        "pairs": pairs_seen(recipe, steps, trainer.world_size),
        "data": [source.model_dump(mode="json") for source in recipe.data],
        "averaged": bool(recipe.ema),
        "leadline": __version__,
        "torch": torch.__version__,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _machine(trainer),
        **({} if distillation is None else {"distilled": distillation.about()}),
    }


def _machine(trainer: Any) -> str:
    device = trainer.strategy.root_device
    if device.type == "cuda":
        return f"{trainer.world_size} × {torch.cuda.get_device_name(device)}"
    return f"{platform.machine()}, {torch.get_num_threads()} threads"


def _quieten() -> None:
    """Lightning's advice is for those who write the loop themselves."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
