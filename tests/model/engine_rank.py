"""What a rank does in the tests of the engine itself."""

import hashlib
from pathlib import Path

import torch

from model.special_tokens import IGNORED_TARGET
from model.training_state import Fragment, StateError, StateReader, state_bytes
from tests.model.layout_rank import Rank


def digests_of_weights(spec):
    """After three steps: each weight that this rank computes with."""
    rank = Rank(spec)
    rank.steps(range(3))
    parameters = rank.engine._names.items()
    found = {
        name: hashlib.sha256(parameter.detach().float().numpy().tobytes()).hexdigest() for name, parameter in parameters
    }
    rank.engine.close()
    return found


def steps_around_validations(spec):
    """Six steps, with validations of another number and size of batches between them, or without."""
    rank = Rank(spec)
    outcomes = []
    for number in range(6):
        outcomes += rank.steps([number])
        if spec["validates"]:
            tokens, targets = rank.batches(50 + number)[0]
            rank.engine.evaluate([(tokens[:1], targets[:1])] * (1 + number % 3))
    rank.engine.close()
    return outcomes


def step_without_a_number(spec):
    """A step with a NaN in a weight: the outcome, and whether the state moved; told as text, JSON has no NaN."""
    rank = Rank(spec)
    rank.steps(range(2))
    before = state_bytes(rank.engine.export_state())
    with torch.no_grad():
        for name, parameter in rank.engine._names.items():
            if name == spec["parameter"]:
                parameter.fill_(float("nan"))
    ((loss, norm),) = rank.steps([2])
    has_moved = state_bytes(rank.engine.export_state()) != before
    rank.engine.close()
    return [str(loss), str(norm), has_moved]


def refuse_states(spec):
    """What the engine says of states that are not its own, and whether it then goes on as if it had not been asked."""
    rank = Rank(spec)
    (first,) = rank.steps([0])
    state = rank.engine.export_state()
    others = {
        "another shape": {name: _with_shape(fragment) for name, fragment in state.items()},
        "without a parameter": {name: fragment for name, fragment in state.items() if name != "final_norm.weight"},
        "half a parameter": state | {"final_norm.weight": _half(state["final_norm.weight"])},
    }
    said = {}
    for what, other in others.items():
        try:
            rank.engine.import_state(_reader(other, Path(spec["folder"]) / f"{rank.engine.rank} {what}"), 3)
        except (ValueError, StateError) as error:
            said[what] = f"{type(error).__name__}: {error}"
    said["the step after"] = rank.steps([1])[0]
    said["first"] = first
    rank.engine.close()
    return said


def exchange(spec):
    """What the ranks told each other, who this one is, and a validation over targets of which none counts."""
    rank = Rank(spec)
    engine = rank.engine
    said = engine.exchange(bytes([engine.rank, 9, 255]))
    tokens, targets = rank.batches(0)[0]
    nothing = engine.evaluate([(tokens, targets * 0 + IGNORED_TARGET)])
    who = [engine.rank, engine.world_size, engine.data_rank, engine.reads_batches]
    engine.close()
    return {"said": [list(payload) for payload in said], "who": who, "nothing": nothing}


def _with_shape(fragment):
    return Fragment(fragment.place.model_copy(update={"shape": (1, *fragment.place.shape)}), fragment.tensors)


def _half(fragment):
    half = fragment.place.length // 2
    place = fragment.place.model_copy(update={"length": half})
    return Fragment(place, {kind: tensor[:half] for kind, tensor in fragment.tensors.items()})


def _reader(state, file):
    file.write_bytes(state_bytes(state))
    return StateReader([file])
