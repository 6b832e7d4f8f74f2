"""Makes an `nn.Module` of what a job names: a graph of neuronc, a model of transformers, or a TorchScript file.

Each takes the tensors of the job's `inputs` and returns one tensor. Code from a model's folder never runs.
"""

import inspect
import io
import json
import os
import sys
import tarfile

import torch

import failures
import heads
import safetensors_file
import traceable

# The names of weights that a message lists.
_NAMES_MAX = 5

# What a model may take, by the names of transformers.
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")

# The types of constants that are weights.
_LIFTED = (torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.bool)


class Loaded:
    """A module that is ready to run, and what is known about the numbers that it takes."""

    def __init__(self, module, vocabulary=None, segments=1, missing=()):
        """`missing`: the slots of weights that no file holds, which `_blank` has filled with NaN."""
        self.module = module.eval()
        for parameter in module.parameters():
            parameter.requires_grad_(False)
        self.vocabulary = vocabulary
        self.segments = segments
        self._missing = list(missing)

    def check_finite(self, output):
        """Refuses an output with NaN or infinity, and says so where it comes from weights that no file holds."""
        if bool(torch.isfinite(output).all()):
            return
        if self._missing:
            raise failures.JobError(
                failures.INPUT,
                "the model's files lack weights that its output depends on",
                "missing: {}\nthe files may be of a model for another task".format(
                    name_list([slot.name for slot in self._missing])
                ),
            )
        raise failures.JobError(
            failures.INPUT, "the model's output is not finite", "a weight is infinite or NaN, or a number overflows"
        )

    def drop_missing(self):
        """Turns weights that no file holds, and on which nothing depends, into plain numbers."""
        for slot in self._missing:
            slot.tensor.data.zero_()


def load(spec, inputs, pad_id):
    """Loads what `spec`, a job's module, names."""
    kind = spec.get("module")
    if kind == "graph":
        return Loaded(bind_graph(spec["file"], spec["weights"], spec["weight_names"]))
    if kind == "transformers":
        return _load_transformers(spec, inputs, pad_id)
    if kind == "torchscript":
        return Loaded(heads.TorchscriptModule(bind_torchscript(spec["file"], inputs), spec["head"], inputs))
    raise failures.JobError(failures.INPUT, "`{}` is not a module of this executor".format(kind))


def load_torchscript(path):
    """A TorchScript file on the host; a file that is none is the caller's fault."""
    try:
        return torch.jit.load(path, map_location="cpu").eval()
    except Exception as error:
        if failures.is_resource_failure(error):
            raise
        why = str(error).strip()
        if "Unknown builtin op: aten::" in why:
            # The first lines name the operator; the others quote the file.
            why = "{}\nthis is PyTorch {}, and a newer one made the file: trace the model with this one".format(
                why.splitlines()[0], torch.__version__
            )
        raise failures.JobError(failures.INPUT, "`{}` cannot be loaded as TorchScript".format(path), why)


class BoundModule(torch.nn.Module):
    """TorchScript that takes its weights as inputs, with these as parameters of an ordinary module around it.

    For a compiler they are then weights like those of any model: neither inputs of every run nor constants.
    """

    def __init__(self, graph, weights, weights_first):
        super().__init__()
        self.graph = graph
        self._weights_first = weights_first
        self._order = []
        for index, tensor in enumerate(weights):
            name = "weight_{}".format(index)
            if tensor.is_floating_point():
                self.register_parameter(name, torch.nn.Parameter(tensor, requires_grad=False))
            else:
                self.register_buffer(name, tensor)
            self._order.append(name)

    def forward(self, *tensors):
        weights = tuple(getattr(self, name) for name in self._order)
        return self.graph(*(weights + tensors if self._weights_first else tensors + weights))


def bind_graph(path, weights, names):
    """A graph of neuronc, which takes its weights first, with the weights of that names."""
    return BoundModule(load_torchscript(path), safetensors_file.read(weights, names).values(), weights_first=True)


