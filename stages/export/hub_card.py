"""The model card of a repository folder for the Hugging Face hub.

It says what reports/verdict.json says, and no figure of rows or requests: a person with two cards
could subtract them. The card names what models themselves tell of such figures.
"""

from collections.abc import Iterator, Sequence

from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.export.card import claims, forgotten_rows
from unlearn.stages.export.record import ExportRecord
from unlearn.stages.verify_report.public import PublicReport

#: The folder of the final model of a table in the repository, and its ONNX file.
MODEL_FOLDER, ONNX_NAME = "model", "model.onnx"

_LICENSE = (
    "# license: which one? See https://huggingface.co/docs/hub/repositories-licenses",
    "# The license of the base applies too.",
)


def text_card(record: ExportRecord, public: PublicReport, *, one_model: bool) -> str:
    """Return the card of a language model.

    Parameters
    ----------
    record
        What the export says of itself.
    public
        The verdicts of the project's report.
    one_model
        Whether it was made of one model.
    """
    base = record.base
    if base is None:
        raise ValueError("the model is of a table")
    library = "transformers" if record.kind == "merged" else "peft"
    facts = [f"library_name: {library}", "pipeline_tag: text-generation"]
    if base.revision is not None:  # else it is no name on the hub
        facts.insert(0, f"base_model: {base.name}")
    lines = [*_metadata([*_LICENSE, *facts]), "# Language model that can unlearn", ""]
    lines += ["## How to load it", "", "```python", *_loading(record), "```", ""]
    lines += [*_checked(record, public), "", "## What is claimed, and what is not", ""]
    lines += [*claims(record, one_model=one_model), *_limits(), "", *_files(record)]
    return "\n".join(lines) + "\n"


def table_card(
    record: ExportRecord,
    public: PublicReport,
    dataset: DatasetParams,
    *,
    weighs_rows: bool,
    stored: Sequence[str] = (),
) -> str:
    """Return the card of the final model of a table; see `text_card`.

    Parameters
    ----------
    record, public
        As `text_card` takes them.
    dataset
        The features and the target.
    weighs_rows
        Whether answers are weighted by the rows of each shard.
    stored
        Sentences on rows of the training that the models store.
    """
    has_onnx = ONNX_NAME in record.files
    task = "regression" if dataset.task == "regression" else "classification"
    facts = [*_LICENSE[:1], f"pipeline_tag: tabular-{task}"]
    if has_onnx:
        facts.append("library_name: onnx")
    lines = [*_metadata(facts), "# Tabular model that can unlearn", ""]
    lines += ["## How to load it", "", "With `pip install dvc-unlearn`:", ""]
    lines += ["```python", "import unlearn", "", f'model = unlearn.load_model("{MODEL_FOLDER}")']
    lines += ["model.predict(rows)  # a pandas DataFrame with the features below", "```", ""]
    if has_onnx:
        lines.append(
            f"`{ONNX_NAME}` runs in onnxruntime, without this package. Each feature is an input of "
            "shape (rows, 1). Its metadata names this generation.\n"
        )
    if any(name.startswith(f"{MODEL_FOLDER}/") and name.endswith(".py") for name in record.files):
        lines += [
            f"`{MODEL_FOLDER}/` has Python code. Read it; then allow it with `trust_code=True`.",
            "",
        ]
    lines += ["| feature | kind |", "|---|---|"]
    lines += [f"| `{_cell(name)}` | {kind} |" for name, kind in dataset.features.items()]
    lines += ["", *_checked(record, public), "", "## What is claimed, and what is not", ""]
    lines += forgotten_rows(
        record,
        "the model is byte for byte what training without the forgotten rows makes, with the same "
        "key, settings and environment",
    )
    lines.append(
        "- A later request changes the project and not this copy: it is to be deleted and exported "
        "again then."
    )
    texts = "texts"
    if dataset.keys_categories:
        texts = "keyed digests, and not the texts,"
    lines.append(f"- The {texts} of categories are in these files.")
    lines.append(
        "- No number of rows is stated"
        + (
            ", but for the weights of the members: the rule `size_weighted` takes the number of "
            "rows of each part of the training data."
            if weighs_rows
            else "."
        )
        + " What models learned can tell it: trees, naive Bayes and exact models hold counts of "
        "rows, or shares of them."
    )
    lines += [f"- {sentence}." for sentence in stored]
    lines += [*_limits(), "", *_files(record)]
    return "\n".join(lines) + "\n"


def _metadata(facts: list[str]) -> Iterator[str]:
    yield "---"
    yield from facts
    yield from ("tags:", "- machine-unlearning", "---", "")


def _loading(record: ExportRecord) -> Iterator[str]:
    base = record.base
    name = "BASE" if base is None or base.revision is None else base.name
    yield "from transformers import AutoModelForCausalLM, AutoTokenizer"
    if record.kind == "merged":
        yield ""
        yield 'model = AutoModelForCausalLM.from_pretrained("REPOSITORY")'
        yield 'tokenizer = AutoTokenizer.from_pretrained("REPOSITORY")'
        return
    yield "from peft import PeftModel"
    yield ""
    revision = "" if base is None or base.revision is None else f', revision="{base.revision}"'
    yield f'base = AutoModelForCausalLM.from_pretrained("{name}"{revision})'
    part = ', subfolder="s000"' if record.kind == "shards" else ""
    yield f'model = PeftModel.from_pretrained(base, "REPOSITORY"{part})'
    yield f'tokenizer = AutoTokenizer.from_pretrained("{name}"{revision})'


def _checked(record: ExportRecord, public: PublicReport) -> Iterator[str]:
    """Yield the verdicts, as reports/verdict.json has them."""
    state, counts = record.generation, public.exactness
    yield "## What was checked"
    yield ""
    yield "| | |"
    yield "|---|---|"
    yield f"| verdict | {record.verdict} |"
    yield f"| label | {record.label} |"
    if counts.reran is not None:
        yield f"| models trained again, and the same | {counts.reran}, {counts.matched} |"
    if counts.lineage_clean is not None:
        clean = "yes" if counts.lineage_clean else "no"
        yield f"| every model is of the rows that it should be of | {clean} |"
    found = public.membership
    if found is not None:
        yield f"| membership attack | {found.attack or 'none'}: {found.verdict or 'no verdict'} |"
    yield f"| every request to forget is honoured | {'yes' if state.honours_all else 'no'} |"
    yield f"| generation: commit of git | {_code(state.commit)} |"
    yield f"| generation: SHA-256 of dvc.lock | `{state.lock}` |"
    yield f"| digest of the models it was made of | `{state.models}` |"
    yield ""
    for reason in (*public.reasons, *(() if found is None else found.reasons)):
        yield f"- {reason}"
    yield ""
    yield (
        "How to check it: with the receipt and the public key of who made the model, `unlearn "
        "receipt verify receipt.json --key key.json` checks the signature. With the repository, "
        "`unlearn verify --full` compares the models, and `unlearn audit` what changed."
    )


def _limits() -> Iterator[str]:
    yield (
        "- Two generations of a model can be compared, and the difference says more of the "
        "forgotten rows than either. Do not keep an older one public."
    )
    yield "- No quality is stated here: figures are in the project's report."


def _files(record: ExportRecord) -> Iterator[str]:
    yield "## Files"
    yield ""
    yield "| file | SHA-256 |"
    yield "|---|---|"
    for name, digest in record.files.items():
        yield f"| `{name}` | `{digest}` |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("`", "'")


def _code(text: str | None) -> str:
    return "not committed" if text is None else f"`{text}`"
