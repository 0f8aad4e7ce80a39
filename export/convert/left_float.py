"""Which operators of a graph stay float when the others become integers: those in front, and those behind.

A graph is its operators in the order of their running, whichever format it comes from.
"""

from __future__ import annotations

ACTIVATIONS = ("Clip", "Relu", "HardSwish")  # of ONNX

Tensor = int | str  # its number in TFLite, its name in ONNX
Operator = tuple[str, list[Tensor], list[Tensor]]  # its kind, its inputs, its outputs


def behind(operators: list[Operator]) -> list[int]:
    """Of operators in the order of their running, kind, inputs and outputs each: those that lead to no convolution.

    They join the maps into the embedding: a vanishing part of the time, and what 255 steps spoil there nothing mends.
    An activation right behind a convolution is part of it: TFLite writes the two as one, ONNX Runtime makes them one.

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
    """Of operators in the order of their running, name and kind each: the names of those in front of a convolution.

    Args:
        operators: All of a graph.
        convolutions: How many convolutions are in front of the one that is meant; at most a sixth of all.

    Example:
        >>> in_front([("a", "Add"), ("b", "Conv"), ("c", "Clip"), *[("d", "Conv")] * 5], 4)
        ['a', 'b', 'c']
    """
    places = [place for place, (_, kind) in enumerate(operators) if "CONV" in kind.upper()]
    end = places[min(convolutions, len(places) // 6)] if places else 0
    return [name for name, _ in operators[:end]]
