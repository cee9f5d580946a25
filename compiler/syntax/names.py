"""Names that the emitted text gives a meaning of its own, so that a spec cannot. Kept here without torch."""

from __future__ import annotations

import keyword
import re
from typing import Final

IDENTIFIER: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}\Z")

#: Every public attribute of an nn.Module: a submodule or a method of that name would hide it.
MODULE_ATTRIBUTES: Final = frozenset(
    """
    T_destination add_module apply bfloat16 buffers call_super_init children compile cpu cuda double
    dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half
    ipu load_state_dict modules mtia named_buffers named_children named_modules named_parameters
    parameters register_backward_hook register_buffer register_forward_hook register_forward_pre_hook
    register_full_backward_hook register_full_backward_pre_hook register_load_state_dict_post_hook
    register_load_state_dict_pre_hook register_module register_parameter register_state_dict_post_hook
    register_state_dict_pre_hook requires_grad_ set_extra_state set_submodule share_memory state_dict to
    to_empty train training type xpu zero_grad
    """.split()
)

#: Methods that the text adds to a module.
ADDED_METHODS: Final = frozenset({"init_weights", "new_cache"})

#: What the text of a method needs under its own name.
TEXT_NAMES: Final = frozenset(
    """
    GroupedLinear LoraLinear TiedLinear self cache past last torch nn F math range enumerate len zip i layer
    append attention biased_attention causal_mask linear_cross_entropy masked_softmax positions
    quick_gelu rotate rotate_interleaved rotation rotation_interleaved visible_keys
    """.split()
)

#: What the text of a constructor needs under its own name; params and dims become its arguments.
CONSTRUCTOR_NAMES: Final = frozenset({"self", "super", "torch", "nn", "F", "math", "range"})


def is_identifier(name: str) -> bool:
    """Whether Python takes the name, and no reader takes it for private."""
    return bool(IDENTIFIER.match(name)) and not keyword.iskeyword(name)
