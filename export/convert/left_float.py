"""Chooses the operators of a graph that stay float when the others are quantized: the first ones and the last ones.

A graph is given as its operators in execution order, whichever format it comes from.
"""

from __future__ import annotations

ACTIVATIONS = ("Clip", "Relu")  # of ONNX

Tensor = int | str  # its number in TFLite, its name in ONNX
Operator = tuple[str, list[Tensor], list[Tensor]]  # its kind, its inputs, its outputs


def behind(operators: list[Operator]) -> list[int]:
    """Return the indices of the operators, in execution order, whose outputs reach no convolution.

    They turn the maps into the embedding. They take very little time, and no later layer can correct their quantization
    errors. An activation right after a convolution counts as part of it, because TFLite and ONNX Runtime fuse the two.

    Example:
        >>> behind([("CONV_2D", [0], [1]), ("MUL", [1, 1], [2]), ("CONV_2D", [1], [3]), ("ADD", [2, 3], [4])])
        [1, 3]
        >>> behind([("Conv", ["a"], ["b"]), ("Clip", ["b"], ["c"]), ("Concat", ["c", "c"], ["d"])])
        [2]
    """
    leads: set[Tensor] = set()  # tensors that some convolution needs
    convolved = {tensor for kind, _, outputs in operators if "CONV" in kind.upper() for tensor in outputs}
    found = []
    for row in reversed(range(len(operators))):
        kind, inputs, outputs = operators[row]
        is_part = kind in ACTIVATIONS and convolved.issuperset(inputs[:1])
        if "CONV" in kind.upper() or is_part or leads.intersection(outputs):
            leads.update(inputs)
        else:
            found.append(row)
    return found[::-1]


def in_front(operators: list[tuple[str, str]], convolutions: int) -> list[str]:
    """Return the names of the operators up to a given convolution.

    Args:
        operators: The name and kind of all of a graph's operators, in execution order.
        convolutions: The number of convolutions to include; at most a sixth of all are.

    Example:
        >>> in_front([("a", "Add"), ("b", "Conv"), ("c", "Clip"), *[("d", "Conv")] * 5], 4)
        ['a', 'b', 'c']
    """
    places = [place for place, (_, kind) in enumerate(operators) if "CONV" in kind.upper()]
    end = places[min(convolutions, len(places) // 6)] if places else 0
    return [name for name, _ in operators[:end]]
