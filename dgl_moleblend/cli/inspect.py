"""`inspect`: a data set in numbers and a picture, or one molecule: what a model sees of it, and what its atoms add."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dgl_moleblend import shipped
from dgl_moleblend.cli import formats, options
from dgl_moleblend.cli.frame import Command
from dgl_moleblend.cli.inputs import refuse, say

if TYPE_CHECKING:
    from rdkit.Chem import Mol

    from dgl_moleblend.pairs.batch import RelationBatch
    from dgl_moleblend.predict.attribution import Attribution

_WIDEST = 30  # atoms of a molecule whose matrices are printed
_MANY_TASKS = 6  # properties that are explained unless others are named


@click.command(cls=Command)
@click.argument("store", required=False, type=click.Path(), metavar="[STORE|FILE]")
@click.option("-s", "--smiles", help="Describe this molecule instead.")
@click.option("--row", type=click.IntRange(0), default=0, show_default=True, metavar="N",
              help="With FILE: which of its molecules, counted from 0.")  # fmt: skip
@click.option("--positions", type=click.Choice(["none", "given", "embed"]), default="none", show_default=True,
              help="Of a molecule: where its positions come from (given: from the SDF or CXSMILES).")  # fmt: skip
@click.option("--model", type=click.Path(), metavar="FOLDER",
              help="Of a molecule: what each atom adds to the prediction of this model, which `finetune` wrote; "
              "positions are made as for the model.")  # fmt: skip
@click.option("--task", "tasks", multiple=True, metavar="NAME",
              help="With --model: this property; may be repeated. [default: the first six]")  # fmt: skip
@options.seed
@formats.option
@click.option("--figure", type=click.Path(dir_okay=False), metavar="PATH", help="Draw it, too (png, svg, pdf).")
@click.option("--numbers", is_flag=True, help="With --model and --figure: number the atoms in the picture.")
@click.pass_context
def command(
    ctx: click.Context,
    store: str | None,
    smiles: str | None,
    row: int,
    positions: str,
    model: str | None,
    tasks: tuple[str, ...],
    seed: int,
    form: str,
    figure: str | None,
    numbers: bool,
) -> None:
    """Describe STORE, a data set that `featurize` wrote, or one molecule, of FILE or given as SMILES.

    A molecule is drawn beside its three relation matrices and a blend of them, drawn with the seed; with --model it is
    drawn with what each of its atoms adds to the prediction (integrated gradients of the atom embeddings: the
    contributions add up to the difference between the prediction and that for the bare skeleton: the molecule's bonds
    between atoms without features).

    \b
      dgl-moleblend inspect esol.store --figure esol.png
      dgl-moleblend inspect --smiles 'CCO' --positions embed --figure ethanol.png
      dgl-moleblend inspect ligands.sdf --row 3 --positions given --figure ligand.png
      dgl-moleblend inspect --smiles 'c1ccccc1O' --model esol-model --figure phenol.png
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    if (store is None) == (smiles is None):
        raise click.UsageError("give either a STORE or FILE, or --smiles")
    if tasks and model is None:
        raise click.UsageError("--task goes with --model")
    if numbers and (model is None or figure is None):
        raise click.UsageError("--numbers goes with --model and --figure")
    if figure is not None:
        from dgl_moleblend.files import keep_inputs

        keep_inputs(figure, [path for path in (store, model) if path is not None])
    if smiles is None and not Path(str(store)).is_file():
        refuse(ctx, ("row", "positions", "model"), "it goes with a molecule, not with a data set")
        _inspect_store(str(store), figure, form)
        return
    if smiles is not None:
        refuse(ctx, ("row",), "--smiles is one molecule")
    if model is not None:
        refuse(ctx, ("positions",), "the model remembers it")
        shipped.find(model)  # said before torch is imported
        _explain(model, tasks, smiles, store, row, figure, numbers, form)
    else:
        _inspect_molecule(smiles, store, row, positions, seed, figure, form)


def _inspect_store(path: str, figure: str | None, form: str) -> None:
    from dgl_moleblend.data.store import MoleculeStore
    from dgl_moleblend.data.summary import Summary

    store = MoleculeStore(path, allow_partial=True)
    summary = Summary.of(store)
    manifest = store.manifest
    size = sum(shard["bytes"] for shard in manifest["shards"])
    if form != "text":
        facts = {name: manifest[name] for name in ("sources", "featurizer", "versions", "complete")}
        formats.echo_json({"path": path, "shards": len(manifest["shards"]), "bytes": size, **facts,
                           **summary.to_dict()}, form)  # fmt: skip
    else:
        _print_store(path, manifest, size, len(store), summary.to_text())
    if not manifest["complete"]:
        click.echo("\nUNFINISHED: this is what an interrupted run left; give its command again to go on", err=True)
    if figure:
        from dgl_moleblend.report import figures

        figures.save(figures.store_summary(summary), figure)


