"""A command in one pod, against the API's stand-in: what it says and how it ends reach whoever submitted it."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from k8s.cluster_launcher import Connection
from k8s.gang_manifests import gang_manifests
from k8s.pod_job import run_in_pod
from k8s.profile import load_profile
from k8s.request import Cancelled, ClusterError, Failed, GangRequest, JobOutcome, Succeeded
from tests.k8s.api_stand_in import ApiStandIn
from tests.k8s.observed import condition, pod

PROFILE = load_profile("h100-8x8")
NAME = "evaluate-model-123456789abc"
SETS = "/apis/jobset.x-k8s.io/v1alpha2/namespaces/starloom-training/jobsets"
POD = f"/api/v1/namespaces/starloom-training/pods/{NAME}-trainer-0-0"
DONE = condition("Completed", "AllJobsCompleted")
FAILED = condition("Failed", "FailedJobs")


def request() -> GangRequest:
    command = ("python", "-m", "components", "evaluate_model")
    return GangRequest(NAME, (), command, nodes=1, processes_per_node=1, is_restarted=False)


def put_pod(api: ApiStandIn, **state: Any) -> None:
    one = pod(0, **state)
    one["metadata"] |= {"name": POD.rpartition("/")[2], "labels": {"app.kubernetes.io/instance": NAME}}
    api.put(POD, one)


def end(api: ApiStandIn, ended: dict[str, Any], **state: Any) -> None:
    api.say(POD.rpartition("/")[2], "one", "two")
    put_pod(api, **state)
    api.change(f"{SETS}/{NAME}", conditions=[ended])


Play = Callable[[ApiStandIn], None]


def ran(api: ApiStandIn, connection: Connection, play: Play) -> tuple[list[str], JobOutcome]:
    with run_in_pod(connection, PROFILE, request()) as job:
        put_pod(api)
        lines: list[str] = []
        for line in job.lines():
            lines.append(line)
            if len(lines) == 1:
                play(api)
        return lines, job.outcome()


def test_the_pod_has_the_command_one_device_and_no_second_try(api: ApiStandIn, connection: Connection) -> None:
    with run_in_pod(connection, PROFILE, request()):
        spec = api.objects[f"{SETS}/{NAME}"]["spec"]
    (job,) = spec["replicatedJobs"]
    (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "components", "evaluate_model"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert spec["failurePolicy"]["maxRestarts"] == 0
    assert api.objects == {}  # gone with the block


def test_what_it_says_comes_line_by_line_and_then_its_end(api: ApiStandIn, connection: Connection) -> None:
    lines, outcome = ran(api, connection, lambda api: end(api, DONE, phase="Succeeded", code=0))
    assert lines[0] == f"{NAME}: Running on gpu-0"
    assert [line for line in lines if not line.startswith(NAME)] == ["one", "two"]
    assert outcome == Succeeded()


@pytest.mark.parametrize(
    ("state", "exit_code"),
    [
        ({"phase": "Failed", "code": 2}, 2),
        ({"phase": "Failed", "code": 137, "why": "OOMKilled"}, 137),
        ({"phase": "Failed", "disrupted": "EvictionByEvictionAPI"}, 75),
        ({"phase": "Failed", "disrupted": "DeletionByTaintManager"}, 75),
    ],
)
def test_one_that_fails_tells_its_last_lines_and_one_whose_node_was_taken_is_tried_again(
    api: ApiStandIn, connection: Connection, state: dict[str, Any], exit_code: int
) -> None:
    _, outcome = ran(api, connection, lambda api: end(api, FAILED, **state))
    assert isinstance(outcome, Failed)
    assert outcome.exit_code == exit_code
    assert "two" in outcome.last_lines


def test_one_that_somebody_deletes_is_cancelled(api: ApiStandIn, connection: Connection) -> None:
    def delete(api: ApiStandIn) -> None:
        metadata = api.objects[f"{SETS}/{NAME}"]["metadata"] | {"deletionTimestamp": "2026-11-26T14:00:00Z"}
        api.put(f"{SETS}/{NAME}", api.objects[f"{SETS}/{NAME}"] | {"metadata": metadata})

    assert ran(api, connection, delete)[1] == Cancelled()


def test_one_that_is_over_is_made_anew(api: ApiStandIn, connection: Connection) -> None:
    with suppress(ClusterError), run_in_pod(connection, PROFILE, request()):
        raise ClusterError("the API server is away")
    end(api, DONE, phase="Succeeded", code=0)
    with run_in_pod(connection, PROFILE, request()):
        assert "conditions" not in api.objects[f"{SETS}/{NAME}"].get("status", {})


def test_a_pod_that_was_taken_is_no_mistake_where_the_set_could_tell() -> None:
    (jobset,) = gang_manifests(load_profile("spot-h100"), request())
    (job,) = jobset["spec"]["replicatedJobs"]
    assert len(job["template"]["spec"]["podFailurePolicy"]["rules"]) == 1  # 42 alone
    assert [rule["action"] for rule in jobset["spec"]["failurePolicy"]["rules"]] == ["FailJobSet"]


def test_one_whose_submitter_lost_the_cluster_goes_on_and_is_found(api: ApiStandIn, connection: Connection) -> None:
    with pytest.raises(ClusterError), run_in_pod(connection, PROFILE, request()):
        raise ClusterError("the API server is away")
    (there,) = api.objects.values()
    with run_in_pod(connection, PROFILE, request()):
        assert list(api.objects.values()) == [there]
