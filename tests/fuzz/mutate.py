"""Mutations of spec texts: what a tired, a careless and a hostile user would write."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import yaml

Tree = Any  # dict | list | scalar

SCALARS: tuple[Tree, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 7, 2**31, 2**63, 10**30, 1e-5, 1e308, float("inf"), float("nan"), "",
    " ", "=", "=x",
    "=D", "=heads", "=1 / 0", "=2 ** 4000", "=-1", "=[1, 2]", "=null", "='a'", "=depth[0]",
    "=present(mask)", "=i", "=n",
    "=len(depth)", "=log(0)", "=T", "=dim / 7", "=1 / 3", "=sqrt(2)", "=exp(1000)", "=(" * 50,
    "=" + "-" * 300 + "1",
    "=not 3", "=1 if dim else 2", "=dim > heads", "=true and 1", "=min(dim, heads)", "=int(0.5)",
    "=0 * dim", "=dim + T",
    "a.b.c", "x", "y", "tokens", "mask", "h", "h.0", "q", "...", "self", "class", "__init__", "type",
    "a\u200bb", "\x07", "\r\n",
    "é", "𝒙", "1e5", "no", "~", "x -> y", "B T D -> B D", "B (h w) -> B h w", "A [K] D, A -> A D",
    "() -> 1", "B T -> B T 5",
    "float[B, T]", "int[B, T]?", "bool[B, K]?", "float[...]", "float[B, #T, ...]", "float[=dim]", "float[",
    "int", "float?",
    "block", "block(x: float[B]) -> y", "attention", "pre_norm", "mlp", "linear", "positions", "0:3",
    "::-1", "zeros",
    [], [[]], ["x"], ["x", "y", "z"], [1, 2, 3], {}, {"a": 1}, {"use": "mlp"}, {"op": "linear"},
    {"op": "linear", "out": 3},
    {"use": "=norm"}, {"type": "int"}, {"type": "float[B, T]", "default": "x"}, {"normal": {"std": 0.02}},
    {"max": 3},
    {"use": "mlp", "with": {"hidden": 3}}, {"use": "attention", "in": {"mask": "mask"}, "with": {"heads": 2}},
    {"type": "int", "min": "a", "choices": 3}, {"at": "0:1", "set": {"attn": 3}}, [{"at": [0],
    "set": {"mlp.hidden": 5}}],
)  # fmt: skip
KEYS = (
    "spec", "block", "extends", "params", "let", "variants", "dims", "inputs", "blocks", "nodes", "outputs",
    "methods", "init",
    "io", "set", "add", "remove", "replace", "insert", "op", "use", "in", "with", "when", "else", "share",
    "same_as", "repeat",
    "kinds", "order", "tail", "where", "reuse", "out", "bias", "pattern", "expr", "x", "y", "q", "type",
    "default", "B", "T",
    "D", "K", "h", "a.b", "0", "1", "weight", "cut", "after", "before", "at", "max", "class", "__dict__",
    "", " ", "$span",
    "$previous", "attrs", "span", "model_config", "previous",
)  # fmt: skip


def load(text: str) -> list[Tree]:
    """The documents of a file as plain data; every scalar keeps the type that the compiler will give it."""
    return list(yaml.safe_load_all(text))


def dump(documents: list[Tree]) -> str:
    """The documents as YAML. Flow style: a mutated tree has no layout of its own."""
    return "\n---\n".join(_flow(d) for d in documents) + "\n"


def _flow(tree: Tree) -> str:
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{json.dumps(k)}: {_flow(v)}" for k, v in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(_flow, tree)) + "]"
    if isinstance(tree, float):
        return {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(str(tree), str(tree))
    return json.dumps(tree)


def mutate(documents: list[Tree], rng: random.Random) -> list[Tree]:
    """A copy with one to four places changed."""
    out = copy.deepcopy(documents)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4))):
        parent = rng.choice([p for d in out for p in _collections(d)] or [out])
        _change(parent, out, rng)
    return out


def scribble(text: str, rng: random.Random) -> str:
    """A copy of the text itself with characters changed."""
    for _ in range(rng.choice((1, 1, 2, 5)) if text else 0):
        at = rng.randrange(len(text))
        width = rng.choice((0, 1, 1, 3, 20))
        new = rng.choice(("", "", " ", "\n", "\t", "{", "}", "[", "]", ":", ",", "'", '"', "=", "#", "&a ",
        "*a ", "!!int ", "-", "%",
                          "? ", "\x00", "\x85", "\u2028", "\ud7ff", "\ufeff", "<<", "|", ">", "1e9", "...",
                          "---\n", "\r", "@"))  # fmt: skip
        text = text[:at] + new + text[at + width :]
        if rng.random() < 0.2:
            start, stop = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
            text = text[:stop] + text[start : min(stop, start + 200)] + text[stop:]
    return text


def _collections(tree: Tree) -> list[dict[str, Tree] | list[Tree]]:
    """Every collection that holds something, the inner ones as often as the outer ones."""
    if not isinstance(tree, dict | list) or not tree:
        return []
    inner = tree.values() if isinstance(tree, dict) else tree
    return [tree, *(c for v in inner for c in _collections(v))]


def _change(parent: dict[str, Tree] | list[Tree], root: list[Tree], rng: random.Random) -> None:
    keys: list[Any] = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
    if not keys:
        return
    key = rng.choice(keys)
    action = rng.choice(
        ("scalar", "scalar", "scalar", "delete", "rename", "swap", "graft", "graft", "nest", "copy", "expr")
    )
    if action == "delete":
        del parent[key]
    elif action == "rename" and isinstance(parent, dict):
        parent[rng.choice([*KEYS, key[:-1], key + "s"])] = parent.pop(key)
    elif action == "swap":
        other = rng.choice(keys)
        parent[key], parent[other] = parent[other], parent[key]
    elif action == "graft":
        parent[key] = copy.deepcopy(rng.choice([c for d in root for c in _collections(d)] or [None]))
    elif action == "nest":
        for _ in range(rng.choice((1, 3, 70))):
            parent[key] = rng.choice(([parent[key]], {"use": parent[key]}, {"x": parent[key]}))
    elif action == "copy" and isinstance(parent, dict):
        parent[rng.choice(KEYS)] = copy.deepcopy(parent[key])
    elif action == "expr":
        parent[key] = "=" + expression(rng, 4)
    else:
        parent[key] = copy.deepcopy(rng.choice(SCALARS))


def expression(rng: random.Random, depth: int) -> str:
    """A random expression, often one without a value."""
    if depth == 0 or rng.random() < 0.2:
        return rng.choice(
            (
                "0",
                "1",
                "2",
                "7",
                "0.5",
                "dim",
                "heads",
                "depth",
                "D",
                "T",
                "B",
                "eps",
                "act",
                "null",
                "true",
                "'a'",
                "i",
                "n",
                "x",
            )
        )
    a, b, c = (expression(rng, depth - 1) for _ in range(3))
    return rng.choice((
        f"({a} + {b})", f"({a} - {b})", f"{a} * {b}", f"{a} / {b}", f"{a} // {b}", f"{a} % {b}",
        f"{a} ** {b}", f"-{a}",
        f"not {a}", f"({a} < {b})", f"({a} == {b})", f"({a} and {b})", f"({a} or {b})",
        f"({a} if {b} else {c})",
        f"min({a}, {b})", f"ceil_to({a}, {b})", f"log({a})", f"floor({a})", f"clamp({a}, {b}, {c})",
        f"[{a}, {b}][{c}]",
        f"len([{a}])", f"present({a})", f"sqrt({a})", f"sigmoid({a})", f"exp({a})", f"int({a})",
    ))  # fmt: skip