def _print_store(path: str, manifest: dict[str, Any], size: int, count: int, summary: str) -> None:
    settings = ", ".join(f"{name}={value}" for name, value in manifest["featurizer"].items())
    click.echo(f"{path}: {len(manifest['shards'])} shards, {size:,} bytes ({size / max(count, 1):,.0f} a molecule)")
    click.echo(f"made from        {', '.join(manifest['sources'])}")
    click.echo(f"featurizer       {settings}")
    click.echo(f"made with        {', '.join(f'{k} {v}' for k, v in manifest['versions'].items())}\n")
    click.echo(summary)


def _inspect_molecule(
    smiles: str | None, file: str | None, row: int, positions: str, seed: int, figure: str | None, form: str
) -> None:
    from dgl_moleblend.config import FeaturizerConfig
    from dgl_moleblend.pairs.batch import MoleculeBatch
    from dgl_moleblend.pairs.graph import MoleculeFeaturizer

    mol, where = _read(smiles, file, row)
    featurizer = MoleculeFeaturizer.from_config(FeaturizerConfig(positions, seed=seed))
    batch = MoleculeBatch.from_arrays([featurizer.arrays(mol, where=where, prepared=True)]).relations()
    symbols = [atom.GetSymbol() for atom in mol.GetAtoms()]
    if form != "text":
        known = bool(batch.has_conformer[0])
        fields = {"elements": symbols, "features": batch.atom[0], "degree": batch.degree[0],
                  "positions": batch.positions[0] if known else None, "spd": batch.spd[0],
                  "bond_path": batch.bond_path[0], "distance": batch.distance[0] if known else None}  # fmt: skip
        formats.echo_json(fields, form)
    else:
        click.echo("\n".join(describe(batch, symbols)))
    if figure:
        import torch

        from dgl_moleblend.nn.blend import draw_blend
        from dgl_moleblend.report import drawings, figures

        blend = draw_blend(batch, generator=torch.Generator().manual_seed(seed))
        figures.save(drawings.relation_matrices(mol, batch, blend), figure)


def _explain(
    folder: str,
    tasks: tuple[str, ...],
    smiles: str | None,
    file: str | None,
    row: int,
    figure: str | None,
    numbers: bool,
    form: str,
) -> None:
    from dgl_moleblend.chem.compact import standardized
    from dgl_moleblend.pairs.graph import MoleculeFeaturizer
    from dgl_moleblend.predict.attribution import attribute
    from dgl_moleblend.predict.properties import PropertyModel
    from dgl_moleblend.report.words import SKELETON

    model = PropertyModel.from_pretrained(folder)
    unknown = [name for name in tasks if name not in model.task_names]
    if unknown:
        raise click.BadParameter(
            f"{unknown[0]!r} is none of the model's properties: {', '.join(model.task_names)}", param_hint="--task"
        )
    names = list(tasks or model.task_names[:_MANY_TASKS])
    if not tasks and len(names) < len(model.task_names):
        say(f"the first {len(names)} of {len(model.task_names)} properties; --task names others")
    mol, where = _read(smiles, file, row)
    mol = standardized(mol, model.featurizer.standardize, where)
    molecule = MoleculeFeaturizer.from_config(model.featurizer).arrays(mol, where=where, prepared=True)
    chosen = [model.task_names.index(name) for name in names]
    found = attribute(model.predictor, molecule, chosen).scaled(
        [model.scaling.scale[k] for k in chosen], [model.scaling.mean[k] for k in chosen]
    )
    labels = [f"{name} (log odds)" if model.task_type != "regression" else name for name in names]
    symbols = [atom.GetSymbol() for atom in mol.GetAtoms()]
    if form != "text":
        columns = {"prediction": found.prediction, "baseline": found.baseline, "atoms": found.atoms.T,
                   "unexplained": found.gap}  # fmt: skip
        properties = {name: {key: value[k] for key, value in columns.items()} for k, name in enumerate(labels)}
        formats.echo_json({"elements": symbols, "properties": properties}, form)
    else:
        click.echo("\n".join(explain(found, symbols, labels)))
        say(SKELETON)
    if figure:
        from dgl_moleblend.report import drawings, figures

        captions = [
            f"predicted {prediction:.3g} = bare skeleton {baseline:.3g} + atoms {total:+.3g}"
            for prediction, baseline, total in zip(found.prediction, found.baseline, found.atoms.sum(0), strict=True)
        ]
        figures.save(drawings.atom_contributions(mol, found.atoms, labels, captions, numbers=numbers), figure)


