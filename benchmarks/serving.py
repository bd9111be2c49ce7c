"""`unlearn serve`: tokens per second against a bare loop, and latency with more adapters.

Projects are made here: a Llama of random weights, and adapters of one shard and of eight.

throughput  16 requests at a time, against a loop of transformers and PEFT that reads all adapters
            in one forward pass with a cache of keys and values, and against the decoder alone
latency     one request at a time, with eight adapters and with one
"""

import argparse
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from unlearn.stages.project.threads import use_one_thread

from benchmarks.harness import Bench, machine, run, workplace

#: Prompts of one length, of the made-up tokenizer's 512 tokens.
PROMPT = [1, *range(40, 71)]

CONTEXT = 256


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="medium", help="of the base: tiny, small or medium")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64, help="of each answer")
    parser.add_argument("--slots", type=int, default=16, help="requests at a time")
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--keep", type=Path, help="make the projects here and leave them")
    arguments = parser.parse_args()
    use_one_thread()
    print(machine())
    with workplace(arguments.keep) as folder:
        many = make_project(folder / "many", arguments.size, arguments.shards)
        one = make_project(folder / "one", arguments.size, 1)
        throughput(many, arguments)
        latency(many, one, arguments)


def make_project(root: Path, size: str, shards: int) -> Path:
    """Return a project with a verified final model of one adapter a shard."""
    from unlearn.cli.examples.authors import jsonl, make_authors

    if (root / "dvc.lock").is_file():
        return root
    make_base(root / "models/base", size)
    rows = root.parent / "rows.jsonl"
    rows.write_bytes(jsonl(make_authors(max(16, 4 * shards), 1)))
    columns = ("--id", "id", "--subject", "author", "--prompt", "prompt")
    more = ("--completion", "completion", "--context", str(CONTEXT), "--shards", str(shards))
    base = ("--base", str(root / "models/base"), "--slices", "1", "--epochs", "1")
    project = Bench(root)
    project.unlearn("init", ".", "--dataset", str(rows), *columns, *more, *base)
    project.unlearn("repro")
    run(["git", "add", "-A"], root)
    who = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@example.org")
    run(["git", *who, "commit", "--quiet", "-m", "tuned"], root)
    return root


def make_base(folder: Path, size: str) -> None:
    """Write a base of random weights."""
    import torch
    from transformers import LlamaForCausalLM
    from unlearn.cli.examples import tiny_base as tiny
    from unlearn.cli.examples.authors import Population, make_authors

    folder.mkdir(parents=True)
    rows = make_authors(12, 1, population=Population.PUBLIC)
    texts = [text for row in rows for text in (row.prompt, row.completion)]
    tiny.make_tokenizer(texts, context=CONTEXT).save_pretrained(folder)
    config = tiny.make_config(size)
    config.max_position_embeddings = CONTEXT
    torch.manual_seed(1)
    LlamaForCausalLM(config).save_pretrained(folder)


