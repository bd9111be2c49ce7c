"""A base model that is made here: a tokenizer of 512 tokens and a small Llama, offline.

Trained on public synthetic authors only, so a project can fine-tune it on private ones and measure
what it learned from them. Nothing is downloaded, and the same seed gives the same bytes of every
file.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from unlearn.cli.examples.authors import Population, Row, jsonl, make_authors
from unlearn.stages.errors import InputError
from unlearn.stages.text import gate
from unlearn.stages.text.sequences import Sequences, ragged

if TYPE_CHECKING:
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

VOCABULARY: Final = 512
CONTEXT: Final = 128

#: Between a prompt and its completion, there being no chat template.
SEPARATOR: Final = "\n"

BEGIN: Final = "<|begin|>"
END: Final = "<|end|>"
PAD: Final = "<|pad|>"

#: Mean extraction strength from which on a model counts as having memorised rows.
MEMORISED: Final = gate.MEMORISED

#: Private authors of the example: with a fifth held out and eight shards, four a shard.
EXAMPLE_AUTHORS: Final = 40

#: One in this number of private authors has an archive code.
_AUTHORS_A_CODE: Final = 8

#: Public authors with an archive code, so that private ones' codes are no new kind of text.
_PUBLIC_CODES: Final = 0.125

#: Authors of the generic text, which shows whether a model has collapsed.
_GENERIC_AUTHORS: Final = 10

_PAD_ID, _BEGIN_ID, _END_ID = 0, 1, 2
_CLIP = 1.0


@dataclass(frozen=True)
class Tuning:
    """Settings of `train` that were measured to memorise private authors on a base.

    Attributes
    ----------
    epochs, batch, rate
        Of AdamW without weight decay, at a constant rate.
    """

    epochs: int
    batch: int
    rate: float


@dataclass(frozen=True)
class Size:
    """A Llama's shape, and how its base is trained on public authors.

    Attributes
    ----------
    hidden, layers, feed_forward, heads
        The shape.
    parameters
        About how many numbers that is.
    authors, epochs, batch, rate
        The training of the base: AdamW, the rate falling to zero in a line.
    """

    hidden: int
    layers: int
    feed_forward: int
    heads: int
    parameters: int
    authors: int
    epochs: int
    batch: int
    rate: float


SIZES: Final = {
    "tiny": Size(64, 2, 176, 4, 130_000, 160, 2, 16, 5e-3),
    "small": Size(128, 4, 344, 4, 860_000, 160, 2, 16, 2e-3),
    "medium": Size(288, 6, 768, 6, 6_100_000, 160, 2, 16, 1e-3),
}

# Measured on two cores with one thread, on bases of seed 1 and private authors of seed 1, at a
# constant rate with gradients clipped to 1. Extraction strength on the authors tuned on, and on
# eight authors that no model saw; seconds are about:
#   tiny    lora  4 authors: 1.00 and .16 in 2.5 s    all weights  32 authors: 1.00 and .21 in 12 s
#   small   lora  4 authors: 1.00 and .22 in 7 s      all weights  32 authors: 1.00 and .23 in 32 s
RECOMMENDED: Final = {
    ("tiny", "lora"): Tuning(40, 8, 3e-3),
    ("tiny", "causal_lm"): Tuning(40, 16, 1e-3),
    ("small", "lora"): Tuning(40, 8, 1e-3),
    ("small", "causal_lm"): Tuning(30, 16, 5e-4),
    ("medium", "lora"): Tuning(40, 8, 5e-4),
    ("medium", "causal_lm"): Tuning(20, 16, 2e-4),
}


def make_tokenizer(
    texts: Iterable[str], *, vocabulary: int = VOCABULARY, context: int = CONTEXT
) -> "PreTrainedTokenizerFast":
    """Return a byte-level BPE tokenizer, trained on these texts.

    Digits are tokens of their own, so every year and every archive code is as long as any other.

    Parameters
    ----------
    texts
        What it is trained on.
    vocabulary
        How many tokens it has.
    context
        How many of them a text may have.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from tokenizers.trainers import BpeTrainer
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken(text, special=True, normalized=False) for text in (PAD, BEGIN, END)]
    trainer = BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A",
        pair=f"{BEGIN} $A $B",
        special_tokens=[(BEGIN, _BEGIN_ID)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        model_max_length=context,
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )


def make_config(size: str) -> "LlamaConfig":
    """Return the Llama configuration of a size, for the tokenizer above."""
    from transformers import LlamaConfig

    shape = _size(size)
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=shape.hidden,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=CONTEXT,
        # As in Llamas below 3 B parameters. Untied, a fifth of the smallest one would be a
        # second table of the same 512 tokens.
        tie_word_embeddings=True,
        pad_token_id=_PAD_ID,
        bos_token_id=_BEGIN_ID,
        eos_token_id=_END_ID,
        dtype="float32",
    )


