"""Replaces what transformers computes in ways that cannot be traced by what gives the same numbers and can."""

import contextlib
import sys

import torch


def prepare(model_class):
    """Makes models of this class traceable; to be called before one is run."""
    _broadcast_masks()
    module = sys.modules[model_class.__module__]
    function = getattr(module, "XSoftmax", None)
    if isinstance(function, type) and issubclass(function, torch.autograd.Function):
        module.XSoftmax = _MaskedSoftmax


def _broadcast_masks():
    """transformers 4.53 and newer make an attention mask by `vmap` over a function of four positions, under a mode
    that replaces indexing; tracing either fails with torch 2.6 and newer ("unordered_map::at").

    The functions only compare and index: called once with positions that broadcast, they give the same mask.
    """
    try:
        from transformers import masking_utils
    except ImportError:
        return
    if hasattr(masking_utils, "_vmap_for_bhqkv"):
        masking_utils._vmap_for_bhqkv = _broadcast
    if hasattr(masking_utils, "TransformGetItemToIndex"):
        masking_utils.TransformGetItemToIndex = contextlib.nullcontext


def _broadcast(mask_function, bh_indices=True):
    """What stands for `_vmap_for_bhqkv`: batch, head, query and key positions to a mask of all their combinations."""

    def mask(batch, head, query, key):
        if not bh_indices:
            return mask_function(batch, head, query[:, None], key[None, :]).expand(len(query), len(key))
        found = mask_function(
            batch[:, None, None, None], head[None, :, None, None], query[None, None, :, None], key[None, None, None, :]
        )
        return found.expand(len(batch), len(head), len(query), len(key))

    return mask


class _MaskedSoftmax:
    """The softmax of DeBERTa before transformers 4.48, which has a backward of its own and is therefore no part of
    a graph."""

    @staticmethod
    def apply(scores, mask, dim):
        hidden = ~mask.to(torch.bool)
        masked = scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
        return torch.softmax(masked, dim).masked_fill(hidden, 0.0)
