"""The launcher against a stand-in that speaks the API's paths and streams; no controller is behind it."""

import dataclasses
import threading
from pathlib import Path
from typing import Any

import pytest

from k8s.cluster_launcher import Connection, Gang, connect, submit
from k8s.gang_identity import FINGERPRINT
from k8s.gang_rules import ManifestError
from k8s.gang_streams import pause_seconds
from k8s.profile import Profile, load_profile
from k8s.request import (
    Cancelled,
    ClusterError,
    Evicted,
    Infrastructure,
    Succeeded,
    TimedOut,
    UserError,
)
from tests.k8s.api_stand_in import ApiStandIn
from tests.k8s.cutting_proxy import CuttingProxy
from tests.k8s.following import Following
from tests.k8s.gangs import GANGS
from tests.k8s.observed import QUOTA, condition, failed_create, pod, workload

NAMESPACE = "starloom-training"
NAME = "pretrain-123456789abc"
CORE = f"/api/v1/namespaces/{NAMESPACE}"
SETS = f"/apis/jobset.x-k8s.io/v1alpha2/namespaces/{NAMESPACE}/jobsets"
JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
WORKLOADS = f"/apis/kueue.x-k8s.io/v1beta1/namespaces/{NAMESPACE}/workloads"
SET = f"{SETS}/{NAME}"
INSTANCE = "app.kubernetes.io/instance"
DONE = condition("Completed", "AllJobsCompleted")
WORN_OUT = condition("Failed", "ReachedMaxRestarts", "jobset failed due to reaching max number of restarts")


def profile(name: str = "h100-8x8") -> Profile:
    loaded = load_profile(name)
    assert loaded.cluster
    return loaded.model_copy(update={"cluster": loaded.cluster.model_copy(update={"namespace": NAMESPACE})})


def submitted(connection: Connection) -> Gang:
    return submit(connection, profile(), GANGS["h100-8x8"])


def put_pod(api: ApiStandIn, one: dict[str, Any]) -> str:
    name = one["metadata"]["name"]
    api.put(f"{CORE}/pods/{name}", one)
    return name


def test_a_jobset_is_submitted_strictly_and_bears_its_fingerprint(api: ApiStandIn, connection: Connection) -> None:
    gang = submitted(connection)
    assert not gang.was_adopted
    assert len(api.objects[SET]["metadata"]["annotations"][FINGERPRINT]) == 64
    assert [path for method, path in api.requests if method == "POST"] == [f"{SETS}?fieldValidation=Strict"]


def test_the_fallback_is_a_service_and_then_a_job(api: ApiStandIn, connection: Connection) -> None:
    gang = submit(connection, profile("kind-cpu"), GANGS["kind-cpu"])
    assert [path for method, path in api.requests if method == "POST"] == [
        f"{CORE}/services?fieldValidation=Strict",
        f"{JOBS}?fieldValidation=Strict",
    ]
    following = Following(gang)
    api.wait_for_watches("jobs", "pods")
    api.change(f"{JOBS}/{gang.name}", conditions=[condition("Complete", "CompletionsReached")])
    assert following.outcome() == Succeeded()
    gang.remove()
    assert api.objects == {}


def test_the_same_again_is_adopted_whatever_the_cluster_filled_in(api: ApiStandIn, connection: Connection) -> None:
    submitted(connection)
    filled_in = api.objects[SET]
    filled_in["spec"] |= {"suspend": False, "startupPolicy": {"startupPolicyOrder": "AnyOrder"}}
    api.put(SET, filled_in)
    assert submitted(connection).was_adopted


def test_a_lost_answer_to_a_creation_makes_no_second_gang(api: ApiStandIn, connection: Connection) -> None:
    api.refusals.append(("POST", "jobsets", 500, "etcdserver: request timed out"))
    gang = submitted(connection)
    assert [method for method, _ in api.requests].count("POST") == 2
    assert gang.observed() is not None


def test_another_gang_of_that_name_is_one_clear_error(api: ApiStandIn, connection: Connection) -> None:
    submitted(connection)
    other = dataclasses.replace(GANGS["h100-8x8"], environment={"OMP_NUM_THREADS": "2"})
    with pytest.raises(ClusterError, match=f"has another JobSet {NAME}, made from another .*kubectl -n .* delete"):
        submit(connection, profile(), other)


