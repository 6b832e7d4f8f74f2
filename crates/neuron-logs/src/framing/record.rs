//! A record: one message of one program, with its prefixes taken off and kept as fields.

use super::timestamp::Timestamp;
use crate::text::scan::Scan;

/// The program that the prefix of a record names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Logger {
    /// No prefix names one.
    #[default]
    None,
    /// `Neuron`: torch-neuron, torch-neuronx and NxD Inference.
    Neuron,
    Tensorflow,
    /// `[neuron-cc]`.
    NeuronCc,
    /// `[neuronx-cc]`, `[root]` and the passes of a `log-neuron-cc.txt`.
    NeuronxCc,
    /// `||NAME||`, or the nameless form of 2026.
    Wrapper,
    Other,
}

/// The severity that a prefix states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum LogLevel {
    #[default]
    None,
    Info,
    Warning,
    Error,
}

/// The layout of a prefix: two log handlers write one message in two layouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum PrefixLayout {
    #[default]
    Bare,
    /// `INFO:Neuron:`
    Basic,
    /// `[INFO] `
    Bracketed,
    /// `Neuron: `
    NameOnly,
    /// A time, then a level.
    Timed,
}

/// One record.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LogRecord<'a> {
    /// The record without the dots before it.
    pub(crate) text: &'a [u8],
    /// The message: `text` without any known prefix.
    pub(crate) body: &'a [u8],
    /// The progress dots before the message.
    pub(crate) dots: u64,
    pub(crate) level: LogLevel,
    pub(crate) logger: Logger,
    pub(crate) layout: PrefixLayout,
    pub(crate) rank: Option<u64>,
    /// When the record was written.
    pub(crate) time: Option<Timestamp>,
    /// The name between the bars of a wrapper's prefix, or in the brackets of a compiler's.
    pub(crate) component: &'a [u8],
}

/// The most prefixes that are taken off one record; no known log has more.
const PREFIXES_MAX: usize = 8;

impl<'a> LogRecord<'a> {
    pub(crate) fn new(line: &'a [u8]) -> Self {
        let mut scan = Scan::new(line);
        let dots = scan.take_while(|byte| byte == b'.').len() as u64;
        let mut record = Self {
            text: scan.rest,
            body: scan.rest.trim_ascii_end(),
            dots,
            ..Self::default()
        };
        record.strip_frequent();
        for _ in 0..PREFIXES_MAX {
            let Some(rest) = record.strip() else { break };
            record.body = rest;
        }
        record
    }
}
