"""The template of a command: words without a shell, known placeholders, and no key."""

from pathlib import Path

import pytest
from unlearn.stages.engines.template import Template
from unlearn.stages.errors import InputError

from tests.stages.conftest import KEY


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("run {shard}", ["run", "s003"]),
        (
            "ssh node 'cd {root} && unlearn stage train@{shard}'",
            ["ssh", "node", "cd /data/p && unlearn stage train@s003"],
        ),
        # For shells, JSON and awk at the other end.
        (
            """sbatch --wrap 'cd ${HOME} && awk "{ print }" {shard}'""",
            ["sbatch", "--wrap", """cd ${HOME} && awk "{ print }" s003"""],
        ),
        ("""run '{"a": {"b": "{shard}"}}'""", ["run", '{"a": {"b": "s003"}}']),
        ("run $HOME; {shard} | *", ["run", "$HOME;", "s003", "|", "*"]),
    ],
)
def test_placeholders_are_filled_in_and_all_else_stays(text: str, words: list[str]) -> None:
    assert Template.parse(text).fill("s003", Path("/data/p")) == words


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run {shard} {gpu}", "unknown placeholder: {gpu}"),
        ("run {shards}", "unknown placeholder: {shards}"),
        ("unlearn stage train@s000", "no {shard}"),
        ("", "no {shard}"),
        ("run '{shard}", "cannot be read: no closing quotation"),
    ],
)
def test_what_is_wrong_is_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Template.parse(text)

    assert message in caught.value.message
    assert caught.value.exit_code == 2


def test_the_key_is_refused_and_not_repeated() -> None:
    template = Template.parse(f"env UNLEARN_KEY={KEY.text} unlearn stage train@{{shard}}")

    with pytest.raises(InputError, match="has the project key in it") as caught:
        template.check(Path("/tmp"), KEY)  # noqa: S108 - nothing is written

    assert KEY.text not in f"{caught.value.message} {caught.value.hints}"


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no program 'sbatch-7'"):
        Template.parse("sbatch-7 --wait {shard}").check(tmp_path, KEY)
    (tmp_path / "job.sh").write_text("#!/bin/sh\n", encoding="ascii")
    with pytest.raises(InputError, match="no program './job.sh'"):
        Template.parse("./job.sh {shard}").check(tmp_path, KEY)
    (tmp_path / "job.sh").chmod(0o755)
    Template.parse("./job.sh {shard}").check(tmp_path, KEY)
    Template.parse("unlearn stage train@{shard}").check(tmp_path, KEY)


def test_a_path_that_a_shell_would_split_is_refused_where_it_is_used(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="{root}"):
        Template.parse("sh -c 'cd {root} && {shard}'").check(tmp_path / "my project", KEY)
    Template.parse("sh -c {shard}").check(tmp_path / "my project", KEY)
