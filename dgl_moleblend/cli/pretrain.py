"""`pretrain`: blend-then-predict on a data set -> a model folder."""

from typing import Any

import click

from dgl_moleblend.cli import options
from dgl_moleblend.cli.inputs import encoder_choice, open_molecules, resumable, say, training_config


@click.command()
@options.input_files
@options.output
@options.columns
@options.featurizer
@options.training(epochs=30, batch_size=32, learning_rate=2e-4, patience=0)
@click.option("--validation", type=click.FloatRange(0, 1, max_open=True), default=0.05, show_default=True,
              metavar="SHARE", help="Share of the molecules whose loss chooses the weights that are kept.")  # fmt: skip
@click.option("--ratio", nargs=3, type=float, default=(0.2, 0.2, 0.6), show_default=True, metavar="SPD PATH DISTANCE",
              help="Probabilities that a pair shows each relation.")  # fmt: skip
@click.option("--atom-ratio", nargs=2, type=float, default=(0.4, 0.6), show_default=True, metavar="2D 3D",
              help="Probabilities that an atom shows its 2D or 3D term.")  # fmt: skip
@click.option("--noise", "noise_scale", type=click.FloatRange(0), default=0.2, show_default=True, metavar="ANGSTROM",
              help="Deviation of the noise on the positions that are shown.")  # fmt: skip
@click.option("--objective-3d", type=click.Choice(["distance", "direction"]), default="distance", show_default=True,
              help="Recover distances, or directions in space as the authors' release does.")  # fmt: skip
@click.option("--score", type=click.Choice(["all", "hidden"]), default="all", show_default=True,
              help="Score all pairs, as released, or only those whose relation was hidden.")  # fmt: skip
@options.accelerator
@click.option("--devices", type=click.IntRange(1), default=1, show_default=True, metavar="N",
              help="Devices that train together.")  # fmt: skip
@options.workers
@options.quiet
@click.pass_context
def command(
    ctx: click.Context,
    inputs: tuple[str, ...],
    output: str,
    positions: str,
    num_conformers: int,
    timeout: float,
    size: str,
    encoder: str | None,
    validation: float,
    accelerator: str,
    devices: int,
    resume: bool,
    overwrite: bool,
    workers: int,
    quiet: bool,
    **values: Any,
) -> None:
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
    from dgl_moleblend.config import BlendConfig, FeaturizerConfig
    from dgl_moleblend.folder import keep_inputs

    keep_inputs(output, inputs if encoder is None else (*inputs, encoder))
    config = training_config(values)
    start = encoder_choice(ctx, size, encoder)
    blend = BlendConfig(**{name: values.pop(name) for name in
                           ("ratio", "atom_ratio", "noise_scale", "objective_3d", "score")})  # fmt: skip
    featurizer = FeaturizerConfig(positions, seed=config.seed, num_conformers=num_conformers, timeout=timeout)
    dataset = open_molecules(ctx, inputs, featurizer, workers=workers, quiet=quiet, **values)
    say(f"{len(dataset):,} molecules, {int((dataset.num_conformers > 0).sum()):,} of them with 3D positions")

    from dgl_moleblend.train.pretrain import pretrain

    with resumable():
        pretrain(
            dataset,
            output,
            encoder=start,
            blend_config=blend,
            training_config=config,
            validation=validation,
            resume=resume,
            overwrite=overwrite,
            progress=not quiet,
            accelerator=accelerator,
            devices=devices,
        )
    say(f"model: {output}")
