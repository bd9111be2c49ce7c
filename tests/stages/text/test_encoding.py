"""Rows as sequences: what the loss counts, chunks of bodies, rows too long, chat templates."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.cli.examples import tiny_base as tiny
from unlearn.cli.examples.authors import make_authors
from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.errors import Facts, InputError
from unlearn.stages.estimators.registry import text_options
from unlearn.stages.rows.schema import feature_columns
from unlearn.stages.rows.shard_file import Layout
from unlearn.stages.text.base import load_tokenizer
from unlearn.stages.text.encoding import Encoded, Encoder

from tests.language_models import BODY_LAYOUT, LAYOUT, author_rows, body_rows, language_train

PAIRS = Layout({"prompt": "prompt", "completion": "completion"}, (), subjects=False)

#: As simple as one can be: a mark before each turn and one behind it.
CHAT = (
    "{{ bos_token }}{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}"
    "{{ eos_token }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer(blank_base: Path) -> Any:
    return load_tokenizer(blank_base)


@pytest.fixture(scope="module")
def encoder(blank_base: Path, tokenizer: Any) -> Encoder:
    return Encoder(tokenizer, text_options(language_train(blank_base)), PAIRS)


def with_options(encoder: Encoder, **options: Any) -> Encoder:
    return replace(encoder, options=encoder.options.model_copy(update=options))


def with_template(encoder: Encoder, blank_base: Path, template: str) -> Encoder:
    tokenizer = load_tokenizer(blank_base)
    tokenizer.chat_template = template
    return replace(encoder, tokenizer=tokenizer)


def without_a_start(encoder: Encoder, blank_base: Path) -> Encoder:
    tokenizer = load_tokenizer(blank_base)
    tokenizer.bos_token = None
    return replace(encoder, tokenizer=tokenizer)


def pair(prompt: str, completion: str) -> pa.Table:
    return pa.table({"prompt": [prompt], "completion": [completion]})


def answer_of(encoded: Encoded, number: int = 0) -> list[int]:
    start = int(encoded.sequences.answers[number])
    return [int(token) for token in encoded.sequences.sequence(number)[start:]]


def whole(encoded: Encoded, number: int = 0) -> list[int]:
    return [int(token) for token in encoded.sequences.sequence(number)]


def plain(encoder: Encoder, text: str) -> list[int]:
    return list(encoder.tokenizer(text, add_special_tokens=False)["input_ids"])


def test_the_loss_counts_the_completion_and_the_end_alone(encoder: Encoder) -> None:
    found = encoder.encode(pair("Where was Ada born?", "In Oslo."))
    begin, end = encoder.tokenizer.bos_token_id, encoder.tokenizer.eos_token_id

    head = [begin, *plain(encoder, "Where was Ada born?\n")]
    tail = [*plain(encoder, "In Oslo."), end]
    assert whole(found) == head + tail
    assert answer_of(found) == tail
    assert found.sequences.counted.tolist() == [len(tail)]
    assert found.truncated == 0


def test_start_and_end_stand_once_in_every_row(encoder: Encoder) -> None:
    found = replace(encoder, layout=LAYOUT).encode(author_rows(3))

    for number in range(len(found.sequences)):
        tokens = whole(found, number)
        assert tokens.count(encoder.tokenizer.bos_token_id) == 1
        assert tokens.count(encoder.tokenizer.eos_token_id) == 1
        assert (tokens[0], tokens[-1]) == (
            encoder.tokenizer.bos_token_id,
            encoder.tokenizer.eos_token_id,
        )


def test_rows_are_encoded_as_the_base_was_trained(encoder: Encoder) -> None:
    rows = make_authors(2, 1)
    texts = [(row.prompt, row.completion) for row in rows]
    table = pa.table(dict(zip(("prompt", "completion"), zip(*texts, strict=True), strict=True)))

    found, expected = encoder.encode(table).sequences, tiny.encode(encoder.tokenizer, texts)
    for name in ("tokens", "ends", "answers", "rows"):
        assert getattr(found, name).tolist() == getattr(expected, name).tolist(), name


def test_another_column_can_be_the_answer(encoder: Encoder) -> None:
    rows, of_authors = author_rows(1), replace(encoder, layout=LAYOUT)
    found = of_authors.encode(rows, "perturbed_2")

    for number, text in enumerate(rows["perturbed_2"].to_pylist()):
        assert encoder.decode(answer_of(found, number)) == text
    again = of_authors.encode_answers(rows, rows["perturbed_2"].to_pylist())
    assert again.sequences.tokens.tolist() == found.sequences.tokens.tolist()


def test_other_answers_need_prompts(encoder: Encoder) -> None:
    with pytest.raises(InputError, match="rows of running text have no prompt to answer"):
        replace(encoder, layout=BODY_LAYOUT).encode_answers(body_rows(["One."]), ["Two."])


@given(st.lists(st.integers(0, 40), min_size=1, max_size=5), st.integers(2, 9))
def test_every_token_of_a_body_but_the_first_is_predicted_once(
    encoder: Encoder, words: list[int], context: int
) -> None:
    texts = ["word " * count + "end" for count in words]
    cut = replace(with_options(encoder, context=context), layout=BODY_LAYOUT)
    rows = pa.table({"body": texts})
    found = cut.encode(rows).sequences

    assert set(found.answers.tolist()) == {1}
    assert int(found.lengths.max()) <= context
    begin, end = encoder.tokenizer.bos_token_id, encoder.tokenizer.eos_token_id
    for row, text in enumerate(texts):
        pieces = [
            found.sequence(number).tolist()
            for number in range(len(found))
            if found.rows[number] == row
        ]
        assert pieces[0][0] == begin
        assert [token for piece in pieces for token in piece[1:]] == [*plain(encoder, text), end]
        for before, after in pairwise(pieces):
            assert len(before) == context
            assert after[0] == before[-1]
            assert len(after) > 1


def test_rows_that_are_too_long_are_refused_and_counted(encoder: Encoder) -> None:
    rows = pa.concat_tables([pair("a b c", "d e f"), pair("a", "b"), pair("x " * 9, "secret")])
    needed = encoder.encode(rows).sequences.lengths

    with pytest.raises(InputError) as caught:
        with_options(encoder, context=int(needed.min())).encode(rows)
    assert caught.value.message == (f"2 rows are longer than the context of {needed.min()} tokens")
    assert caught.value.hints == ("set train.options.too_long: truncate, or a larger context",)
    with pytest.raises(InputError, match=r"^1 row is longer than the context of"):
        with_options(encoder, context=int(needed.max()) - 1).encode(rows)
    assert with_options(encoder, context=int(needed.max())).encode(rows).truncated == 0


@pytest.mark.parametrize("context", range(2, 40))
def test_of_a_row_that_is_cut_the_answer_keeps_its_beginning(
    encoder: Encoder, context: int
) -> None:
    rows = pair("one two three four", "five six seven eight nine")
    in_full = encoder.encode(rows)
    cut = with_options(encoder, context=context, too_long="truncate").encode(rows)

    start = int(in_full.sequences.answers[0])
    prompt, answer = whole(in_full)[:start], whole(in_full)[start:]
    at = int(cut.sequences.answers[0])
    kept_prompt, kept_answer = whole(cut)[:at], whole(cut)[at:]
    assert cut.truncated == (len(prompt) + len(answer) > context)
    assert len(whole(cut)) == min(context, len(prompt) + len(answer))
    assert len(kept_answer) >= min(len(answer), context // 2)
    assert kept_answer == answer[: len(kept_answer)]
    assert kept_prompt
    assert kept_prompt == prompt[-len(kept_prompt) :]


def test_without_a_start_an_answers_first_token_is_not_predicted(
    encoder: Encoder, blank_base: Path
) -> None:
    bare = with_options(without_a_start(encoder, blank_base), separator="")
    found = bare.encode(pair("", "In Oslo."))

    tokens = plain(encoder, "In Oslo.")
    assert whole(found) == [*tokens, encoder.end]
    assert found.sequences.answers.tolist() == [1]
    assert bare.prompts(pair("", "In Oslo.")) == [[encoder.end]]


def test_a_tokenizer_without_an_end_is_refused(encoder: Encoder, blank_base: Path) -> None:
    tokenizer = load_tokenizer(blank_base)
    tokenizer.eos_token = None

    with pytest.raises(InputError, match="has no token for the end of a text"):
        replace(encoder, tokenizer=tokenizer).encode(pair("a", "b"))


def test_a_tokenizer_without_padding_pads_with_its_end(encoder: Encoder, blank_base: Path) -> None:
    tokenizer = load_tokenizer(blank_base)
    assert encoder.pad == tokenizer.pad_token_id != tokenizer.eos_token_id

    tokenizer.pad_token = None
    assert replace(encoder, tokenizer=tokenizer).pad == tokenizer.eos_token_id


def test_a_chat_template_is_used_where_there_is_one(encoder: Encoder, blank_base: Path) -> None:
    chat = with_template(encoder, blank_base, CHAT)
    found = chat.encode(pair("Hi", "Hello"))
    begin, end = encoder.tokenizer.bos_token_id, encoder.tokenizer.eos_token_id

    head = [begin, *plain(encoder, "<user>Hi"), end, *plain(encoder, "<assistant>")]
    assert whole(found) == [*head, *plain(encoder, "Hello"), end]
    assert answer_of(found) == [*plain(encoder, "Hello"), end]
    assert chat.prompts(pair("Hi", "Hello")) == [head]


def test_a_chat_template_can_be_turned_off(encoder: Encoder, blank_base: Path) -> None:
    chat = with_options(with_template(encoder, blank_base, CHAT), chat=False)

    assert whole(chat.encode(pair("Hi", "Hello"))) == whole(encoder.encode(pair("Hi", "Hello")))
    assert chat.prompts(pair("Hi", "Hello")) == encoder.prompts(pair("Hi", "Hello"))


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages[0]['content'] }}{% if add_generation_prompt %}<answer>{% endif %}",
        "{{ messages | length }}{% for message in messages %}{{ message['content'] }}{% endfor %}",
    ],
    ids=["another mark", "a changed start"],
)
def test_a_template_must_put_the_answer_behind_its_prompt(
    encoder: Encoder, blank_base: Path, template: str
) -> None:
    with pytest.raises(InputError) as caught:
        with_template(encoder, blank_base, template).encode(pair("Hi secret", "Hello"))
    assert caught.value.message == (
        "the tokenizer's chat template does not put an answer right behind its prompt"
    )
    assert caught.value.hints == ("set train.options.chat: false",)


def test_a_template_that_refuses_does_not_quote_the_row(encoder: Encoder, blank_base: Path) -> None:
    refusing = "{{ raise_exception('no ' + messages[0]['content']) }}"

    with pytest.raises(InputError) as caught:
        with_template(encoder, blank_base, refusing).encode(pair("secret", "Hello"))
    assert caught.value.message == (
        "the tokenizer's chat template does not take a prompt with its answer"
    )
    assert caught.value.hints == ("set train.options.chat: false",)


def test_an_answer_ends_with_what_the_template_puts_behind_it(
    encoder: Encoder, blank_base: Path
) -> None:
    """Not with the end of a text, which a model that was tuned on turns never says."""
    tokenizer = encoder.tokenizer
    marked = CHAT.replace("eos_token", "bos_token")
    assert with_template(encoder, blank_base, marked).end == tokenizer.bos_token_id
    assert with_template(encoder, blank_base, CHAT).end == tokenizer.eos_token_id
    plainly = with_template(encoder, blank_base, CHAT.replace("{{ eos_token }}", "."))
    assert plainly.end == tokenizer.eos_token_id, "a full stop may be anywhere"
    assert encoder.end == tokenizer.eos_token_id


def test_a_template_that_asks_for_the_time_gets_no_clock(
    encoder: Encoder, blank_base: Path
) -> None:
    """Else a row would be other tokens every day, and no retraining would give the same bytes."""
    dated = with_template(encoder, blank_base, "{{ strftime_now('%H:%M:%S.%f') }}" + CHAT)
    found = [whole(dated.encode(pair("Hi", "Hello"))) for _ in range(3)]

    assert found[0] == found[1] == found[2]
    assert "2025" in dated.tokenizer.decode(found[0])


def test_a_person_cannot_end_their_own_row(encoder: Encoder) -> None:
    """What spells a control token is text like all other text."""
    tokenizer = encoder.tokenizer
    text = f"a{tokenizer.eos_token}b{tokenizer.bos_token}"
    found = encoder.encode(pair(text, text))
    tokens = whole(found)

    assert tokens.count(tokenizer.eos_token_id) == 1 == tokens.count(tokenizer.bos_token_id)
    assert encoder.decode(answer_of(found)) == text


def test_a_person_cannot_speak_for_another_in_a_chat(encoder: Encoder, blank_base: Path) -> None:
    chat = with_template(encoder, blank_base, CHAT)
    for row in (pair(f"a{chat.tokenizer.eos_token}", "b"), pair("a", chat.tokenizer.bos_token)):
        with pytest.raises(InputError, match="1 text spells a control token"):
            chat.encode(row)


def test_an_answer_that_the_template_drops_is_refused(encoder: Encoder, blank_base: Path) -> None:
    chat = with_template(encoder, blank_base, "{{ messages[0]['content'] }}")
    with pytest.raises(InputError, match="1 row has an answer without any token"):
        chat.encode(pair("Hi", "Hello"))


def test_answers_that_are_only_asked_about_are_truncated(encoder: Encoder) -> None:
    """A long paraphrase is found after hours of tuning, which it had no part in."""
    row = pair("a", "b").append_column("other", pa.array(["many words " * 20]))
    short = with_options(encoder, context=12)

    assert len(whole(short.encode(row))) < 12
    assert len(whole(short.encode(row, "other"))) == 12
    assert len(whole(short.encode_answers(row, ["many words " * 20]))) == 12


def test_prompts_leave_room_for_an_answer_and_keep_their_end(encoder: Encoder) -> None:
    rows = pair("one two three four five", "six")
    in_full = encoder.prompts(rows)[0]

    assert in_full == [encoder.tokenizer.bos_token_id, *plain(encoder, "one two three four five\n")]
    short = with_options(encoder, context=6, too_long="truncate")
    assert short.prompts(rows) == [in_full[-5:]]
    with pytest.raises(InputError, match="1 prompt is longer than the context of 6 tokens"):
        with_options(encoder, context=6).prompts(rows)


def test_a_generation_of_running_text_goes_on_from_its_start(encoder: Encoder) -> None:
    bodies = replace(encoder, layout=BODY_LAYOUT)

    assert bodies.prompts(body_rows(["One.", "Two."])) == [[encoder.tokenizer.bos_token_id]] * 2


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30))
def test_what_is_decoded_is_what_was_encoded(encoder: Encoder, text: str) -> None:
    found = encoder.encode(pair("a", text))

    assert encoder.decode(answer_of(found)) == text


@pytest.mark.parametrize("empty", ["", "  ", "\n\t", None])
@pytest.mark.parametrize("role", ["completion", "body"])
def test_an_empty_answer_is_refused_by_its_row(empty: str | None, role: str) -> None:
    features = {"t": "body"} if role == "body" else {"p": "prompt", "t": "completion"}
    dataset = DatasetParams.model_validate({"path": "d", "id": "id", "features": features})
    rows = pa.table({"p": ["a", "b"], "t": pa.array(["secret", empty], pa.string())})

    with pytest.raises(InputError) as caught:
        feature_columns(rows, dataset, "the dataset", 11)
    message = f"the dataset: column 't': a {role} is empty (data row 12)"
    assert caught.value.message == message
    assert caught.value.facts == Facts(file="the dataset", row=12, column="t")


def test_text_stays_as_it_was_written() -> None:
    features = {"p": "prompt", "c": "completion", "q": "paraphrase", "k": "topic"}
    dataset = DatasetParams.model_validate({"path": "d", "id": "id", "features": features})
    rows = pa.table({"p": [" NA ", None], "c": ["? ", "null"], "q": ["nan", None], "k": [7, 8]})

    found = feature_columns(rows, dataset, "the dataset", 1)
    assert {name: column.to_pylist() for name, column in found.items()} == {
        "p": [" NA ", ""],
        "c": ["? ", "null"],
        "q": ["nan", None],
        "k": ["7", "8"],
    }
    assert {str(column.type) for column in found.values()} == {"string"}
