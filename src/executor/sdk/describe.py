"""`describe`: what transformers' forward takes, and how long its inputs may be. Reads small files only."""

import contextlib
import inspect
import json
import os
import sys

import torch

import failures
import heads
import modules

# Names that models of transformers give to the embedding of positions.
_POSITION_EMBEDDINGS = ("position_embeddings", "embed_positions", "wpe", "pos_embeddings", "position_embedding")

# Names of the number of positions in configurations.
_POSITION_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length")

# transformers writes 1e30 where a tokenizer has no bound.
_SANE_TOKENS = 1000000


def run(job, events):
    """Answers with `described`."""
    folder, head = job["folder"], job["head"]
    task = heads.task_of(head)
    config = modules.load_config(folder)
    model_class = modules.class_of(config, head)
    tokenizer = _Tokenizer(folder, config)
    taken = inspect.signature(model_class.forward).parameters
    if "input_ids" not in taken:
        raise failures.JobError(failures.INPUT, "`{}` does not take token ids".format(model_class.__name__))
    inputs = ["input_ids"]
    # Padding is neuronc's, so that the mask is given wherever the model can take it.
    if "attention_mask" in taken:
        inputs.append("attention_mask")
    if "token_type_ids" in taken and "token_type_ids" in tokenizer.inputs and _has_segments(config):
        inputs.append("token_type_ids")
    if task == "fill-mask":
        inputs.append("position")
    events.send(
        "described",
        inputs=inputs,
        pad_id=_pad_id(config, tokenizer),
        max_tokens=_max_tokens(config, model_class, tokenizer),
    )


class _Tokenizer:
    """What matters of the tokenizer: which inputs it gives, its padding and its bound.

    Settings in the folder come first, then those of the tokenizer's class.
    """

    def __init__(self, folder, config):
        settings = _read_settings(os.path.join(folder, "tokenizer_config.json"))
        built = _build_tokenizer(folder) or _tokenizer_class(settings, config)
        self.inputs = settings.get("model_input_names") or getattr(built, "model_input_names", None)
        if not self.inputs:
            raise failures.JobError(
                failures.INPUT,
                "it is not known which inputs the model's tokenizer gives",
                "tokenizer_config.json has no `model_input_names`, and transformers cannot build the tokenizer",
            )
        pad_id, eos_id = getattr(built, "pad_token_id", None), getattr(built, "eos_token_id", None)
        self.pad_id = pad_id if isinstance(pad_id, int) else None
        self.eos_id = eos_id if isinstance(eos_id, int) else None
        bound = settings.get("model_max_length") or getattr(built, "model_max_length", None)
        sane = isinstance(bound, (int, float)) and 1 <= bound <= _SANE_TOKENS
        self.max_tokens = int(bound) if sane else None


def _read_settings(path):
    if not os.path.exists(path):
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise failures.JobError(failures.INPUT, "`{}` cannot be read".format(path), str(error))


def _build_tokenizer(folder):
    import transformers

    try:
        return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # It may need packages that only tokenizing needs; neuronc tokenizes itself.
        sys.stderr.write("transformers cannot build the tokenizer: {}\n".format(error))
        return None


def _tokenizer_class(settings, config):
    """The class of a tokenizer that cannot be built; it knows the inputs too."""
    import transformers

    named = getattr(transformers, str(settings.get("tokenizer_class")), None)
    if isinstance(named, type):
        return named
    known = [each for each in transformers.TOKENIZER_MAPPING.get(type(config), ()) if each is not None]
    return known[0] if known else None


def _has_segments(config):
    """Whether token types make a difference: DeBERTa's forward takes them and has none, RoBERTa's has a single one."""
    kinds = getattr(config, "type_vocab_size", None)
    return kinds is None or kinds > 1


def _pad_id(config, tokenizer):
    """The id of padding: models look for that of their configuration; a decoder that has none ends texts instead."""
    vocabulary = config.vocab_size
    for each in (config.pad_token_id, tokenizer.pad_id, config.eos_token_id, tokenizer.eos_id):
        each = each[0] if isinstance(each, (list, tuple)) and each else each
        if isinstance(each, int) and 0 <= each < vocabulary:
            return each
    return 0


def _max_tokens(config, model_class, tokenizer):
    bounds = _embedded_positions(config, model_class)
    if not bounds:
        named = [getattr(config, key, None) for key in _POSITION_KEYS]
        bounds = [each for each in named if isinstance(each, int) and each > 0][:1]
    if tokenizer.max_tokens is not None:
        bounds.append(tokenizer.max_tokens)
    if not bounds:
        raise failures.JobError(
            failures.INPUT,
            "neither config.json nor the tokenizer says how long an input may be",
            "expected one of {}".format(modules.name_list(list(_POSITION_KEYS))),
        )
    return min(bounds)


def _embedded_positions(config, model_class):
    """How many tokens each table of positions in the model has room for.

    Where padding has a place in the table, texts begin behind it: such models hold fewer tokens than rows.
    """
    with _without_weights():
        model = modules.or_input(lambda: model_class._from_config(config), "transformers cannot build the model")
    rooms = []
    for name, module in model.named_modules():
        if name.split(".")[-1] in _POSITION_EMBEDDINGS and isinstance(module, torch.nn.Embedding):
            skipped = module.padding_idx + 1 if module.padding_idx is not None else getattr(module, "offset", 0)
            rooms.append(module.num_embeddings - skipped)
    return rooms


@contextlib.contextmanager
def _without_weights():
    """Modules that are built in here cost no memory and no time."""
    if hasattr(torch.device("cpu"), "__enter__"):
        with torch.device("meta"):
            yield
    else:
        # PyTorch before 2.0 has no such context. Memory that nobody writes to is never taken.
        from transformers.modeling_utils import no_init_weights

        with no_init_weights():
            yield
