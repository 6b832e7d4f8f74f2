"""Lets the attention masks of transformers be traced.

transformers 4.53 and newer make a mask by `vmap` over a function of four positions, under a mode that replaces
indexing. Neither can be traced with torch 2.6 and newer ("unordered_map::at"). The functions themselves only
compare and index, so that calling them once with positions that broadcast gives the same mask.
"""

import contextlib


def make_traceable():
    """Replaces the `vmap`; does nothing where transformers has none."""
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