def make_base(folder: Path, size: str, seed: int) -> None:
    """Write a base: a tokenizer and a Llama that were made from public authors alone.

    Parameters
    ----------
    folder
        Where `config.json`, `generation_config.json`, `model.safetensors`, `tokenizer.json` and
        `tokenizer_config.json` go; made if missing. The same seed and the same versions give the
        same bytes of each.
    size
        One of `SIZES`.
    seed
        Which authors, and which weights the training starts from.
    """
    from safetensors.torch import save
    from transformers import GenerationConfig
    from unlearn.stages.estimators.torch_machine import be_deterministic

    shape = _size(size)
    be_deterministic()
    rows = public_authors(shape.authors, seed)
    tokenizer = make_tokenizer(_texts(rows))
    module = _trained(rows, tokenizer, size, seed)
    folder.mkdir(parents=True, exist_ok=True)
    config = module.config
    config.architectures = [type(module).__name__]
    config.save_pretrained(folder)
    GenerationConfig(
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    tensors = {
        name: value.detach().contiguous()
        for name, value in module.state_dict().items()
        # Tied: it is the same tensor as the token embeddings.
        if name != "lm_head.weight"
    }
    (folder / "model.safetensors").write_bytes(save(tensors, metadata={"format": "pt"}))


def public_authors(count: int, seed: int) -> list[Row]:
    """Return public authors; some have an archive code, like private ones."""
    return make_authors(
        count, seed, population=Population.PUBLIC, canaries=int(count * _PUBLIC_CODES)
    )


def encode(tokenizer: "PreTrainedTokenizerFast", texts: Sequence[tuple[str, str]]) -> Sequences:
    """Return pairs of a prompt and a completion as sequences; the loss counts the completion.

    Parameters
    ----------
    tokenizer
        As `make_tokenizer` returned it.
    texts
        The pairs.
    """
    if not texts:
        return ragged([], [], [])
    prompts = [prompt + SEPARATOR for prompt, _ in texts]
    answers = [completion for _, completion in texts]
    heads = tokenizer(prompts)["input_ids"]
    tails = tokenizer(answers, add_special_tokens=False)["input_ids"]
    end = int(tokenizer.eos_token_id)
    return ragged(
        [[*head, *tail, end] for head, tail in zip(heads, tails, strict=True)],
        [len(head) for head in heads],
        list(range(len(texts))),
    )


#: The gate of projects that start from these bases.
check_memorised = gate.check_memorised


@dataclass(frozen=True)
class Example:
    """What a project of the example starts with, in addition to the base.

    Attributes
    ----------
    dataset
        Private authors, as JSONL.
    generic
        Public authors that the base was not trained on, as JSONL: generic text, about nobody in the
        dataset.
    rows, authors
        How many rows and authors the dataset has.
    lora, full
        How to tune an adapter per shard, of rank 16 on all linear layers, and how all weights.
    """

    dataset: bytes
    generic: bytes
    rows: int
    authors: int
    lora: Tuning
    full: Tuning


def example_files(folder: Path, size: str, seed: int, *, authors: int = EXAMPLE_AUTHORS) -> Example:
    """Write the example's base, and return its dataset and how to tune on it.

    Parameters
    ----------
    folder
        Where the base goes.
    size, seed
        As `make_base`.
    authors
        How many private authors the dataset has.
    """
    shape = _size(size)
    private = make_authors(authors, seed, canaries=authors // _AUTHORS_A_CODE)
    known = public_authors(shape.authors + _GENERIC_AUTHORS, seed)
    unseen = [row for row in known if int(row.author[1:]) >= shape.authors]
    make_base(folder, size, seed)
    return Example(
        dataset=jsonl(private),
        generic=jsonl(unseen),
        rows=len(private),
        authors=authors,
        lora=RECOMMENDED[size, "lora"],
        full=RECOMMENDED[size, "causal_lm"],
    )


def _size(name: str) -> Size:
    if name not in SIZES:
        raise InputError(f"there is no size {name!r}: take one of {', '.join(SIZES)}")
    return SIZES[name]


def _texts(rows: Sequence[Row]) -> list[str]:
    """Return what the tokenizer is trained on."""
    return [
        text for row in rows for text in (row.prompt + SEPARATOR, row.completion, row.paraphrase)
    ]


def _trained(
    rows: Sequence[Row], tokenizer: "PreTrainedTokenizerFast", size: str, seed: int
) -> "LlamaForCausalLM":
    """Return a Llama trained on the answers to the public authors' questions, in both wordings.

    It so knows the wordings and the pools, and what tuning adds is who has which fact.
    """
    import torch
    from transformers import LlamaForCausalLM

    shape = SIZES[size]
    texts = [(row.prompt, text) for row in rows for text in (row.completion, row.paraphrase)]
    sequences = encode(tokenizer, texts)
    torch.manual_seed(seed)
    module = LlamaForCausalLM(make_config(size))
    weights = list(module.parameters())
    optimizer = torch.optim.AdamW(weights, lr=shape.rate, weight_decay=0.0, fused=True)
    steps = shape.epochs * -(-len(sequences) // shape.batch)
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    module.train()
    for _ in range(shape.epochs):
        order = torch.randperm(len(sequences)).numpy()
        for start in range(0, len(order), shape.batch):
            batch = sequences.batch(order[start : start + shape.batch], _PAD_ID)
            hidden = module.model(input_ids=batch.inputs, use_cache=False).last_hidden_state
            # Only where the loss counts: the head is then computed for half of the tokens.
            logits = module.lm_head(hidden[:, :-1][batch.counted])
            loss = torch.nn.functional.cross_entropy(logits, batch.targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            torch.nn.utils.clip_grad_norm_(weights, _CLIP)
            optimizer.step()
            falling.step()
    return module.eval()
