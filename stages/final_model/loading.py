"""Loading a final model of any kind, wherever its folder is."""

from pathlib import Path
from typing import Any

from unlearn.stages.errors import InputError
from unlearn.stages.final_model.description import FILE_NAME
from unlearn.stages.final_model.files import modality_of
from unlearn.stages.project.paths import Project, find_project


def load_model(
    path: str | Path,
    *,
    root: str | Path | None = None,
    base: str | Path | None = None,
    trust_code: bool = False,
    as_written: bool = False,
    category_key: str | None = None,
) -> Any:
    """Load a final model.

    Nothing of the project but the final model's folder is read. Only what the model is made of is
    imported: PyTorch is not, for members of scikit-learn and for exact models.

    Parameters
    ----------
    path
        The folder of a project, its `models/final_model`, or a copy of that folder.
    root
        The folder that a relative path of a language model's base, or of a frozen backbone, starts
        from. The default is the project that `path` is in, or the current folder if it is in none.
    base
        The folder of a language model's base, or its name on the hub; or the file of a network's
        frozen backbone: if it has moved since the training. Its files must be the pinned ones.
    trust_code
        A final model of your own module or estimator carries its source. Loading it runs the
        source, so it has to be allowed. Types of other packages that it says it needs are then
        loaded, too.
    as_written
        Whether a category in another notation than the model knows, such as 1003 for 01003, is one
        that it does not know. By default it is an error.
    category_key
        What categories are keyed with, in hex, for a model of `dataset.category_texts: keyed`. The
        default is that of the environment variable UNLEARN_CATEGORY_KEY, or of the project key.

    Returns
    -------
    TableClassifier, TableRegressor or LanguageModel
        The model, ready to answer. Which one it is depends on the folder: to a type checker it is
        anything.

    Raises
    ------
    InputError
        If there is no whole final model, it was changed after it was made, it carries code that was
        not allowed, or the base is another one.

    Examples
    --------
    >>> import pandas as pd
    >>> model = load_model("models/final_model")
    >>> model.classes_.tolist()
    ['no', 'yes']
    >>> model.score(pd.read_csv("new_rows.csv"), ["no", "yes", "no"])
    0.6666666666666666
    """
    folder = find_final_model(Path(path))
    place = _project_of(folder) if root is None else Path(root)
    if modality_of(folder) == "text":
        if category_key is not None:
            raise InputError("category_key is for categories, and language models have none")
        if trust_code:
            raise InputError("trust_code is for Python code; language models contain none")
        if as_written:
            raise InputError("as_written is for categories, and language models have none")
        # Torch and transformers, for language models alone: seconds.
        from unlearn.stages.final_model.language_model import load_language

        return load_language(folder, place, None if base is None else str(base))
    # Scikit-learn, which language models do not need.
    from unlearn.stages.final_model.table_model import table_model

    return table_model(
        folder.resolve(),
        trust_code=trust_code,
        as_written=as_written,
        root=place,
        base=None if base is None else Path(base),
        category_key=category_key,
    )


def load_own_model(project: Project, *, trust_code: bool = False) -> Any:
    """Load the final model of a project, which may run the project's own code.

    Parameters
    ----------
    project
        The project.
    trust_code
        Whether other code in the model's folder may be run as well.

    Raises
    ------
    InputError
        See `load_model`.
    """
    folder = find_final_model(project.root)
    if modality_of(folder) == "text":
        return load_model(folder, root=project.root, trust_code=trust_code)
    # Scikit-learn, which language models do not need.
    from unlearn.stages.final_model.table_model import own_table_model

    return own_table_model(project, trust_code=trust_code)


def find_final_model(path: Path) -> Path:
    """Return the folder of a final model, given that folder or the folder of a project.

    Raises
    ------
    InputError
        If it is neither.
    """
    if (path / FILE_NAME).is_file():
        return path
    of_project = Project(path).final_model
    if (of_project / FILE_NAME).is_file():
        return of_project
    if (path / "params.yaml").is_file():
        raise InputError("this project has no final model yet", "`unlearn repro` makes it")
    name = path.resolve().name
    if not path.is_dir():
        raise InputError(f"there is no folder {name} to load a model from")
    raise InputError(
        f"there is no final model in {name}",
        "give the folder of a project, its models/final_model, or a copy of that folder",
    )


def _project_of(folder: Path) -> Path:
    try:
        return find_project(folder).root
    except InputError:
        return Path.cwd()  # a copy of a final model is in no project