def bind_torchscript(path, inputs):
    """A TorchScript file with its weights lifted out of it: PyTorch cannot move those of a loaded file to XLA."""
    module = load_torchscript(path)
    _check_inputs(path, module, [name for name in inputs if name != "position"])
    try:
        graph, weights = torch._C._jit_pass_lower_graph(module.graph, module._c)
        torch._C._jit_pass_inline(graph)
        weights = list(weights) + _lift_constants(graph)
        function = torch._C._create_function_from_graph("forward", graph)
        # By way of a file, since a function is no module and cannot be copied.
        lifted = torch.jit.load(io.BytesIO(function.save_to_buffer()))
    except RuntimeError as error:
        # A script may hold what is no tensor. Then it is handed on as it is.
        sys.stderr.write("the weights of `{}` stay inside of it: {}\n".format(path, error))
        return module
    return BoundModule(lifted, [weight.detach() for weight in weights], weights_first=False)


def _check_inputs(path, module, given):
    """Refuses inputs that the file does not take, as far as it tells."""
    arguments = module.forward.schema.arguments[1:]
    named = [argument.name.split(".")[0] for argument in arguments]
    needed = [argument for argument in arguments if not argument.has_default_value()]
    tells_names = all(name in _INPUTS for name in named)
    if tells_names and given != named[: len(given)] or not len(needed) <= len(given) <= len(arguments):
        raise failures.JobError(
            failures.INPUT,
            "`{}` takes other inputs than {}".format(os.path.basename(path), name_list(given)),
            "its forward takes {}: name them with `--inputs`, in its order".format(name_list(named)),
        )


def _lift_constants(graph):
    """Makes inputs of the tensors that a graph holds as constants, as a frozen module has its weights; returns them.

    A number alone stays: it may decide a shape, which an input cannot.
    """
    lifted = []
    for node in graph.findAllNodes("prim::Constant"):
        if not node.hasAttribute("value") or node.kindOf("value") != "t":
            continue
        tensor = node.t("value")
        if tensor.dim() == 0 or tensor.layout != torch.strided or tensor.dtype not in _LIFTED:
            continue
        place = graph.addInput()
        place.setType(node.output().type())
        node.output().replaceAllUsesWith(place)
        lifted.append(tensor.clone())
    return lifted


def read_config(folder):
    """The `config.json` of a folder; one that needs code from the folder is refused."""
    path = os.path.join(folder, "config.json")
    try:
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
    except (OSError, ValueError) as error:
        raise failures.JobError(failures.INPUT, "`{}` cannot be read".format(path), str(error))
    if not isinstance(config, dict):
        raise failures.JobError(failures.INPUT, "`{}` is not a JSON object".format(path))
    if config.get("auto_map"):
        raise failures.JobError(
            failures.INPUT,
            "the model needs code of its own, and neuronc never runs code from a model",
            "`auto_map` in config.json names {}".format(name_list(sorted(str(v) for v in config["auto_map"].values())))
            if isinstance(config["auto_map"], dict)
            else "config.json has `auto_map`",
        )
    return config


def auto_class(head):
    """The class of transformers for a head's task."""
    import transformers

    return getattr(transformers, heads.AUTO_CLASSES[heads.task_of(head)])


def load_config(folder):
    """The configuration as transformers reads it."""
    import transformers

    read_config(folder)
    return or_input(
        lambda: transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False),
        "transformers cannot read the model's config.json",
    )


def class_of(config, head):
    """The class of transformers that has this head for this configuration."""
    auto = auto_class(head)
    try:
        found = auto._model_mapping[type(config)]
    except KeyError:
        raise failures.JobError(
            failures.INPUT,
            "transformers has no model of type `{}` for {}".format(config.model_type, heads.task_of(head)),
        )
    if isinstance(found, (list, tuple)):
        names = getattr(config, "architectures", None) or []
        named = [each for each in found if each.__name__ in names]
        found = (named or list(found))[0]
    return found


