"""Text in pieces is the text of all tokens, up to the first stop string."""

from pathlib import Path

import pytest
import tokenizers
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from unlearn.stages.text.streaming import TextStream

END = "<end>"


@pytest.fixture(scope="module")
def tokenizer() -> transformers.PreTrainedTokenizerBase:
    """Return a tokenizer of bytes and some longer pieces: a character may be several tokens."""
    inner = tokenizers.Tokenizer(tokenizers.models.BPE())
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=[END],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )
    inner.train_from_iterator([Path(__file__).read_text(encoding="utf-8")], trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, eos_token=END)


def pieces(stream: TextStream, tokens: list[int]) -> list[str]:
    """Return what the stream gives for each token, and at the end."""
    return [*(stream.push(token) for token in tokens), stream.finish()]


@settings(max_examples=60)
@given(
    text=st.text(alphabet="ab é日🙂\n", max_size=30),
    stops=st.lists(st.text(alphabet="ab é🙂", min_size=1, max_size=4), max_size=3),
)
def test_pieces_make_up_the_text(
    tokenizer: transformers.PreTrainedTokenizerBase, text: str, stops: list[str]
) -> None:
    tokens = tokenizer(text)["input_ids"]
    stream = TextStream(tokenizer, stops)
    found = pieces(stream, tokens)

    ends = [at for stop in stops if (at := text.find(stop)) >= 0]
    assert stream.stopped == bool(ends)
    if not ends:
        assert "".join(found) == text
    else:
        # The first stop string that is complete ends the text.
        assert text.startswith("".join(found))
        assert not any(stop in "".join(found) for stop in stops)
    assert not any("\ufffd" in piece for piece in found)


def test_a_character_is_given_once_it_is_whole(
    tokenizer: transformers.PreTrainedTokenizerBase,
) -> None:
    tokens = tokenizer("a🙂b")["input_ids"]
    found = pieces(TextStream(tokenizer), tokens)

    assert len(tokens) > 3
    assert [piece for piece in found if piece] == ["a", "🙂", "b"]


def test_what_may_begin_a_stop_string_is_held_back(
    tokenizer: transformers.PreTrainedTokenizerBase,
) -> None:
    def found(text: str) -> list[str]:
        return pieces(
            TextStream(tokenizer, ["###"]),
            tokenizer(list(text), is_split_into_words=True)["input_ids"],
        )

    assert found("a##b") == ["a", "", "", "##b", ""]
    assert found("a##") == ["a", "", "", "##"]
    assert found("a###b") == ["a", "", "", "", "", ""]


def test_half_a_character_at_the_end_is_written_as_such(
    tokenizer: transformers.PreTrainedTokenizerBase,
) -> None:
    tokens = tokenizer("🙂")["input_ids"][:-1]
    assert "".join(pieces(TextStream(tokenizer), tokens)) == tokenizer.decode(tokens)


def test_special_tokens_are_no_text(tokenizer: transformers.PreTrainedTokenizerBase) -> None:
    end = tokenizer.eos_token_id
    assert isinstance(end, int)
    stream = TextStream(tokenizer, [END])
    assert pieces(stream, [*tokenizer("ab")["input_ids"], end]) == ["a", "b", "", ""]
    assert not stream.stopped
