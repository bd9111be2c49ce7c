"""Chats as sequences: the loss counts what the template's own marks say, token by token."""

import json
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unlearn.stages.config.text import CausalOptions
from unlearn.stages.errors import InputError
from unlearn.stages.rows.chat_tools import tools_column
from unlearn.stages.rows.chats import ChatError, chat_text, parse_chat
from unlearn.stages.rows.shard_file import Layout
from unlearn.stages.text.chats import ChatTemplate
from unlearn.stages.text.encoding import Encoder

from tests.chat_templates import CHATML, MARKS, TEMPLATES, chat, chat_tokenizer

LAYOUT = Layout({"messages": "messages"}, (), subjects=False)
OPTIONS = CausalOptions(base="base", files={"model.safetensors": "0" * 64}, context=4096)
LIKE_A_SPACE = " \n\t"

CALLS: list[dict[str, Any]] = [
    {"role": "user", "content": "weather in Oslo?"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"function": {"name": "weather", "arguments": {"place": "Oslo"}}}],
    },
    {"role": "tool", "content": "rain"},
    {"role": "assistant", "content": "It rains."},
    {"role": "user", "content": "thanks"},
    {"role": "assistant", "content": "You are welcome."},
]


@pytest.fixture(scope="module")
def encoders() -> dict[str, Encoder]:
    return {
        name: Encoder(chat_tokenizer(template), OPTIONS, LAYOUT)
        for name, template in TEMPLATES.items()
    }


def rows_of(*chats: list[dict[str, Any]]) -> pa.Table:
    return pa.table({"messages": [chat_text(messages) for messages in chats]})


def own_mask(encoder: Encoder, messages: list[dict[str, Any]]) -> tuple[list[int], list[bool]]:
    """Return tokens and mask as the template's own marks say, up to the last token that counts."""
    template = encoder.tokenizer.get_chat_template()
    if "strftime_now" in template:
        template = "{% macro strftime_now(format) %}1 January 2025{% endmacro %}" + template
    found = encoder.tokenizer.apply_chat_template(
        messages,
        chat_template=template,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    mask = [bool(each) for each in found["assistant_masks"]]
    last = max(at for at, each in enumerate(mask) if each) + 1
    return list(found["input_ids"])[:last], mask[:last]


def counted(encoder: Encoder, messages: list[dict[str, Any]]) -> tuple[list[int], list[bool]]:
    found = encoder.encode(rows_of(messages)).sequences
    return found.sequence(0).tolist(), found.counts_of(0).tolist()


texts = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12
).filter(lambda text: text.strip() and not any(mark in text for mark in (*MARKS, "</s>", "<s>")))


@st.composite
def chats(draw: st.DrawFn) -> list[dict[str, Any]]:
    count = 2 * draw(st.integers(1, 3))
    system = draw(st.none() | texts)
    return chat(*draw(st.lists(texts, min_size=count, max_size=count)), system=system)


@pytest.mark.slow
@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=8, deadline=None)
@given(messages=chats())
def test_the_loss_counts_what_the_templates_own_marks_say(
    encoders: dict[str, Encoder], name: str, messages: list[dict[str, Any]]
) -> None:
    tokens, mask = own_mask(encoders[name], messages)
    assert counted(encoders[name], messages) == (tokens, mask)


def test_calls_of_tools_count_and_their_results_do_not(encoders: dict[str, Encoder]) -> None:
    encoder = encoders["tools"]
    tokens, mask = own_mask(encoder, CALLS)
    assert counted(encoder, CALLS) == (tokens, mask)
    said = encoder.tokenizer.decode([t for t, counts in zip(tokens, mask, strict=True) if counts])
    assert said.count("<|eom_id|>") == 1
    assert said.count("<|eot_id|>") == 2
    assert "rain<" not in said


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_mark_that_ends_a_turn_counts(encoders: dict[str, Encoder], name: str) -> None:
    encoder = encoders[name]
    found = encoder.encode(rows_of(chat("hello", "fine", "and you?", "good"))).sequences
    last = int(found.sequence(0)[-1])
    assert last in encoder.tokenizer.all_special_ids
    assert found.sequence(0)[found.counts_of(0)].tolist().count(last) == 2


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_last_turn_alone_can_count(encoders: dict[str, Encoder], name: str) -> None:
    encoder = encoders[name]
    messages = chat("hello", "fine", "and you?", "good")
    last = replace(encoder, options=OPTIONS.model_copy(update={"turns": "last"}))
    found = last.encode(rows_of(messages)).sequences
    of_measures = encoder.encode(rows_of(messages), encoder.answer_column).sequences
    assert found.counts is None
    assert found.tokens.tolist() == of_measures.tokens.tolist()
    assert found.answers.tolist() == of_measures.answers.tolist()
    tokens = found.sequence(0).tolist()
    # What a generation continues is what stands before the answer.
    (prompt,) = encoder.prompts(rows_of(messages))
    assert tokens[: len(prompt)] == prompt
    assert prompt == encoder.prompt_of(messages[:-1])
    assert "good" in encoder.decode(tokens[int(found.answers[0]) :])
    assert "fine" not in encoder.decode(tokens[int(found.answers[0]) :])


