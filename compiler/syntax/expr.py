"""The expression grammar: one parser for params, dims and `map`. No eval anywhere.

expr    := or ["if" or "else" expr]
or      := and {"or" and} ;  and := not {"and" not} ;  not := "not" not | compare
compare := sum [("==" | "!=" | "<" | "<=" | ">" | ">=") sum]
sum     := term {("+" | "-") term} ;  term := factor {("*" | "/" | "//" | "%") factor}
factor  := "-" factor | power ;  power := postfix ["**" factor]
postfix := atom {"[" expr "]"}
atom    := number | string | name | name "(" args ")" | "(" expr ")" | "[" args "]"
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from compiler.diagnostics.suggest import did_you_mean
from compiler.syntax.tokens import ExprError as ExprError
from compiler.syntax.tokens import Token, hint, number, tokenize

MAX_LENGTH = 400
MAX_DEPTH = 40

#: name -> (fewest, most) arguments
FUNCTIONS: dict[str, tuple[int, int]] = {
    "min": (1, 8), "max": (1, 8), "abs": (1, 1), "ceil_to": (2, 2), "floor": (1, 1), "ceil": (1, 1),
    "int": (1, 1), "sign": (1, 1), "clamp": (3, 3), "log": (1, 1), "exp": (1, 1), "sqrt": (1, 1),
    "sin": (1, 1), "cos": (1, 1), "tanh": (1, 1), "sigmoid": (1, 1), "present": (1, 1), "len": (1, 1),
    "cycle": (2, 2),
}  # fmt: skip


@dataclass(frozen=True)
class Const:
    """A literal."""

    value: int | float | bool | str | None


@dataclass(frozen=True)
class Name:
    """A name, resolved where it is evaluated."""

    name: str
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Unary:
    """`-x` or `not x`."""

    op: str  # "-" "not"
    operand: Expr


@dataclass(frozen=True)
class Binary:
    """Two operands and what stands between them."""

    op: str  # arithmetic, comparison, "and", "or"
    left: Expr
    right: Expr


@dataclass(frozen=True)
class IfElse:
    """`a if condition else b`."""

    test: Expr
    then: Expr
    other: Expr


@dataclass(frozen=True)
class Call:
    """A function of the grammar, applied."""

    name: str
    args: tuple[Expr, ...]


@dataclass(frozen=True)
class Item:
    """`a[i]`."""

    value: Expr
    index: Expr


@dataclass(frozen=True)
class ListExpr:
    """`[a, b]`."""

    items: tuple[Expr, ...]


Expr = Const | Name | Unary | Binary | IfElse | Call | Item | ListExpr

_COMPARE = {"==", "!=", "<", "<=", ">", ">="}
_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "null": None}


@lru_cache(maxsize=4096)
def parse_expr(text: str) -> Expr:
    """The tree of an expression (without its leading `=`). Raises ExprError."""
    if len(text) > MAX_LENGTH:
        raise ExprError(f"the expression is longer than {MAX_LENGTH} characters", 0, len(text))
    return _Parser(text).parse()


def free_names(expr: Expr) -> frozenset[str]:
    """The names that an expression mentions."""
    match expr:
        case Name(name=name):
            return frozenset({name})
        case Const():
            return frozenset()
        case _:
            return frozenset().union(*(free_names(c) for c in children(expr)))


def children(expr: Expr) -> tuple[Expr, ...]:
    """The expressions directly inside one."""
    match expr:
        case Unary(operand=operand):
            return (operand,)
        case Binary(left=left, right=right):
            return (left, right)
        case IfElse(test=test, then=then, other=other):
            return (test, then, other)
        case Call(args=args):
            return args
        case Item(value=value, index=index):
            return (value, index)
        case ListExpr(items=items):
            return items
        case Const() | Name():
            return ()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokenize(text)
        self.position = 0
        self.depth = 0

    def parse(self) -> Expr:
        expr = self.expr()
        if self.peek.kind != "end":
            raise self.unexpected()
        return expr

    @property
    def peek(self) -> Token:
        return self.tokens[self.position]

    def take(self) -> Token:
        token = self.peek
        self.position += 1
        return token

    def accept(self, *texts: str) -> str | None:
        token = self.peek
        if token.kind in ("op", "word") and token.text in texts:
            self.position += 1
            return token.text
        return None

    def expect(self, text: str) -> None:
        if self.accept(text) is None:
            raise self.unexpected(f"expected `{text}`")

    def unexpected(self, wanted: str = "") -> ExprError:
        token = self.peek
        found = "the end of the expression" if token.kind == "end" else f"`{token.text}`"
        message = f"{wanted}, found {found}" if wanted else f"found {found} where a value is expected"
        return ExprError(message, token.start, max(token.end, token.start + 1), hint(token.text))

    def expr(self) -> Expr:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ExprError(f"the expression nests deeper than {MAX_DEPTH}", 0, len(self.text))
        value = self.or_()
        if self.accept("if"):
            test = self.or_()
            self.expect("else")
            value = IfElse(test, value, self.expr())
        self.depth -= 1
        return value

    def or_(self) -> Expr:
        left = self.and_()
        while self.accept("or"):
            left = Binary("or", left, self.and_())
        return left

    def and_(self) -> Expr:
        left = self.not_()
        while self.accept("and"):
            left = Binary("and", left, self.not_())
        return left

    def not_(self) -> Expr:
        if self.accept("not"):
            return Unary("not", self.not_())
        left = self.sum()
        if op := self.accept(*_COMPARE):
            return Binary(op, left, self.sum())
        return left

    def sum(self) -> Expr:
        left = self.term()
        while op := self.accept("+", "-"):
            left = Binary(op, left, self.term())
        return left

    def term(self) -> Expr:
        left = self.factor()
        while op := self.accept("*", "/", "//", "%"):
            left = Binary(op, left, self.factor())
        return left

    def factor(self) -> Expr:
        signs = 0
        while self.accept("-"):
            signs += 1
        value = self.power()
        return Unary("-", value) if signs % 2 else value

    def power(self) -> Expr:
        base = self.postfix()
        if self.accept("**"):
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise ExprError(f"the expression nests deeper than {MAX_DEPTH}", 0, len(self.text))
            exponent = self.factor()
            self.depth -= 1
            return Binary("**", base, exponent)
        return base

    def postfix(self) -> Expr:
        value = self.atom()
        while self.accept("["):
            value = Item(value, self.expr())
            self.expect("]")
        return value

    def atom(self) -> Expr:
        token = self.peek
        if token.kind == "number":
            self.take()
            return Const(number(token.text))
        if token.kind == "string":
            self.take()
            return Const(token.text[1:-1])
        if token.kind == "name":
            self.take()
            if token.text in _CONSTANTS:
                return Const(_CONSTANTS[token.text])
            if self.accept("("):
                return self.call(token)
            return Name(token.text, token.start, token.end)
        if self.accept("("):
            value = self.expr()
            self.expect(")")
            return value
        if self.accept("["):
            return ListExpr(self.arguments("]"))
        raise self.unexpected()

    def call(self, token: Token) -> Expr:
        if token.text not in FUNCTIONS:
            raise ExprError(
                f"there is no function `{token.text}`",
                token.start,
                token.end,
                did_you_mean(token.text, FUNCTIONS),
            )
        args = self.arguments(")")
        fewest, most = FUNCTIONS[token.text]
        if not fewest <= len(args) <= most:
            takes = str(fewest) if fewest == most else f"{fewest} to {most}"
            raise ExprError(
                f"`{token.text}` takes {takes} arguments, not {len(args)}", token.start, token.end
            )
        return Call(token.text, args)

    def arguments(self, close: str) -> tuple[Expr, ...]:
        args: list[Expr] = []
        while not self.accept(close):
            if args:
                self.expect(",")
            args.append(self.expr())
        return tuple(args)
