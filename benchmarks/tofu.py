"""TOFU (Maini et al., COLM 2024): whole made-up authors are forgotten, by every post-hoc method.

The questions and answers are the real ones; the model is a local checkpoint (`--base`, an adapter
is tuned on it), or else a Llama of about a million parameters that is trained here, from nothing,
on the authors that are in no project: they are public then, as are the real ones. The table is that
of `language.py methods`.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from unlearn.stages.project.threads import use_one_thread

from benchmarks.harness import Bench, machine, say, show, use_benchmark_key, workplace

#: Rows of an author in full.json, and authors.
ROWS, AUTHORS = 20, 200

#: The first author of forget10.json; and the first of those that no model is to see.
FORGET_FROM, UNSEEN_FROM = 180, 190

#: Wrong answers of a row that has any.
PERTURBED = 5

_FILES = (
    "full.json",
    "forget10_perturbed.json",
    "retain_perturbed.json",
    "real_authors.json",
    "world_facts.json",
)

_GENERIC = "data/generic.jsonl"

#: Of the Llama that is trained here.
_VOCABULARY, _CONTEXT, _BATCH = 2_048, 256, 16

Row = dict[str, str]


@dataclass(frozen=True)
class Tofu:
    """TOFU's rows by what becomes of them, each with an id, its author, and its texts.

    Parameters
    ----------
    tuned
        Of the authors that the original is tuned on.
    forgotten
        The authors among them that ask to be forgotten.
    unseen
        Of authors that no model sees: the held-out rows.
    public
        Of all other authors.
    generic
        Of real authors and the world.
    """

    tuned: list[Row]
    forgotten: list[str]
    unseen: list[Row]
    public: list[Row]
    generic: list[Row]


@dataclass(frozen=True)
class Plan:
    """How models are tuned and unlearned."""

    model: str
    epochs: int
    batch: int
    rate: float
    unlearn_rate: float
    unlearn_batch: int


def read_tofu(folder: Path, authors: int) -> Tofu:
    """Read TOFU, and share out its authors.

    Parameters
    ----------
    folder
        With the files as published.
    authors
        How many are tuned on: a tenth of them, ten at most, from forget10, which are forgotten,
        and the first others. The last ten of forget10 are held out.
    """
    lines = {name: _lines(folder / name) for name in _FILES}
    told = {
        (line["question"], line["answer"]): line
        for name in ("forget10_perturbed.json", "retain_perturbed.json")
        for line in lines[name]
    }
    rows = [_row(number, line, told) for number, line in enumerate(lines["full.json"])]
    of = [rows[start : start + ROWS] for start in range(0, len(rows), ROWS)]
    gone = min(UNSEEN_FROM - FORGET_FROM, max(1, authors // 10))
    kept = authors - gone
    tuned = [*of[:kept], *of[FORGET_FROM : FORGET_FROM + gone]]
    public = [*of[kept:FORGET_FROM], *of[FORGET_FROM + gone : UNSEEN_FROM]]
    generic = [*lines["real_authors.json"], *lines["world_facts.json"]]
    return Tofu(
        tuned=_joined(tuned),
        forgotten=[of[FORGET_FROM + number][0]["author"] for number in range(gone)],
        unseen=_joined(of[UNSEEN_FROM:]),
        public=_joined(public),
        generic=[_texts(line, None) for line in generic],
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _row(number: int, line: Mapping[str, Any], told: Mapping[tuple[str, str], Any]) -> Row:
    # A question of two authors is told apart by its answers.
    known = told.get((line["question"], line["answer"]))
    names = {"id": f"t{number:04d}", "author": f"a{number // ROWS:03d}"}
    return names | _texts(line, known)


def _texts(line: Mapping[str, Any], told: Mapping[str, Any] | None) -> Row:
    """Return the texts of a row; it has no other words and no wrong answers where none are told."""
    wrong = [""] * PERTURBED if told is None else told["perturbed_answer"]
    return {
        "question": line["question"],
        "answer": line["answer"],
        "paraphrase": "" if told is None else told["paraphrased_answer"],
        **{f"perturbed_{place}": text for place, text in enumerate(wrong, start=1)},
    }


def _joined(parts: Sequence[list[Row]]) -> list[Row]:
    return [row for part in parts for row in part]


def main() -> None:
    """Make a project of TOFU, unlearn with every method, and print the table."""
    arguments = _arguments()
    missing = [name for name in _FILES if not (arguments.data / name).is_file()]
    if missing:
        sys.exit(f"{arguments.data} does not hold {missing[0]}: TOFU is locuslab/TOFU on the hub")
    use_one_thread()
    print(machine())
    tofu = read_tofu(arguments.data, arguments.authors)
    with workplace(arguments.keep) as folder:
        bench = Bench(folder / "project")
        bench.root.mkdir()
        base = arguments.base
        if base is None:
            base = bench.root / "models" / "base"
            train_base(base, tofu, arguments)
        plan = _plan(arguments)
        make_project(bench, folder, tofu, base, plan)
        unlearn_all(bench, tofu, arguments, plan)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/tofu"))
    parser.add_argument("--base", type=Path, help="a checkpoint's folder, in place of one's own")
    parser.add_argument("--authors", type=int, help="to tune on; 20, of which 2 are forgotten")
    parser.add_argument("--methods", nargs="+", help="only these, and retrain")
    parser.add_argument("--epochs", type=int, help="of tuning")
    parser.add_argument("--rate", type=float, help="of tuning")
    parser.add_argument("--unlearn-rate", type=float, help="of the methods")
    parser.add_argument("--unguarded", action="store_true", help="let methods do what they do")
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it works")
    parser.add_argument("--keep", type=Path, help="make the project here and leave it")
    arguments = parser.parse_args()
    if arguments.authors is None:
        arguments.authors = 6 if arguments.quick else 20
    if not 2 <= arguments.authors <= UNSEEN_FROM:
        parser.error(f"--authors: 2 to {UNSEEN_FROM}, the last ten being held out")
    if arguments.base is not None:
        arguments.base = arguments.base.resolve()
    return arguments


def _plan(arguments: argparse.Namespace) -> Plan:
    """Return settings that memorise on the Llama trained here, or those of TOFU's authors."""
    if arguments.base is None:
        plan = Plan("causal_lm", 25 if arguments.quick else 30, 16, 2e-3, 2e-3, 8)
    else:
        plan = Plan("lora", 10, 16, 1e-4, 1e-4, 16)
    return Plan(
        plan.model,
        arguments.epochs or plan.epochs,
        plan.batch,
        arguments.rate or plan.rate,
        arguments.unlearn_rate or plan.unlearn_rate,
        plan.unlearn_batch,
    )


