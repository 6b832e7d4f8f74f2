//! The weights that the forward of a specification takes: their names, shapes and order.

use crate::family::names::EncoderPart;
use crate::family::spec::{EncoderSpec, HeadStep, ModelSpec, PositionSpec};
use crate::family::weights::{WeightSpec, WeightUse};

impl ModelSpec {
    /// The weights of the encoder and of the head, in the order in which the forward takes them.
    pub fn weights(&self) -> Vec<WeightSpec> {
        let mut weights = self.encoder.weights();
        if self.decodes_with_words() {
            // The vocabulary product takes the table as it is; a lookup takes it in any type.
            weights[0].used_as = WeightUse::Matmul;
        }
        let mut size = self.encoder.hidden;
        for step in &self.head {
            weights.extend(step.weights(size, self.encoder.vocabulary));
            size = step.size_after(size, self.encoder.vocabulary);
        }
        weights
    }
}

impl EncoderSpec {
    /// The word table first.
    fn weights(&self) -> Vec<WeightSpec> {
        use EncoderPart as Part;
        let (hidden, width) = (self.hidden, self.feed_forward.width);
        let before = |part: Part| PartNames {
            in_bundle: part.name().to_owned(),
            in_checkpoints: self.names.in_checkpoints(part, 0),
        };
        let mut weights = vec![before(Part::Words).table(self.vocabulary, hidden)];
        let PositionSpec::Absolute { rows, .. } = self.positions;
        weights.push(before(Part::Positions).table(rows, hidden));
        if let Some(segments) = self.token_types {
            weights.push(before(Part::TokenTypes).table(segments, hidden));
        }
        weights.extend(before(Part::EmbeddingNorm).norm(hidden));
        for layer in 0..self.layers {
            let of = |part: Part| PartNames {
                in_bundle: part.name_in(layer),
                in_checkpoints: self.names.in_checkpoints(part, layer),
            };
            for part in [Part::Query, Part::Key, Part::Value, Part::AttentionOutput] {
                weights.extend(of(part).linear(hidden, hidden));
            }
            weights.extend(of(Part::AttentionNorm).norm(hidden));
            weights.extend(of(Part::FeedForwardIn).linear(width, hidden));
            weights.extend(of(Part::FeedForwardOut).linear(hidden, width));
            weights.extend(of(Part::FeedForwardNorm).norm(hidden));
        }
        weights
    }
}

impl HeadStep {
    /// The weights of a step that takes vectors of `size` numbers.
    fn weights(&self, size: usize, vocabulary: usize) -> Vec<WeightSpec> {
        match self {
            HeadStep::Pool(_)
            | HeadStep::Normalize
            | HeadStep::FirstToken
            | HeadStep::TokenAtPosition => Vec::new(),
            HeadStep::Dense {
                name,
                also,
                outputs,
                ..
            } => PartNames::of(name, also).linear(*outputs, size).into(),
            HeadStep::Norm { name } => PartNames::of(name, &[]).norm(size).into(),
            HeadStep::Decode { table, bias, also } => {
                let table = table.iter().map(|table| {
                    let [weight, _] = PartNames::of(table, &[]).linear(vocabulary, size);
                    weight
                });
                let bias = PartNames::of(bias, also);
                table
                    .chain([bias.tensor(&[""], &[vocabulary], WeightUse::Other)])
                    .collect()
            }
        }
    }

    /// The size of the vectors behind a step that takes vectors of `size` numbers.
    fn size_after(&self, size: usize, vocabulary: usize) -> usize {
        match self {
            HeadStep::Dense { outputs, .. } => *outputs,
            HeadStep::Decode { .. } => vocabulary,
            _ => size,
        }
    }
}

/// The names of one part.
struct PartNames {
    in_bundle: String,
    in_checkpoints: Vec<String>,
}

impl PartNames {
    fn of(name: &str, also: &[String]) -> Self {
        let others = also.iter().cloned();
        Self {
            in_bundle: name.to_owned(),
            in_checkpoints: [name.to_owned()].into_iter().chain(others).collect(),
        }
    }

    /// A tensor of the part. Bundles have the first of `endings`; each name may have any of them in a
    /// checkpoint.
    fn tensor(&self, endings: &[&str], shape: &[usize], used_as: WeightUse) -> WeightSpec {
        let names = self.in_checkpoints.iter();
        let ended = |name: &String| -> Vec<String> {
            let endings = endings.iter();
            endings.map(|ending| format!("{name}{ending}")).collect()
        };
        WeightSpec {
            name: format!("{}{}", self.in_bundle, endings[0]),
            shape: shape.to_vec(),
            used_as,
            in_checkpoints: names.flat_map(ended).collect(),
        }
    }

    fn table(&self, rows: usize, columns: usize) -> WeightSpec {
        self.tensor(&[".weight"], &[rows, columns], WeightUse::Embedding)
    }

    /// Weight `[outputs, inputs]` and bias `[outputs]`.
    fn linear(&self, outputs: usize, inputs: usize) -> [WeightSpec; 2] {
        [
            self.tensor(&[".weight"], &[outputs, inputs], WeightUse::Matmul),
            self.tensor(&[".bias"], &[outputs], WeightUse::Matmul),
        ]
    }

    /// Scale and shift; checkpoints converted from TensorFlow say gamma and beta.
    fn norm(&self, size: usize) -> [WeightSpec; 2] {
        [[".weight", ".gamma"], [".bias", ".beta"]]
            .map(|endings| self.tensor(&endings, &[size], WeightUse::Other))
    }
}
