"""The row of layers is the model, under the same names. Seconds: some for the ranks."""

import pytest
import torch

from model.pipeline import layers_of, loss_of
from model.special_tokens import END_OF_TEXT
from model.tensor_parallel import ALONE, TensorGroup
from model.transformer import CodeModel, document_numbers, initialize, parameter_shapes
from tests.model.layout_rank import CONTEXT, VOCAB_SIZE, config_of, model_of

MODELS = [
    ("gpt_bigcode", {}),
    ("gpt_bigcode", {"tied_head": False}),
    ("starcoder2", {}),
    ("starcoder2", {"tied_head": True, "rope_theta": 1e4}),
]


def _built(model, group, within=False):
    """The layers of the row, one module for each name."""
    modules = {}
    row = []
    for layer in layers_of(model, VOCAB_SIZE, group, within):
        if layer.name not in modules:
            modules[layer.name] = layer.kind(*layer.arguments)
        row.append((layer, modules[layer.name]))
    return row, modules


def _named(modules):
    return {
        f"{layer}.{name}": parameter
        for layer, module in modules.items()
        for name, parameter in module.named_parameters()
    }


@pytest.mark.parametrize(("family", "changed"), MODELS)
@pytest.mark.parametrize("size", [1, 2, 4])
def test_names_and_shapes_are_those_of_the_model(family, changed, size):
    model = model_of(family, **changed)
    for rank in range(size):
        group = TensorGroup(rank, size, None, sequence_parallel=False) if size > 1 else ALONE
        found = {name: tuple(parameter.shape) for name, parameter in _named(_built(model, group)[1]).items()}
        wanted = {
            name: tuple(parameter.shape) for name, parameter in CodeModel(model, VOCAB_SIZE, group).named_parameters()
        }
        assert found == wanted


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize(("family", "changed"), MODELS)
def test_layer_after_layer_gives_the_models_loss_and_gradients(family, changed, within):
    model = model_of(family, **changed)
    whole = CodeModel(model, VOCAB_SIZE)
    initialize(whole, model, seed=1)
    row, modules = _built(model, ALONE, within)
    wanted = dict(whole.named_parameters())
    with torch.no_grad():
        for name, parameter in _named(modules).items():
            parameter.copy_(wanted[name])
    generator = torch.Generator().manual_seed(0)
    tokens_BT, targets_BT = torch.randint(1, VOCAB_SIZE, (2, 2, CONTEXT), generator=generator)
    tokens_BT[:, [5, 9]] = END_OF_TEXT

    stream = tokens_BT
    for layer, module in row:
        stream = layer.as_head(module, stream) if layer.as_head else module(stream)
    loss = loss_of(config_of({}), ALONE)(stream, targets_BT)
    documents_BT = document_numbers(tokens_BT) if within else None
    whole_loss = whole.loss(tokens_BT, targets_BT, documents_BT=documents_BT, chunk_tokens=40)
    assert loss.item() == whole_loss.item()
    for one in (loss, whole_loss):
        one.backward()
    for name, parameter in _named(modules).items():
        torch.testing.assert_close(parameter.grad, wanted[name].grad, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(
    "layout",
    [{"pipeline": 2}, {"pipeline": 3}, {"pipeline": 4}, {"tensor": 2, "pipeline": 2}, {"tensor": 2}, {"data": 2}],
    ids=str,
)
@pytest.mark.parametrize("family", ["gpt_bigcode", "starcoder2"])
def test_all_ranks_together_hold_every_parameter_under_its_name(ranks, family, layout):
    stages = layout.get("pipeline", 1)
    size = layout.get("tensor", 1) * layout.get("data", 1)
    held = ranks.run("tests.model.layout_rank:names", stages * size, family=family, layout=layout)
    by_stage = [set(held[stage * size]) for stage in range(stages)]
    assert all(set(names) == by_stage[rank // size] for rank, names in enumerate(held))
    assert set.union(*by_stage) == parameter_shapes(model_of(family), VOCAB_SIZE).keys()
    shared = {"tokens.weight"} if family == "gpt_bigcode" and stages > 1 else set()  # tied: at both ends
    assert [name for names in by_stage for name in names if sum(name in other for other in by_stage) > 1] == [
        *shared,
        *shared,
    ]
    assert all(any(name.startswith("blocks.") for name in names) for names in by_stage)
