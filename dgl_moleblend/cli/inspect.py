"""`inspect`: a data set in numbers and a picture, or one molecule's graph."""

from typing import TYPE_CHECKING

import click

from dgl_moleblend.cli import options

if TYPE_CHECKING:
    from dgl_moleblend.batch import RelationBatch

_WIDEST = 30  # atoms of a molecule whose matrices are printed


@click.command()
@click.argument("store", required=False, type=click.Path())
@click.option("-s", "--smiles", help="Describe the graph of this molecule instead.")
@click.option("--positions", type=click.Choice(["none", "given", "embed"]), default="none", show_default=True,
              help="With --smiles: where its positions come from (given: from the CXSMILES).")  # fmt: skip
@options.seed
@click.option("--figure", type=click.Path(dir_okay=False), metavar="PATH", help="Draw it, too (png, svg, pdf).")
def command(store: str | None, smiles: str | None, positions: str, seed: int, figure: str | None) -> None:
    """Describe STORE, a data set that `featurize` wrote, or one molecule.

    \b
      dgl-moleblend inspect esol.store --figure esol.png
      dgl-moleblend inspect --smiles 'CCO' --positions embed --figure ethanol.png
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    if (store is None) == (smiles is None):
        raise click.UsageError("give either a STORE or --smiles")
    if smiles is not None:
        _inspect_molecule(smiles, positions, seed, figure)
    else:
        assert store is not None
        _inspect_store(store, figure)


def _inspect_store(path: str, figure: str | None) -> None:
    from dgl_moleblend.data.store import MoleculeStore
    from dgl_moleblend.data.summary import Summary

    store = MoleculeStore(path, allow_partial=True)
    summary = Summary.of(store)
    manifest = store.manifest
    size = sum(shard["bytes"] for shard in manifest["shards"])
    settings = ", ".join(f"{name}={value}" for name, value in manifest["featurizer"].items())
    click.echo(
        f"{path}: {len(manifest['shards'])} shards, {size:,} bytes ({size / max(len(store), 1):,.0f} a molecule)"
    )
    click.echo(f"made from        {', '.join(manifest['sources'])}")
    click.echo(f"featurizer       {settings}")
    click.echo(f"made with        {', '.join(f'{k} {v}' for k, v in manifest['versions'].items())}\n")
    click.echo(summary.to_text())
    if not manifest["complete"]:
        click.echo("\nUNFINISHED: this is what an interrupted run left; give its command again to go on", err=True)
    if figure:
        from dgl_moleblend import figures

        figures.save(figures.store_summary(summary), figure)


def _inspect_molecule(smiles: str, positions: str, seed: int, figure: str | None) -> None:
    from dgl_moleblend.batch import MoleculeBatch
    from dgl_moleblend.config import FeaturizerConfig
    from dgl_moleblend.data.featurize import MoleculeFeaturizer
    from dgl_moleblend.data.sanitize import read_smiles

    mol = read_smiles(smiles)
    featurizer = MoleculeFeaturizer.from_config(FeaturizerConfig(positions, seed=seed))
    batch = MoleculeBatch.from_arrays([featurizer.arrays(mol)]).relations()
    symbols = [atom.GetSymbol() for atom in mol.GetAtoms()]
    for line in describe(batch, symbols):
        click.echo(line)
    if figure:
        from dgl_moleblend import figures

        figures.save(figures.relation_matrices(mol, batch), figure)


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
