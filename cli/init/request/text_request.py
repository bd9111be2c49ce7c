"""What a user asks for of a dataset of text."""

from dataclasses import dataclass

from unlearn.cli.init.request.choices import AdapterRule, TooLong
from unlearn.stages.errors import InputError


@dataclass(frozen=True)
class TextOptions:
    """Options that only a dataset of text has."""

    base: str | None = None
    revision: str | None = None
    prompt: str | None = None
    completion: str | None = None
    text: str | None = None
    messages: str | None = None
    tools: str | None = None
    prompt_input: str | None = None
    paraphrase: str | None = None
    perturbed: tuple[str, ...] = ()
    topic: str | None = None
    context: int | None = None
    too_long: TooLong | None = None
    rule: AdapterRule | None = None

    @property
    def names_rows(self) -> bool:
        """Whether the user says which columns have the text that is trained on."""
        named = (self.prompt, self.completion, self.prompt_input, self.text, self.messages)
        return any(column is not None for column in named)

    @property
    def roles(self) -> dict[str, str]:
        """The role of each column that was named, in the order of params.yaml.

        Raises
        ------
        InputError
            If they do not make up rows that can be trained on.
        """
        named = {
            "messages": self.messages,
            "tools": self.tools,
            "prompt": self.prompt,
            "input": self.prompt_input,
            "completion": self.completion,
            "body": self.text,
            "paraphrase": self.paraphrase,
        }
        columns = [(column, role) for role, column in named.items() if column is not None]
        columns += [(column, "perturbed") for column in self.perturbed]
        if self.topic is not None:
            columns.append((self.topic, "topic"))
        pairs = bool(self.prompt or self.completion or self.prompt_input)
        if pairs + bool(self.text) + bool(self.messages) > 1:
            raise InputError("give one of --messages, --prompt with --completion, and --text")
        if not (self.text or self.messages) and not (self.prompt and self.completion):
            raise InputError(
                "a dataset of text needs --messages, --prompt with --completion, or --text"
            )
        if self.tools and not self.messages:
            raise InputError("--tools is for chats: name their column by --messages")
        if self.messages and (self.paraphrase or self.perturbed):
            raise InputError("--paraphrase and --perturbed are for prompts, not for --messages")
        if len({column for column, _ in columns}) != len(columns):
            raise InputError(
                "a column can have only one role: each option must name another column"
            )
        return dict(columns)
