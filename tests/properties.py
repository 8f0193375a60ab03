"""What must hold for every model of molecules, as assertions; `test_properties` shows that each can fail.

A model is looked at through a function from `Inputs` to named values, whose name says what they belong to:
``atoms/..`` (b, n, ..), ``pairs/..`` (b, n, n, ..), ``molecules/..`` (b, ..) or ``batch/..`` (all together).
"""

import dataclasses
from collections.abc import Callable, Iterable

import torch
from dgl import DGLGraph
from molecules import Inputs, blended, double, featurized, rewrite
from rdkit.Chem import Mol
from torch import Generator, Tensor, nn

import dgl_moleblend as mb

Values = dict[str, Tensor]
View = Callable[[Inputs], Values]


# Views of our models ------------------------------------------------------------------------------------------------


def of_encoder(encoder: nn.Module, **settings: object) -> View:
    """States and relation bias."""

    def view(inputs: Inputs) -> Values:
        out = encoder(inputs.batch, inputs.blend, **settings)
        return {"atoms/state": out.atoms, "molecules/token": out.token, "pairs/bias": out.bias}

    return view


def of_pretraining(model: nn.Module) -> View:
    """Everything that does not depend on how a molecule is turned: predictions but for the noise, and losses."""

    def view(inputs: Inputs) -> Values:
        out = model(inputs.batch, blend=inputs.blend, noise=inputs.noise)
        values = {"pairs/spd_logits": out.spd_logits, "pairs/bond_path_logits": out.bond_path_logits}
        values["pairs/position_prediction"] = out.position_prediction
        turned = ("denoising", "positions") if out.position_prediction.ndim == 4 else ("denoising",)
        return values | {f"batch/{k}_loss": v for k, v in out.losses.items() if k not in turned}

    return view


def of_pretraining_vectors(model: nn.Module) -> View:
    """What a pretraining model says in the frame of the molecule: the noise, and the losses that read directions."""

    def view(inputs: Inputs) -> Values:
        out = model(inputs.batch, blend=inputs.blend, noise=inputs.noise)
        return {"atoms/denoising": out.denoising, "batch/loss": out.loss}

    return view


def of_predictor(predictor: nn.Module) -> View:
    """Predictions."""
    return lambda inputs: {"molecules/prediction": predictor(inputs.batch)}


# Assertions ---------------------------------------------------------------------------------------------------------


def assert_equal(actual: Values, expected: Values, *, atol: float, what: str) -> None:
    """Compare values by name; names the one that differs most."""
    assert actual.keys() == expected.keys(), f"{what}: {sorted(actual)} against {sorted(expected)}"
    for name, value in actual.items():
        assert value.shape == expected[name].shape, f"{what}: {name} {value.shape} against {expected[name].shape}"
        error = (value - expected[name]).abs().max().item() if value.numel() else 0.0
        assert error <= atol, f"{what}: {name} differs by {error:.2e}, more than {atol:.0e}"  # also if NaN


def assert_permutation_equivariant(view: View, mol: Mol, *, generator: Generator, atol: float, blend: bool) -> None:
    """Renumber the atoms and rewrite the SMILES; values must be those of the same atoms.

    Parameters
    ----------
    mol : Mol
        With positions, or without.
    blend : bool
        Whether to blend and add noise, both moving with the atoms.
    """
    inputs = Inputs(double(featurized([mol])))
    if blend:
        inputs = blended(inputs.batch, generator)
    fresh, order = rewrite(mol, generator)
    rewritten = Inputs(double(featurized([fresh])))
    if blend:
        assert inputs.blend is not None
        assert inputs.noise is not None
        moved = mb.Blend(inputs.blend.pair[:, order][:, :, order], inputs.blend.atom[:, order])
        rewritten = Inputs(rewritten.batch, moved, inputs.noise[:, order])
    expected = {}
    for name, value in view(inputs).items():
        if name.startswith(("atoms/", "pairs/")):
            value = value[:, order]
        if name.startswith("pairs/"):
            value = value[:, :, order]
        expected[name] = value
    assert_equal(view(rewritten), expected, atol=atol, what=f"renumbered as {order}")