def test_what_ended_badly_is_made_anew_and_what_ended_well_is_not(api: ApiStandIn, connection: Connection) -> None:
    submitted(connection)
    api.change(SET, conditions=[WORN_OUT])
    again = submitted(connection)
    assert not again.was_adopted
    assert "status" not in api.objects[SET]
    api.change(SET, conditions=[DONE])
    assert submitted(connection).was_adopted
    assert "DELETE" in [method for method, _ in api.requests]


def test_lines_of_rank_0_and_places_are_told_until_it_succeeds(api: ApiStandIn, connection: Connection) -> None:
    gang = submitted(connection)
    following = Following(gang)
    first, other = put_pod(api, pod(0)), put_pod(api, pod(1))
    api.say(first, "step 1 loss 10.8", "", "step 2 loss 10.1")
    api.say(other, "nobody listens")
    following.wait_for(lambda one: len(one.lines) == 3)
    api.change(SET, conditions=[DONE])
    api.change(f"{CORE}/pods/{first}", phase="Succeeded")
    assert following.outcome() == Succeeded()
    assert following.lines == [(first, "step 1 loss 10.8"), (first, ""), (first, "step 2 loss 10.1")]
    assert following.statuses[0].is_suspended
    assert [(place.name, place.node) for place in following.statuses[-1].pods] == [(first, "gpu-0"), (other, "gpu-1")]


def test_the_pod_that_failed_first_is_heard_and_restarts_are_told(api: ApiStandIn, connection: Connection) -> None:
    following = Following(submitted(connection))
    rank_0, failing = put_pod(api, pod(0)), put_pod(api, pod(3))
    api.say(failing, "error: pretrain.layout has no stage 9")
    api.change(SET, restarts=1)
    following.wait_for(lambda one: one.statuses and one.statuses[-1].restarts == 1)
    put_pod(api, pod(3, "Failed", code=42))
    put_pod(api, pod(0, "Failed", code=75, at="14:02:30"))
    api.change(SET, conditions=[condition("Failed", "FailJobSetFailurePolicyAction")])
    outcome = following.outcome()
    assert isinstance(outcome, UserError)
    assert failing in outcome.told
    assert (failing, "error: pretrain.layout has no stage 9") in following.lines
    assert rank_0 not in [name for name, _ in following.lines]


def test_an_evicted_pod_is_remembered_when_it_is_gone(api: ApiStandIn, connection: Connection) -> None:
    following = Following(submitted(connection))
    api.wait_for_watches("jobsets", "pods")
    name = put_pod(api, pod(1, disrupted="EvictionByEvictionAPI"))
    following.wait_for(lambda one: one.statuses and one.statuses[-1].pods)
    api.remove(f"{CORE}/pods/{name}")
    following.wait_for(lambda one: not one.statuses[-1].pods)
    api.change(SET, conditions=[WORN_OUT])
    assert isinstance(following.outcome(), Evicted)


def test_the_queue_says_what_a_suspended_gang_waits_for(api: ApiStandIn, connection: Connection) -> None:
    following = Following(submitted(connection))
    following.wait_for(
        lambda one: one.statuses and "no Workload of Kueue is seen" in (one.statuses[-1].waits_for or "")
    )
    uid = api.objects[SET]["metadata"]["uid"]
    short = (
        "couldn't assign flavors to pod set trainer: insufficient unused quota for nvidia.com/gpu in flavor h100-8x8, "
        "8 more needed"
    )
    api.put(f"{WORKLOADS}/jobset-other", workload("jobset-other", "uid-of-another", "somebody else's"))
    api.put(f"{WORKLOADS}/jobset-ours", workload("jobset-ours", uid, short))
    following.wait_for(lambda one: one.statuses[-1].waits_for == short)
    assert following.statuses[-1].is_suspended
    admitted = api.objects[SET]
    api.put(SET, admitted | {"spec": admitted["spec"] | {"suspend": False}})
    following.wait_for(lambda one: not one.statuses[-1].is_suspended)
    assert following.statuses[-1].waits_for is None
    api.change(SET, conditions=[DONE])
    assert following.outcome() == Succeeded()


