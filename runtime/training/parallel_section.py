"""The `parallel` section of a recipe: how a run is spread over the processes of torchrun."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from runtime.training.fields import Positive, Section, WordsBy


class ParallelSection(Section):
    """tp: how many processes share each layer; the world divided by it share the data and the state (FSDP).

    plan: module pattern (`h.*.mlp.up`) -> a style, or `replicate`, in place of what the graph gives.
    """

    tp: Positive = 1
    plan: Annotated[WordsBy, Field(default_factory=dict)]
