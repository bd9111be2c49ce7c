"""Switching slices off and on: what `unlearn repro` writes into params.yaml before it runs."""

from unlearn.cli.output import names, plural, say
from unlearn.cli.text_edits import with_entries
from unlearn.stages.context import Context, open_project
from unlearn.stages.dvc.pipeline import check_off_is_read
from unlearn.stages.errors import InputError
from unlearn.stages.project.files import write_bytes
from unlearn.stages.requests.switching import check_has_layers, switched_off


def check_switches(*, switch_off: bool, switch_on: bool) -> None:
    """Refuse options that contradict each other."""
    if switch_off and switch_on:
        raise InputError("give either --switch-off or --switch-on")


def switch_slices(context: Context, *, switch_off: bool, switch_on: bool) -> Context:
    """Set `sharding.switched_off` as asked for; return the project with it.

    Parameters
    ----------
    context
        The project.
    switch_off
        Whether slices with forgotten rows are switched off instead of being trained again.
    switch_on
        Whether all slices are switched on.

    Raises
    ------
    InputError
        If slices have no layers of their own, dvc.yaml would not notice the change, or params.yaml
        cannot be edited. Nothing is written then.
    """
    if not (switch_off or switch_on):
        return context
    check_has_layers(context)
    check_off_is_read(context.project, context.params)
    before = context.params.sharding.switched_off
    after = switched_off(context) if switch_off else {}
    if after == before:
        return context
    path = context.project.params
    text = path.read_bytes().decode("utf-8")
    write_bytes(path, with_entries(text, ["sharding"], {"switched_off": after}).encode("utf-8"))
    changed = [shard for shard in after if after[shard] != before.get(shard)]
    on = [shard for shard in before if shard not in after]
    if changed:
        say(f"switching off slices of {names(changed)}: params.yaml, sharding.switched_off")
    if on:
        say(f"switching on all slices of {names(on)}: {plural(len(on), 'shard')} to train")
    return open_project(context.project)
