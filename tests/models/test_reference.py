import json
import math

import plain
import pytest
import torch
from golden_files import HERE
from molecules import Inputs, featurized
from properties import assert_equal, by_molecule, of_encoder
from torch import Generator

import dgl_moleblend as mb

SIZES = {"num_layers": 2, "feat_size": 32, "ffn_size": 32, "num_heads": 4, "num_kernels": 8}  # EncoderConfig.tiny()
UNUSED = {
    "encoder.lm_output_learned_bias",
    "encoder.lm_head_transform_weight.weight",
    "encoder.lm_head_transform_weight.bias",
    "encoder.layer_norm.weight",
    "encoder.layer_norm.bias",
    "encoder.embed_out.weight",
}
TINY = mb.EncoderConfig.tiny()


def tiny() -> mb.BlendPretraining:
    return mb.BlendPretraining.from_config(TINY, objective_3d="direction")


def drawn(generator: Generator, **changes: object) -> plain.Weights:
    return plain.random_weights(plain.release_shapes(**(SIZES | changes)), generator, torch.float32)


@pytest.fixture(scope="module")
def base() -> dict:
    """Names and shapes of the published size."""
    return json.loads((HERE / "state_dict_base.json").read_text())


@pytest.mark.parametrize("kind", ["pretrain", "finetune_2d", "finetune_3d"])
def test_every_name_of_the_published_size_has_a_place(base: dict, kind: str) -> None:
    shapes = base[kind]
    assert sum(math.prod(shape) for shape in shapes.values()) == base["_parameter_counts"][kind]
    with torch.device("meta"):
        released = {name: torch.empty(shape) for name, shape in shapes.items()}
        model: torch.nn.Module
        if kind == "pretrain":
            model = mb.BlendPretraining.from_config(mb.EncoderConfig.base(), objective_3d="direction")
        else:
            encoder = mb.MoleBlendEncoder.from_config(mb.EncoderConfig.base())
            model = mb.MoleBlendPredictor(n_tasks=12, encoder=encoder)
        conversion = mb.reference.load_state_dict(model, released)
        back = mb.reference.to_release(model, model.state_dict())
    assert set(conversion.unused) == UNUSED & set(shapes)
    if kind == "finetune_2d":
        assert all("distance_bias" in name or "kernel_projection" in name for name in conversion.fresh)
        back = {name: value for name, value in back.items() if "molecule_3d_bias" not in name}
    else:
        assert conversion.fresh == ()
    assert {name: list(value.shape) for name, value in back.items()} == {
        name: shape for name, shape in shapes.items() if name not in UNUSED
    }


def test_the_plain_form_has_the_release_s_names(base: dict) -> None:
    sizes = mb.EncoderConfig.base().to_dict()
    for kind, settings in (
        ("pretrain", {}),
        ("finetune_2d", {"pretraining": False, "distance": False, "n_tasks": 12}),
        ("finetune_3d", {"pretraining": False, "n_tasks": 12}),
    ):
        shapes = plain.release_shapes(**sizes, **settings)
        assert {name: list(shape) for name, shape in shapes.items()} == base[kind]


def test_there_and_back_again_keeps_every_bit_but_of_weights_that_are_scaled(generator: Generator) -> None:
    model, again = tiny(), tiny()
    mb.reference.load_state_dict(model, drawn(generator))
    mb.reference.load_state_dict(again, mb.reference.to_release(model, model.state_dict()))
    for name, value in model.state_dict().items():
        if "kernel_projection" in name:  # the release has another factor before the 3D term
            torch.testing.assert_close(again.state_dict()[name], value, rtol=3e-7, atol=0)
        else:
            assert torch.equal(again.state_dict()[name], value), name


def test_back_in_the_release_s_layout_nothing_is_lost_but_rows_that_no_molecule_reads(generator: Generator) -> None:
    released = drawn(generator)
    model = tiny()
    mb.reference.load_state_dict(model, released)
    back = mb.reference.to_release(model, model.state_dict())
    assert set(back) == set(released) - UNUSED
    tables = ("atom_encoder", "degree_encoder", "edge_encoder", "edge_dis", "spatial_pos", "gbf.mul", "gbf.bias")
    for name, value in back.items():
        if any(table in name for table in tables):
            kept = value.flatten(1).any(1)
            if "degree" not in name:  # the sum of both tables stands in the first
                assert torch.equal(value[kept], released[name][kept]), name
        elif "edge_proj" in name:
            torch.testing.assert_close(value, released[name], rtol=3e-7, atol=0)
        else:
            assert torch.equal(value, released[name]), name
    rows = {name.split(".")[-2]: int(value.flatten(1).any(1).sum()) for name, value in back.items() if value.ndim > 1}
    assert rows["atom_encoder"] == 119 + 5 + 12 + 12 + 10 + 6 + 6 + 2 + 2
    assert rows["edge_encoder"] == 5 + 6 + 2 + 1  # and the row of "no bond"
    assert rows["edge_dis_encoder"] == 5 * 4 * 4
    assert rows["spatial_pos_encoder"] == 256 + 1
    assert rows["mul"] == rows["bias"] == 2 * 119
    degree = "encoder.molecule_encoder.atom_feature.{}_degree_encoder.weight"
    theirs = sum(released[degree.format(side)][1:17] for side in ("in", "out"))
    assert torch.allclose(sum(back[degree.format(side)][1:17] for side in ("in", "out")), theirs, atol=1e-7)


