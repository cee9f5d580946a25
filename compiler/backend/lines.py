"""Lines that fit: comments, docstrings, and the few places where a line is broken, as ruff breaks them."""

from __future__ import annotations

import textwrap

WIDTH = 110
_CLOSING = {"(": ")", "[": "]", "{": "}"}


def commented(line: str, comment: str) -> str:
    """A line with a comment behind it."""
    return f"{line}  # {comment}" if comment else line


def indented(lines: list[str], levels: int = 1) -> list[str]:
    """Lines further to the right."""
    return ["    " * levels + line if line else "" for line in lines]


def wrapped(text: str, indent: int = 0) -> list[str]:
    """Words in lines that fit behind the quotes of a docstring."""
    width = WIDTH - 4 * indent - 3
    return textwrap.wrap(" ".join(text.split()), width, break_long_words=False, break_on_hyphens=False)


def docstring(lines: list[str]) -> list[str]:
    """Lines as a docstring; nothing in them can end it, or move a terminal."""
    safe = [_shown(line.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')) for line in lines]
    if safe[0].startswith('"'):
        safe[0] = " " + safe[0]
    if len(safe) > 1:
        return [f'"""{safe[0]}', *safe[1:], '"""']
    if safe[0].endswith('"'):
        safe[0] += " "
    return [f'"""{safe[0]}"""']


def _shown(text: str) -> str:
    """The text with characters that do not print as escapes."""
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)


def broken(lines: list[str]) -> list[str]:
    """The lines, those too long broken at the brackets that end them, their comments put above."""
    return [part for line in lines for part in (_broken(line) if len(line) > WIDTH else [line])]


def _broken(line: str) -> list[str]:
    code, _, comment = line.partition("  # ")
    indent = code[: len(code) - len(code.lstrip())]
    above = [f"{indent}# {comment}"] if comment else []
    if len(code) <= WIDTH:
        return [*above, code]
    body, tail = (code[:-1], ":") if code.endswith(":") else (code, "")
    opening = _last_bracket(body)
    if opening is None or not _is_plain(body[len(indent) : opening]):
        return [*above, *_chained(code, indent)]
    parts = _split(body[opening + 1 : -1])
    inside, close = f"{indent}    {', '.join(parts)}", f"{indent}{body[-1]}{tail}"
    if len(inside) > WIDTH and len(parts) > 1:
        return [*above, body[: opening + 1], *(f"{indent}    {part}," for part in parts), close]
    return [*above, body[: opening + 1], inside, close]


def _chained(code: str, indent: str) -> list[str]:
    """A chain of calls, `y = x.unflatten(...).permute(...).flatten(...)`, with a call in each line."""
    word = "return " if code.startswith(f"{indent}return ") else " = "
    head, _, chain = code.partition(word)
    calls, depth = [0], 0
    for position, char in _outside_strings(chain):
        if char == " " and depth == 0:
            return [code]
        if char == "." and depth == 0 and chain[position - 1] == ")":
            calls.append(position)
        depth += (char in _CLOSING) - (char in _CLOSING.values())
    if len(calls) < 2:
        return [code]
    links = [chain[a:b] for a, b in zip(calls, [*calls[1:], len(chain)], strict=True)]
    return [f"{head}{word}(", *(f"{indent}    {link}" for link in links), f"{indent})"]


def _last_bracket(body: str) -> int | None:
    """Where the bracket that closes at the end of the line was opened."""
    opened: list[int] = []
    for position, char in _outside_strings(body):
        if char in _CLOSING:
            opened.append(position)
        elif char in _CLOSING.values():
            start = opened.pop()
            if position == len(body) - 1:
                return start
    return None


def _is_plain(head: str) -> bool:
    """Whether nothing before the bracket could be broken first: `x = torch.cat`, `return Output`, `def f`."""
    return not any(char in "([{" for char in head)


def _split(text: str) -> list[str]:
    """The arguments between brackets."""
    parts, start, depth = [], 0, 0
    for position, char in _outside_strings(text):
        if char in _CLOSING:
            depth += 1
        elif char in _CLOSING.values():
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:position].strip())
            start = position + 1
    return [*parts, text[start:].strip()]


def _outside_strings(text: str) -> list[tuple[int, str]]:
    """The characters that are not part of a string literal, with their places."""
    out: list[tuple[int, str]] = []
    quote = ""
    escaped = False
    for position, char in enumerate(text):
        if quote:
            if char == quote and not escaped:
                quote = ""
            escaped = char == "\\" and not escaped
        elif char in "\"'":
            quote = char
        else:
            out.append((position, char))
    return out
