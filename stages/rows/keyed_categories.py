"""Categories as keyed digests, so that files of rows and models have no text of them."""

import hmac

import pyarrow as pa
from unlearn.stages.config.dataset import DatasetParams

#: What the digests are keyed with is the subkey of the project key for this purpose.
PURPOSE = "category texts"

#: No number, date or boolean is written so: a digest is not taken for a value in another notation.
_PREFIX = "#"

_BYTES = 16


def keyed_text(key: bytes, feature: str, text: str) -> str:
    """Return what stands for a category; the same text has another digest in another feature."""
    message = feature.encode() + b"\0" + text.encode()
    return _PREFIX + hmac.digest(key, message, "sha256")[:_BYTES].hex()


def keyed_column(values: pa.ChunkedArray, key: bytes, feature: str) -> pa.ChunkedArray:
    """Return a categorical feature with digests in place of its texts; null stays null."""
    encoded = values.combine_chunks().dictionary_encode()
    texts = [keyed_text(key, feature, text) for text in encoded.dictionary.to_pylist()]
    return pa.chunked_array([pa.array(texts, pa.string()).take(encoded.indices)])


def pinned_categories(dataset: DatasetParams) -> dict[str, tuple[str, ...]]:
    """Return the pinned categories by feature, as shard files and models have them.

    Raises
    ------
    InputError
        If they are keyed, and the key is not at hand.
    """
    found = {name: tuple(texts) for name, texts in (dataset.categories or {}).items()}
    if not dataset.keys_categories:
        return found
    return {
        name: tuple(keyed_text(dataset.category_key, name, text) for text in texts)
        if dataset.features[name] == "categorical"
        else texts
        for name, texts in found.items()
    }


def key_check(key: bytes) -> str:
    """Return what tells a key from others, without revealing it."""
    return hmac.digest(key, b"check", "sha256")[:_BYTES].hex()
