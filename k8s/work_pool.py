"""The base job template of the Prefect pool `kubernetes`: one flow run is one Job of one CPU pod.

Prefect's default template puts `completions` and `parallelism` into the pod's spec, where the API knows no such fields;
and its worker asks for them there. It is content with them in the Job's spec, where they belong: it compares our Job
with its own by a JSON patch and takes a field that moved for one that is there (prefect-kubernetes 0.8.0, worker.py,
`_validate_job_manifest`). Both must be there, or every run is refused; tests/k8s/test_work_pool.py holds that.

The image, the namespace and the service account are no variables: a run that could choose its image could run anything
with the rights of the account.
"""

import json
from pathlib import Path
from typing import Any

WORK_POOL = "kubernetes"
_TEMPLATE = Path(__file__).with_name("base_job_template.json")


def base_job_template(image: str) -> dict[str, Any]:
    """The template with `image` in it, which every flow run then has; its digest goes into the records of the run."""
    template = json.loads(_TEMPLATE.read_text(encoding="utf-8"))
    pod = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    for container in (*pod["initContainers"], *pod["containers"]):
        container["image"] = image
    (job,) = pod["containers"]
    digest = image.partition("@")[2]
    job["env"] = [{"name": "STARLOOM_IMAGE_DIGEST", "value": digest}] if digest else []
    return template
