"""Large molecules: leave the pairs within reach, so that memory grows with edges instead of atoms squared."""

from dgl_moleblend.config import check
from dgl_moleblend.pairs.checks import check_pairs
from dgl_moleblend.schema import DGLGraph


def cut_off(graph: DGLGraph, *, spd: int | None = None, distance: float | None = None) -> DGLGraph:
    """Remove the pairs that are beyond reach.

    A pair is within reach if its shortest path has at most `spd` bonds, or its atoms are at most `distance` apart in
    space. Self pairs always stay. The encoder, layer and predictor pass messages over the pairs that remain, and over
    those between each atom and the graph token.

    Parameters
    ----------
    graph : DGLGraph
        One molecule or a batch, as `MoleculeFeaturizer` makes it. It is not changed.
    spd : int, optional
        Bonds.
    distance : float, optional
        Angstrom.

    Returns
    -------
    DGLGraph
        The same atoms, with their data, and fewer edges.

    Raises
    ------
    ValueError
        If neither limit is given, or one is negative.
    SchemaError
        If the graph lacks a field, or an edge says what cannot be true.

    Examples
    --------
    >>> import dgl_moleblend as mb
    >>> graph = mb.MoleculeFeaturizer()("CCCCCCCC")
    >>> graph.num_edges(), mb.cut_off(graph, spd=2).num_edges()
    (64, 34)
    """
    check(spd is not None or distance is not None, "spd", spd, "a number of bonds, or `distance` one of angstrom")
    check(spd is None or spd >= 0, "spd", spd, "at least 0")
    check(distance is None or distance >= 0, "distance", distance, "at least 0")
    check_pairs(graph)
    sender, receiver = graph.edges()
    reach = sender == receiver
    if spd is not None:
        reach |= (graph.edata["spd"] >= 0) & (graph.edata["spd"] <= spd)
    if distance is not None:
        reach |= graph.edata["distance"] <= distance  # NaN, a molecule without positions, is not within reach
    import dgl

    return dgl.remove_edges(graph, (~reach).nonzero().squeeze(1).to(graph.idtype), store_ids=False)