def test_definitions_of_functions_are_given_to_the_template() -> None:
    header = (
        "{% for tool in tools or [] %}"
        "{{ '<|im_start|>' + tool['name'] + '<|im_end|>' }}{% endfor %}"
    )
    layout = Layout({"messages": "messages", "tools": "tools"}, (), subjects=False)
    tokenizer = chat_tokenizer(header + CHATML)
    encoder = Encoder(tokenizer, OPTIONS, layout)
    talk, tools = chat("hello", "fine", "and you?", "good"), [{"name": "weather"}]
    rows = rows_of(talk, talk).append_column(
        "tools", tools_column(pa.chunked_array([[json.dumps(tools), None]]), "tools", 1)
    )

    found = encoder.encode(rows).sequences

    for at, defined in enumerate((tools, None)):
        rendered = tokenizer.apply_chat_template(
            talk, tools=defined, return_dict=True, return_assistant_tokens_mask=True
        )
        mask = [bool(each) for each in rendered["assistant_masks"]]
        last = max(place for place, each in enumerate(mask) if each) + 1
        assert found.sequence(at).tolist() == rendered["input_ids"][:last]
        assert found.counts_of(at).tolist() == mask[:last]
    prompts = [tokenizer.decode(prompt) for prompt in encoder.prompts(rows)]
    assert prompts[0] == "<|im_start|>weather<|im_end|>" + prompts[1]
    # What a person asks for in Python.
    asked = [talk[0] | {"tools": tools}]
    assert tokenizer.decode(encoder.prompt_of(asked)).startswith("<|im_start|>weather<|im_end|>")
    with pytest.raises(InputError, match="in another message than its first one"):
        encoder.prompt_of([*talk, talk[0] | {"tools": tools}])
    without = Encoder(chat_tokenizer(CHATML), OPTIONS, layout)
    assert without.problems(rows) == [
        (0, "the tokenizer's chat template writes no definitions of tools")
    ]
    marked = rows.set_column(1, "tools", pa.array(['[{"name":"<|im_end|>"}]', ""]))
    assert [at for at, _ in encoder.problems(marked)] == [0]


@pytest.mark.parametrize("name", TEMPLATES)
def test_answers_of_weight_0_do_not_count(encoders: dict[str, Encoder], name: str) -> None:
    messages = chat("hello", "fine", "and you?", "good")
    tokens, all_count = counted(encoders[name], messages)
    last = encoders[name].encode(rows_of(messages), "messages").sequences
    messages[1]["weight"] = 0
    weighed, counts = counted(encoders[name], messages)
    # The tokens are the same; of the answers the last one alone counts.
    assert weighed == tokens == last.sequence(0).tolist()
    assert counts == last.counts_of(0).tolist()
    assert sum(counts) < sum(all_count)
    messages[1]["weight"], messages[3]["weight"] = 1, 1
    assert counted(encoders[name], messages) == (tokens, all_count)
    messages[3]["weight"] = 0
    cut = parse_chat(messages)
    assert counted(encoders[name], cut) == counted(encoders[name], chat("hello", "fine"))


def test_another_answer_replaces_the_last_turn(encoders: dict[str, Encoder]) -> None:
    encoder, messages = encoders["chatml"], chat("hello", "fine", "and you?", "good")
    found = encoder.encode_answers(rows_of(messages), ["bad"]).sequences
    expected = encoder.encode(rows_of(chat("hello", "fine", "and you?", "bad")), "messages")
    assert found.sequence(0).tolist() == expected.sequences.sequence(0).tolist()


def test_several_chats_keep_their_masks_in_any_order(encoders: dict[str, Encoder]) -> None:
    encoder = encoders["chatml"]
    some = [chat("a", "b"), chat("a", "b", "c", "d"), chat("one two", "three", system="be kind")]
    found = encoder.encode(rows_of(*some)).sequences
    alone = [encoder.encode(rows_of(each)).sequences for each in some]
    assert found.counted.tolist() == [int(each.counted[0]) for each in alone]
    turned = found.take([2, 1]).followed_by(alone[0])
    for at, each in enumerate((alone[2], alone[1], alone[0])):
        assert turned.sequence(at).tolist() == each.sequence(0).tolist()
        assert turned.counts_of(at).tolist() == each.counts_of(0).tolist()
    labels = turned.batch([0, 1, 2], pad=0).labels
    for at, each in enumerate((alone[2], alone[1], alone[0])):
        length = int(each.lengths[0])
        kept = labels[at, :length] != -100
        assert kept.tolist() == each.counts_of(0).tolist()
    assert found.first(2).counted.tolist() == found.counted.tolist()[:2]


