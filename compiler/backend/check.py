"""The finished text is checked before it runs: an allow-list of syntax and names, so that no spec can smuggle code."""

from __future__ import annotations

import ast

_NODES = (
    ast.Module, ast.Import, ast.ImportFrom, ast.alias, ast.ClassDef, ast.FunctionDef, ast.arguments, ast.arg, ast.Expr,
    ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Return, ast.If, ast.For, ast.Raise, ast.Pass, ast.Call, ast.keyword,
    ast.Attribute, ast.Name, ast.Constant, ast.Subscript, ast.Slice, ast.Tuple, ast.List, ast.Dict, ast.Starred,
    ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.GeneratorExp, ast.ListComp, ast.comprehension,
    ast.JoinedStr, ast.FormattedValue, ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context,
)  # fmt: skip
_IMPORTS = {"torch", "torch.nn.functional", "math", "typing", "einops"}
_FROM = {("torch", "nn"), ("typing", "NamedTuple"), ("einops", "rearrange")}
_BUILTINS = {"super", "range", "enumerate", "zip", "len", "next", "isinstance", "min", "max", "float", "ValueError"}
_ROOTS = {"torch", "nn", "F", "math", "self", "rearrange", "NamedTuple"}


class UnsafeText(Exception):
    """The text holds something that the emitter never writes: a bug of ours."""


def check_text(text: str) -> None:
    """Raises UnsafeText."""
    tree = ast.parse(text)
    defined = {n.name for n in ast.walk(tree) if isinstance(n, ast.ClassDef | ast.FunctionDef)}
    known = defined | _BUILTINS | _ROOTS | _bound(tree)
    for node in ast.walk(tree):
        if not isinstance(node, _NODES):
            raise UnsafeText(f"line {getattr(node, 'lineno', 0)}: {type(node).__name__}")
        if isinstance(node, ast.Name) and node.id not in known:
            raise UnsafeText(f"line {node.lineno}: the name {node.id}")
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and node.attr != "__init__":
            raise UnsafeText(f"line {node.lineno}: the attribute {node.attr}")
        if isinstance(node, ast.Import | ast.ImportFrom):
            _check_import(node)


def _bound(tree: ast.Module) -> set[str]:
    """Names that the text itself assigns: arguments, locals, loop variables."""
    names = {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    return names | {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _check_import(node: ast.Import | ast.ImportFrom) -> None:
    if isinstance(node, ast.Import):
        allowed = all(a.name in _IMPORTS for a in node.names)
    else:
        allowed = node.level == 0 and all((node.module, a.name) in _FROM for a in node.names)
    if not allowed:
        raise UnsafeText(f"line {node.lineno}: an import")
