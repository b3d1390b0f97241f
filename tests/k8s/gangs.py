"""What the golden manifests are made from: one gang for each profile with a cluster."""

from k8s.request import GangRequest

_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "CUBLAS_WORKSPACE_CONFIG": ":4096:8", "PYTHONSAFEPATH": "1"}
_STORE = "s3://starloom-checkpoints/training"


def gang(name: str, nodes: int, processes: int, close_pods: int, store: str | None, **environment: str) -> GangRequest:
    return GangRequest(
        name=name,
        agent=("python", "-m", "model.torchrun", f"--pipeline-nodes={close_pods}"),
        command=("-m", "model.train_worker", f"/workspace/.starloom/gangs/{name}/request.json"),
        nodes=nodes,
        processes_per_node=processes,
        close_pods=close_pods,
        environment=_ENVIRONMENT | environment,
        checkpoint_store=store,
    )


GANGS = {
    # starcoderbase-15b: TP 4, PP 4, DP 32; held to what the dry run asks for by tests/flows/test_cluster_plan.py
    "a100-64x8": gang("pretrain-0123456789ab", 64, 8, 4, _STORE),
    "h100-8x8": gang("pretrain-123456789abc", 8, 8, 4, _STORE),  # TP 2, PP 4, DP 8
    "spot-h100": gang("pretrain-23456789abcd", 8, 8, 1, _STORE),  # DP 64
    "kind-cpu": gang("pretrain-3456789abcde", 4, 1, 2, None, DS_ACCELERATOR="cpu"),  # PP 2, DP 2
}
