"""The MD5 that DVC gives a folder."""

import hashlib
import json
from collections.abc import Mapping


def listing_md5(digests: Mapping[str, str]) -> str:
    """Return the md5 that DVC gives a folder whose files have these MD5s, by relative path."""
    listed = [{"md5": digests[name], "relpath": name} for name in sorted(digests)]
    content = json.dumps(listed, sort_keys=True).encode()
    return f"{hashlib.md5(content, usedforsecurity=False).hexdigest()}.dir"
