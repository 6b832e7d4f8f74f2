"""Modules that return the one tensor a head describes, whatever the model beneath them returns.

docs/bundle.md has the shapes. The arithmetic of pooling is that of neuronc-torch's `model/pooling.rs`.
"""

import torch

import failures

# The class of transformers that loads the model of a task.
AUTO_CLASSES = {
    "feature-extraction": "AutoModel",
    "question-answering": "AutoModelForQuestionAnswering",
    "text-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "fill-mask": "AutoModelForMaskedLM",
}

# Keeps the mean of a row that is all padding finite.
_TOKENS_MIN = 1e-9

# Keeps the direction of a vector of zeros finite.
_LENGTH_MIN = 1e-12

# What takes padding out of a maximum.
_PENALTY = 1e9


def task_of(head):
    """The task of a head; fails for one that this executor does not know."""
    task = head.get("task") if isinstance(head, dict) else None
    if task not in AUTO_CLASSES:
        raise failures.JobError(failures.INPUT, "`{}` is not a task of this executor".format(task))
    return task


class HeadModule(torch.nn.Module):
    """Takes the tensors of `inputs`, in that order, and returns the tensor of `head`."""

    def __init__(self, model, head, inputs):
        super().__init__()
        self.model = model
        self.head = head
        self.task = task_of(head)
        self.inputs = list(inputs)
        self.position = None
        pooling = head.get("pooling")
        if head.get("normalize") and not pooling:
            raise failures.JobError(failures.INPUT, "only the embedding of a text is scaled, and no pooling makes one")
        if pooling in ("mean", "max") and "attention_mask" not in self.inputs:
            raise failures.JobError(
                failures.INPUT,
                "the model cannot be pooled by `{}`".format(pooling),
                "it takes no attention mask, so that padding would count as text",
            )

    def forward(self, *tensors):
        named = dict(zip(self.inputs, tensors))
        self.position = named.pop("position", None)
        try:
            return self._answer(self._run(named), named).to(torch.float32)
        finally:
            self.position = None

    def _run(self, named):
        raise NotImplementedError

    def _answer(self, output, named):
        if self.task == "feature-extraction":
            return self._embed(_field(output, "last_hidden_state", 0), named.get("attention_mask"))
        if self.task == "question-answering":
            if torch.is_tensor(output):
                return output
            return torch.stack([_field(output, "start_logits", 0), _field(output, "end_logits", 1)], dim=-1)
        logits = _field(output, "logits", 0)
        if self.task == "fill-mask" and logits.dim() == 3:
            picked = logits if self.position is None else _at_position(logits, self.position)
            return picked.squeeze(1)
        return logits

    def _embed(self, hidden, mask):
        pooling = self.head.get("pooling")
        if not pooling:
            return hidden
        if pooling == "cls":
            pooled = hidden[:, 0]
        else:
            mask = mask.unsqueeze(-1).to(hidden.dtype)
            if pooling == "mean":
                pooled = (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=_TOKENS_MIN)
            elif pooling == "max":
                pooled = (hidden + (mask - 1.0) * _PENALTY).amax(dim=1)
            else:
                raise failures.JobError(failures.INPUT, "`{}` is not a pooling of this executor".format(pooling))
        if self.head.get("normalize"):
            length = (pooled * pooled).sum(dim=-1, keepdim=True).sqrt()
            pooled = pooled / length.clamp(min=_LENGTH_MIN)
        return pooled


class TransformersModule(HeadModule):
    """A model of transformers.

    For fill-mask, the token that is asked for is taken out before the product with the vocabulary where the model
    has a layer for that product: the rest of a row would be computed for nothing, and it is most of the work.
    """

    def __init__(self, model, head, inputs):
        super().__init__(model, head, inputs)
        decoder = model.get_output_embeddings() if self.task == "fill-mask" else None
        if isinstance(decoder, torch.nn.Linear):
            decoder.register_forward_pre_hook(self._pick)

    def _pick(self, _decoder, arguments):
        if self.position is None or arguments[0].dim() != 3:
            return None
        picked = _at_position(arguments[0], self.position)
        # What comes behind has one token a row.
        self.position = None
        return (picked,)

    def _run(self, named):
        return self.model(return_dict=True, **named)


class TorchscriptModule(HeadModule):
    """A TorchScript module, which takes its inputs by place and may return a tuple or a dictionary."""

    def _run(self, named):
        return self.model(*named.values())


def _field(output, name, index):
    """The output of that name, or else in that place."""
    if torch.is_tensor(output):
        return output
    if isinstance(output, dict):
        return output[name] if name in output else list(output.values())[index]
    return output[index]


def _at_position(values, position):
    """`[batch, sequence, width]` to `[batch, 1, width]`: of each row the token that is asked for.

    Row by row: inf1 has `index_select` and no `gather`. torch-xla aborts when something indexes with a part of a
    `split`.
    """
    rows = zip(values.unbind(0), position.reshape(-1, 1).unbind(0))
    return torch.stack([row.index_select(0, place) for row, place in rows])
