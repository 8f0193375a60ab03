"""`pretrain`: blend-then-predict on a data set -> a model folder."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dgl_moleblend.cli import options
from dgl_moleblend.cli.inputs import encoder_choice, open_molecules, prepared_once, resumable, say
from dgl_moleblend.env.processes import number_of_processes

if TYPE_CHECKING:
    from dgl_moleblend.config import BlendConfig


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
)  # fmt: skip
"""What is shown and asked for, a BlendConfig."""


@click.command()
@options.input_files
@options.output
@options.reading
@options.featurizing
@options.start
@options.training(epochs=30, batch_size=32, learning_rate=2e-4, patience=0)
@click.option("--validation", type=click.FloatRange(0, 1, max_open=True), default=0.05, show_default=True,
              metavar="SHARE", help="Share of the molecules whose loss chooses the weights that are kept.")  # fmt: skip
@blending
@options.compute_together
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
      dgl-moleblend pretrain zinc.store -o pretrained --resume      (after an interruption)
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from dgl_moleblend.config import FeaturizerConfig
    from dgl_moleblend.files import keep_inputs
    from dgl_moleblend.train.run import check_folder

    encoder, training, compute = given["start"]["encoder"], given["training"], given["compute"]
    keep_inputs(output, inputs if encoder is None else (*inputs, encoder))
    check_folder(Path(output), **given["again"])
    start = encoder_choice(ctx, **given["start"])
    featurizer = FeaturizerConfig(seed=training.seed, **given["featurizing"])
    several = compute.devices != 1 or number_of_processes() > 1
    with prepared_once(Path(output)) if several else nullcontext() as store:
        dataset = open_molecules(ctx, inputs, featurizer, workers=given["workers"], quiet=not compute.progress,
                                 store=store, **given["reading"])  # fmt: skip
        say(f"{len(dataset):,} molecules, {int((dataset.num_conformers > 0).sum()):,} of them with 3D positions")

        from dgl_moleblend.train.pretrain import pretrain

        with resumable():
            pretrain(dataset, output, start=start, blend=given["blend"], validation=given["validation"],
                     training=training, compute=compute, **given["again"])  # fmt: skip
    say(f"model: {output}")
