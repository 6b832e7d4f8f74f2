"""The options of the graph partitioner, which the double does not have."""


class PartitionerConfig:
    def __init__(
        self,
        *,
        trace_kwargs=None,
        model_support_percentage_threshold=0.5,
        min_subgraph_size=-1,
        max_subgraph_count=-1,
        ops_to_partition=None,
        analyze_parameters=None,
    ):
        self.trace_kwargs = trace_kwargs
        self.model_support_percentage_threshold = model_support_percentage_threshold
        self.min_subgraph_size = min_subgraph_size
        self.max_subgraph_count = max_subgraph_count
        self.ops_to_partition = ops_to_partition
        self.analyze_parameters = analyze_parameters
