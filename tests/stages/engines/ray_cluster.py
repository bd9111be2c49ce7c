"""A Ray cluster of two nodes on loopback addresses, as a process that ends with its standard input.

It prints the address of the cluster. Each line that it reads is an order, and is answered by a
line: `remove` or `add` the second node, or say that the cluster is of another `version`.
"""

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

#: Not 127.0.0.1: Ray takes another address of the machine for it.
HEAD, SECOND = "127.0.0.2", "127.0.0.3"

#: Close to the least that Ray allows.
_MEMORY = 80 * 2**20


def main(second_path: str) -> None:
    """Run the cluster.

    Parameters
    ----------
    second_path
        `PYTHONPATH` of the second node.
    """
    answers = os.fdopen(os.dup(1), "w")
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        from ray.cluster_utils import Cluster

        options: dict[str, Any] = {"num_cpus": 1, "object_store_memory": _MEMORY}
        head = {"node_ip_address": HEAD, "include_dashboard": False, **options}
        paths = {"PYTHONPATH": second_path} if second_path else {}
        second = {"node_ip_address": SECOND, "env_vars": paths, **options}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        node = cluster.add_node(**second)
        print(cluster.address, file=answers, flush=True)
        for line in sys.stdin:
            match line.split():
                case ["remove"]:
                    cluster.remove_node(node, allow_graceful=False)
                case ["add"]:
                    node = cluster.add_node(**second)
                case ["version", version]:
                    _set_version(cluster, version)
            print("done", file=answers, flush=True)
        cluster.shutdown()


def _set_version(cluster: Any, version: str) -> None:
    """Write another version of Ray to where drivers look for that of a cluster."""
    from ray._common.usage.usage_constants import CLUSTER_METADATA_KEY
    from ray._private.ray_constants import KV_NAMESPACE_CLUSTER

    client = cluster.head_node.get_gcs_client()
    facts = json.loads(client.internal_kv_get(CLUSTER_METADATA_KEY, KV_NAMESPACE_CLUSTER))
    content = json.dumps(facts | {"ray_version": version}).encode()
    client.internal_kv_put(CLUSTER_METADATA_KEY, content, True, KV_NAMESPACE_CLUSTER)


if __name__ == "__main__":
    main(sys.argv[1])
