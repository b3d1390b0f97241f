"""The launcher over TLS, as real API servers speak: there a connection that breaks looks otherwise to the client."""

import datetime
import ipaddress
import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from k8s.cluster_launcher import Connection, Gang, connect, submit
from k8s.profile import load_profile
from k8s.request import ClusterError, Succeeded
from tests.flows.conftest import free_ports
from tests.k8s.api_stand_in import ApiStandIn
from tests.k8s.cutting_proxy import CuttingProxy
from tests.k8s.following import Following
from tests.k8s.gangs import GANGS
from tests.k8s.observed import condition, pod

SET = "/apis/jobset.x-k8s.io/v1alpha2/namespaces/starloom-training/jobsets/pretrain-123456789abc"
PODS = "/api/v1/namespaces/starloom-training/pods"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Of 127.0.0.1, signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stand-in")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path / "certificate.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(serialization.Encoding.PEM, *plain)
    )
    return path


@pytest.fixture
def api(certificate: Path) -> Iterator[ApiStandIn]:
    stand_in = ApiStandIn()
    stand_in.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    stand_in.tls.load_cert_chain(certificate)
    stand_in.start()
    yield stand_in
    stand_in.stop()


def connected(port: int, directory: Path, authority: Path | None, patience_seconds: float = 8.0) -> Connection:
    cluster = {"server": f"https://127.0.0.1:{port}"} | ({"certificate-authority": str(authority)} if authority else {})
    path = directory / f"kubeconfig-{port}"
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                "clusters": [{"name": "test", "cluster": cluster}],
                "users": [{"name": "test", "user": {}}],
            }
        )
    )
    return connect(path, patience_seconds=patience_seconds)


def submitted(connection: Connection) -> Gang:
    return submit(connection, load_profile("h100-8x8"), GANGS["h100-8x8"])


def test_a_connection_that_is_cut_in_mid_watch_is_opened_again(
    api: ApiStandIn, certificate: Path, tmp_path: Path
) -> None:
    with CuttingProxy("127.0.0.1", api.port) as proxy:
        following = Following(submitted(connected(proxy.port, tmp_path, certificate)))
        api.wait_for_watches("jobsets", "pods")
        api.put(f"{PODS}/{pod(0)['metadata']['name']}", pod(0, "Pending"))
        following.wait_for(lambda one: one.statuses and one.statuses[-1].pods)
        proxy.cut()
        api.put(f"{PODS}/{pod(1)['metadata']['name']}", pod(1, "Pending"))
        following.wait_for(lambda one: len(one.statuses[-1].pods) == 2)
        proxy.close()
        api.change(SET, conditions=[condition("Completed", "AllJobsCompleted")])
        proxy.open()
        assert following.outcome() == Succeeded()


def test_a_handshake_that_breaks_is_tried_again(api: ApiStandIn, certificate: Path, tmp_path: Path) -> None:
    (nobody,) = free_ports(1)
    with CuttingProxy("127.0.0.1", nobody) as proxy:  # takes connections and breaks them, as a balancer without servers
        with pytest.raises(ClusterError, match=r"did not answer for 1 s \(SSLError .*\); see that it is up") as caught:
            submitted(connected(proxy.port, tmp_path, certificate, patience_seconds=0.6))
        assert "\n" not in str(caught.value)
        assert proxy.connections == 0


def test_a_certificate_that_nobody_vouches_for_is_told_at_once(api: ApiStandIn, tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(ClusterError, match=r"certificate verify failed.*; see that the kubeconfig has this") as caught:
        submitted(connected(api.port, tmp_path, None, patience_seconds=60.0))
    assert time.monotonic() - begun < 30
    assert "\n" not in str(caught.value)
