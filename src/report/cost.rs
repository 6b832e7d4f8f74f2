//! The cost of a division between host and chip per inference: quantities that the source holds, and
//! never times.

use neuron_logs::reading::{LogRun, Partitioning, TensorSpec};
use schemars::JsonSchema;
use serde::Serialize;

use crate::coverage::estimate::EstimateTotals;

/// The cost of one inference; what the source does not tell is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct InferenceCost {
    /// The crossings between host and chip: two for each sub-graph on the chip.
    pub crossings: Option<u64>,
    /// Bytes of the inputs of all sub-graphs on the chip. Logs do not hold the shapes of outputs.
    pub bytes_to_chip: Option<u64>,
    /// FLOPs on the host, as an estimate has them.
    pub host_flops: Option<u64>,
    /// FLOPs of operators that an estimate does not know the place of.
    pub flops_not_known: Option<u64>,
}

impl InferenceCost {
    /// The cost of a run of torch-neuron, from its sub-graphs and their command lines.
    pub(super) fn of_run(run: &LogRun) -> Option<Self> {
        let subgraphs = run.subgraphs.compiled?;
        let failed = |name: &String| run.failed_functions.contains(name);
        let compiled = run
            .functions
            .iter()
            .filter(|function| !function.name.as_ref().is_some_and(failed));
        let inputs: Vec<&[TensorSpec]> = compiled
            .map(|function| function.inputs.as_slice())
            .filter(|inputs| !inputs.is_empty())
            .collect();
        // Only when every sub-graph on the chip has its inputs in the log.
        let all = inputs.len() as u64 == subgraphs && subgraphs > 0;
        let bytes = inputs.into_iter().flatten().map(bytes);
        Some(Self {
            crossings: Some(subgraphs.saturating_mul(2)),
            bytes_to_chip: bytes.sum::<Option<u64>>().filter(|_| all),
            ..Self::default()
        })
    }

    /// The cost of the partitions that a partitioner made.
    pub(super) fn of_partitions(partitioning: &Partitioning) -> Self {
        let on_chip = partitioning.partitions.iter().filter(|it| it.is_on_chip());
        Self {
            crossings: Some(2 * on_chip.count() as u64),
            ..Self::default()
        }
    }

    /// The cost of a graph that is on the chip as a whole.
    pub(super) fn of_whole_graph() -> Self {
        Self {
            crossings: Some(2),
            ..Self::default()
        }
    }

    pub(super) fn of_estimate(totals: &EstimateTotals) -> Self {
        Self {
            host_flops: Some(totals.flops.host),
            flops_not_known: Some(totals.flops.not_known),
            ..Self::default()
        }
    }
}

/// The bytes of a tensor; `None` for a type or a shape that is not known.
fn bytes(tensor: &TensorSpec) -> Option<u64> {
    let each = match tensor.dtype.as_str() {
        "float64" | "int64" => 8,
        "float32" | "int32" | "uint32" => 4,
        "float16" | "bfloat16" | "int16" | "uint16" => 2,
        "int8" | "uint8" | "bool" => 1,
        _ => return None,
    };
    let mut sizes = tensor.shape.iter().map(|size| u64::try_from(*size).ok());
    sizes.try_fold(each, |product: u64, size| product.checked_mul(size?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use neuron_logs::reading::{LogFunction, Subgraphs};

    fn function(name: &str, shape: &[i64], dtype: &str) -> LogFunction {
        LogFunction {
            name: Some(name.to_owned()),
            inputs: vec![TensorSpec {
                name: "0:0".to_owned(),
                shape: shape.to_vec(),
                dtype: dtype.to_owned(),
            }],
            ..LogFunction::default()
        }
    }

    fn run(compiled: u64, functions: Vec<LogFunction>) -> LogRun {
        LogRun {
            subgraphs: Subgraphs {
                compiled: Some(compiled),
                ..Subgraphs::default()
            },
            functions,
            failed_functions: vec!["failed".to_owned()],
            ..LogRun::default()
        }
    }

    #[test]
    fn crossings_and_bytes_are_those_of_what_was_compiled() {
        let functions = vec![
            function("a", &[1, 3, 224, 224], "float32"),
            function("failed", &[1_000_000], "float32"),
            function("b", &[2, 128], "int64"),
        ];
        let cost = InferenceCost::of_run(&run(2, functions.clone())).unwrap();
        assert_eq!(cost.crossings, Some(4));
        assert_eq!(cost.bytes_to_chip, Some(3 * 224 * 224 * 4 + 2 * 128 * 8));
        // One sub-graph more than the log has inputs of.
        let cost = InferenceCost::of_run(&run(3, functions)).unwrap();
        assert_eq!((cost.crossings, cost.bytes_to_chip), (Some(6), None));
    }

    #[test]
    fn an_unknown_type_or_shape_has_no_size() {
        for (shape, dtype) in [
            (&[1, -1][..], "float32"),
            (&[1], "string"),
            (&[i64::MAX, 9], "int8"),
        ] {
            let cost = InferenceCost::of_run(&run(1, vec![function("a", shape, dtype)])).unwrap();
            assert_eq!(cost.bytes_to_chip, None, "{shape:?} {dtype}");
        }
    }
}
