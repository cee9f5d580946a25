"""The finished text is checked before it runs: an allow-list of syntax and names, so that no spec can smuggle code."""

from __future__ import annotations

import ast
import builtins

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
        """A docstring, imports, functions and classes; each name defined once, none taken from what is trusted."""
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
        if node.keywords or node.decorator_list or [ast.unparse(b) for b in node.bases if ast.unparse(b) in BASES] == []:
            _refuse(node, f"the class {node.name}")
        if len(node.bases) != 1 or node.name in METHODS:
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
        if any(isinstance(n, ast.FunctionDef | ast.ClassDef) for n in inside):
            _refuse(node, "a definition inside a function")
        arguments = [*node.args.args, *node.args.kwonlyargs, *node.args.posonlyargs]
        arguments += [a for a in (node.args.vararg, node.args.kwarg) if a is not None]
        defaults = [*node.args.defaults, *node.args.kw_defaults]
        if any(a.annotation is not None for a in arguments) or not all(isinstance(d, ast.Constant) for d in defaults):
            _refuse(node, f"an argument of {node.name}")
        local = {a.arg for a in arguments} | {n.id for n in inside if _is_store(n)}
        hidden = local & self.trusted
        if hidden:
            _refuse(node, f"the local name {min(hidden)}")
        for found in inside:
            self.expression(found, local)

    def expression(self, node: ast.AST, local: set[str]) -> None:
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                if name not in local and name not in self.trusted:
                    _refuse(node, f"the name {name}")
            case ast.comprehension(target=target):
                if any(n.id in dir(builtins) for n in ast.walk(target) if isinstance(n, ast.Name)):
                    _refuse(node, "a loop variable")
            case ast.Call():
                self.call(node, local)
            case ast.Attribute():
                self.attribute(node)
            case ast.Subscript(ctx=ast.Store(), value=value):
                if not isinstance(value, ast.Name):
                    _refuse(node, "an assignment")
            case ast.Raise(exc=raised):
                if not (isinstance(raised, ast.Call) and ast.unparse(raised.func) == "ValueError"):
                    _refuse(node, "what is raised")
            case ast.Expr(value=value):
                if not isinstance(value, ast.Call | ast.Constant):
                    _refuse(node, "an expression")

    def call(self, node: ast.Call, local: set[str]) -> None:
        """A function or class of the text, a builtin, a layer, a method of the list, or a member."""
        match node.func:
            case ast.Name(id=name):
                allowed = name in self.trusted or (name == "layer" and name in local)
            case ast.Attribute(attr=attr):
                root = _root(node.func)
                allowed = root in _ROOTS or attr in METHODS or (root in _OWN and attr in self.members)
            case _:
                allowed = False
        if not allowed:
            _refuse(node, f"the call of {ast.unparse(node.func)[:80]}")

    def attribute(self, node: ast.Attribute) -> None:
        root = _root(node)
        if isinstance(node.ctx, ast.Store):
            allowed = isinstance(node.value, ast.Name) and node.value.id == "self" and not node.attr.startswith("_")
        elif root in _ROOTS:
            allowed = ast.unparse(node) in DOTTED
        else:
            allowed = node.attr in METHODS | PROPERTIES or (root in _OWN and node.attr in self.members)
        if not allowed:
            _refuse(node, f"the attribute {ast.unparse(node)[:80]}")


def _root(node: ast.expr) -> str:
    """The name that a chain of attributes begins with; "" for a chain on something computed."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _is_store(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def _check_import(node: ast.Import | ast.ImportFrom) -> None:
    text = ast.unparse(node)
    einops = isinstance(node, ast.ImportFrom) and node.module == "einops" and node.level == 0
    if text not in IMPORTS and not (einops and all(a.name in EINOPS and a.asname is None for a in node.names)):
        _refuse(node, text)


def _check_docstring(node: ast.stmt) -> None:
    if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)):
        _refuse(node, "a statement")


def _refuse(node: ast.AST, what: str) -> None:
    line = getattr(node, "lineno", 0)
    raise UnsafeText(f"line {line}: {what} is not in the list of compiler/backend/allowed.py")
