"""The launcher of RayJobs against a stand-in that speaks the API's paths and streams; the test plays KubeRay."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from k8s.cluster_launcher import Connection, connect
from k8s.cluster_profile import DataWork
from k8s.gang_identity import FINGERPRINT
from k8s.profile import load_profile
from k8s.ray_job import ray_job
from k8s.ray_launcher import RayRun, run_on_ray
from k8s.request import Cancelled, ClusterError, Failed, JobOutcome, Succeeded
from tests.k8s.api_stand_in import ApiStandIn
from tests.k8s.test_ray_job import COMMAND, ENVIRONMENT, NAME, work

JOBS = "/apis/ray.io/v1/namespaces/starloom-runs/rayjobs"
JOB = f"{JOBS}/{NAME}"
PODS = "/api/v1/namespaces/starloom-runs/pods"
RUNNING = {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}
EXIT_2 = "Job entrypoint command failed with exit code 2, last available logs (truncated to 20,000 chars):\nsaid twice"


def submitter(api: ApiStandIn, name: str = f"{NAME}-abcde", *, phase: str = "Running", code: int = 0) -> str:
    """Its pod, as the Job controller and the kubelet would show it."""
    state = {"running": {}} if phase == "Running" else {"terminated": {"exitCode": code}}
    api.put(
        f"{PODS}/{name}",
        {
            "metadata": {"name": name, "labels": {"app.kubernetes.io/instance": NAME}},
            "spec": {"containers": [{"name": "submitter"}]},
            "status": {"phase": phase, "containerStatuses": [{"name": "submitter", "state": state}]},
        },
    )
    return name


class Heard:
    """What a run said so far; its lines are read in a thread, so that the test can play KubeRay meanwhile."""

    def __init__(self, run: RayRun) -> None:
        self.run = run
        self.lines: list[str] = []
        self.error: ClusterError | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for line in self.run.lines():
                with self._changed:
                    self.lines.append(line)
                    self._changed.notify_all()
        except ClusterError as error:
            self.error = error

    def wait_for(self, *lines: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: set(lines) <= set(self.lines), 15), self.lines

    def outcome(self) -> JobOutcome:
        self._thread.join(15)
        assert not self._thread.is_alive(), self.lines
        if self.error:
            raise self.error
        return self.run.outcome()


Play = Callable[[ApiStandIn, Heard], None]


def played(api: ApiStandIn, connection: Connection, play: Play) -> tuple[JobOutcome, list[str]]:
    """What came of a run that KubeRay treats as `play` says."""
    with run_on_ray(connection, work(), NAME, COMMAND, ENVIRONMENT) as run:
        heard = Heard(run)
        play(api, heard)
        return heard.outcome(), heard.lines


def test_lines_come_as_they_are_said_and_nothing_is_left(api: ApiStandIn, connection: Connection):
    def play(api: ApiStandIn, heard: Heard) -> None:
        heard.wait_for(f"{NAME}: not taken up by KubeRay yet")
        api.change(JOB, jobDeploymentStatus="Initializing")
        heard.wait_for(f"{NAME}: Initializing")
        api.change(JOB, **RUNNING)
        pod = submitter(api)
        api.say(pod, '{"event": "note", "text": "first"}')
        heard.wait_for('{"event": "note", "text": "first"}')
        api.say(pod, "the last line")
        api.change(JOB, jobStatus="SUCCEEDED")
        submitter(api, phase="Succeeded")

    outcome, lines = played(api, connection, play)
    assert outcome == Succeeded()
    assert [line for line in lines if NAME not in line] == ['{"event": "note", "text": "first"}', "the last line"]
    assert JOB not in api.objects
    deletes = [path for method, path in api.requests if method == "DELETE"]
    assert len(deletes) == 1
    assert "propagationPolicy=Foreground" in deletes[0]


def test_a_command_that_fails_gives_its_exit_code_and_last_lines(api: ApiStandIn, connection: Connection):
    def play(api: ApiStandIn, heard: Heard) -> None:
        api.change(JOB, **RUNNING)
        api.say(submitter(api), *(f"line {number}" for number in range(50)))
        api.change(JOB, jobStatus="FAILED", message=EXIT_2)
        submitter(api, phase="Succeeded")

    outcome, lines = played(api, connection, play)
    assert outcome == Failed(2, tuple(f"line {number}" for number in range(10, 50)))
    assert not [line for line in lines if "said twice" in line]
    assert JOB not in api.objects


def test_a_submitter_that_is_tried_again_is_heard_too(api: ApiStandIn, connection: Connection):
    def play(api: ApiStandIn, heard: Heard) -> None:
        api.change(JOB, **RUNNING)
        first = submitter(api)
        api.say(first, "of the head that was lost")
        heard.wait_for("of the head that was lost")
        submitter(api, first, phase="Failed", code=1)
        second = submitter(api, f"{NAME}-fghij")
        api.say(second, "of the head that came back")
        heard.wait_for("of the head that came back")
        api.change(JOB, jobStatus="SUCCEEDED")
        submitter(api, second, phase="Succeeded")

    assert played(api, connection, play)[0] == Succeeded()


def test_the_server_may_be_away_meanwhile(api: ApiStandIn, connection: Connection):
    def play(api: ApiStandIn, heard: Heard) -> None:
        api.change(JOB, **RUNNING)
        pod = submitter(api)
        api.say(pod, "before")
        heard.wait_for("before")
        api.stop()
        api.say(pod, "while it was away")
        api.start()
        heard.wait_for("while it was away")
        api.expire_versions()
        api.change(JOB, jobStatus="SUCCEEDED")
        submitter(api, phase="Succeeded")

    outcome, lines = played(api, connection, play)
    assert outcome == Succeeded()
    assert lines.count("before") == 1


def test_somebody_else_deletes_it(api: ApiStandIn, connection: Connection):
    def play(api: ApiStandIn, heard: Heard) -> None:
        api.change(JOB, **RUNNING)
        heard.wait_for(f"{NAME}: Running, command RUNNING")
        api.remove(JOB)

    assert played(api, connection, play)[0] == Cancelled()


def test_a_deadline_is_a_sentence_and_not_tried_again(api: ApiStandIn, connection: Connection):
    def play(api: ApiStandIn, heard: Heard) -> None:
        api.change(JOB, jobDeploymentStatus="Failed", reason="DeadlineExceeded", message="The RayJob has passed it.")

    with pytest.raises(
        ClusterError, match=r"was ended: The RayJob has passed it\.; mend deadline_seconds in data_work"
    ):
        played(api, connection, play)
    assert JOB not in api.objects


def test_an_operator_that_does_nothing_is_told(api: ApiStandIn, connection: Connection):
    run = RayRun(connection, ray_job(work(), NAME, COMMAND, ENVIRONMENT), most_seconds=0.5)
    run.start(lambda there: True)
    with pytest.raises(ClusterError, match=r"was not over 0 s after .* see that KubeRay's operator runs"):
        list(run.lines())
    run.stop_hearing()
    assert JOB not in api.objects


def test_who_leaves_the_block_before_the_end_leaves_no_cluster(api: ApiStandIn, connection: Connection):
    def interrupt(api: ApiStandIn, heard: Heard) -> None:
        heard.wait_for(f"{NAME}: not taken up by KubeRay yet")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        played(api, connection, interrupt)
    assert JOB not in api.objects


def test_what_runs_goes_on_when_the_server_stays_away_and_is_found_again(api: ApiStandIn, tmp_path: Path):
    hasty = connect(api.kubeconfig(tmp_path / "kubeconfig"), patience_seconds=0.5)

    def stop_the_server(api: ApiStandIn, heard: Heard) -> None:
        heard.wait_for(f"{NAME}: not taken up by KubeRay yet")
        api.stop()

    with pytest.raises(ClusterError, match="did not answer"):
        played(api, hasty, stop_the_server)
    api.start()
    assert JOB in api.objects
    with run_on_ray(hasty, work(), NAME, COMMAND, ENVIRONMENT) as again:
        assert again.was_adopted
        heard = Heard(again)
        api.change(JOB, jobDeploymentStatus="Complete", jobStatus="SUCCEEDED")
        assert heard.outcome() == Succeeded()


@pytest.mark.parametrize("ended", ["SUCCEEDED", "FAILED"])
def test_what_is_over_is_made_anew(api: ApiStandIn, connection: Connection, ended: str):
    """A step is run only if its artifact is not there, so an old success is of no use."""
    with run_on_ray(connection, work(), NAME, COMMAND, ENVIRONMENT) as run:
        left = api.objects[JOB]
        Heard(run)
        api.change(JOB, jobStatus="SUCCEEDED")
    api.put(JOB, left | {"status": {"jobDeploymentStatus": "Complete", "jobStatus": ended}})
    with run_on_ray(connection, work(), NAME, COMMAND, ENVIRONMENT) as again:
        assert not again.was_adopted
        assert "status" not in api.objects[JOB]


def test_another_of_the_name_is_left_alone(api: ApiStandIn, connection: Connection):
    api.put(JOB, {"kind": "RayJob", "metadata": {"name": NAME, "annotations": {FINGERPRINT: "0" * 64}}})
    with pytest.raises(ClusterError, match=f"starloom-runs has another RayJob {NAME}, made from another profile"):
        with run_on_ray(connection, work(), NAME, COMMAND, ENVIRONMENT):
            pass
    assert JOB not in {path for method, path in api.requests if method == "DELETE"}


def test_a_cluster_without_kuberay_is_told(api: ApiStandIn, connection: Connection):
    api.refusals.append(("POST", JOBS, 404, "the server could not find the requested resource"))
    with pytest.raises(ClusterError, match=r"knows no RayJob; .* name a profile whose data_work is null"):
        with run_on_ray(connection, work(), NAME, COMMAND, ENVIRONMENT):
            pass


def test_an_image_that_nobody_has_set_is_told_before_anything_is_sent(api: ApiStandIn, connection: Connection):
    cluster = load_profile("h100-8x8").cluster
    assert cluster
    placeholder = DataWork.model_validate(cluster.data_work)
    with pytest.raises(ClusterError, match="has the placeholder for a digest; set the one that was pushed"):
        with run_on_ray(connection, placeholder, NAME, COMMAND, ENVIRONMENT):
            pass
    assert not api.requests
