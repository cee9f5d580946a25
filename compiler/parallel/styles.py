"""How the weights of one module lie on the ranks that share it, in the words of transformers' `tp_plan`."""

from __future__ import annotations

from typing import Final

COLWISE: Final = "colwise"  # a linear map: rows of the weight, so columns of what it gives
ROWWISE: Final = "rowwise"  # a linear map: columns of the weight; the ranks' results are added
GATHERED: Final = "colwise_gather_output"  # as colwise, and every rank gets the whole result
TABLE: Final = "embedding_rowwise"  # rows of a table; the ranks' results are added
TABLE_COLUMNS: Final = "embedding_colwise"  # columns of a table, so columns of what is looked up
SHARED: Final = "replicated_with_grad_allreduce"  # whole, over values that are split: gradients are added
REPLICATE: Final = "replicate"  # whole

STYLES: Final = (COLWISE, ROWWISE, GATHERED, TABLE, TABLE_COLUMNS, SHARED, REPLICATE)


def split_axis(style: str, weight: str, rank: int) -> int | None:
    """The axis of a module's tensor that is split under a style, None for none.

    weight: [..., out, in] of maps, [rows, columns] of tables; bias: [..., out]. rank: how many axes it has.
    """
    if style in (COLWISE, GATHERED, TABLE):
        return rank - (2 if weight == "weight" else 1)
    return rank - 1 if style in (ROWWISE, TABLE_COLUMNS) and weight == "weight" else None
