"""Runs a gang on a Kubernetes cluster: submits it once, follows it, cancels it. The only file that knows the client.

A gang outlives whoever submitted it: who submits the same again goes on following the one that is there. Objects are
plain JSON here. Jobs go through the client for custom objects too: the paths are the same, and so is the code.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from k8s.failure_rules import TRAINER
from k8s.gang_follower import outcome_seen
from k8s.gang_identity import difference, is_ours, signed
from k8s.gang_manifests import Manifest, gang_manifests
from k8s.gang_outcome import outcome_of
from k8s.gang_rules import require_sound
from k8s.gang_streams import Response, pause_seconds
from k8s.profile import Profile
from k8s.request import (
    Cancelled,
    ClusterError,
    GangOutcome,
    GangRequest,
    GangStatus,
    Succeeded,
    TimedOut,
)

T = TypeVar("T")

_PATHS: dict[str, Any] = {
    "JobSet": {"group": "jobset.x-k8s.io", "version": "v1alpha2", "plural": "jobsets"},
    "Job": {"group": "batch", "version": "v1", "plural": "jobs"},
    "RayJob": {"group": "ray.io", "version": "v1", "plural": "rayjobs"},
    "Workload": {"group": "kueue.x-k8s.io", "version": "v1beta1", "plural": "workloads"},
}
_REASONS = ("Event", "Workload")
"""They only say why a gang waits: where they may not be read, or there is no Kueue, it is followed without."""
_DOING_WITHOUT = {"JobSet": "whose gang is an indexed_job", "RayJob": "whose data_work is null"}
"""How a profile does without a kind that a cluster may not know."""
_SILENCE_SECONDS = (10, 90)
"""To connect, and between two pieces of an answer: longer than a watch."""
_UNREAD: dict[str, Any] = {"_preload_content": False, "_request_timeout": _SILENCE_SECONDS}
"""The client leaves the answer to us: its own types refuse values that a newer server knows."""
_INSTANCE = "app.kubernetes.io/instance"
_PASSING = {0, 429, 500, 502, 503, 504}
"""What an API server answers that is busy, starting, or waits for a webhook; 0 is the client's for TLS that broke."""
_WATCH_SECONDS = 60
"""Of one watch; then everything is listed again, which heals whatever was missed."""
_LOG_SILENCE_SECONDS = (10, 600)
"""Rank 0 may say nothing for a while; then its log is opened again."""
_BEYOND_GRACE_SECONDS = 120
"""Until a cancelled gang is gone, beside its grace."""


class Connection:
    """A cluster that answers. Every question is asked again while the API server is away."""

    def __init__(self, api: client.ApiClient, patience_seconds: float) -> None:
        self.objects = client.CustomObjectsApi(api)
        self.core = client.CoreV1Api(api)
        self._host: str = api.configuration.host
        self._patience_seconds = patience_seconds

    def ask(self, what: str, question: Callable[[], T], expected: tuple[int, ...] = ()) -> T:
        """The answer to `question`. ApiException only with a status that is expected.

        ClusterError if it is refused, or if there is no answer for as long as the patience lasts.
        """
        deadline = time.monotonic() + self._patience_seconds
        failures = 0
        while True:
            try:
                return question()
            except ApiException as error:
                if error.status in expected:
                    raise
                if error.status not in _PASSING or _is_mistrust(error):
                    raise ClusterError(_refusal(what, error)) from None
                why = f"{error.status} {_message(error)}".removeprefix("0 ")
            except HTTPError as error:
                why = type(error).__name__
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"the API server {self._host} did not answer for {self._patience_seconds:.0f} s ({why}); see that "
                    "it is up and run again: what runs goes on, and is found again"
                )
            time.sleep(pause_seconds(failures))
            failures += 1