def test_pretraining_weights_fit_all_three_models(generator: Generator) -> None:
    released = drawn(generator)
    model = tiny()
    mb.reference.load_state_dict(model, released)
    encoder = mb.MoleBlendEncoder.from_config(TINY)
    predictor = mb.MoleBlendPredictor(n_tasks=3, encoder=mb.MoleBlendEncoder.from_config(TINY))
    head = predictor.head.out.weight.clone()
    heads_of_release = {name for name in released if "pred_head" in name or "atom_proc" in name} | UNUSED
    of_encoder_alone = mb.reference.load_state_dict(encoder, released)
    of_predictor = mb.reference.load_state_dict(predictor, released)
    assert set(of_encoder_alone.unused) == set(of_predictor.unused) == heads_of_release
    assert of_encoder_alone.fresh == ()
    assert set(of_predictor.fresh) == {name for name in predictor.state_dict() if name.startswith("head.")}
    assert torch.equal(predictor.head.out.weight, head)
    for name, value in model.encoder.state_dict().items():
        assert torch.equal(encoder.state_dict()[name], value), name
        assert torch.equal(predictor.encoder.state_dict()[name], value), name


def test_the_release_s_3d_head_goes_where_directions_are_asked_for(generator: Generator) -> None:
    """A model that recovers distances keeps its own last layer, and says so, both ways."""
    model = mb.BlendPretraining.from_config(TINY, objective_3d="distance")
    own = model.position_head.out.weight.detach().clone()
    released = drawn(generator)
    conversion = mb.reference.load_state_dict(model, released)
    assert conversion.fresh == ("position_head.out.bias", "position_head.out.weight")
    last_layers = {name for name in released if "blend_3d_pred_head.force_proj" in name}
    assert len(last_layers) == 6
    assert last_layers <= set(conversion.unused)
    assert torch.equal(model.position_head.out.weight, own)
    assert not last_layers & set(mb.reference.to_release(model, model.state_dict()))


def test_where_width_and_kernels_are_alike_the_release_projects_nothing(generator: Generator) -> None:
    """Such a model of theirs has no projection of the summed kernels: ours is the identity then (METHOD.md, 4)."""
    released = drawn(generator, num_kernels=32)
    assert not any("edge_proj" in name for name in released)
    encoder = mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny(num_kernels=32)).eval()
    conversion = mb.reference.load_state_dict(encoder, released)
    assert conversion.fresh == ()
    batch = featurized(["CC(=O)N", "CCO"], generator)
    twin = plain.encode(released, batch)
    actual = by_molecule(of_encoder(encoder)(Inputs(batch)), batch.atom_mask)
    expected = {"atoms/state": twin["atoms"], "molecules/token": twin["token"], "pairs/bias": twin["bias"]}
    for one, other in zip(actual, by_molecule(expected, batch.atom_mask), strict=True):
        assert_equal(one, other, atol=1e-4, what="K = d")


def without(released: plain.Weights, part: str) -> plain.Weights:
    return {name: value for name, value in released.items() if part not in name}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r | {"encoder.molecule_encoder.pooler.weight": torch.ones(1)}, r"pooler\.weight"),
        (lambda r: r | {k.replace("layers.1", "layers.2"): v for k, v in r.items()}, r"(?s)layers\.2.*as many layers"),
        (lambda r: without(r, "layers.1."), r"layers\.1\."),
        (lambda r: without(r, "layers.1.self_attn.k_proj.weight"), r"layers\.1\.self_attn\.k_proj\.weight is missing"),
        (lambda r: without(r, "in_degree"), "in_degree_encoder.weight is missing"),
        (lambda r: without(r, "emb_layer_norm.weight"), r"emb_layer_norm\.weight is missing"),
        (lambda r: without(r, "gbf.means"), r"gbf\.means\.weight is missing"),
        (lambda r: without(r, "spd_pred_head.linear"), r"(?s)spd_pred_head\.linear\.weight, .*linear\.bias is missing"),
        (lambda r: without(r, "molecule_encoder"), r"(?s)no encoder.*encoder\.molecule_encoder"),
        (
            lambda r: {k: torch.ones(4, 8) if k.endswith("fc1.weight") else v for k, v in r.items()},
            r"(?s)fc1\.weight.*\(4, 8\).*\(32, 32\).*fix:",
        ),
    ],
    ids=[
        "strange name",
        "more layers",
        "fewer layers",
        "no key",
        "no in-degree",
        "no norm",
        "part of 3D",
        "part of a head",
        "no encoder",
        "shape",
    ],
)
def test_weights_that_do_not_fit_are_refused_and_nothing_is_loaded(change, words: str, generator: Generator) -> None:
    model = tiny()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(mb.CheckpointError, match=words):
        mb.reference.load_state_dict(model, change(drawn(generator)))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_weights_may_have_another_dtype(generator: Generator) -> None:
    released = drawn(generator)
    one, other = tiny(), tiny()
    mb.reference.load_state_dict(one, {name: value.double() for name, value in released.items()})
    mb.reference.load_state_dict(other, released)
    for name, value in one.state_dict().items():
        assert value.dtype == other.state_dict()[name].dtype
        assert torch.allclose(value, other.state_dict()[name], atol=1e-7), name
