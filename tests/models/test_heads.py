import plain
import pytest
import torch
from molecules import featurized, lively
from torch import Generator

import dgl_moleblend as mb
from dgl_moleblend.models import heads

D = 16


@pytest.fixture
def atoms(generator: Generator) -> torch.Tensor:
    return torch.randn(2, 5, D, generator=generator, dtype=torch.float64, requires_grad=True)


def test_pair_form_is_a_linear_layer_on_the_outer_product(generator: Generator) -> None:
    row, column = torch.randn(2, 2, 4, 32, generator=generator, dtype=torch.float64)
    weight = torch.randn(7, 1024, generator=generator, dtype=torch.float64)
    bias = torch.randn(7, generator=generator, dtype=torch.float64)
    actual = heads.pair_form(heads.PairStates(row, column), weight, bias)
    assert actual.shape == (2, 4, 4, 7)
    for b in range(2):
        for i in range(4):
            for j in range(4):
                outer = torch.outer(row[b, i], column[b, j]).flatten()  # the receiver's index slow
                assert torch.allclose(actual[b, i, j], weight @ outer + bias, atol=1e-10)


def test_pair_projection_is_norm_of_gelu(atoms: torch.Tensor) -> None:
    projection = lively(heads.PairProjection(D))
    states = projection(atoms)
    for side, linear, norm in (
        (states.row, projection.row, projection.row_norm),
        (states.column, projection.column, projection.column_norm),
    ):
        x = torch.nn.functional.gelu(atoms @ linear.weight.T + linear.bias)
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + 1e-12).sqrt()
        assert torch.allclose(side, x * norm.weight + norm.bias, atol=1e-10)


def release_of(head: torch.nn.Module, name: str, projection: str) -> plain.Weights:
    """The weights of one of our pair heads by the release's names."""
    p = {f"{name}.{projection}.{part}": getattr(head.out, part) for part in ("weight", "bias")}
    if hasattr(head, "hidden"):
        p = {f"{name}.{projection}.{part}": getattr(head.hidden, part) for part in ("weight", "bias")}
    for side in ("row", "column"):
        for part in ("weight", "bias"):
            p[f"{name}.transform_n2_head.{side}_head.{part}"] = getattr(getattr(head.pairs, side), part)
            p[f"{name}.transform_n2_head.{side}_LayerNorm.{part}"] = getattr(getattr(head.pairs, f"{side}_norm"), part)
    return p


@pytest.mark.parametrize("kind", [heads.SpdHead, heads.BondPathHead, heads.DirectionHead])
def test_pair_head_is_its_plain_twin_in_values_and_gradients(kind: type, atoms: torch.Tensor, generator) -> None:
    head = lively(kind(D))
    p = release_of(head, "x", "linear")
    twin = plain.linear(p, "x.linear", plain.pair_features(p, "x", atoms))
    if kind is heads.DirectionHead:
        twin = twin @ head.out.weight.T + head.out.bias
    actual = head(atoms)
    assert actual.shape == {
        heads.SpdHead: (2, 5, 5, 11), heads.BondPathHead: (2, 5, 5, 5, 24), heads.DirectionHead: (2, 5, 5, 3)
    }[kind]  # fmt: skip
    twin = twin.view(actual.shape)
    assert torch.allclose(actual, twin, atol=1e-10)
    weight = torch.randn(actual.shape, generator=generator, dtype=torch.float64)
    wanted = [atoms, *head.parameters()]
    for one, other in zip(
        torch.autograd.grad((actual * weight).sum(), wanted),
        torch.autograd.grad((twin * weight).sum(), wanted),
        strict=True,
    ):
        assert torch.allclose(one, other, atol=1e-9 * other.abs().max().item())


def test_distance_is_positive_and_the_same_both_ways(atoms: torch.Tensor) -> None:
    distance = lively(heads.DistanceHead(D))(10 * atoms)
    assert distance.shape == (2, 5, 5)
    assert (distance >= 0).all()
    assert torch.allclose(distance, distance.transpose(1, 2), atol=1e-12)
    assert distance.std() > 0.01


def test_denoising_head_is_its_plain_twin(generator: Generator) -> None:
    batch = featurized(["CC(=O)N", "CCO", "C"], generator)
    positions = batch.positions.double()
    b, n = batch.atom_mask.shape
    head = lively(heads.DenoisingHead(D, num_heads=4))
    states = torch.randn(b, n, D, generator=generator, dtype=torch.float64)
    bias = torch.randn(b, n, n, 4, generator=generator, dtype=torch.float64)
    p = {}
    for part in ("weight", "bias"):
        chunks = getattr(head.query_key_value, part).chunk(3)
        p |= {f"atom_proc.{side}_proj.{part}": chunk for side, chunk in zip("qkv", chunks, strict=True)}
        rows = getattr(head.out, part).chunk(3)
        p |= {f"atom_proc.force_proj{x}.{part}": row for x, row in zip((1, 2, 3), rows, strict=True)}
    delta = positions[:, None] - positions[:, :, None]
    masked = bias.masked_fill(~batch.atom_mask[:, None, :, None], -torch.inf)
    actual = head(states, bias, positions, batch.atom_mask)
    twin = plain.denoise(p, states, masked, delta, dropout=0.0)
    assert torch.allclose(actual[batch.atom_mask], twin[batch.atom_mask], atol=1e-12)
    assert not actual[~batch.atom_mask].any()
    moved = head(states, bias, positions + torch.tensor([3.0, -1.0, 2.0]), batch.atom_mask)
    assert torch.allclose(moved, actual, atol=1e-12)


def test_denoising_head_drops_weights_in_training_only(generator: Generator) -> None:
    batch = featurized(["CC(=O)N"], generator)
    head = heads.DenoisingHead(D, num_heads=4, dropout=0.5).eval()
    call = (torch.ones(1, 4, D), torch.zeros(1, 4, 4, 4), batch.positions, batch.atom_mask)
    assert torch.equal(head(*call), head(*call))
    assert not torch.equal(head.train()(*call), head(*call))


def test_property_head_is_the_formula(atoms: torch.Tensor) -> None:
    head = lively(heads.PropertyHead(D, n_tasks=3))
    hidden = torch.nn.functional.gelu(atoms @ head.hidden.weight.T + head.hidden.bias)
    assert torch.allclose(head(atoms), hidden @ head.out.weight.T + head.out.bias, atol=1e-12)


def test_heads_of_a_fresh_model_say_nothing_yet() -> None:
    model = mb.BlendPretraining.from_config(mb.EncoderConfig.tiny())
    for head in (model.spd_head, model.bond_path_head, model.position_head, model.denoising_head):
        assert not head.out.bias.any()
        assert 0.01 < head.out.weight.std() < 0.04
