"""Locks and states of a project, as a run or a request leaves them."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from unlearn.stages.audit.compare import Audit, Listed, Snapshot
from unlearn.stages.config.params import ShardingParams, shard_names
from unlearn.stages.rows.tokens import place

from tests.stages.conftest import token_of

SHARDING = ShardingParams(shards=shard_names(3), slices=2, holdout=0.2)

Lock = dict[str, dict[str, Any]]
Change = Callable[[Lock], object]


def tokens_in(shard: str, kind: str = "record") -> list[str]:
    """Return tokens whose rows go to a shard, or to the holdout."""
    found = [token_of(f"{kind}{number}", kind) for number in range(200)]  # type: ignore[arg-type]  # a literal
    return [token for token in found if place(token, 3, 2, 0.2).shard == shard]


IN_S0, IN_S1 = tokens_in("s000"), tokens_in("s001")
ANN = tokens_in("s000", "subject")[0]
HELD_OUT = tokens_in("holdout")


def entry(path: str, md5: str) -> dict[str, str]:
    return {"path": path, "md5": md5}


def make_lock(list_md5: str = "list-0") -> Lock:
    """Return the entries that DVC would write for a run."""
    lock: Lock = {
        "shard": {
            "cmd": "unlearn stage shard",
            "deps": [
                entry("data/dataset.csv", "data-0"),
                entry("shards.yaml", "names-0"),
                entry("schema.yaml", "schema-0"),
            ],
            "params": {"params.yaml": {"algorithm": 1}},
            "outs": [entry("data/shards", "shards-0")],
        },
        "recipe": {
            "cmd": "unlearn stage recipe",
            "deps": [entry("schema.yaml", "schema-0"), entry("net.py", "net-0")],
            "params": {"params.yaml": {"algorithm": 1, "train": {"model": "mlp"}}},
            "outs": [entry("data/recipe.json", "recipe-0")],
        },
        "forget": {
            "cmd": "unlearn stage forget",
            "deps": [entry("data/shards", "shards-0"), entry("data/forget_list.txt", list_md5)],
            "params": {"params.yaml": {"algorithm": 1}},
            "outs": [entry("data/retain_set", "retain-0"), entry("data/forget_set", "forget-0")],
        },
        "aggregate": {
            "cmd": "unlearn stage aggregate",
            "deps": [entry("models/shard_models", "")],
            "params": {"params.yaml": {"algorithm": 1}},
            "outs": [entry("models/final_model", "")],
        },
        "verify": {
            "cmd": "unlearn stage verify",
            "deps": [entry("models/final_model", ""), entry("models/shard_models", "")],
            "params": {"params.yaml": {"algorithm": 1}},
            "outs": [entry("reports/verdict.json", "report-0")],
        },
    }
    for shard in SHARDING.shards:
        lock[f"train@{shard}"] = {
            "cmd": f"unlearn stage train@{shard}",
            "deps": [
                entry(f"data/retain_set/{shard}.parquet", f"{shard}-rows-0"),
                entry("data/recipe.json", "recipe-0"),
            ],
            "outs": [entry(f"models/shard_models/{shard}", f"{shard}-model-0")],
        }
    return follow(lock)


def follow(lock: Lock) -> Lock:
    """Let each stage's entry name what the stages before it made."""
    outs = sorted(str(lock[stage]["outs"]) for stage in lock if "train@" in stage)
    models = hashlib.sha256("".join(outs).encode()).hexdigest()
    set_dep(lock, "aggregate", models)
    set_out(lock, "aggregate", f"final-{models}")
    set_dep(lock, "verify", f"final-{models}")
    set_dep(lock, "verify", models, 1)
    for name in [name for name in lock if name.startswith("train@")]:
        if "recipe" in lock:
            set_dep(lock, name, lock["recipe"]["outs"][0]["md5"], 1)
    if "shard" in lock and "forget" in lock:
        set_dep(lock, "forget", lock["shard"]["outs"][0]["md5"])
    return lock


def snapshot(name: str, lock: Mapping[str, Any] | None = None, *tokens: str) -> Snapshot:
    return Snapshot(
        name=name,
        lock=make_lock() if lock is None else lock,
        listed=Listed(frozenset(tokens)),
        carried_out=Listed(frozenset(tokens)),
        list_md5="list-0",
        sharding=SHARDING,
        environment={"numpy": "2"},
        report_md5="report-0",
    )


def set_out(lock: Lock, stage: str, md5: str, index: int = 0) -> None:
    lock[stage]["outs"][index]["md5"] = md5


def set_dep(lock: Lock, stage: str, md5: str, index: int = 0) -> None:
    lock[stage]["deps"][index]["md5"] = md5


def retrain(lock: Lock, shard: str = "s000") -> None:
    """Change a shard's entry as a run on other rows would."""
    set_dep(lock, f"train@{shard}", f"{shard}-rows-1")
    set_out(lock, f"train@{shard}", f"{shard}-model-1")


def after(*changes: Change) -> Lock:
    lock = make_lock()
    for change in changes:
        change(lock)
    return follow(lock)


def request(*tokens: str) -> Snapshot:
    """Return the state after a request was carried out in s000."""

    def applied(lock: Lock) -> None:
        set_dep(lock, "forget", "list-1", 1)
        set_out(lock, "forget", "retain-1", 0)

    lock = after(retrain, applied)
    return replace(snapshot("new", lock, *tokens), list_md5="list-1")


def reasons(found: Audit) -> dict[str, tuple[str, ...]]:
    return {item.stage: item.reasons for item in found.retrained}