def test_a_quota_that_forbids_pods_is_told_until_they_are_there(api: ApiStandIn, connection: Connection) -> None:
    gang = submit(connection, profile("kind-cpu"), GANGS["kind-cpu"])
    following = Following(gang)
    api.put(f"{CORE}/events/a", failed_create("a", gang.name, QUOTA))
    api.put(f"{CORE}/events/b", failed_create("b", "another-job", "exceeded quota: somebody else's"))
    following.wait_for(lambda one: one.statuses and one.statuses[-1].waits_for == QUOTA)
    for index in range(4):
        made = pod(index, "Pending")
        put_pod(api, made | {"metadata": made["metadata"] | {"labels": {INSTANCE: gang.instance}}})
    following.wait_for(lambda one: one.statuses[-1].waits_for is None)
    api.change(f"{JOBS}/{gang.name}", conditions=[condition("Complete", "CompletionsReached")])
    assert following.outcome() == Succeeded()


@pytest.mark.parametrize("status", [403, 404])
def test_reasons_that_cannot_be_read_end_nothing(api: ApiStandIn, connection: Connection, status: int) -> None:
    api.refusals += [("GET", part, status, "no") for part in ("/events?", "/workloads?") for _ in range(9)]
    following = Following(submitted(connection))
    api.wait_for_watches("jobsets", "pods", "events", "workloads")
    api.change(SET, conditions=[DONE])
    assert following.outcome() == Succeeded()


def test_an_expired_version_is_listed_again(api: ApiStandIn, connection: Connection) -> None:
    following = Following(submitted(connection))
    api.wait_for_watches("jobsets", "pods")
    api.expire_versions()
    api.wait_for_watches("jobsets", "pods", times=2)
    api.change(SET, conditions=[DONE])
    assert following.outcome() == Succeeded()


def test_a_server_that_is_away_for_a_while_loses_neither_the_end_nor_a_line(
    api: ApiStandIn, connection: Connection
) -> None:
    gang = submitted(connection)
    following = Following(gang)
    name = put_pod(api, pod(0))
    api.say(name, "step 1", "step 2")
    following.wait_for(lambda one: len(one.lines) == 2)
    api.stop()
    threading.Event().wait(1.5)
    api.say(name, "step 3")
    api.start()
    following.wait_for(lambda one: len(one.lines) == 3)
    put_pod(api, pod(0, "Succeeded", code=0))
    api.change(SET, conditions=[DONE])
    assert following.outcome() == Succeeded()
    assert [line for _, line in following.lines] == ["step 1", "step 2", "step 3"]
    assert len(api.requests) < 30 * len(gang.kinds), "each try waits before the next"


def test_a_connection_that_is_cut_in_mid_watch_is_opened_again(api: ApiStandIn, tmp_path: Path) -> None:
    with CuttingProxy("127.0.0.1", api.port) as proxy:
        following = Following(submitted(connect(api.kubeconfig(tmp_path / "cut", proxy.port), patience_seconds=8.0)))
        name = put_pod(api, pod(0))
        api.say(name, "step 1")
        following.wait_for(lambda one: one.lines)
        api.wait_for_watches("jobsets", "pods")
        proxy.cut()
        put_pod(api, pod(1))
        api.say(name, "step 2")
        following.wait_for(lambda one: len(one.lines) == 2 and len(one.statuses[-1].pods) == 2)
        api.wait_for_watches("jobsets", "pods", times=2)
        put_pod(api, pod(0, "Succeeded", code=0))
        api.change(SET, conditions=[DONE])
        assert following.outcome() == Succeeded()
    assert [line for _, line in following.lines] == ["step 1", "step 2"]


def test_a_server_that_stays_away_is_one_sentence(api: ApiStandIn, kubeconfig: Path) -> None:
    impatient = connect(kubeconfig, patience_seconds=0.5)
    gang = submitted(impatient)
    api.stop()
    with pytest.raises(ClusterError, match=r"did not answer for 0 s \(NewConnectionError\); see that it is up and run"):
        gang.observed()
    api.start()


def test_watches_that_end_at_once_are_no_busy_loop(api: ApiStandIn, connection: Connection) -> None:
    gang = submitted(connection)
    api.refusals += [("GET", "watch=true", 410, "too old resource version")] * 200
    following = Following(gang)
    threading.Event().wait(1.5)
    assert sum("watch=true" in path for _, path in api.requests) < 10 * len(gang.kinds)
    api.change(SET, conditions=[DONE])
    assert following.outcome() == Succeeded()


def test_pauses_grow_to_ten_seconds_and_differ() -> None:
    assert 0.1 <= pause_seconds(0) <= 0.2
    assert 5.0 <= pause_seconds(10_000) <= 10.0
    assert len({pause_seconds(3) for _ in range(20)}) > 1


