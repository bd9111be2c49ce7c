"""A rotation of the project key: all of it, or nothing.

A journal in .unlearn holds the content of every file that changes before the first of them is
written. After a kill, each command stops until `unlearn rekey` has written the rest. The new key is
in the key file before that, where it does no harm: a key after that of the project is not used.
"""

import hashlib
import re
import secrets
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from unlearn.stages.config.params import parse_yaml
from unlearn.stages.context import Context
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.ledger.anchor import check_anchor, write_anchor
from unlearn.stages.ledger.check import check_ledger
from unlearn.stages.ledger.history import (
    commits_of_record,
    current_branch,
    default_branch,
    head_commit,
    lines_in_history,
    merging_commits,
    other_tips,
)
from unlearn.stages.ledger.log import FOLDER, new_entry, read_log
from unlearn.stages.ledger.suppressed import CONTACT_PREFIX, SUPPRESSED, read_suppressed
from unlearn.stages.ledger.suppressed_contacts import contact_line_with, read_contacts
from unlearn.stages.ledger.transaction import lines_of
from unlearn.stages.project.files import json_bytes, write_bytes
from unlearn.stages.project.git import has_repository
from unlearn.stages.project.locks import exclusive
from unlearn.stages.project.paths import Project
from unlearn.stages.requests.older_lines import left_out_now, marked_line, rotation_of
from unlearn.stages.requests.request import hold_list, replace_hand_written
from unlearn.stages.rows.epochs import Epochs, is_token_line
from unlearn.stages.rows.forget_list import LEFT_OUT, render
from unlearn.stages.rows.tokens import KEY_VARIABLE, Key, find_keys, key_of_variable, load_key
from unlearn.stages.training.importing import IMPORT_FILE

_LIST = "data/forget_list.txt"
_PARAMS = "params.yaml"
_MOST_EPOCHS = 999

#: The line of params.yaml with `key_check`.
_KEY_CHECK = re.compile(r"^key_check:[ \t]*[^\s#]+", re.MULTILINE)


class _File(BaseModel):
    """A file that changes.

    Parameters
    ----------
    path
        In the project.
    before
        SHA-256 of what it was; None if there was none.
    content
        What it becomes.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    path: str
    before: str | None
    content: str


class _Journal(BaseModel):
    """A rotation that has begun; there is no key in it.

    Parameters
    ----------
    epoch
        The new epoch.
    lines
        How many lines the list has.
    files
        In the order in which they are written.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    epoch: int
    lines: int
    files: tuple[_File, ...] = Field(strict=False)


@dataclass(frozen=True)
class Rotated:
    """A rotation that was made, or that would be.

    Parameters
    ----------
    epoch
        The new epoch.
    lines
        How many lines of the list are brought forward.
    source
        Where the new key is: `unlearn.key` or `UNLEARN_KEY`.
    is_new
        Whether a new key is made; otherwise it was there already.
    resumed
        Whether it was begun before.
    """

    epoch: int
    lines: int
    source: str
    is_new: bool = False
    resumed: bool = False


def plan_rekey(context: Context) -> Rotated:
    """Return what a rotation would do; nothing is changed.

    Raises
    ------
    InputError
        See `rekey`.
    """
    key, source, is_new = _next_key(context)
    _check(context)
    return Rotated(key.epoch, len(context.read_list().known), source, is_new)


def rekey(context: Context) -> Rotated:
    """Rotate the project key.

    The list and the log are brought forward, and `key_check` in params.yaml is that of the new key.

    Raises
    ------
    InputError
        If a request has left the list, a line matches no row, there is no new key in `UNLEARN_KEY`,
        params.yaml cannot be edited, or an imported model was trained on rows that would be held
        out.
    BusyError
        If a run goes on.
    """
    project = context.project
    with ExitStack() as stack:
        stack.enter_context(exclusive(project.lock_file("repro"), "`unlearn repro`"))
        hold_list(project, stack)
        key, source, is_new = _next_key(context)
        _check(context)
        check_anchor()
        replace_hand_written(context, context.read_list())
        journal = _prepare(context, key)
        if is_new:
            text = "".join(f"{one}\n" for one in key.texts)
            write_bytes(project.key, text.encode("ascii"), 0o600)
        write_bytes(project.rekeying, json_bytes(journal.model_dump(mode="json")), 0o600)
        _write(project, journal)
    return Rotated(key.epoch, journal.lines, source, is_new)


def resume(project: Project) -> Rotated | None:
    """Finish a rotation that was interrupted; return None if there is none.

    Raises
    ------
    InputError
        If one of its files was changed since, or the new key is not here.
    """
    if not project.rekeying.exists():
        return None
    with ExitStack() as stack:
        stack.enter_context(exclusive(project.lock_file("repro"), "`unlearn repro`"))
        lock = exclusive(project.lock_file("forget-list"), "another run")
        stack.enter_context(lock)
        try:
            journal = _Journal.model_validate_json(project.rekeying.read_bytes(), strict=False)
        except (FileNotFoundError, ValidationError):
            # It was cut short, so that no file was written yet.
            project.rekeying.unlink(missing_ok=True)
            return None
        settings = next(file.content for file in journal.files if file.path == _PARAMS)
        load_key(project, str(parse_yaml(settings)["key_check"]))
        _write(project, journal)
        source = project.key.name if key_of_variable() is None else KEY_VARIABLE
    return Rotated(journal.epoch, journal.lines, source, resumed=True)


