"""`pretrain`: blend-then-predict on a data set -> a model folder."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dgl_moleblend import shipped
from dgl_moleblend.cli import options
from dgl_moleblend.cli.frame import Command
from dgl_moleblend.cli.inputs import await_first, encoder_choice, open_molecules, prepared_once, resumable, say
from dgl_moleblend.cli.settings import kept
from dgl_moleblend.env.processes import is_first_process, number_of_processes

if TYPE_CHECKING:
    from dgl_moleblend.config import BlendConfig
    from dgl_moleblend.data.dataset import MoleculeDataset
    from dgl_moleblend.data.molecule_targets import MoleculeTargets


def _blend(**settings: Any) -> "BlendConfig":
    from dgl_moleblend.config import BlendConfig

    return BlendConfig(**settings)


blending = options.grouped(
    "blend",
    _blend,
    click.option("--ratio", nargs=3, type=float, default=(0.2, 0.2, 0.6), show_default=True,
                 metavar="SPD PATH DISTANCE", help="Probabilities that a pair shows each relation."),
    click.option("--atom-ratio", nargs=2, type=float, default=(0.4, 0.6), show_default=True, metavar="2D 3D",
                 help="Probabilities that an atom shows its 2D or 3D term."),
    click.option("--noise", "noise_scale", type=click.FloatRange(0), default=0.2, show_default=True,
                 metavar="ANGSTROM", help="Deviation of the noise on the positions that are shown."),
    click.option("--objective-3d", type=click.Choice(["distance", "direction"]), default="distance", show_default=True,
                 help="Recover distances, or directions in space as the authors' release does."),
    click.option("--score", type=click.Choice(["all", "hidden"]), default="all", show_default=True,
                 help="Score all pairs, as released, or only those whose relation was hidden."),
    title="What is shown and hidden",
)  # fmt: skip
"""What is shown and asked for, a BlendConfig."""


telling = options.grouped(
    "telling",
    dict,
    click.option("--labels", metavar="FILE",
                 help="A table of measured labels, of some molecules: the graph token learns to tell them, too."),
    click.option("--tasks", "task_columns", multiple=True, metavar="NAME,...",
                 help="Its columns, as for finetune. [default: every column of numbers]"),
    click.option("--descriptors", is_flag=True, help="The graph token learns to tell RDKit's descriptors, too."),
    title="What the graph token learns",
)  # fmt: skip
"""What the graph token is to tell."""


@click.command(cls=Command)
@options.input_files
@options.output
@options.reading
@options.featurizing
@options.start
@options.training(epochs=30, batch_size=32, learning_rate=2e-4, patience=0)
@click.option("--validation", type=click.FloatRange(0, 1, max_open=True), default=0.05, show_default=True,
              metavar="SHARE", help="Share of the molecules whose loss chooses the weights that are kept.")  # fmt: skip
@blending
@telling
@options.compute
@options.workers
@options.again
@click.pass_context
def command(ctx: click.Context, inputs: tuple[str, ...], output: str, **given: Any) -> None:
    """Pretrain a model by blend-then-predict.

    FILE is a data set that `featurize` wrote, or several (one with given positions, one with embedded, say), or files
    of molecules as `featurize` reads them. The output folder is a model for `finetune --encoder` and `embed`; it also
    receives run.json, logs and a picture of the losses.

    \b
      dgl-moleblend featurize zinc.smi --positions embed -o zinc.store
      dgl-moleblend pretrain zinc.store -o pretrained
      dgl-moleblend pretrain qm9.store zinc.store -o pretrained
      dgl-moleblend pretrain zinc.store --descriptors --labels measured.csv -o pretrained
      dgl-moleblend pretrain zinc.store -o pretrained --resume      (after an interruption)
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    encoder, training, compute = given["start"]["encoder"], given["training"], given["compute"]
    if encoder is not None:
        shipped.find(encoder)  # said before torch is imported

    from dgl_moleblend.config import FeaturizerConfig
    from dgl_moleblend.data.shares import missing_shares
    from dgl_moleblend.files import keep_inputs
    from dgl_moleblend.train.run import check_folder

    telling = given["telling"]
    if telling["task_columns"] and telling["labels"] is None:
        raise click.UsageError("--tasks names columns of the table of labels: give it with --labels FILE")
    keep_inputs(output, [name for name in (*inputs, encoder, telling["labels"]) if name is not None])
    check_folder(Path(output), **given["again"])
    start = encoder_choice(ctx, **given["start"])
    featurizer = FeaturizerConfig(seed=training.seed, **given["featurizing"])
    several = compute.devices != 1 or number_of_processes() > 1
    with prepared_once(Path(output)) if several else nullcontext() as store:
        dataset = open_molecules(ctx, inputs, featurizer, workers=given["workers"], quiet=not compute.progress,
                                 store=store, **given["reading"])  # fmt: skip
        for text in missing_shares([dataset.table]):  # of one alone; of several it is said where they are joined
            say(text)
        say(f"{len(dataset):,} molecules, {int((dataset.num_conformers > 0).sum()):,} of them with 3D positions")

        targets = _targets(dataset, store, workers=given["workers"], progress=compute.progress, **telling)
        from dgl_moleblend.train.pretrain import pretrain

        with kept(ctx, Path(output), inputs, {}), resumable():
            pretrain(dataset, output, start=start, blend=given["blend"], targets=targets,
                     validation=given["validation"], training=training, compute=compute, **given["again"])  # fmt: skip
    say(f"model: {output}")


def _targets(
    dataset: "MoleculeDataset",
    store: Path | None,
    *,
    labels: str | None,
    task_columns: tuple[str, ...],
    descriptors: bool,
    workers: int,
    progress: bool,
) -> "MoleculeTargets | None":
    """Return what the graph token is to tell; of several processes, the first makes it, and the others wait."""
    from dgl_moleblend.data.molecule_targets import MoleculeTargets
    from dgl_moleblend.data.pretraining_targets import targets_from_descriptors, targets_from_table
    from dgl_moleblend.files import write_atomically

    if labels is None and not descriptors:
        return None
    shared = None if store is None else store.with_name(f"{store.name}-targets.npz")
    if shared is not None and not is_first_process():
        await_first(shared.is_file)
        return MoleculeTargets.read(shared)
    made = [targets_from_descriptors(dataset, workers=workers, progress=progress)] if descriptors else []
    if labels is not None:
        made.append(targets_from_table(dataset, labels, task_columns, tell=say))
    found = MoleculeTargets.join(made)
    if shared is not None:
        shared.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(shared, found.write)
    return found