def test_a_cancelled_gang_is_waited_for_until_it_is_gone(api: ApiStandIn, connection: Connection) -> None:
    gang = submitted(connection)
    following = Following(gang)
    api.wait_for_watches("jobsets", "pods")
    gang.cancel()
    assert following.outcome() == Cancelled()
    assert SET not in api.objects
    assert ("DELETE", f"{SET}?propagationPolicy=Foreground") in api.requests
    gang.cancel()  # what is gone is fine


def test_one_that_somebody_else_deletes_is_cancelled(api: ApiStandIn, connection: Connection) -> None:
    following = Following(submitted(connection))
    api.wait_for_watches("jobsets", "pods")
    api.remove(SET)
    assert following.outcome() == Cancelled()


def test_one_that_vanished_unseen_may_have_ended_in_any_way(api: ApiStandIn, connection: Connection) -> None:
    gang = submitted(connection)
    api.remove(SET)
    outcome = Following(gang).outcome()
    assert isinstance(outcome, Infrastructure)
    assert "removed before its end was seen" in outcome.told


def test_one_that_takes_too_long_is_removed(api: ApiStandIn, connection: Connection) -> None:
    gang = submitted(connection)
    assert isinstance(Following(gang, timeout_seconds=0.3).outcome(), TimedOut)
    assert SET not in api.objects


def test_a_caller_that_was_killed_finds_the_gang_and_its_log_again(api: ApiStandIn, kubeconfig: Path) -> None:
    submitted(connect(kubeconfig))
    name = put_pod(api, pod(0))
    api.say(name, "step 1")
    gang = submitted(connect(kubeconfig))
    assert gang.was_adopted
    following = Following(gang)
    following.wait_for(lambda one: one.lines == [(name, "step 1")])
    put_pod(api, pod(0, "Succeeded", code=0))
    api.change(SET, conditions=[DONE])
    assert following.outcome() == Succeeded()


@pytest.mark.parametrize(
    ("status", "message", "told"),
    [
        (
            403,
            'jobsets.jobset.x-k8s.io is forbidden: User "x" cannot create resource "jobsets"',
            r"^not allowed to create JobSet pretrain-123456789abc in starloom-training: jobsets.* verb in its Role",
        ),
        (
            403,
            'jobsets "x" is forbidden: exceeded quota: sets, requested: count/jobsets=1, used: 4, limited: 4',
            r"exceeded quota: sets, .*; free some of it, or have the quota raised$",
        ),
        (401, "Unauthorized", r"knows no such account \(Unauthorized\); renew the credentials$"),
        (404, "the server could not find the requested resource", r"knows no JobSet; .* gang is an indexed_job$"),
        (400, 'strict decoding error: unknown field "spec.x"', r"strict decoding error: .*; mend the profile$"),
        (
            422,
            "admission webhook denied the request: no hyphens",
            r"422 admission webhook .*; mend that and run again$",
        ),
    ],
)
def test_a_refusal_is_one_sentence_with_the_mend(
    api: ApiStandIn, connection: Connection, status: int, message: str, told: str
) -> None:
    api.refusals.append(("POST", "jobsets", status, message))
    with pytest.raises(ClusterError, match=told) as caught:
        submitted(connection)
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_an_image_by_tag_is_refused_before_anything_is_sent(api: ApiStandIn, connection: Connection) -> None:
    ours = profile()
    assert ours.cluster
    by_tag = ours.model_copy(update={"cluster": ours.cluster.model_copy(update={"image": "starloom:latest"})})
    with pytest.raises(ManifestError, match="give it by digest"):
        submit(connection, by_tag, GANGS["h100-8x8"])
    assert api.requests == []


def test_a_log_out_of_reach_ends_nothing(api: ApiStandIn, connection: Connection) -> None:
    following = Following(submitted(connection))
    api.refusals += [("GET", "/log?", 502, "dial tcp: no route to host")] * 9
    name = put_pod(api, pod(0))
    following.wait_for(lambda one: one.lines)
    assert following.lines[0][1].startswith(f"(its log cannot be read any more: cannot read the log of {name}: 502")
    api.change(SET, conditions=[DONE])
    assert following.outcome() == Succeeded()


def test_a_missing_kubeconfig_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="name a kubeconfig in KUBECONFIG"):
        connect(tmp_path / "none")
