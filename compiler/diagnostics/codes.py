"""Every diagnostic code with what it means. docs/errors.md is generated from this table."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

CODES: Final[Mapping[str, str]] = MappingProxyType(
    {
        # files and YAML
        "not-found": "A spec, block, weight map, file or folder of that name does not exist.",
        "unreadable": "A file exists but cannot be read as what it should be.",
        "ambiguous-name": "Two things of one name stand at the same level of the search.",
        "yaml-syntax": "The text is not YAML.",
        "yaml-key": "A mapping key is not a plain word.",
        "yaml-duplicate-key": "A key stands twice in one mapping.",
        "yaml-alias": "Anchors, aliases and merge keys are not part of the language.",
        "yaml-tag": "Tags are not part of the language.",
        "yaml-limit": "The file is too large or nested too deeply.",
        # schema
        "unknown-field": "A key is not a field of what it stands in.",
        "missing-field": "A required key is absent.",
        "wrong-type": "A value has another type than its field.",
        "bad-value": "A value has the right type but is not allowed here.",
        "bad-name": "A name cannot be used as an identifier in the emitted class.",
        # expressions and params
        "expr-syntax": "An expression does not follow the grammar.",
        "expr-name": "An expression names something that does not exist in its scope.",
        "expr-value": "An expression has no value: a division is not exact, an operand is of the wrong type.",
        "expr-cycle": "Parameters are defined in terms of each other.",
        "unknown-param": "A parameter that the spec or block does not declare.",
        "missing-param": "A required parameter has no value.",
        # wiring
        "unknown-op": "No op has that name.",
        "unknown-block": "No block has that name.",
        "unknown-ref": "A reference names no node, port or input in scope.",
        "forward-ref": "A reference points to a node that stands later in the document.",
        "cycle": "Blocks, specs or nodes contain each other.",
        "unknown-port": "A node has no port of that name.",
        "missing-input": "A required input port is not wired.",
        "absent-value": "Something required is absent.",
        "input-order": "A required input of a spec stands behind an optional one.",
        "unused-input": "An input, parameter or node that nothing reads.",
        # repeat, extends, methods
        "bad-repeat": "A repeat cannot be expanded: a count, an order, or a rule that matches nothing.",
        "bad-path": "A path reaches nothing.",
        "conflict": "Two edits write the same place, or an edit meets what it must not.",
        "bad-method": "A method cuts or outputs something that the graph does not have.",
        # shapes
        "shape-mismatch": "Two shapes that must agree do not.",
        "shape-unknown": "Two shapes could not be proved equal.",
        "dtype-mismatch": "A value has another element type than its port.",
        "bad-pattern": "An axis pattern does not follow the grammar or does not fit its inputs.",
        "bad-dim": "A dimension is not a positive whole number.",
        "too-large": "A tensor has more than 2^40 elements.",
        # weight maps and checkpoints
        "rule-syntax": "A weight rule does not follow the grammar.",
        "rule-unused": "A weight rule matches nothing.",
        "rule-collision": "Two rules write or read the same tensor.",
        "rule-axes": "The axes of a rule cannot be solved from the shapes.",
        "map-missing": "No weight map serves this spec and checkpoint.",
        "key-missing": "The checkpoint lacks tensors that the model needs.",
        "key-unexpected": "The checkpoint holds tensors that no rule mentions.",
        "key-mismatch": "A tensor has another shape or type than the model's.",
        "tie-broken": "Tensors that the model ties differ in the checkpoint.",
        "config-value": "A value of config.json that the spec cannot express.",
        "checkpoint-format": "A checkpoint file is damaged, hostile, or of a kind that is not read.",
        "checkpoint-path": "A checkpoint names a file outside its folder.",
        "not-fetched": "A file of a published model is not in the cache, and could not be fetched.",
        "not-writable": "Something would be overwritten, or cannot be written.",
        "cannot-export": "The model cannot be written in that dialect.",
        # tasks
        "wrong-model": "A model cannot do the task that is asked of it.",
        # training
        "not-finite": "Training met a loss or a gradient that is not finite; the step was not taken.",
        "usage": "A call asks for something that its arguments do not allow.",
    }
)