def connect(kubeconfig: Path | None, context: str | None = None, *, patience_seconds: float = 300.0) -> Connection:
    """To a context of a kubeconfig, by default the current; None inside a pod, whose service account then asks.

    ClusterError if there is no such configuration.
    """
    settings = client.Configuration()
    try:
        if kubeconfig is None:
            config.load_incluster_config(client_configuration=settings)
        else:
            config.load_kube_config(str(kubeconfig), context, settings, persist_config=False)
    except config.ConfigException as error:
        where = "inside this pod" if kubeconfig is None else f"by {kubeconfig}"
        raise ClusterError(f"no cluster is known {where} ({error}); name a kubeconfig in KUBECONFIG") from None
    settings.retries = False  # `ask` asks again, with a deadline
    return Connection(client.ApiClient(settings), patience_seconds)


def submit(connection: Connection, profile: Profile, request: GangRequest) -> "Gang":
    """Start the gang, or find the same one that is there; one that ended badly is made anew.

    GangError and ManifestError before anything is sent; ClusterError if the cluster refuses, or has another gang of
    that name.
    """
    gang = gang_named(connection, profile, request)
    gang.submit()
    return gang


def gang_named(connection: Connection, profile: Profile, request: GangRequest) -> "Gang":
    """The gang as it would be submitted, there or not. GangError and ManifestError; the cluster is not asked."""
    manifests = gang_manifests(profile, request)
    require_sound(manifests)
    return Gang(connection, manifests, TRAINER, profile.cluster.grace_seconds if profile.cluster else 0)


def _create(connection: Connection, manifest: Manifest) -> bool:
    """False if the same is there already. The answer to the first try may be lost: then the second finds it."""
    kind, name, namespace = manifest["kind"], manifest["metadata"]["name"], manifest["metadata"]["namespace"]

    def create() -> object:
        strict: dict[str, Any] = {"namespace": namespace, "body": manifest, "field_validation": "Strict"} | _UNREAD
        if kind == "Service":
            return _json(connection.core.create_namespaced_service(**strict))
        return _json(connection.objects.create_namespaced_custom_object(**_PATHS[kind], **strict))

    try:
        connection.ask(f"create {kind} {name} in {namespace}", create, expected=(400, 404, 409))
    except ApiException as error:
        if error.status != 409:
            raise ClusterError(_not_created(kind, name, namespace, error)) from None
        there = _read(connection, kind, name, namespace)
        if there is None:
            raise ClusterError(f"{kind} {name} was removed while it was adopted; run again") from None
        _require_same(there, manifest)
        return False
    return True


def _not_created(kind: str, name: str, namespace: str, error: ApiException) -> str:
    if error.status == 404:
        return (
            f"{kind} {name} cannot be created: the cluster has no namespace {namespace} or knows no {kind}; make the "
            f"one, install the other, or name a profile {_DOING_WITHOUT.get(kind, 'of a cluster that has it')}"
        )
    return f"{kind} {name} is no sound manifest for this cluster: {_message(error)}; mend the profile"


def _require_same(there: Manifest, manifest: Manifest) -> None:
    different = difference(there, manifest)
    if different:
        raise ClusterError(different)


def _read(connection: Connection, kind: str, name: str, namespace: str) -> Manifest | None:
    def read() -> Any:
        if kind == "Service":
            return _json(connection.core.read_namespaced_service(name, namespace, **_UNREAD))
        named: dict[str, Any] = {"namespace": namespace, "name": name} | _UNREAD
        return _json(connection.objects.get_namespaced_custom_object(**_PATHS[kind], **named))

    try:
        return connection.ask(f"get {kind} {name} in {namespace}", read, expected=(404,))
    except ApiException:
        return None


def _json(response: Any) -> Any:
    return json.loads(_checked(response).data)


def _checked(response: Any) -> Any:
    """The client does not look at the status of an answer that it leaves unread. ApiException if it is a refusal."""
    if not 200 <= response.status < 300:
        raise ApiException(http_resp=response)
    return response


def _message(error: ApiException) -> str:
    """The server's sentence."""
    try:
        return str(json.loads(error.body or "")["message"])
    except (ValueError, KeyError, TypeError):
        return " ".join(str(error.reason).split())


def _is_mistrust(error: ApiException) -> bool:
    """Whether the one side does not take the other's certificate, which waiting does not mend."""
    return error.status == 0 and "certificate" in _message(error).lower()


