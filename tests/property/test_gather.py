"""gather against a loop over every entry of its output."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.one_node import Case, run

FORMS = [
    "[N] D, -> D",
    "[N] D, I -> I D",
    "B [N], I -> B I",
    "B [N] D, I J -> B I J D",
    "B [N] D, B -> B D",
    "B [N] D, B I -> B I D",
    "B [N], B I -> B I",
    "B H T [R], T S -> B H T S",
    "B T [R], B S -> B T S",
    "B T [R] D, B T -> B T D",
    "[N] B D, B I -> I B D",
    "B [N] D, I B -> D I B",
    "A B [N] D E, B A -> E A B D",
    "A [N] B, B -> A B",
]


def looped(pattern: str, x: torch.Tensor, index: torch.Tensor, sizes: dict[str, int]) -> torch.Tensor:
    left, _, out = pattern.partition("->")
    source, places = (side.split() for side in left.split(","))
    names = out.split()
    found = torch.empty([sizes[n] for n in names], dtype=x.dtype)
    for cell in itertools.product(*(range(sizes[n]) for n in names)):
        at = dict(zip(names, cell, strict=True))
        chosen = int(index[tuple(at[n] for n in places)])
        found[cell] = x[tuple(chosen if n.startswith("[") else at[n] for n in source)]
    return found


@pytest.mark.parametrize("pattern", FORMS)
@settings(max_examples=12)
@given(st.data())
def test_gather(pattern: str, data: st.DataObject) -> None:
    left = pattern.partition("->")[0]
    source, places = (side.split() for side in left.replace("[", "").replace("]", "").split(","))
    sizes = {n: data.draw(st.integers(1, 3)) for n in dict.fromkeys([*source, *places])}
    free = data.draw(st.sets(st.sampled_from(sorted(sizes))))
    spelled = {n: n if n in free else str(s) for n, s in sizes.items()}
    bracket = left[left.index("[") + 1]
    shape = [sizes[n] for n in source]
    x = torch.arange(torch.tensor(shape).prod().item(), dtype=torch.float64).reshape(shape)
    index = torch.randint(
        sizes[bracket], [sizes[n] for n in places], generator=torch.Generator().manual_seed(len(free))
    )
    case = Case(
        f'op: gather, in: [x, index], pattern: "{pattern}"',
        {
            "x": f"float[{', '.join(spelled[n] for n in source)}]",
            "index": f"int[{', '.join(spelled[n] for n in places)}]",
        },
    )
    assert torch.equal(run(case, x=x, index=index)["y"], looped(pattern, x, index, sizes))