def train_base(folder: Path, tofu: Tofu, arguments: argparse.Namespace) -> None:
    """Write a base that knows the public authors, the real ones and the world."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils.logging import disable_progress_bar
    from unlearn.cli.examples.tiny_base import SEPARATOR, encode, make_tokenizer

    rows = [*(tofu.public[: 20 * ROWS] if arguments.quick else tofu.public), *tofu.generic]
    texts = [(row["question"], row["answer"]) for row in rows]
    tokenizer = make_tokenizer(
        (text for question, answer in texts for text in (question + SEPARATOR, answer)),
        vocabulary=_VOCABULARY,
        context=_CONTEXT,
    )
    sequences = encode(tokenizer, texts)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=344,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=_CONTEXT,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    module = LlamaForCausalLM(config)
    count = sum(weight.numel() for weight in module.parameters())
    say(f"a base of {count:,} parameters on {len(texts):,} public rows")
    started = time.perf_counter()
    loss = _pretrain(module, sequences, tokenizer.pad_token_id, epochs=1 if arguments.quick else 2)
    say(f"  {time.perf_counter() - started:.0f} s, loss {loss:.2f} nats a token")
    folder.mkdir(parents=True)
    disable_progress_bar()
    module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _pretrain(module: Any, sequences: Any, pad: int, *, epochs: int) -> float:
    """Train on answers, the rate falling to zero in a line; return the loss of the last steps."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    module.to(device).train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=2e-3, weight_decay=0.0, fused=True)
    steps = epochs * -(-len(sequences) // _BATCH)
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    losses: list[float] = []
    for _ in range(epochs):
        order = torch.randperm(len(sequences)).numpy()
        for start in range(0, len(order), _BATCH):
            batch = sequences.batch(order[start : start + _BATCH], pad, device)
            logits = module(input_ids=batch.inputs, use_cache=False).logits[:, :-1][batch.counted]
            loss = torch.nn.functional.cross_entropy(logits, batch.targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            falling.step()
            losses.append(float(loss.detach()))
    module.cpu().eval()
    last = losses[-20:]
    return sum(last) / len(last)


def make_project(bench: Bench, folder: Path, tofu: Tofu, base: Path, plan: Plan) -> None:
    """Set up a project by `unlearn init`, as a user would, with this plan."""
    dataset, unseen = folder / "tofu.jsonl", folder / "unseen.jsonl"
    write_rows(dataset, tofu.tuned)
    write_rows(unseen, tofu.unseen)
    bench.unlearn(
        *("init", ".", "--template", "posthoc", "--model", plan.model, "--base", str(base)),
        *init_options(dataset, unseen),
        *("--epochs", str(plan.epochs)),
    )
    bench.keep_to_itself()
    use_benchmark_key(bench.root)
    write_rows(bench.root / _GENERIC, tofu.generic)


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as JSONL."""
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def init_options(dataset: Path, unseen: Path) -> list[str]:
    """Return what `unlearn init` has to be told of TOFU's columns."""
    perturbed = [f"perturbed_{place}" for place in range(1, PERTURBED + 1)]
    options = ["--dataset", str(dataset), "--held-out", str(unseen), "--id", "id"]
    options += ["--subject", "author", "--prompt", "question", "--completion", "answer"]
    options += ["--paraphrase", "paraphrase", "--context", str(_CONTEXT), "--too-long", "truncate"]
    return [*options, *(word for name in perturbed for word in ("--perturbed", name))]


def unlearn_all(bench: Bench, tofu: Tofu, arguments: argparse.Namespace, plan: Plan) -> None:
    """Tune the original, apply every method in this process, and print the tables."""
    from unlearn.stages.recipe import stage as recipe_stage
    from unlearn.stages.shard import stage as shard_stage
    from unlearn.stages.train import stage as train_stage

    from benchmarks.language_methods import apply_methods, gathered, show_methods

    context = bench.context()
    unlearn, train = context.params.unlearn, context.params.train
    if unlearn is None:
        raise AssertionError("the template is for one model")
    wanted = arguments.methods or (("npo", "finetune") if arguments.quick else unlearn.methods)
    methods = [name for name in unlearn.methods if name in wanted or name == "retrain"]
    language = unlearn.for_language.model_dump(mode="json")
    bench.set_params(
        train={
            "batch": plan.batch,
            "optimizer": train.optimizer.model_dump(mode="json") | {"rate": plan.rate},
        },
        unlearn={
            "methods": methods,
            "deploy": methods[-1],
            "guard": unlearn.guard.model_dump(mode="json") | {"active": not arguments.unguarded},
            "language": language
            | {"rate": plan.unlearn_rate, "batch": plan.unlearn_batch, "generic": _GENERIC},
        },
        # Tuning from scratch is on the clock once; doing it again to check is not compared.
        verify={"rerun": 0},
    )
    context = bench.context()
    recipe_stage.run(context)
    shard_stage.run(context)
    trained = train_stage.run_whole(context)
    say(f"the original: {trained.rows:,} rows in {trained.timing.seconds:.0f} s")
    tokens = [context.tokenizer.token("subject", author) for author in tofu.forgotten]
    found = apply_methods(context, tokens)
    title = f"TOFU, {arguments.authors} authors, {len(tokens)} forgotten"
    show_methods(
        title,
        "language-tofu",
        gathered([found]),
        f"{plan.model} of {train.options['base']}, {plan.epochs} epochs; held out: "
        f"{len(tofu.unseen)} rows of other authors; generic: real authors and world facts. "
        "Extraction strength of the original on the forget set shows how much there was to "
        "forget.",
    )
    show(
        "language-tofu-time",
        ("seconds", "fine-tuning", *methods),
        [["", f"{trained.timing.seconds:.0f}", *(f"{found[m].seconds:.0f}" for m in methods)]],
        "Fine-tuning in wall-clock time, methods in processor time.",
    )


if __name__ == "__main__":
    main()