def _next_key(context: Context) -> tuple[Key, str, bool]:
    """Return the key to rotate to, where it is, and whether it is a new one."""
    old = context.key
    if old.epoch >= _MOST_EPOCHS:
        raise InputError(f"a key can be rotated {_MOST_EPOCHS - 1} times")
    found, source = find_keys(context.project, context.params.key_check)
    if found.epoch > old.epoch:
        return Key(found.texts[old.epoch], old.texts), source, False
    if key_of_variable() is not None:
        raise InputError(
            f"{KEY_VARIABLE} holds no key after that of the project; nothing was changed",
            "append a colon and a new key of 64 lower-case hexadecimal digits: "
            'python -c "import secrets; print(secrets.token_hex(32))"',
        )
    return Key(secrets.token_hex(32), old.texts), source, True


def _check(context: Context) -> None:
    """Refuse a rotation that would lose something."""
    project = context.project
    if project.erasure_journal.exists():
        raise InputError("an erasure was interrupted", "`unlearn erase` finishes it")
    context.read_list()
    read_contacts(context)
    read_suppressed(project)  # a damaged file is an error before anything is changed
    if problem := check_ledger(project, context.params.ledger.branch, context).problem():
        raise problem
    if (project.original / IMPORT_FILE).is_file() and context.params.dataset.held_out is None:
        raise InputError(
            "the original was imported, and another key would hold out rows that it was trained on",
            "name the held-out rows in a file of their own: dataset.held_out",
        )
    canaries = context.params.dataset.canaries
    if canaries is not None and not (project.root / canaries).exists():
        raise InputError(
            f"{canaries} is not here: which canaries the lines of the list mean is not known",
            "fetch it with `dvc pull`",
        )
    _new_params(context, context.key)


def _prepare(context: Context, key: Key) -> _Journal:
    """Return the files that a rotation changes."""
    project = context.project
    later = replace(context, key=key)
    log = read_log(project, context.key)
    epochs = log.epochs.with_key(key)
    content = project.forget_list.read_bytes()
    now = {line.removesuffix(LEFT_OUT): line for line in lines_of(content)}
    written = {line for line in {*now, *_logged(context), *_in_git(context)} if is_token_line(line)}
    present = {line: epochs.present(line) or line for line in written}
    marked = {present[line] for line in now if now[line] != line}
    left_out = left_out_now(later, present.values(), marked)
    listed = render(epochs.written(marked_line(present[line], left_out)) for line in now)
    rotation = rotation_of(written, epochs, left_out)
    entry = new_entry(log, "rekey", (), listed).model_copy(update={"rotation": rotation})
    files = {
        f"{FOLDER}/{entry.name}.json": entry.content.decode(),
        _LIST: listed.decode(),
        **_suppressed(project, epochs),
        _PARAMS: _new_params(context, key),
    }
    return _Journal(
        epoch=key.epoch,
        lines=len(now),
        files=tuple(
            _File(path=path, before=_digest(project, path), content=text)
            for path, text in files.items()
        ),
    )


def _suppressed(project: Project, epochs: Epochs) -> dict[str, str]:
    """Return data/suppressed.txt with the tokens of the new key, if there is such a file."""
    if not project.suppressed.is_file():
        return {}
    lines = lines_of(project.suppressed.read_bytes())
    contacts = {line for line in lines if line.startswith(CONTACT_PREFIX)}
    tokens = {epochs.written(epochs.present(line) or line) for line in lines - contacts}
    if epochs.key is not None:
        contacts = {contact_line_with(line, epochs.key) for line in contacts}
    return {SUPPRESSED: render(tokens | contacts).decode()}


def _logged(context: Context) -> Iterable[str]:
    """Yield the lines of the log as it has them, without marks."""
    for entry in read_log(context.project).entries:
        yield from entry.bare_lines


def _in_git(context: Context) -> Iterable[str]:
    """Return the lines of all branches, stashes and experiments, as git has them."""
    root = context.project.root
    if not has_repository(root):
        return ()
    head, branch = head_commit(root), current_branch(root)
    default = default_branch(root, context.params.ledger.branch)
    refs = {ref for ref in (branch, *(ref.name for ref in default)) if ref is not None}
    commits = [
        *([head] if head else []),
        *merging_commits(root),
        *commits_of_record(root, refs),
        *(ref.commit for ref in other_tips(root, ())),
    ]
    return lines_in_history(root, dict.fromkeys(commits), epochs=Epochs()).tokens


def _new_params(context: Context, key: Key) -> str:
    """Return params.yaml with the check of another key."""
    text = context.project.params.read_text(encoding="utf-8")
    changed = _KEY_CHECK.sub(f'key_check: "{key.check}"', text, count=1)
    if parse_yaml(changed) != {**parse_yaml(text), "key_check": key.check}:
        raise InputError(
            f"{_PARAMS}: key_check is not on a line of its own, so that it cannot be changed",
            facts=Facts(file=_PARAMS),
        )
    return changed


def _write(project: Project, journal: _Journal) -> None:
    """Write the files of a rotation that are not written yet, and end it."""
    texts = {file.path: file.content.encode() for file in journal.files}
    for file in journal.files:
        found = _digest(project, file.path)
        if found not in (file.before, hashlib.sha256(texts[file.path]).hexdigest()):
            raise InputError(
                f"{file.path} was changed after a rotation of the key was interrupted",
                "undo the change, and run `unlearn rekey` again",
                facts=Facts(file=file.path),
            )
    for path, content in texts.items():
        write_bytes(project.root / path, content)
    write_anchor(read_log(project))
    project.rekeying.unlink()


def _digest(project: Project, path: str) -> str | None:
    try:
        return hashlib.sha256((project.root / path).read_bytes()).hexdigest()
    except FileNotFoundError:
        return None
