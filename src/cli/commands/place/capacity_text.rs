//! The expected rates and latencies of a placement for reading: a part of `neuronc place --simulate`.

use std::fmt::Write as _;

use crate::placement::capacity::Capacity;

/// A table for each model.
pub(super) fn capacity_text(capacities: &[Capacity]) -> String {
    let mut text = String::from("expected, from published times:");
    for capacity in capacities {
        let _ = write!(
            text,
            "\n\n  {} on {} {}, with the times of {}\n\n  {:>6}  {:>5}  {:>11}  {:>11}  {:>13}  {:>9}",
            capacity.model,
            capacity.copies,
            if capacity.copies == 1 {
                "core"
            } else {
                "cores"
            },
            capacity.timings,
            "tokens",
            "batch",
            "rows/s core",
            "rows/s",
            "low load ms",
            "full ms"
        );
        for length in &capacity.lengths {
            let _ = write!(
                text,
                "\n  {:>6}  {:>5}  {:>11.0}  {:>11.0}  {:>13.2}  {:>9.2}{}",
                length.sequence,
                length.batch,
                length.per_core,
                length.total,
                length.lowest_ms,
                length.batch_ms,
                if length.assumed { "  assumed" } else { "" }
            );
        }
        if capacity.copies_that_share > 0 {
            let _ = write!(
                text,
                "\n  {} of them share their core: these rates are those while other models rest",
                capacity.copies_that_share
            );
        }
    }
    text
}
