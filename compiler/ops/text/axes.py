"""Text of the ops that move axes: einops patterns as native views, or as einops for the teaching form."""

from __future__ import annotations

from compiler.ir.code import ATOM, Code, code, join, size_piece
from compiler.ir.dims import dim
from compiler.ops.axes import axis_of, flat_names, slice_bounds, solve
from compiler.ops.patterns import Axes, Group, Side, parse_pattern
from compiler.ops.sequence import gather_sides
from compiler.ops.text.context import Context, Text


def rearrange(c: Context, local: bool = False) -> Text:
    """unflatten products, permute, then insert and drop unit axes and flatten products."""
    pattern, axes = solve(c.call)
    left, right = pattern.inputs[0], pattern.output
    text = code("{x}", x=c.var("x", ATOM))
    text = _split(text, left, axes, local)
    text = _permute(squeeze(text, left), flat_names(left), flat_names(right))
    return Text({"y": _merge(text, right)})


def _split(text: Code, side: Side, axes: Axes, local: bool) -> Code:
    """Every product axis unflattened, from the right so that indices stay true.

    local: the leading factor is what the tensor holds of it.
    """
    rank = len(side)
    for k in reversed(range(rank)):
        group = side[k]
        if len(group.names) < 2:
            continue
        sizes = [axes.size(n) for n in group.names]
        parts: list[Code] = []
        for name, size in zip(group.names, sizes, strict=True):
            assert size is not None
            parts.append(Code((size_piece(size, name),)))
        if sum(s is not None and s.constant is None for s in sizes) == 1:
            parts = [
                Code(("-1",)) if s is not None and s.constant is None else p
                for p, s in zip(parts, sizes, strict=True)
            ]
        elif local:
            lead = next((n for n, s in enumerate(sizes) if s != dim(1)), 0)
            parts[lead] = Code(("-1",))
        axis = str(k - rank) if k == rank - 1 else str(k)
        text = code("{x}.unflatten(" + axis + ", ({sizes}))", x=text, sizes=join(parts, ", "))
    return text


def squeeze(text: Code, side: Side) -> Code:
    """The unit axes of a side dropped."""
    flat: list[bool] = []
    for group in side:
        flat += [False] * len(group.names) if group.names else [True]
    for k in reversed([k for k, unit in enumerate(flat) if unit]):
        text = code("{x}.squeeze(" + str(k) + ")", x=text)
    return text


def _permute(text: Code, names: list[str], target: list[str]) -> Code:
    order = [names.index(n) for n in target]
    moved = [k for k, source in enumerate(order) if k != source]
    if not moved:
        return text
    if len(moved) == 2:
        a, b = moved
        return code("{x}.transpose(" + f"{a}, {b}" + ")", x=text)
    return code("{x}.permute(" + ", ".join(map(str, order)) + ")", x=text)


def _merge(text: Code, side: Side) -> Code:
    """Products flattened and unit axes inserted, from the right."""
    position = sum(len(g.names) for g in side)
    rank = position
    for group in reversed(side):
        count = len(group.names)
        position -= count
        if count == 0:
            text = code("{x}.unsqueeze(" + str(position) + ")", x=text)
        elif count > 1:
            last = position + count == rank
            span = f"{position}" if last else f"{position}, {position + count - 1}"
            text = code("{x}.flatten(" + span + ")", x=text)
            rank -= count - 1
            continue
        rank += count == 0
    return text


def expand(c: Context) -> Text:
    """Unit axes dropped, new axes put in their places, and widened if one of them is not 1."""
    pattern, _ = solve(c.call)
    left, shape = flat_names(pattern.inputs[0]), c.typed.outputs["y"].shape
    x = squeeze(code("{x}", x=c.var("x", ATOM)), pattern.inputs[0])
    target = [g.name for g in pattern.output]
    fresh = [n not in left for n in target]
    if not any(new and size.constant != 1 for new, size in zip(fresh, shape, strict=True)):
        return Text({"y": code("{x}" + placed(left, target), x=x)})
    sizes = [
        Code((size_piece(size, group.name or "size") if new else "-1",))
        for group, size, new in zip(pattern.output, shape, fresh, strict=True)
    ]
    return Text({"y": code("{x}" + align(left, target) + ".expand({s})", x=x, s=join(sizes, ", "))})


def placed(names: list[str], target: list[str]) -> str:
    """The index that puts axes in their places among those of the target: `[:, None]`."""
    added = [n not in names for n in target]
    return "[" + ", ".join("None" if new else ":" for new in added) + "]" if any(added) else ""


