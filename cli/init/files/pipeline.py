"""dvc.yaml of a new project."""

from unlearn.cli.init.files.templates import render
from unlearn.cli.init.request.choices import Template
from unlearn.stages.config.section import Task


def render_pipeline(
    template: Template = Template.SISA,
    *,
    is_text: bool = False,
    made_with: str | None = None,
    held_out: bool = False,
    generic: str | None = None,
    young: bool = True,
    task: Task = "classification",
    layers_by_slice: bool = False,
) -> bytes:
    """Return dvc.yaml.

    Parameters
    ----------
    template
        The pipeline.
    is_text
        Whether the dataset is one of text.
    made_with
        A file or folder of the project that models are made with: the user's own module, or the
        base of a language model. A base elsewhere is checked by the digests of its files when it
        is read.
    held_out
        Whether rows that no model is trained on are in a file of their own.
    generic
        The file of text that is about nobody in the dataset, if there is one.
    young
        Whether a post-hoc pipeline has the stage of this name.
    task
        What the target of a table is.
    layers_by_slice
        Whether each slice trains layers of its own.
    """
    return render(
        f"{template}/dvc.yaml.jinja",
        is_text=is_text,
        made_with=made_with,
        held_out=held_out,
        generic=generic,
        young=young,
        layers_by_slice=layers_by_slice,
        quality="error" if task == "regression" else "accuracy",
    )
