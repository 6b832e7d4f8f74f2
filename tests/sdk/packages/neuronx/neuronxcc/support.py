"""What the double refuses of HLO: what pages of the SDK's documentation name as refused. The real compiler's list is longer."""

REFUSED = {"fft", "sort", "topk", "triangular-solve", "cholesky", "set-dimension-size", "infeed", "outfeed"}


def refused(operations):
    """The names of the refused ones, each once, in order."""
    names = set()
    for opcode, target, is_complex in operations:
        if opcode in REFUSED:
            names.add(opcode)
        elif is_complex:
            names.add("complex")
        elif opcode == "custom-call" and target in ("TopK", "ResizeBilinear"):
            names.add(target)
    return sorted(names)
