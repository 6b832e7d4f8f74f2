//! The layout of the one tensor that a graph returns.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::bucket::Bucket;
use crate::tensor::Dtype;

/// What an output has one vector for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Per {
    /// Each sample: the tensor is `[batch, width]`.
    Sample,
    /// Each place on the sequence axis: the tensor is `[batch, sequence, width]`.
    Token,
}

/// The layout of the outputs of all graphs of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputLayout {
    pub per: Per,
    /// Values of one vector.
    pub width: usize,
    pub dtype: Dtype,
}

/// The layout as far as it is known before tracing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedOutput {
    pub per: Per,
    /// `None` where only the traced model shows it.
    pub width: Option<usize>,
    pub dtype: Dtype,
}

impl OutputLayout {
    /// The shape of the tensor that the graph of `bucket` returns.
    pub fn shape(&self, bucket: Bucket) -> Vec<usize> {
        match self.per {
            Per::Sample => vec![bucket.batch, self.width],
            Per::Token => vec![bucket.batch, bucket.sequence, self.width],
        }
    }

    /// The number of values for one sample that is `length` long.
    pub fn values(&self, length: usize) -> usize {
        match self.per {
            Per::Sample => self.width,
            Per::Token => length * self.width,
        }
    }
}

impl PlannedOutput {
    /// The layout with the width that is planned; `None` where it is not known yet.
    pub fn layout(&self) -> Option<OutputLayout> {
        let PlannedOutput { per, width, dtype } = *self;
        width.map(|width| OutputLayout { per, width, dtype })
    }

    /// True when `layout` is what was planned.
    pub fn allows(&self, layout: &OutputLayout) -> bool {
        let width = self.width.unwrap_or(layout.width);
        (self.per, width, self.dtype) == (layout.per, layout.width, layout.dtype)
    }
}

impl From<OutputLayout> for PlannedOutput {
    fn from(layout: OutputLayout) -> Self {
        let OutputLayout { per, width, dtype } = layout;
        let width = Some(width);
        Self { per, width, dtype }
    }
}

impl fmt::Display for PlannedOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dtype = self.dtype;
        let width = self.width.map_or("width".to_owned(), |n| n.to_string());
        match self.per {
            Per::Sample => write!(f, "{dtype:?} [batch, {width}]"),
            Per::Token => write!(f, "{dtype:?} [batch, sequence, {width}]"),
        }
    }
}

impl fmt::Display for OutputLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        PlannedOutput::from(*self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_is_what_was_planned_where_all_that_was_known_is_the_same() {
        let dtype = Dtype::F32;
        let planned = |per, width| PlannedOutput { per, width, dtype };
        let layout = planned(Per::Token, Some(7)).layout().unwrap();
        assert!(planned(Per::Token, None).allows(&layout));
        assert!(planned(Per::Token, Some(7)).allows(&layout));
        assert!(!planned(Per::Token, Some(8)).allows(&layout));
        assert!(!planned(Per::Sample, Some(7)).allows(&layout));
        assert_eq!(planned(Per::Token, None).layout(), None);
        assert_eq!(layout.to_string(), "F32 [batch, sequence, 7]");
    }

    #[test]
    fn tokens_of_a_sample_have_a_vector_each() {
        let bucket = Bucket {
            batch: 2,
            sequence: 5,
        };
        let layout = |per| OutputLayout {
            per,
            width: 3,
            dtype: Dtype::F32,
        };
        assert_eq!(layout(Per::Token).shape(bucket), [2, 5, 3]);
        assert_eq!(layout(Per::Sample).shape(bucket), [2, 3]);
        assert_eq!(layout(Per::Token).values(4), 12);
        assert_eq!(layout(Per::Sample).values(4), 3);
    }
}
