"""The layout of the one tensor that a module returns, as neuronc's `sample::output` has it."""

import failures
import heads
import wire


class OutputLayout:
    """What a module is to return. A width that is not known before is that of its first output."""

    def __init__(self, planned, head):
        self.per = planned["per"]
        self.width = planned["width"]
        self.dtype = planned["dtype"]
        self._head = head

    def found(self):
        """The layout for the caller, which wants to know the width."""
        if self.width is None:
            raise failures.JobError(failures.INPUT, "no reference shows how wide the model's output is")
        return {"per": self.per, "width": self.width, "dtype": self.dtype}

    def check(self, output, bucket):
        """Refuses an output for a bucket that is of another layout."""
        leading = [bucket["batch"]] if self.per == "sample" else [bucket["batch"], bucket["sequence"]]
        shape = list(output.shape)
        fits = len(shape) == len(leading) + 1 and shape[:-1] == leading and self.width in (None, shape[-1])
        if not fits or output.dtype != wire.TYPES[self.dtype]:
            width = "width" if self.width is None else self.width
            raise failures.JobError(
                failures.INPUT,
                "the model returns {} {} for bucket {}x{}".format(
                    output.dtype, shape, bucket["batch"], bucket["sequence"]
                ),
                "its head, {}, is to return {} [{}]".format(
                    heads.task_of(self._head), self.dtype, ", ".join(str(size) for size in leading + [width])
                )
                + _labels(self._head),
            )
        self.width = shape[-1]

    def without_padding(self, output, length):
        """The part of an output of one row that belongs to its tokens."""
        return output[:, :length] if self.per == "token" else output


def _labels(head):
    labels = head.get("labels")
    return "" if labels is None else "; config.json has {} labels".format(len(labels))
