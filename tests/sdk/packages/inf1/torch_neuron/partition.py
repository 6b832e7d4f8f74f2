"""Which operators go to the chip: an imitation of torch-neuron's partitioner, which is not public.

It follows docs/estimate.md, "Three places", and is written apart from src/coverage/estimate/partition.rs on purpose: each
is a check of the other.
"""


def partition(graph, supported, minimum, single_share):
    """A list of sets of operators, one for each sub-graph, in an order in which they can run."""
    operators = graph.operators()
    sources = {at: graph.sources(at) for at in operators}
    users = {at: set() for at in operators}
    for at in operators:
        for by in sources[at][0]:
            users[by].add(at)
    stages = find_stages(operators, sources, users, supported)
    groups = find_groups(operators, sources, stages, supported)
    if not groups:
        return []
    largest = max(groups, key=len)
    if len(largest) > single_share * len(operators):
        groups = [largest]
    else:
        groups = [group for group in groups if len(group) >= minimum]
    chosen = set().union(*groups) if groups else set()
    groups = [leave_joins(group, sources, chosen) for group in groups]
    groups = [group for group in groups if group]
    return sorted(groups, key=lambda group: (stages[min(group)], min(group)))


def find_stages(operators, sources, users, supported):
    """A value that leaves the chip for the host and comes back does so in a later stage."""
    stages = {}
    for at in operators:
        befores = [stages[by] + (by in supported and at not in supported) for by in sources[at][0]]
        stages[at] = max(befores, default=0)
    for at in reversed(operators):
        if at in supported and users[at]:
            stages[at] = max(stages[at], min(stages[to] - (to not in supported) for to in users[at]))
    return stages


def find_groups(operators, sources, stages, supported):
    group_of = {}
    for at in operators:
        if at not in supported:
            continue
        group_of[at] = {at}
        for by in sources[at][0]:
            if by in supported and stages[by] == stages[at] and group_of[by] is not group_of[at]:
                merged = group_of[by] | group_of[at]
                for member in merged:
                    group_of[member] = merged
    return list({id(group): group for group in group_of.values()}.values())


def leave_joins(group, sources, chosen):
    """Operators at the entry that make one value of several that the host computed stay on the host."""
    kept = set(group)
    for at in sorted(group):
        makers, takes_input = sources[at]
        on_host = all(by not in chosen or by not in kept and by in group for by in makers)
        if len(makers) > 1 and on_host and not takes_input:
            kept.discard(at)
            chosen.discard(at)
    return kept
