"""`unlearn predict`: the final model on a file."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from unlearn.cli import panels
from unlearn.cli.answers import Answer
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit, plural, progress
from unlearn.stages.context import load_params
from unlearn.stages.errors import InputError
from unlearn.stages.final_model.ensemble import load_ensemble, modality_of
from unlearn.stages.final_model.predictions import OUTPUT_FORMATS, predict_file
from unlearn.stages.project.paths import find_project


class PredictAnswer(Answer):
    """What was predicted.

    Parameters
    ----------
    rows
        How many.
    output
        The file that was written.
    """

    rows: int
    output: str


def predict(
    source: Annotated[
        Path,
        typer.Option(
            "--input",
            metavar="FILE",
            help="A CSV, Parquet, JSON or Arrow file, or a folder of them.",
            rich_help_panel=panels.DATA,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="The file to write: .csv, .parquet or .jsonl.",
            rich_help_panel=panels.OUTPUT,
        ),
    ],
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="The folder of a final model. The default is that of the project.",
            rich_help_panel=panels.MODEL,
        ),
    ] = None,
    trust_code: Annotated[
        bool,
        typer.Option(
            "--trust-code",
            help="Run the torch code in the model's folder.",
            rich_help_panel=panels.MODEL,
        ),
    ] = False,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="BASE",
            help="The folder of the base, if it has moved since the training.",
            rich_help_panel=panels.TEXT,
        ),
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="The largest number of tokens to generate for a prompt. The default is 64.",
            rich_help_panel=panels.TEXT,
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Predict the rows of a file with the final model.

    Each row of the output has the id, if the input has one, the predicted class and the
    probability of each class. A language model gives the perplexity of each text and a
    completion of each prompt.
    """
    if output.suffix.lower() not in OUTPUT_FORMATS:
        raise InputError(f"--output {output.name} is not one of {', '.join(OUTPUT_FORMATS)}")
    if output.is_dir():
        raise InputError(f"--output {output.name} is a directory")
    if not output.parent.is_dir():
        raise InputError(f"--output: there is no folder {output.parent}")
    predictor = _load(model, trust_code=trust_code, base=base, tokens=tokens)
    with progress("predicting rows", None) as advance:
        rows = predictor(source, output, advance)
    result = PredictAnswer(rows=rows, output=str(output))
    emit(result, as_json=as_json, text=lambda: f"{plural(rows, 'row')} to {output}")


COMMAND = Command(
    predict,
    example="unlearn predict --input new_rows.csv --output predictions.csv",
    answer=PredictAnswer,
)

#: Tokens to generate for a prompt at most, where no option says otherwise.
_TOKENS = 64

#: Writes the answers for a file into another, and returns how many rows there were.
Predictor = Callable[[Path, Path, Callable[[int], None]], int]


def _load(
    folder: Path | None, *, trust_code: bool, base: str | None, tokens: int | None
) -> Predictor:
    root, own_code = Path(), None
    if folder is None:
        project = find_project()
        root, folder = project.root, project.final_model
        code = load_params(project.params).train.code_path
        own_code = None if code is None else root / code
    if modality_of(folder) == "text":
        if trust_code:
            raise InputError("--trust-code is for torch code; language models contain none")
        return _language(folder, root, base, _TOKENS if tokens is None else tokens)
    for option, value in (("--base", base), ("--tokens", tokens)):
        if value is not None:
            raise InputError(f"{option} is for language models")
    ensemble = load_ensemble(folder, trust_code=trust_code, own_code=own_code)
    return lambda source, output, advance: predict_file(ensemble, source, output, advance)


def _language(folder: Path, root: Path, base: str | None, tokens: int) -> Predictor:
    # Torch and transformers, for language models alone: seconds.
    from unlearn.stages.final_model.text_loading import load_language_model  # noqa: PLC0415
    from unlearn.stages.final_model.text_predictions import predict_texts  # noqa: PLC0415

    # A path on the command line starts from here, not from the project.
    here = base if base is None or not Path(base).is_dir() else str(Path(base).resolve())
    model = load_language_model(folder, root, base=here)
    return lambda source, output, advance: predict_texts(model, source, output, tokens, advance)