def _refusal(what: str, error: ApiException) -> str:
    message = _message(error)
    if error.status == 0:
        return f"cannot {what}: {message}; see that the kubeconfig has this cluster's certificates and renew them"
    if "exceeded quota" in message:
        return f"cannot {what}: {message}; free some of it, or have the quota raised"
    if error.status == 403:
        return f"not allowed to {what}: {message}; give the account the verb in its Role (k8s/base/access.yaml)"
    if error.status == 401:
        return f"cannot {what}: the API server knows no such account ({message}); renew the credentials"
    return f"cannot {what}: {error.status} {message}; mend that and run again"


class ClusterJob:
    """What a launcher has made on the cluster: started once, asked, heard and removed."""

    def __init__(self, connection: Connection, manifests: list[Manifest], container: str, grace_seconds: int) -> None:
        """The last manifest is followed; `container` is the one of its pods that is heard."""
        self._connection = connection
        self._manifests = [signed(manifest) for manifest in manifests]
        self._container = container
        self._grace_seconds = grace_seconds
        self.was_adopted = False
        """It was there already."""
        *_, last = manifests
        self.kind: str = last["kind"]
        self.name: str = last["metadata"]["name"]
        self.namespace: str = last["metadata"]["namespace"]
        self.instance: str = last["metadata"]["labels"][_INSTANCE]
        """Value of the label that its pods bear."""
        is_queued = bool(last["spec"].get("suspend"))
        self.kinds: tuple[str, ...] = (
            (self.kind, "Pod", "Event", "Workload") if is_queued else (self.kind, "Pod", "Event")
        )
        """Of the objects that tell of it."""

    def start(
        self, is_over: Callable[[Manifest], bool], may_stay: Callable[[Manifest], bool] = lambda _: False
    ) -> None:
        """Make it, or find the same at work. One of ours that is over makes room, unless it is the same and may stay.

        ClusterError if the cluster refuses, or has another at work under that name.
        """
        there, last = self.observed(), self._manifests[-1]
        if there is not None:
            is_same = difference(there, last) is None
            if is_ours(there) and is_over(there) and not (is_same and may_stay(there)):
                self.remove()
            else:
                _require_same(there, last)
        for manifest in self._manifests:
            self.was_adopted = not _create(self._connection, manifest)

    def observed(self) -> Manifest | None:
        """The JobSet, Job or RayJob as the cluster has it; None if it is gone."""
        return _read(self._connection, self.kind, self.name, self.namespace)

    def list_all(self, kind: str) -> dict[str, Any]:
        """Of one of its `kinds`: pods of all restarts that are there, events of its Job, all Workloads there are."""
        expected = (403, 404) if kind in _REASONS else ()
        try:
            return self._connection.ask(
                f"list {kind}s in {self.namespace}", lambda: _json(self._stream(kind)), expected=expected
            )
        except ApiException:
            return {"items": [], "metadata": {"resourceVersion": ""}}

    def watch(self, kind: str, version: str) -> Response | None:
        """From that version on; None if it has expired, or there is nothing to watch."""

        def watch() -> Response:
            options: dict[str, Any] = {"watch": True, "resource_version": version, "timeout_seconds": _WATCH_SECONDS}
            return _checked(self._stream(kind, **options))

        expected = (403, 404, 410) if kind in _REASONS else (410,)
        try:
            return self._connection.ask(f"watch {self.namespace}", watch, expected=expected)
        except ApiException:
            return None

    def _stream(self, kind: str, **options: Any) -> Any:
        options |= _UNREAD
        core, objects = self._connection.core, self._connection.objects
        if kind == "Pod":
            return core.list_namespaced_pod(self.namespace, label_selector=f"{_INSTANCE}={self.instance}", **options)
        if kind == "Event":
            job = self.name if self.kind == "Job" else f"{self.name}-{TRAINER}-0"
            of_job = f"involvedObject.kind=Job,involvedObject.name={job},type=Warning"
            return core.list_namespaced_event(self.namespace, field_selector=of_job, **options)
        if kind == self.kind:
            options["field_selector"] = f"metadata.name={self.name}"
        return objects.list_namespaced_custom_object(**_PATHS[kind], namespace=self.namespace, **options)

    def open_log(self, pod: str) -> Response | None:
        """With timestamps, and as it grows; None if there is none. ClusterError for anything else, at the first try."""
        options: dict[str, Any] = {"container": self._container, "follow": True, "timestamps": True} | _UNREAD
        options |= {"_request_timeout": _LOG_SILENCE_SECONDS}
        try:
            return _checked(self._connection.core.read_namespaced_pod_log(pod, self.namespace, **options))
        except ApiException as error:
            if error.status in {400, 404}:
                return None
            raise ClusterError(_refusal(f"read the log of {pod}", error)) from None

    def is_at_work(self, pod: str) -> bool:
        """Whether its log may go on."""
        return any(
            one["metadata"]["name"] == pod and one.get("status", {}).get("phase") == "Running"
            for one in self.list_all("Pod")["items"]
        )

    def remove(self) -> None:
        """Delete all that `start` made, running or not; returns when it is gone. ClusterError if it stays."""
        deadline = time.monotonic() + self._grace_seconds + _BEYOND_GRACE_SECONDS
        for manifest in reversed(self._manifests):
            _delete(self._connection, manifest)
        polls = 0
        while any(self._is_there(manifest) for manifest in self._manifests):
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"{self.kind} {self.name} is deleted but stays; see what holds it: kubectl -n {self.namespace} "
                    f"get pods -l {_INSTANCE}={self.instance}"
                )
            time.sleep(pause_seconds(polls))
            polls += 1

    def _is_there(self, manifest: Manifest) -> bool:
        return _read(self._connection, manifest["kind"], manifest["metadata"]["name"], self.namespace) is not None