def assert_padding_invariant(view: View, module: nn.Module, inputs: Inputs, *, atol: float) -> None:
    """Each molecule has the values and gradient alone that it has beside larger ones, whatever the padding holds."""
    mask = inputs.batch.atom_mask
    together = by_molecule(view(inputs), mask)
    weights = [torch.Generator().manual_seed(k) for k in range(len(mask))]
    expected = gradients(module, together, weights)

    weights = [torch.Generator().manual_seed(k) for k in range(len(mask))]
    total: Values = {}
    for k in range(len(mask)):
        alone = alone_of(inputs, k)
        values = by_molecule(view(alone), alone.batch.atom_mask)
        assert_equal(values[0], together[k], atol=atol, what=f"molecule {k} alone")
        for name, gradient in gradients(module, values, weights[k : k + 1]).items():
            total[name] = total.get(name, torch.zeros(())) + gradient
    assert_equal(total, expected, atol=10 * atol, what="gradients of molecules one by one")

    inside = {name: value for name, value in view(inputs).items() if name.startswith("batch/")}
    for extra in (0, 3):
        junk = with_junk(inputs, extra)
        values = view(junk)
        for k, one in enumerate(by_molecule(values, junk.batch.atom_mask)):
            assert_equal(one, together[k], atol=atol, what=f"junk in {extra} more padded places, molecule {k}")
        of_batch = {name: value for name, value in values.items() if name.startswith("batch/")}
        assert_equal(of_batch, inside, atol=atol, what=f"junk in {extra} more padded places")
        weights = [torch.Generator().manual_seed(k) for k in range(len(mask))]
        actual = gradients(module, by_molecule(values, junk.batch.atom_mask), weights)
        assert_equal(actual, expected, atol=10 * atol, what=f"gradients with junk in {extra} more padded places")


def assert_rigid_motion_invariant(view: View, inputs: Inputs, *, generator: Generator, atol: float) -> None:
    """Turn and move every molecule, and move an atom onto the origin: nothing changes."""
    expected = view(inputs)
    batch = inputs.batch
    first = batch.positions[:, :1]
    motions = {"turned and moved": (rotations(len(first), generator), torch.randn(first.shape, generator=generator))}
    motions["first atom at the origin"] = (torch.eye(3).expand(len(first), 3, 3), -first)
    for what, (turn, shift) in motions.items():
        turn, shift = turn.to(first.dtype), shift.to(first.dtype)
        there = (batch.atom_mask & batch.has_conformer[:, None])[..., None]
        moved = dataclasses.replace(batch, positions=(batch.positions @ turn + shift) * there)
        noise = None if inputs.noise is None else inputs.noise @ turn
        assert_equal(view(Inputs(moved, inputs.blend, noise)), expected, atol=atol, what=what)


def assert_same_in_both_views(dense: View, messages: View, module: nn.Module, inputs: Inputs, *, atol: float) -> None:
    """Matrices and messages give equal values and equal gradients."""
    results = []
    for view in (dense, messages):
        values = by_molecule(view(inputs), inputs.batch.atom_mask)
        weights = [torch.Generator().manual_seed(k) for k in range(len(values))]
        results.append((values, gradients(module, values, weights)))
    for k, (one, other) in enumerate(zip(results[0][0], results[1][0], strict=True)):
        assert_equal(other, one, atol=atol, what=f"message passing, molecule {k}")
    assert_equal(results[1][1], results[0][1], atol=10 * atol, what="gradients of message passing")


def assert_blend_of_one_is_that_relation(encoder: nn.Module, batch: mb.RelationBatch, *, atol: float) -> None:
    """A blend that shows one relation everywhere equals the encoder with that relation alone."""
    ones = torch.ones(batch.spd.shape, dtype=torch.long)
    for k, (relation, term) in enumerate((("spd", 0), ("bond_path", 0), ("distance", 1))):
        blend = mb.Blend(k * ones, term * ones[:, :, 0])
        actual = of_encoder(encoder)(Inputs(batch, blend))
        expected = of_encoder(encoder, relations=(relation,))(Inputs(batch))
        real = by_molecule(actual, batch.atom_mask), by_molecule(expected, batch.atom_mask)
        for one, other in zip(*real, strict=True):
            assert_equal(one, other, atol=atol, what=f"a blend of {relation} alone")


def assert_draws_are_independent(draw: Callable[[Generator], mb.Blend]) -> None:
    """Molecules of a batch (all of one size, ten atoms or more) differ in their masks, and so do both directions."""
    pair, atom = draw(torch.Generator().manual_seed(0))
    for name, value in (("pair", pair), ("atom", atom)):
        for k in range(1, len(value)):
            assert not torch.equal(value[0], value[k]), f"molecules 0 and {k} share their {name} mask"
    assert not torch.equal(pair, pair.transpose(1, 2)), "the mask of (i, j) is that of (j, i)"


def assert_seed_repeats(draw: Callable[[Generator], Iterable[Tensor]]) -> None:
    """One seed, one draw; another seed, another; torch's global generator is neither read nor moved."""
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = list(draw(torch.Generator().manual_seed(1)))
    assert torch.equal(torch.get_rng_state(), state), "the global generator was used"
    torch.manual_seed(1)
    again = list(draw(torch.Generator().manual_seed(1)))
    other = list(draw(torch.Generator().manual_seed(2)))
    assert all(map(torch.equal, first, again)), "a seed does not repeat its draw"
    assert not any(map(torch.equal, first, other)), "two seeds give one draw"


