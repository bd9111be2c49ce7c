"""What `doctor` says of the types that models of scikit-learn's interface are made of."""

from collections.abc import Iterator
from contextlib import suppress

from unlearn.stages.config.params import Params
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.own_packages import package_versions
from unlearn.stages.estimators.registry import find_spec
from unlearn.stages.estimators.skops_file import named_types
from unlearn.stages.project.paths import Project

#: Estimators that keep training rows inside the model, as `train.model` or a model file names them.
_ROW_STORING = (
    "sklearn.neighbors.",
    "sklearn.svm.SVC",
    "sklearn.svm.NuSVC",
    "sklearn.svm.SVR",
    "sklearn.svm.NuSVR",
    "sklearn.svm._classes.SVC",
    "sklearn.svm._classes.NuSVC",
    "sklearn.svm._classes.SVR",
    "sklearn.svm._classes.NuSVR",
    "sklearn.gaussian_process.",
    "sklearn.isotonic.",
    "sklearn.kernel_ridge.",
    "sklearn.semi_supervised.",
)


def stored_rows(project: Project, params: Params) -> Iterator[str]:
    """Yield a sentence if models hold training rows.

    Of an estimator of the user's own, which is not built to find out, a model that was trained is
    looked at.
    """
    model = params.train.model
    names = [model]
    spec = find_spec(model)
    if spec.takes_raw:
        for shard in params.sharding.shards[:1]:
            folder = project.shard_models / shard if params.kind == "exact" else project.original
            with suppress(OSError, InputError):  # findings of their own, or not trained yet
                names += sorted(named_types((folder / spec.file_name).read_bytes()))
    found = next((name for name in names if name.startswith(_ROW_STORING)), None)
    if found is not None:
        part = "" if found == model else f" has a part {found}, which"
        yield (
            f"{model}{part} stores training rows inside the model: a person who has the model also "
            "has the rows that were not forgotten"
        )


def notes_on_types(params: Params) -> list[str]:
    """Return a sentence on the types of other packages that model files may hold."""
    if not params.train.trusted_types:
        return []
    packages = ", ".join(
        f"{name} {version}" for name, version in package_versions(params.train).items()
    )
    listed = ", ".join(params.train.trusted_types)
    note = f"train.trusted_types: model files may hold {listed} ({packages or 'not installed'})"
    return [f"{note}; loading a model runs their code"]
