import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from flows.forms import (
    EvaluateModelRequest,
    FlowRequest,
    ParamsFile,
    PromoteModelRequest,
    RollbackDataRequest,
    TrainCodeModelRequest,
)

REQUESTS: tuple[type[FlowRequest], ...] = (
    TrainCodeModelRequest,
    EvaluateModelRequest,
    PromoteModelRequest,
    RollbackDataRequest,
)


@pytest.mark.parametrize("request_type", REQUESTS)
def test_a_request_refuses_unknown_keys_and_is_frozen(request_type: type[FlowRequest]):
    assert request_type.model_config["extra"] == "forbid"
    assert request_type.model_config["frozen"] is True


@pytest.mark.parametrize("request_type", REQUESTS)
def test_every_field_of_a_form_has_a_title_and_a_description(request_type: type[FlowRequest]):
    assert request_type.__doc__
    for name, field in request_type.model_json_schema()["properties"].items():
        assert field.get("title"), name
        assert field.get("description"), name


@pytest.mark.parametrize("path", ["params.yaml", "params/santacoder.yaml", "a/b-c/d_1.2.yaml"])
def test_a_parameter_file_lies_in_the_workspace(path: str):
    assert TrainCodeModelRequest(params_file=path).params_file == path


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd.yaml", "../params.yaml", "a/../../b.yaml", "params.json", ".hidden.yaml", "a//b.yaml", "", "~/x.yaml",
     "a\\b.yaml", "params.yaml\n", "a b.yaml", "C:/x.yaml", ".yaml", "a" * 251 + ".yaml"],
)  # fmt: skip
def test_a_path_that_could_leave_the_workspace_is_refused(path: str):
    with pytest.raises(ValidationError):
        TrainCodeModelRequest(params_file=path)


@given(st.text(alphabet="ab./\\~-\n", max_size=12).map(lambda text: text + ".yaml"))
def test_no_accepted_path_is_absolute_or_goes_up(path: str):
    try:
        accepted = TypeAdapter(ParamsFile).validate_python(path)
    except ValidationError:
        return
    parts = accepted.split("/")
    assert parts[0]
    assert ".." not in parts


def test_overrides_name_only_what_the_request_changes():
    assert TrainCodeModelRequest().overrides() == ()
    assert TrainCodeModelRequest(training_steps=50).overrides() == ("pretrain.num_steps=50",)
    assert TrainCodeModelRequest(training_steps=50, seed=0).overrides() == (
        "pretrain.num_steps=50",
        "pretrain.seed=0",
    )


@pytest.mark.parametrize("wrong", [{"training_steps": 9}, {"training_steps": 1_000_001}, {"seed": -1}])
def test_a_value_out_of_range_is_refused(wrong: dict[str, int]):
    with pytest.raises(ValidationError):
        TrainCodeModelRequest.model_validate(wrong)


@pytest.mark.parametrize("version", ["v0", "v01", "3", "v1; rm", "V1", "", "v1\n"])
def test_a_data_version_has_one_spelling(version: str):
    with pytest.raises(ValidationError):
        RollbackDataRequest(version=version)
