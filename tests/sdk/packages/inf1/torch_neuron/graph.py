"""A traced function as a flat list of nodes, and the running of some of them.

A node is named by the number that it has in the list. Only operators (`aten::`) are placed on the host or the chip;
primitives (`prim::`) pass values on and are run wherever a value is asked for.
"""

import torch
from neuron_double import interface


class Graph:
    def __init__(self, func, inputs, trace_options):
        flat = interface.Flat(func)
        flat.eval()
        self.traced = torch.jit.trace(flat, inputs, check_trace=False, **trace_options)
        # The tracing itself has run the function and so seen what structure it returns.
        self.structure = flat.structure
        self.graph = self.traced.inlined_graph
        self.nodes = list(self.graph.nodes())
        loops = [node.kind() for node in self.nodes if list(node.blocks())]
        if loops:
            raise RuntimeError(f"control flow cannot be compiled: {', '.join(sorted(set(loops)))}")
        first, *rest = self.graph.inputs()
        self.self_name, self.input_names = first.debugName(), [value.debugName() for value in rest]
        self.maker = {value.debugName(): at for at, node in enumerate(self.nodes) for value in node.outputs()}
        returned = next(self.graph.outputs())
        self.result_name = returned.debugName()

    def operators(self):
        return [at for at, node in enumerate(self.nodes) if node.kind().startswith("aten::")]

    def sources(self, at):
        """The operators, as a set of numbers, whose results a node takes, and True if it takes an input of the graph."""
        makers, takes_input = set(), False
        names = [value.debugName() for value in self.nodes[at].inputs()]
        while names:
            name = names.pop()
            if name in self.input_names:
                takes_input = True
            elif name in self.maker:
                by = self.maker[name]
                if self.nodes[by].kind().startswith("aten::"):
                    makers.add(by)
                elif self.nodes[by].kind() != "prim::GetAttr":
                    names += [value.debugName() for value in self.nodes[by].inputs()]
        return makers, takes_input

    def boundary(self, places):
        """The names that the operators `places` take from outside and that are not stored, in order."""
        taken = []
        for at in places:
            names = [value.debugName() for value in self.nodes[at].inputs()]
            while names:
                name = names.pop(0)
                by = self.maker.get(name)
                if by is None or by in places:
                    if name in self.input_names and name not in taken:
                        taken.append(name)
                elif self.nodes[by].kind().startswith("aten::"):
                    if name not in taken:
                        taken.append(name)
                elif self.nodes[by].kind() != "prim::GetAttr":
                    names = [value.debugName() for value in self.nodes[by].inputs()] + names
        return taken

    def results(self, places):
        """The names that operators `places` make and that something else takes, in order."""
        made = [value.debugName() for at in sorted(places) for value in self.nodes[at].outputs()]
        others = [at for at in self.operators() if at not in places]
        taken = {name for at in others for name in self.direct(self.nodes[at])}
        taken |= set(self.direct(self.nodes[self.maker[self.result_name]]))
        return [name for name in made if name in taken]

    def direct(self, node):
        """The names of operators' results that a node takes, through primitives."""
        found, names = [], [value.debugName() for value in node.inputs()]
        while names:
            name = names.pop()
            by = self.maker.get(name)
            if by is None:
                continue
            if self.nodes[by].kind().startswith("aten::"):
                found.append(name)
            else:
                names += [value.debugName() for value in self.nodes[by].inputs()]
        return found


def call(node, arguments):
    """Runs an operator; every argument is given under the name that its schema says."""
    schema = torch._C.parse_schema(node.schema())
    packet = getattr(torch.ops.aten, schema.name.split("::")[1])
    operator = getattr(packet, schema.overload_name or "default")
    positional = [value for value, argument in zip(arguments, schema.arguments) if not argument.kwarg_only]
    keyword = {argument.name: value for value, argument in zip(arguments, schema.arguments) if argument.kwarg_only}
    return operator(*positional, **keyword)


class Values:
    """What is known while nodes run: the values of names, those of primitives computed when they are asked for."""

    def __init__(self, graph, stored, known):
        self.graph, self.stored, self.known = graph, stored, dict(known)

    def run(self, at):
        node = self.graph.nodes[at]
        results = call(node, [self.of(value.debugName()) for value in node.inputs()])
        self.set(node, results)

    def set(self, node, results):
        outputs = list(node.outputs())
        results = [results] if len(outputs) == 1 else list(results)
        self.known.update(zip((value.debugName() for value in outputs), results))

    def of(self, name):
        if name not in self.known:
            self.known[name] = self.primitive(name)
        return self.known[name]

    def primitive(self, name):
        node = self.graph.nodes[self.graph.maker[name]]
        kind = node.kind()
        if kind == "prim::Constant":
            return next(node.outputs()).toIValue()
        if kind == "prim::GetAttr":
            return self.stored(path(self.graph, node))
        inputs = [self.of(value.debugName()) for value in node.inputs()]
        if kind == "prim::ListConstruct":
            return inputs
        if kind == "prim::TupleConstruct":
            return tuple(inputs)
        if kind == "prim::NumToTensor":
            return torch.tensor(inputs[0])
        if kind in ("prim::ListUnpack", "prim::TupleUnpack"):
            names = (value.debugName() for value in node.outputs())
            self.known.update(zip(names, inputs[0]))
            return self.known[name]
        raise RuntimeError(f"the double cannot run {kind}")


def path(graph, node):
    """`bert.embeddings.weight` for the chain of prim::GetAttr that ends at `node`."""
    owner = next(node.inputs()).debugName()
    name = node.s("name")
    return name if owner == graph.self_name else f"{path(graph, graph.nodes[graph.maker[owner]])}.{name}"


class Part(torch.nn.Module):
    """Runs steps of a graph: operators, and sub-graphs that were compiled. Stored tensors become its own buffers."""

    def __init__(self, graph, taken, made, steps, constants):
        super().__init__()
        self.graph, self.taken, self.made, self.steps, self.constants = graph, taken, made, steps, constants
        self.names = {}
        for number, step in enumerate(steps):
            if isinstance(step, torch.nn.Module):
                self.add_module(f"step{number}", step)

    def stored(self, name):
        value = self.graph.traced
        for part in name.split("."):
            value = getattr(value, part)
        if not isinstance(value, torch.Tensor):
            return value
        if name not in self.names:
            self.names[name] = f"stored{len(self.names)}"
            self.register_buffer(self.names[name], value.detach().clone())
        return getattr(self, self.names[name])

    def forward(self, *inputs):
        values = Values(self.graph, self.stored, {**self.constants, **dict(zip(self.taken, inputs))})
        for step in self.steps:
            if isinstance(step, int):
                values.run(step)
            else:
                step.run(values)
        return tuple(values.of(name) for name in self.made)