def explain(found: "Attribution", symbols: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return what each atom adds to each prediction as lines of text.

    Parameters
    ----------
    found : Attribution
    symbols : sequence of n str
        Elements, to name the atoms by.
    names : sequence of t str
        Properties.
    """
    width = max(12, *(len(name) + 2 for name in names))

    def line(name: str, values: Any, form: str) -> str:
        return f"{name:14}" + "".join(format(value, form).rjust(width) for value in values)

    return [
        line("", names, ""),
        line("prediction", found.prediction, ".4g"),
        line("bare skeleton", found.baseline, ".4g"),
        *(line(f"  {s}{k}", values, "+.4f") for k, (s, values) in enumerate(zip(symbols, found.atoms, strict=True))),
        line("all atoms", found.atoms.sum(0), "+.4f"),
        line("unexplained", found.gap, "+.1e"),
    ]


def _read(smiles: str | None, file: str | None, row: int) -> "tuple[Mol, str | None]":
    """Return one molecule, prepared for the featurizer, and where it stands."""
    from dgl_moleblend.chem.sanitize import read_smiles
    from dgl_moleblend.data.molecules import read_mol
    from dgl_moleblend.errors import DataError, MoleculeError
    from dgl_moleblend.readers.molecules import MoleculeReader

    if smiles is not None:
        return read_smiles(smiles), None
    number = -1
    for number, record in enumerate(MoleculeReader(str(file))):
        if number == row:
            if record.error is not None:
                raise MoleculeError(record.error, where=record.where, fix="correct the row, or choose another")
            return read_mol(record), record.where
    raise DataError(f"there is no row {row}", where=file, fix=f"the file has {number + 1:,} rows, counted from 0")


def describe(batch: "RelationBatch", symbols: list[str]) -> list[str]:
    """Return the fields of the first molecule's graph as lines of text.

    Parameters
    ----------
    batch : RelationBatch
    symbols : list of n str
        Elements, to name the atoms by.
    """
    n = len(symbols)
    graph = batch.to_graph()
    lines = [f"{n} atoms, {graph.num_edges()} ordered pairs", ""]
    for owner, frame in (("ndata", graph.ndata), ("edata", graph.edata)):
        lines += [f"{owner}[{name!r}]  {str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
                  for name, value in frame.items()]  # fmt: skip
    names = [f"{symbol}{k}" for k, symbol in enumerate(symbols)]
    lines += ["", "atom   ids of the nine features, degree, position / angstrom"]
    for k, name in enumerate(names):
        ids = " ".join(f"{value:3d}" for value in batch.atom[0, k].tolist())
        place = " ".join(f"{x:8.3f}" for x in batch.positions[0, k].tolist()) if batch.has_conformer[0] else "-"
        lines.append(f"{name:5s} {ids}   {int(batch.degree[0, k]):2d}   {place}")
    if n > _WIDEST:
        return [*lines, "", f"(matrices of more than {_WIDEST} atoms are not printed; --figure draws them)"]
    lines += ["", "shortest-path distance / bonds (. = no path)"]
    lines += _matrix(names, [["." if v < 0 else str(v) for v in row] for row in batch.spd[0].tolist()])
    lines += ["", "bond ids along the path from the row's atom to the column's (12 * type + 2 * stereo + conjugated)"]
    paths = [["-".join(str(v) for v in hops if v >= 0) or "." for hops in row] for row in batch.bond_path[0].tolist()]
    lines += _matrix(names, paths)
    if batch.has_conformer[0]:
        lines += ["", "distance / angstrom"]
        lines += _matrix(names, [[f"{v:.2f}" for v in row] for row in batch.distance[0].tolist()])
    return lines


def _matrix(names: list[str], cells: list[list[str]]) -> list[str]:
    width = max(len(text) for row in [names, *cells] for text in row) + 1
    lines = [" " * 5 + "".join(f"{name:>{width}}" for name in names)]
    return lines + [
        f"{name:5s}" + "".join(f"{c:>{width}}" for c in row) for name, row in zip(names, cells, strict=True)
    ]