def _load_transformers(spec, inputs, pad_id):
    folder, head = spec["folder"], spec["head"]
    config = load_config(folder)
    if getattr(config, "use_cache", False):
        config.use_cache = False
    if getattr(config, "pad_token_id", None) is None:
        # Decoders that classify look for the last token that is not padding.
        config.pad_token_id = pad_id
    model_class = class_of(config, head)
    attention = _attention(spec.get("attention"), model_class)
    _check_pickles(folder, model_class)
    traceable.prepare(model_class)
    model, report = or_input(
        lambda: auto_class(head).from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            trust_remote_code=False,
            torch_dtype=torch.float32,
            attn_implementation=attention,
            output_loading_info=True,
        ),
        "transformers cannot load the model",
    )
    model = model.float()
    missing = _blank(model, report.get("missing_keys") or [])
    module = heads.TransformersModule(model, head, inputs)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    segments = getattr(text, "type_vocab_size", 1) or 1
    return Loaded(module, vocabulary=text.vocab_size, segments=segments, missing=missing)


def _attention(attention, model_class):
    """The form of attention that transformers is asked for; a model that has only one gets that."""
    if attention != "fused":
        return "eager"
    if getattr(model_class, "_supports_sdpa", False):
        return "sdpa"
    sys.stderr.write("{} has no fused attention\n".format(model_class.__name__))
    return "eager"


def _check_pickles(folder, model_class):
    """Lets pickles be read only where they cannot run code."""
    names = os.listdir(folder)
    if any(name.endswith(".safetensors") for name in names):
        return
    pickles = [name for name in names if name.startswith("pytorch_model") and name.endswith(".bin")]
    default = inspect.signature(model_class.from_pretrained).parameters.get("weights_only")
    if pickles and (default is None or default.default is not True):
        import transformers

        raise failures.JobError(
            failures.SDK,
            "transformers {} would run code from `{}`".format(transformers.__version__, pickles[0]),
            "it loads pickles without `weights_only`: install a newer one, or give the model as safetensors",
        )
    for name in pickles:
        # Before 2.6, torch.load hands members of a tar archive to the plain unpickler, `weights_only` or not.
        if tarfile.is_tarfile(os.path.join(folder, name)):
            raise failures.JobError(failures.INPUT, "`{}` is a tar archive, which may run code when read".format(name))


def or_input(action, what):
    """Does what reads the user's files: what goes wrong is about them, unless a package or memory is missing."""
    try:
        return action()
    except Exception as error:
        kind = failures.classify(error).kind
        if kind in (failures.RESOURCES, failures.SDK):
            raise
        raise failures.JobError(failures.INPUT, what, failures.text_of(error)) from error


class Slot:
    """A place in a module that holds a tensor."""

    def __init__(self, name, owner, key, tensor):
        self.name = name
        self._owner = owner
        self._key = key
        self.tensor = tensor

    def put(self, tensor):
        """Puts another tensor there, a parameter or not, without the checks of `setattr`."""
        holder = self._owner._parameters if self._key in self._owner._parameters else self._owner._buffers
        holder[self._key] = tensor


def slots(module):
    """Every place of a parameter or buffer; a tied weight has several."""
    found = []
    for prefix, owner in module.named_modules(remove_duplicate=True):
        for holder in (owner._parameters, owner._buffers):
            for key, tensor in holder.items():
                if tensor is not None:
                    found.append(Slot("{}.{}".format(prefix, key) if prefix else key, owner, key, tensor))
    return found


def _blank(model, missing):
    """Fills weights that no file holds with NaN and returns their slots.

    transformers fills them with random numbers and goes on. Some are of no consequence, such as a pooler that no
    head uses; an output that is not finite tells of the others.
    """
    missing = set(missing)
    all_slots = slots(model)
    present = {id(slot.tensor) for slot in all_slots if slot.name not in missing}
    blanked = []
    for slot in all_slots:
        if slot.name in missing and id(slot.tensor) not in present and slot.tensor.is_floating_point():
            slot.tensor.data.fill_(float("nan"))
            blanked.append(slot)
    return blanked


def name_list(names):
    """The first of some names, and how many there are beside."""
    shown = ", ".join("`{}`".format(name) for name in names[:_NAMES_MAX])
    rest = len(names) - _NAMES_MAX
    return "{} and {} more".format(shown, rest) if rest > 0 else shown
