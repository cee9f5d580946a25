"""What emitted text may say: the list that check.py holds every text against before it runs.

A new op or library function that needs another name adds it here: pure functions of tensors, modules of
torch.nn and initialisers; nothing that reads or writes outside the tensors it is given.
"""

from __future__ import annotations

import ast
from typing import Final

NODES: Final = (
    ast.Module, ast.Import, ast.ImportFrom, ast.alias, ast.ClassDef, ast.FunctionDef, ast.arguments,
    ast.arg, ast.Expr, ast.Assign, ast.AnnAssign, ast.Return, ast.If, ast.For, ast.Raise, ast.Call,
    ast.keyword, ast.Attribute, ast.Name, ast.Constant, ast.Subscript, ast.Slice, ast.Tuple, ast.List,
    ast.Dict, ast.Starred, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.GeneratorExp,
    ast.ListComp, ast.comprehension, ast.JoinedStr, ast.FormattedValue, ast.operator, ast.unaryop,
    ast.boolop, ast.cmpop, ast.expr_context,
)  # fmt: skip

#: Whole lines of import.
IMPORTS: Final = frozenset(
    {
        "import math",
        "from typing import NamedTuple",
        "import torch",
        "import torch.nn.functional as F",
        "from torch import nn",
    }
)
EINOPS: Final = frozenset({"einsum", "rearrange", "reduce", "repeat"})

BUILTINS: Final = frozenset(
    {"ValueError", "enumerate", "float", "isinstance", "len", "max", "min", "next", "range", "super", "zip"}
)
BASES: Final = frozenset({"nn.Module", "nn.Linear", "NamedTuple"})
DECORATORS: Final = frozenset({"torch.no_grad()"})

_TORCH: Final = """
    Tensor no_grad arange cat stack einsum where empty zeros ones full full_like zeros_like ones_like
    sigmoid tanh minimum maximum exp log sqrt abs sin cos softmax argsort topk cumsum roll flip tril triu
    gather rand_like randn_like rand randn logsumexp outer bool int32 int64 float16 bfloat16 float32
    float64 compiler.is_compiling
"""
_NN: Final = """
    Module ModuleList Parameter Linear Embedding LayerNorm RMSNorm GroupNorm BatchNorm1d BatchNorm2d
    BatchNorm3d Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d init.normal_
    init.uniform_ init.zeros_ init.ones_ init.constant_ init.trunc_normal_ init.kaiming_uniform_
    init.kaiming_normal_ init.xavier_uniform_ init.xavier_normal_ init.orthogonal_ init.eye_
    LinearCrossEntropyOptions
"""
_F: Final = """
    scaled_dot_product_attention dropout linear gelu relu silu softplus sigmoid tanh elu leaky_relu
    hardswish mish softmax log_softmax cross_entropy linear_cross_entropy layer_norm rms_norm group_norm
    batch_norm embedding pad interpolate one_hot normalize conv1d conv2d conv3d conv_transpose1d
    conv_transpose2d conv_transpose3d avg_pool1d avg_pool2d max_pool1d max_pool2d adaptive_avg_pool1d
    adaptive_avg_pool2d unfold fold pixel_shuffle pixel_unshuffle grouped_mm
"""

#: Names under torch, nn, F and math, in full.
DOTTED: Final = frozenset(
    {f"torch.{name}" for name in _TORCH.split()}
    | {f"nn.{name}" for name in _NN.split()}
    | {f"F.{name}" for name in _F.split()}
    | {"nn.init", "torch.compiler", "math.inf", "math.nan", "math.pi"}
)

#: Methods of a tensor, a module or a list that a text may call on any value.
METHODS: Final = frozenset(
    """
    __init__ modules parameters append unflatten flatten transpose permute unsqueeze squeeze expand
    reshape view split chunk unbind narrow repeat repeat_interleave roll flip sum mean amax amin any all
    var argmax argmin cumsum cumprod sort argsort topk gather index_select index_add scatter scatter_add
    take_along_dim masked_fill where softmax log_softmax sigmoid tanh exp log sqrt rsqrt sin cos abs sign
    floor ceil round clamp pow square relu logsumexp norm requires_grad_ tril triu diagonal unfold
    contiguous clone copy_
    fill_ zero_ to float long bool int type_as new_empty new_zeros new_ones new_full numel size dim isinf
    isnan items tolist
    """.split()
)

#: Attributes that are read.
PROPERTIES: Final = frozenset({"shape", "device", "dtype", "weight", "bias", "training", "mT", "T", "ndim"})