def align(names: list[str], target: list[str]) -> str:
    """As `placed`, but for broadcasting: axes in front of the first come by themselves."""
    first = next((k for k, n in enumerate(target) if n in names), len(target))
    return placed(names, target[first:])


_REDUCE = {"sum": "sum", "mean": "mean", "max": "amax", "any": "any", "var": "var", "argmax": "argmax"}


def reduce(c: Context, local: bool = False) -> Text:
    """Products unflattened where some factors stay, unit axes dropped, one reduction over all that goes."""
    pattern, axes = solve(c.call)
    kept = set(flat_names(pattern.output))
    left = tuple(_whole(g) if kept.isdisjoint(g.names) else g for g in pattern.inputs[0])
    x = squeeze(_split(code("{x}", x=c.var("x", ATOM)), left, axes, local), left)
    names = flat_names(left)
    gone = [k for k, n in enumerate(names) if n not in kept]
    keeps = [g.names for g in pattern.output] == [(n,) if n in kept else () for n in names]
    y = code("{x}" + _reduction(str(c.attr("fn")), gone, keeps), x=x)
    return Text({"y": y if keeps else _merge(y, pattern.output)})


def _whole(group: Group) -> Group:
    """A product that goes as a whole is one axis."""
    return Group(("*".join(group.names),)) if group.names else group


def _reduction(fn: str, gone: list[int], keeps: bool) -> str:
    if fn == "first":
        return "[" + ":, " * gone[0] + (":1]" if keeps else "0]")
    options = (", correction=0" if fn == "var" else "") + (", keepdim=True" if keeps else "")
    axes = str(gone[0]) if len(gone) == 1 else "(" + ", ".join(map(str, gone)) + ")"
    return f".{_REDUCE[fn]}({axes}{options})"


def concat(c: Context) -> Text:
    """`torch.cat((a, b), 1)`; one tensor alone is itself."""
    axis, inputs = axis_of(c.call, c.call.lists["x"][0]), c.vars("x")
    if len(inputs) == 1:
        return Text({"y": inputs[0]})
    return Text({"y": code("torch.cat(({x}), " + str(axis) + ")", x=join(inputs, ", "))})


def slice_(c: Context) -> Text:
    axis = axis_of(c.call, c.type("x"))
    start, stop = slice_bounds(c.call)
    bounds = f"{start or ''}:{'' if stop is None else stop}"
    return Text({"y": code("{x}[" + ":, " * axis + bounds + "]", x=c.var("x", ATOM))})


def einsum(c: Context) -> Text:
    pattern = parse_pattern(str(c.attr("pattern")))
    names = list(dict.fromkeys(g.name for side in pattern.inputs for g in side))
    letters = {n: (n if len(n) == 1 else "") for n in names}
    free = iter(
        x for x in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" if x not in letters.values()
    )
    letters = {n: known or next(free) for n, known in letters.items()}
    sides = ["".join(letters[g.name] for g in side) for side in (*pattern.inputs, pattern.output)]
    equation = ", ".join(sides[:-1]) + " -> " + sides[-1]
    return Text({"y": code('torch.einsum("' + equation + '", {x})', x=join(c.vars("x"), ", "))})


def gather(c: Context) -> Text:
    """x[:, rows, index]: at the bracket the index, at an axis that both share its own places,
    elsewhere all.
    """
    pattern, axis = gather_sides(c.call)
    source, index = ([g.name for g in side] for side in pattern.inputs)
    shared = [k for k, name in enumerate(source) if k != axis and name in index]
    chosen = sorted([*shared, axis])
    parts = [code(":")] * (chosen[-1] + 1)
    parts[axis] = Code((c.var("index"),))
    for k in shared:
        places = placed(source[k : k + 1], index[index.index(source[k]) :])
        size = size_piece(c.type("x").shape[k], source[k])
        parts[k] = code("torch.arange({n}, device={x}.device)" + places, n=size, x=c.var("x", ATOM))
    found = code("{x}[{i}]", x=c.var("x", ATOM), i=join(parts, ", "))
    first = chosen[0] if chosen[-1] - chosen[0] < len(chosen) else 0  # apart, they come out in front
    kept = [n for k, n in enumerate(source) if k not in chosen]
    names = [*kept[:first], *index, *kept[first:]]
    return Text({"y": _permute(found, names, [g.name for g in pattern.output])})
