//! From logits to scores, and the best of them.

use std::cmp::Ordering;

/// Probabilities of which exactly one thing is true. Finite logits give finite probabilities.
pub(super) fn softmax(logits: &[f32]) -> Vec<f32> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponentials: Vec<f64> = logits
        .iter()
        .map(|logit| (f64::from(*logit) - f64::from(max)).exp())
        .collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials
        .iter()
        .map(|value| narrow(value / sum))
        .collect()
}

/// The probability of something that is true or false by itself.
pub(super) fn sigmoid(logit: f32) -> f32 {
    narrow(1.0 / (1.0 + (-f64::from(logit)).exp()))
}

/// The nearest f32: scores are answered in the precision in which models compute.
pub(super) fn narrow(value: f64) -> f32 {
    value as f32
}

/// The index of the largest value, the first of equal ones; 0 for no values.
pub(super) fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

/// The `count` best of `items` by their score, best first, equal ones in their order.
pub(super) fn top<T, S: PartialOrd>(
    items: Vec<T>,
    count: usize,
    score: impl Fn(&T) -> S,
) -> Vec<T> {
    let mut items: Vec<(usize, T)> = items.into_iter().enumerate().collect();
    let by_score = |a: &(usize, T), b: &(usize, T)| -> Ordering {
        let best_first = score(&b.1)
            .partial_cmp(&score(&a.1))
            .unwrap_or(Ordering::Equal);
        best_first.then(a.0.cmp(&b.0))
    };
    if count < items.len() {
        items.select_nth_unstable_by(count, by_score);
        items.truncate(count);
    }
    items.sort_unstable_by(by_score);
    items.into_iter().map(|(_, item)| item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_logits_do_not_overflow() {
        assert_eq!(softmax(&[f32::MAX, 0.0]), [1.0, 0.0]);
        assert_eq!(softmax(&[-1e30, -1e30]), [0.5, 0.5]);
        assert_eq!(softmax(&[]), [0.0; 0]);
        assert_eq!(sigmoid(f32::MIN), 0.0);
        assert_eq!(sigmoid(f32::MAX), 1.0);
    }

    #[test]
    fn equal_scores_keep_their_order() {
        let items = vec![('a', 0.1), ('b', 0.7), ('c', 0.1), ('d', 0.7)];
        let best: String = top(items, 3, |item| item.1)
            .into_iter()
            .map(|item| item.0)
            .collect();
        assert_eq!(best, "bda");
        assert_eq!(argmax(&[0.1, 0.7, 0.7]), 1);
    }
}
