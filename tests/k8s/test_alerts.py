"""An alert calls a person: it must speak of what is there, and say what to look at first."""

import re

from tests.k8s.rendered import of_kind, rendered

MANIFESTS = "production"


def test_each_alert_says_how_bad_it_is_and_what_to_do_first():
    (rules,) = of_kind(rendered(MANIFESTS), "PrometheusRule").values()
    (group,) = rules["spec"]["groups"]
    names = [rule["alert"] for rule in group["rules"]]
    assert len(set(names)) == len(names) >= 8
    for rule in group["rules"]:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "first"}


def test_alerts_name_what_the_manifests_hold():
    manifests = rendered(MANIFESTS)
    (rules,) = of_kind(manifests, "PrometheusRule").values()
    text = "\n".join(rule["expr"] for rule in rules["spec"]["groups"][0]["rules"])
    assert set(re.findall(r'cronjob="([^"]+)"', text)) == {
        manifest["metadata"]["name"] for manifest in of_kind(manifests, "CronJob").values()
    }
    assert set(re.findall(r'statefulset="([^"]+)"', text)) == {
        manifest["metadata"]["name"] for manifest in of_kind(rendered("local-kind"), "StatefulSet").values()
    }
    namespaces = {manifest["metadata"]["name"] for manifest in of_kind(manifests, "Namespace").values()}
    assert set(re.findall(r'namespace="([^"]+)"', text)) <= namespaces


def test_what_is_scraped_is_a_port_of_a_service():
    manifests = rendered(MANIFESTS)
    monitor = of_kind(manifests, "ServiceMonitor")["starloom-platform/prefect-server"]["spec"]
    service = of_kind(manifests, "Service")["starloom-platform/prefect-server"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