@contextmanager
def server(root: Path, slots: int) -> Iterator[tuple[str, Any]]:
    """Yield the address of a server, and its process, while the block runs."""
    import psutil

    log = root.parent / f"{root.name}-log.txt"
    command = [sys.executable, "-m", "unlearn.cli", "serve", "--port", "0", "--slots", str(slots)]
    with log.open("wb") as handle:
        process = subprocess.Popen(command, cwd=root, stderr=handle)
    try:
        while (found := re.search(r"on (http://\S+)\n", log.read_text(encoding="utf-8"))) is None:
            if process.poll() is not None:
                raise SystemExit(log.read_text(encoding="utf-8"))
            time.sleep(0.1)
        yield found[1], psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def ask(address: str, name: str, tokens: int, *, stream: bool = False) -> int:
    """Ask for an answer; return how many tokens it has."""
    body = {"model": name, "prompt": PROMPT, "max_tokens": tokens, "temperature": 0}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    request = urllib.request.Request(  # noqa: S310 - the address is of our own server
        f"{address}/v1/completions",
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - the same
        content = answer.read()
    found = content.split(b"data: ")[-2] if stream else content
    return int(json.loads(found)["usage"]["completion_tokens"])


def spent(process: Any) -> float:
    """Return the processor time of a process (seconds)."""
    times = process.cpu_times()
    return float(times.user + times.system)


def throughput(root: Path, arguments: argparse.Namespace) -> None:
    """Print tokens per second, in turns."""
    rates: dict[str, list[tuple[float, float]]] = {}
    loops = {
        "bare loop": bare_loop(root, arguments),
        "decoder alone": decoder_alone(root, arguments),
    }
    ways = {"answers": False, "streams": True}
    with server(root, arguments.slots) as (address, process):
        ask(address, root.name, 4)
        for loop in loops.values():
            next(loop)
        for _ in range(arguments.turns):
            for name, loop in loops.items():
                rates.setdefault(name, []).append(next(loop))
            for name, stream in ways.items():
                wall, processor = time.perf_counter(), spent(process)
                with ThreadPoolExecutor(arguments.slots) as pool:
                    jobs = [
                        pool.submit(ask, address, root.name, arguments.tokens, stream=stream)
                        for _ in range(2 * arguments.slots)
                    ]
                    tokens = sum(job.result() for job in jobs)
                took = time.perf_counter() - wall, spent(process) - processor
                rates.setdefault(f"serve, {name}", []).append((tokens / took[0], tokens / took[1]))
    print(f"\n{arguments.slots} requests at a time, {arguments.shards} adapters")
    print(f"{'':18} {'tokens/s':>9} {'tokens/processor s':>19} {'ratio':>6} {'ratio':>6}")
    bare = [median(column) for column in zip(*rates["bare loop"], strict=True)]
    for name, found in rates.items():
        wall, processor = (median(column) for column in zip(*found, strict=True))
        ratios = f"{wall / bare[0]:6.2f} {processor / bare[1]:6.2f}"
        print(f"{name:18} {wall:9.0f} {processor:19.0f} {ratios}")


def bare_loop(root: Path, arguments: argparse.Namespace) -> Iterator[tuple[float, float]]:
    """Yield tokens per second of a bare loop, by the clock and by processor time."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, DynamicCache

    members = sorted((root / "models/final_model/members").iterdir())
    base = AutoModelForCausalLM.from_pretrained(root / "models/base", dtype=torch.float32)
    model = PeftModel.from_pretrained(base, members[0], adapter_name=members[0].name)
    for member in members[1:]:
        model.load_adapter(member, adapter_name=member.name)
    model.eval()
    names = [member.name for member in members for _ in range(arguments.slots)]
    while True:
        wall, processor = time.perf_counter(), time.process_time()
        inputs = torch.tensor([PROMPT] * arguments.slots)
        keys = DynamicCache()
        with torch.inference_mode():
            for _ in range(arguments.tokens):
                logits = model(
                    input_ids=inputs.repeat(len(members), 1),
                    adapter_names=names,
                    past_key_values=keys,
                    use_cache=True,
                ).logits[:, -1]
                logs = torch.log_softmax(logits, dim=-1).view(len(members), arguments.slots, -1)
                inputs = logs.mean(dim=0).argmax(dim=-1, keepdim=True)
        tokens = arguments.tokens * arguments.slots
        yield (
            tokens / (time.perf_counter() - wall),
            tokens / (time.process_time() - processor),
        )


def decoder_alone(root: Path, arguments: argparse.Namespace) -> Iterator[tuple[float, float]]:
    """Yield tokens per second of what the server decodes with, without a server."""
    from unlearn.stages.final_model.text_loading import load_language_model
    from unlearn.stages.text.decoding import Decoder, Request, decode_all
    from unlearn.stages.text.token_choice import Sampling

    model = load_language_model(root / "models/final_model", root)
    decoder = Decoder(model, arguments.slots)
    requests = [Request(PROMPT, Sampling(arguments.tokens))] * (2 * arguments.slots)
    while True:
        wall, processor = time.perf_counter(), time.process_time()
        tokens = sum(map(len, decode_all(decoder, requests)))
        yield (
            tokens / (time.perf_counter() - wall),
            tokens / (time.process_time() - processor),
        )


def latency(many: Path, one: Path, arguments: argparse.Namespace) -> None:
    """Print how long one request takes, in turns."""
    found: dict[Path, list[tuple[float, float]]] = {many: [], one: []}
    with server(many, arguments.slots) as first, server(one, arguments.slots) as second:
        servers = {many: first, one: second}
        for root, (address, _) in servers.items():
            ask(address, root.name, 4)
        for _ in range(3 * arguments.turns):
            for root, (address, process) in servers.items():
                wall, processor = time.perf_counter(), spent(process)
                tokens = ask(address, root.name, arguments.tokens)
                took = time.perf_counter() - wall, spent(process) - processor
                found[root].append((took[0] / tokens, took[1] / tokens))
    print("\none request at a time")
    print(f"{'adapters':>8} {'ms/token':>9} {'processor ms/token':>19}")
    times = {
        root: [1000 * median(column) for column in zip(*pairs, strict=True)]
        for root, pairs in found.items()
    }
    for root, count in ((one, 1), (many, arguments.shards)):
        print(f"{count:8} {times[root][0]:9.2f} {times[root][1]:19.2f}")
    ratios = [a / b for a, b in zip(times[many], times[one], strict=True)]
    print(f"{'ratio':>8} {ratios[0]:9.2f} {ratios[1]:19.2f}")


if __name__ == "__main__":
    main()