def assert_no_side_effect(call: Callable[[DGLGraph], object], graph: DGLGraph) -> None:
    """The caller's graph has the same fields with the same values afterwards."""
    before = [{k: v.clone() for k, v in frame.items()} for frame in (graph.ndata, graph.edata)]
    edges = [end.clone() for end in graph.edges()]
    call(graph)
    for name, old, frame in zip(("ndata", "edata"), before, (graph.ndata, graph.edata), strict=True):
        assert set(old) == set(frame), f"{name}: {sorted(set(old) ^ set(frame))} appeared or vanished"
        for key, value in old.items():
            assert torch.equal(value.nan_to_num(7.5), frame[key].nan_to_num(7.5)), f"{name}[{key!r}] was changed"
    assert all(map(torch.equal, edges, graph.edges())), "edges were changed"


# Parts --------------------------------------------------------------------------------------------------------------


def by_molecule(values: Values, atom_mask: Tensor) -> list[Values]:
    """The values of each molecule without its padding."""
    out = []
    for k, n in enumerate(atom_mask.sum(1).tolist()):
        cut = {"atoms": (k, slice(n)), "pairs": (k, slice(n), slice(n)), "molecules": (k,)}
        kinds = {name: name.split("/")[0] for name in values}
        out.append({name: values[name][cut[kind]] for name, kind in kinds.items() if kind != "batch"})
    return out


def gradients(module: nn.Module, molecules: list[Values], weights: list[Generator]) -> Values:
    """Gradient of every parameter of the sum of all values, each times a random number of its molecule's generator."""
    total = torch.zeros(())
    for values, generator in zip(molecules, weights, strict=True):
        for value in values.values():
            total = total + (value * torch.randn(value.shape, generator=generator, dtype=value.dtype)).sum()
    names, parameters = zip(*module.named_parameters(), strict=True)
    found = torch.autograd.grad(total, parameters, allow_unused=True)
    return {n: torch.zeros_like(p) if g is None else g for n, p, g in zip(names, parameters, found, strict=True)}


def alone_of(inputs: Inputs, k: int) -> Inputs:
    """Molecule k in a batch of its own."""
    n = int(inputs.batch.atom_mask[k].sum())
    pairs = {"spd", "bond_path"}
    fields = {f.name: getattr(inputs.batch, f.name)[k : k + 1] for f in dataclasses.fields(inputs.batch)}
    for name, value in fields.items():
        if name != "has_conformer":
            fields[name] = value[:, :n, :n] if name in pairs else value[:, :n]
    blend, noise = inputs.blend, inputs.noise
    if blend is not None:
        blend = mb.Blend(blend.pair[k : k + 1, :n, :n], blend.atom[k : k + 1, :n])
    return Inputs(mb.RelationBatch(**fields), blend, None if noise is None else noise[k : k + 1, :n])


def with_junk(inputs: Inputs, extra: int) -> Inputs:
    """The same molecules in a batch that is `extra` atoms longer, and every padded place filled with nonsense."""
    source = torch.Generator().manual_seed(99)
    batch = inputs.batch
    b, n = batch.atom_mask.shape
    mask = torch.nn.functional.pad(batch.atom_mask, (0, extra))
    pair_mask = mask[:, :, None] & mask[:, None, :]

    def fill(value: Tensor, real: Tensor, low: float, high: float) -> Tensor:
        pairs = value.shape[:3] == (b, n, n) and real.ndim == 3
        shape = (b, n + extra, n + extra, *value.shape[3:]) if pairs else (b, n + extra, *value.shape[2:])
        junk = torch.rand(shape, generator=source, dtype=torch.float64) * (high - low) + low
        junk = (junk if value.is_floating_point() else junk.floor()).to(value.dtype)
        old = torch.zeros(shape, dtype=value.dtype)
        old[(slice(None), slice(n), slice(n)) if pairs else (slice(None), slice(n))] = value
        return torch.where(real.view(*real.shape, *[1] * (len(shape) - real.ndim)), old, junk)

    junk = mb.RelationBatch(
        atom=fill(batch.atom, mask, 0, 250),
        degree=fill(batch.degree, mask, 0, 250),
        positions=fill(batch.positions, mask, -50, 50),
        atom_mask=mask,
        has_conformer=batch.has_conformer,
        spd=fill(batch.spd, pair_mask, -1, 3000),
        bond_path=fill(batch.bond_path, pair_mask, -1, 120),
    )
    blend, noise = inputs.blend, inputs.noise
    if blend is not None:
        blend = mb.Blend(fill(blend.pair, pair_mask, 0, 3), fill(blend.atom, mask, 0, 2))
    return Inputs(junk, blend, None if noise is None else fill(noise, mask, -3, 3))


def rotations(count: int, generator: Generator) -> Tensor:
    """Random proper rotations (count, 3, 3)."""
    turn, _ = torch.linalg.qr(torch.randn(count, 3, 3, generator=generator, dtype=torch.float64))
    return turn * torch.linalg.det(turn)[:, None, None]