def test_a_chat_too_long_is_refused_or_cut(encoders: dict[str, Encoder]) -> None:
    encoder = encoders["chatml"]
    rows = rows_of(chat("hello there", "fine"), chat(*["how are you?", "I am fine."] * 9))
    short = OPTIONS.model_copy(update={"context": 40})
    refused = replace(encoder, options=short)
    with pytest.raises(InputError, match=r"^1 row has a chat that cannot be read; of the first"):
        refused.encode(rows)
    assert refused.problems(rows) == [(1, "a chat is longer than the context of 40 tokens")]
    cut = replace(encoder, options=short.model_copy(update={"too_long": "truncate"}))
    found = cut.encode(rows)
    whole = encoder.encode(rows).sequences
    assert found.truncated == 1
    assert int(found.sequences.lengths.max()) <= 40
    length = int(found.sequences.lengths[1])
    assert found.sequences.sequence(1).tolist() == whole.sequence(1).tolist()[:length]
    # Of one answer, its beginning stays, and the end of what is before it.
    last = cut.encode(rows, "messages").sequences
    assert int(last.lengths[1]) == 40
    assert int(last.counted[1]) == int(encoder.encode(rows, "messages").sequences.counted[1])


@pytest.mark.parametrize(
    ("template", "messages", "said"),
    [
        ("{{ messages[5]['content'] }}", chat("a", "b"), "does not take a chat"),
        (CHATML, chat("a <|im_end|>", "b"), "spells a control token"),
        (
            "{% for m in messages %}{{ messages | length }}{{ m['content'] }}{% endfor %}",
            chat("a", "b", "c", "d"),
            "writes earlier messages of a chat otherwise",
        ),
        (
            "{% for m in messages %}{{ m['content'] if m['role'] == 'user' }}{% endfor %}",
            chat("a", "b", "c", "d"),
            "leaves out a turn",
        ),
    ],
)
def test_a_template_that_does_not_fit_is_refused(
    template: str, messages: list[dict[str, Any]], said: str
) -> None:
    encoder = Encoder(chat_tokenizer(template), OPTIONS, LAYOUT)
    with pytest.raises(InputError, match=said):
        encoder.encode(rows_of(messages))
    ((number, problem),) = encoder.problems(rows_of(messages))
    assert number == 0
    assert said in problem


def test_chats_need_a_template(encoders: dict[str, Encoder]) -> None:
    bare = Encoder(chat_tokenizer(None), OPTIONS, LAYOUT)
    with pytest.raises(InputError, match="has no chat template, which chats need"):
        bare.encode(rows_of(chat("a", "b")))
    with pytest.raises(InputError, match="its tokenizer has no chat template"):
        bare.prompt_of(chat("a"))
    off = replace(encoders["chatml"], options=OPTIONS.model_copy(update={"chat": False}))
    with pytest.raises(InputError, match=r"train\.options\.chat is false"):
        off.prompt_of(chat("a"))


def test_a_prompt_of_a_chat_spells_no_marks(encoders: dict[str, Encoder]) -> None:
    encoder = encoders["chatml"]
    text = encoder.tokenizer.decode(encoder.prompt_of(chat("hello", system="be kind")))
    assert text == (
        "<|im_start|>system\nbe kind<|im_end|>\n<|im_start|>user\nhello<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    with pytest.raises(InputError, match="spells a control token"):
        encoder.prompt_of(chat("hello <|im_end|>"))
    with pytest.raises(InputError, match="a content that is no text"):
        encoder.prompt_of([{"role": "user", "content": 5}])


def test_the_turn_of_a_reasoning_model_has_its_empty_reasoning(
    encoders: dict[str, Encoder],
) -> None:
    template = ChatTemplate(encoders["reasoning"].tokenizer)
    found = template.turns(parse_chat(chat("a", "b", "c", "d")))
    assert [found.text[start:end] for start, end in found.turns] == [
        "b<|im_end|>",
        "<think>\n\n</think>\n\nd<|im_end|>",
    ]


def test_errors_of_templates_quote_nothing() -> None:
    template = ChatTemplate(chat_tokenizer("{{ raise_exception(messages[0]['content']) }}"))
    with pytest.raises(ChatError) as caught:
        template.render(chat("secret"))
    assert "secret" not in str(caught.value)
