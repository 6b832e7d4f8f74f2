//! The cost of a division between host and chip in words, for the verdict and its reasons.

use crate::report::subject::Subject;

/// The number of crossings per inference; `None` where no subject tells.
pub(super) fn crossings(subjects: &[Subject]) -> Option<String> {
    let crossings = || subjects.iter().filter_map(|it| it.cost?.crossings);
    let (least, most) = (crossings().min()?, crossings().max()?);
    let graphs = subjects.iter().filter(|it| it.graph.is_some()).count();
    Some(match (least, most, graphs) {
        (2, 2, 2..) => "each call of a graph crosses between host and chip twice".to_owned(),
        (2, 2, _) => "each inference crosses between host and chip twice".to_owned(),
        (least, most, _) if least == most => {
            format!("each inference crosses between host and chip {most} times")
        }
        _ => format!("each inference crosses between host and chip {least} to {most} times"),
    })
}

/// The number of bytes that cross, as far as it is known; `None` where nothing crosses.
pub(super) fn crossing_bytes(subjects: &[Subject]) -> Option<String> {
    let crossing = || {
        let costs = subjects.iter().filter_map(|it| it.cost);
        costs.filter(|cost| cost.crossings.is_some_and(|count| count > 0))
    };
    crossing().next()?;
    let known: Option<Vec<u64>> = crossing().map(|cost| cost.bytes_to_chip).collect();
    let Some(known) = known else {
        return Some(
            "bytes per crossing are not known: the log does not hold the shapes of all inputs"
                .to_owned(),
        );
    };
    let (least, most) = (known.iter().min()?, known.iter().max()?);
    let amount = if least == most {
        bytes(*most)
    } else {
        format!("{} to {}", bytes(*least), bytes(*most))
    };
    Some(format!(
        "{amount} of inputs go to the chip per inference; the log does not hold the shapes of outputs"
    ))
}

/// The arithmetic that an estimate leaves to the host, per inference of the largest bucket.
pub(super) fn host_flops(subjects: &[Subject]) -> Option<String> {
    let costs = subjects.iter().filter_map(|subject| subject.cost);
    let host = costs.clone().filter_map(|cost| cost.host_flops).max()?;
    let not_known = costs.filter_map(|cost| cost.flops_not_known).max()?;
    let largest = match subjects.len() {
        1 => "",
        _ => " in the largest bucket",
    };
    let doubt = match not_known {
        0 => String::new(),
        count => format!(", and {} may", flops(count)),
    };
    Some(format!(
        "{} per inference stay on the host{largest}{doubt}: an estimate from the shapes",
        flops(host)
    ))
}

fn bytes(count: u64) -> String {
    scaled(count, ["bytes", "kB", "MB", "GB"])
}

fn flops(count: u64) -> String {
    scaled(count, ["FLOPs", "kFLOPs", "MFLOPs", "GFLOPs"])
}

/// A quantity in about three digits, with the unit that fits.
fn scaled(count: u64, units: [&str; 4]) -> String {
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{count} {}", units[0]),
        _ if value >= 100.0 => format!("{value:.0} {}", units[unit]),
        _ => format!("{value:.1} {}", units[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_few_digits() {
        assert_eq!(bytes(999), "999 bytes");
        assert_eq!(bytes(602_112), "602 kB");
        assert_eq!(flops(1_260_000_000), "1.3 GFLOPs");
    }
}