class Gang(ClusterJob):
    """A gang on the cluster; `submit` makes it."""

    _is_cancelled = False

    def submit(self) -> None:
        """As the function does."""
        self.start(
            lambda there: outcome_of(there, ()) is not None,
            lambda there: isinstance(outcome_of(there, ()), Succeeded),
        )

    def is_kept(self) -> bool:
        """Whether it is at work or has succeeded: then `submit` goes on with it."""
        there = self.observed()
        return there is not None and isinstance(outcome_of(there, ()), Succeeded | None)

    def follow(
        self,
        *,
        on_line: Callable[[str, str], None],
        on_status: Callable[[GangStatus], None],
        timeout_seconds: float | None = None,
    ) -> GangOutcome:
        """Until it is over; it goes on when the caller does not.

        `on_line` gets pod and line, of the pod of rank 0 and of the first that fails: lines of a pod that a restart
        removes at once may be lost. `on_status` gets every change. Both are called in this thread. A gang that is not
        over after the timeout is cancelled. ClusterError as of `Connection.ask`.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        outcome = outcome_seen(self, on_line, on_status, deadline)
        if outcome is None:
            self.remove()
            return TimedOut(f"{self.name} was not over after {timeout_seconds} s and was removed; give it more time")
        return Cancelled() if self._is_cancelled and not isinstance(outcome, Succeeded) else outcome

    def cancel(self) -> None:
        """End it and remove it; returns when it is gone, pods and all. Safe from another thread."""
        self._is_cancelled = True
        self.remove()


def _delete(connection: Connection, manifest: Manifest) -> None:
    """With all that depends on it, which goes first."""
    kind, name, namespace = manifest["kind"], manifest["metadata"]["name"], manifest["metadata"]["namespace"]

    def delete() -> object:
        named: dict[str, Any] = {"name": name, "namespace": namespace, "propagation_policy": "Foreground"} | _UNREAD
        if kind == "Service":
            return _json(connection.core.delete_namespaced_service(**named))
        return _json(connection.objects.delete_namespaced_custom_object(**_PATHS[kind], **named))

    try:
        connection.ask(f"delete {kind} {name} in {namespace}", delete, expected=(404,))
    except ApiException:
        return  # it is gone
