"""What a spec's `io: tokenizer:` says about texts, for what tokenizer files leave open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from compiler.ir.program import Program
from compiler.ir.values import Record


@dataclass(frozen=True)
class Declared:
    """The section. Where files say the same thing, they are believed.

    special: roles (bos, eos, pad, unk, mask, cls, sep) and the token that plays each.
    single, pair: how one text, and two, are framed: "[CLS] $A [SEP] $B:1 [SEP]:1".
    lower: texts are read in lower case.
    split: the name of a known way to split a text into words, or a regular expression whose matches they are.
    length: every text is padded to that many tokens. size: of the vocabulary, where a file holds more merges.
    """

    special: Mapping[str, str] = field(default_factory=dict)
    single: str = "$A"
    pair: str = "$A $B"
    lower: bool | None = None
    split: str | None = None
    length: int | None = None
    size: int | None = None


def declared(program: Program) -> Declared:
    """The section of a program, empty where it has none."""
    section = program.typed.graph.io.get("tokenizer")
    if not isinstance(section, Record):
        return Declared()
    items = {key: value for key, value in section.items if value is not None}
    special = items.pop("special", Record(()))
    roles = {role: token for role, token in special.items if token is not None}
    return Declared(special=roles, **items)
