//! The heads that no fixture covers, against their definitions.

use neuronc::bucket::Row;
use neuronc::family::{Head, Pooling};
use neuronc::profile::Attention;

use crate::support::{Subject, bucket, heads, max_difference, row, tiny, tiny_with};

const TOKENS: [usize; 3] = [9, 4, 1];
const SEQUENCE: usize = 12;

/// The hidden states of rows of 9, 4 and 1 tokens, row by row and token by token.
fn hidden_states(subject: &Subject, rows: &[&Row]) -> Vec<Vec<Vec<f32>>> {
    let plain = Head::FeatureExtraction {
        pooling: None,
        normalize: false,
    };
    let subject = Subject {
        spec: tiny(&plain),
        weight_files: subject.weight_files.clone(),
    };
    let hidden = subject.forward(Attention::Fused, bucket(rows.len(), SEQUENCE), rows);
    let size = hidden.shape()[2];
    let values = hidden.to_f32().unwrap();
    let token =
        |row: usize, token: usize| values[(row * SEQUENCE + token) * size..][..size].to_vec();
    let row = |(index, row): (usize, &&Row)| {
        (0..row.ids.len())
            .map(|place| token(index, place))
            .collect()
    };
    rows.iter().enumerate().map(row).collect()
}

fn pool(tokens: &[Vec<f32>], pooling: Pooling) -> Vec<f32> {
    let of = |dimension: usize| tokens.iter().map(move |token| token[dimension]);
    (0..tokens[0].len())
        .map(|dimension| match pooling {
            Pooling::Mean => of(dimension).sum::<f32>() / tokens.len() as f32,
            Pooling::Cls => tokens[0][dimension],
            Pooling::Max => of(dimension).fold(f32::NEG_INFINITY, f32::max),
        })
        .collect()
}

#[test]
fn pooling_sees_the_tokens_of_each_row_and_no_padding() {
    let folder = tempfile::tempdir().unwrap();
    let rows = TOKENS.map(|length| row(length, length));
    let rows: Vec<&Row> = rows.iter().collect();
    for pooling in [Pooling::Mean, Pooling::Cls, Pooling::Max] {
        for normalize in [false, true] {
            let head = Head::FeatureExtraction {
                pooling: Some(pooling),
                normalize,
            };
            let subject = Subject::random(folder.path(), head.clone());
            // One row more than there are texts: it must not disturb the others.
            let output = subject.forward(Attention::Fused, bucket(4, SEQUENCE), &rows);
            let output = output.to_f32().unwrap();
            assert!(output.iter().all(|value| value.is_finite()), "{pooling:?}");
            for (index, tokens) in hidden_states(&subject, &rows).iter().enumerate() {
                let mut expected = pool(tokens, pooling);
                if normalize {
                    let length = expected
                        .iter()
                        .map(|value| value * value)
                        .sum::<f32>()
                        .sqrt();
                    expected.iter_mut().for_each(|value| *value /= length);
                }
                let found = &output[index * expected.len()..][..expected.len()];
                let difference = max_difference(found, &expected);
                assert!(
                    difference < 1e-5,
                    "{pooling:?}, normalize {normalize}: {difference}"
                );
            }
        }
    }
}

#[test]
fn both_forms_of_attention_and_every_activation_agree_or_differ_as_they_should() {
    let folder = tempfile::tempdir().unwrap();
    let rows = TOKENS.map(|length| row(length, length));
    let rows: Vec<&Row> = rows.iter().collect();
    let at = bucket(3, SEQUENCE);
    for head in heads() {
        let mut subject = Subject::random(folder.path(), head.clone());
        let exact = subject
            .forward(Attention::Fused, at, &rows)
            .to_f32()
            .unwrap();
        let explicit = subject
            .forward(Attention::Explicit, at, &rows)
            .to_f32()
            .unwrap();
        assert!(max_difference(&exact, &explicit) < 1e-5);
        for activation in ["gelu_new", "relu"] {
            subject.spec = tiny_with("hidden_act", activation.into(), &head);
            let other = subject
                .forward(Attention::Fused, at, &rows)
                .to_f32()
                .unwrap();
            assert!(
                max_difference(&exact, &other) > 1e-5,
                "{activation} changes nothing"
            );
        }
    }
}
