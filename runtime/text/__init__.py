"""Text that models read and write: tokenizers, chat templates, streams of text.

`tokenizers` is imported when the first tokenizer is loaded, not with this package.
"""

from __future__ import annotations

from runtime.text.load import load_tokenizer
from runtime.text.tokenizer import Encoded, Tokenizer

__all__ = ["Encoded", "Tokenizer", "load_tokenizer"]
