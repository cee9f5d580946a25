"""The finished text is held against a list of what may stand there, so that no spec can smuggle code."""

from __future__ import annotations

import ast
import builtins
from typing import NoReturn

from compiler.backend.allowed import (
    BASES,
    BUILTINS,
    DECORATORS,
    DOTTED,
    EINOPS,
    IMPORTS,
    METHODS,
    NODES,
    PROPERTIES,
)

_ROOTS = frozenset({"torch", "nn", "F", "math"})
_OWN = frozenset({"self", "layer", "module"})  # what the text's own members are read from


class UnsafeText(Exception):
    """The text holds something that the emitter never writes: a bug of ours."""


def check_text(text: str) -> None:
    """Raises UnsafeText."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UnsafeText(f"the text is no Python: {error}") from None
    _Check(tree).module()


class _Check:
    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        everything = list(ast.walk(tree))
        for node in everything:
            if not isinstance(node, NODES):
                _refuse(node, type(node).__name__)
        definitions = [n for n in everything if isinstance(n, ast.ClassDef | ast.FunctionDef)]
        self.top = {n.name for n in tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef)}
        self.members = {n.name for n in definitions} | {
            n.attr for n in everything if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)
        }
        self.trusted = self.top | BUILTINS | _ROOTS | EINOPS | {"NamedTuple"}

    def module(self) -> None:
        """A docstring, imports, functions and classes; each name defined once, hiding nothing."""
        for statement in self.tree.body:
            match statement:
                case ast.FunctionDef():
                    self.function(statement)
                case ast.ClassDef():
                    self.class_(statement)
                case ast.Import() | ast.ImportFrom():
                    _check_import(statement)
                case _:
                    _check_docstring(statement)
        names = [n.name for n in self.tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef)]
        for name in names:
            if names.count(name) > 1 or name in _ROOTS | {"NamedTuple"} or name in dir(builtins):
                raise UnsafeText(f"the name {name} is defined twice or hides another")

    def class_(self, node: ast.ClassDef) -> None:
        bases = [ast.unparse(b) for b in node.bases]
        if node.keywords or node.decorator_list or len(bases) != 1 or bases[0] not in BASES:
            _refuse(node, f"the class {node.name}")
        for statement in node.body:
            match statement:
                case ast.FunctionDef():
                    self.function(statement)
                case ast.AnnAssign(value=None, target=ast.Name(), annotation=annotation):
                    if ast.unparse(annotation) != "torch.Tensor":
                        _refuse(statement, "an annotation")
                case _:
                    _check_docstring(statement)

    def function(self, node: ast.FunctionDef) -> None:
        """Names are local, trusted or defined by the text; nothing local hides what is trusted."""
        if any(ast.unparse(d) not in DECORATORS for d in node.decorator_list) or node.returns is not None:
            _refuse(node, f"the function {node.name}")
        if node.name.startswith("_") and node.name != "__init__":
            _refuse(node, f"the function {node.name}")
        inside = [n for statement in node.body for n in ast.walk(statement)]
        if any(isinstance(n, ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom) for n in inside):
            _refuse(node, "a definition or import inside a function")
        arguments = [*node.args.args, *node.args.kwonlyargs, *node.args.posonlyargs]
        arguments += [a for a in (node.args.vararg, node.args.kwarg) if a is not None]
        defaults = [*node.args.defaults, *node.args.kw_defaults]
        plain = all(a.annotation is None for a in arguments)
        if not plain or not all(isinstance(d, ast.Constant) for d in defaults):
            _refuse(node, f"an argument of {node.name}")
        stored = {n.id for n in inside if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        local = {a.arg for a in arguments} | stored
        hidden = local & self.trusted
        if hidden:
            _refuse(node, f"the local name {min(hidden)}")
        for found in inside:
            self.expression(found, local)

    def expression(self, node: ast.AST, local: set[str]) -> None:
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                allowed = name in local or name in self.trusted
            case ast.comprehension(target=target):
                allowed = not any(n.id in dir(builtins) for n in ast.walk(target) if isinstance(n, ast.Name))
            case ast.Call():
                allowed = self.call(node, local)
            case ast.Attribute():
                allowed = self.attribute(node)
            case ast.Subscript(ctx=ast.Store(), value=value):
                allowed = isinstance(value, ast.Name)
            case ast.Raise(exc=raised):
                allowed = isinstance(raised, ast.Call) and ast.unparse(raised.func) == "ValueError"
            case ast.Expr(value=value):
                allowed = isinstance(value, ast.Call | ast.Constant)
            case _:
                allowed = True
        if not allowed:
            _refuse(node, f"`{ast.unparse(node)[:80]}`")

    def call(self, node: ast.Call, local: set[str]) -> bool:
        """A function or class of the text, a builtin, a layer, a method of the list, or a member."""
        match node.func:
            case ast.Name(id=name):
                return name in self.trusted or (name == "layer" and name in local)
            case ast.Attribute(attr=attr):
                root = _root(node.func)
                return root in _ROOTS or attr in METHODS or (root in _OWN and attr in self.members)
            case _:
                return False

    def attribute(self, node: ast.Attribute) -> bool:
        root = _root(node)
        if isinstance(node.ctx, ast.Store):
            return ast.unparse(node) == f"self.{node.attr}" and not node.attr.startswith("_")
        if root in _ROOTS:
            return ast.unparse(node) in DOTTED
        return node.attr in METHODS | PROPERTIES or (root in _OWN and node.attr in self.members)


def _root(node: ast.expr) -> str:
    """The name that a chain of attributes begins with; "" for a chain on something computed."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _check_import(node: ast.Import | ast.ImportFrom) -> None:
    text = ast.unparse(node)
    einops = text.startswith("from einops import ")
    if text not in IMPORTS and not (
        einops and all(a.name in EINOPS and a.asname is None for a in node.names)
    ):
        _refuse(node, text)


def _check_docstring(node: ast.stmt) -> None:
    match node:
        case ast.Expr(value=ast.Constant(value=str())):
            return
        case _:
            _refuse(node, "a statement")


def _refuse(node: ast.AST, what: str) -> NoReturn:
    line = getattr(node, "lineno", 0)
    raise UnsafeText(f"line {line}: {what} is not in the list of compiler/backend/allowed.py")
