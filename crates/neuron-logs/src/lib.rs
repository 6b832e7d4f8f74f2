//! Reads the logs of the AWS Neuron compilers, and of the programs around them, of any generation.
//!
//! [`read`] takes bytes from anywhere and gives a [`LogReading`]: how the compilation ended, which
//! operators run on the chip, which graphs were compiled, which errors there were. It reads in one
//! pass and in constant memory ([`limits`]), and finds out by itself who wrote the log.
//!
//! ```
//! let log = "\
//! INFO:Neuron:Number of arithmetic operators (post-compilation) before = 10, compiled = 9, percent compiled = 90.0%
//! INFO:Neuron:Not compiled operators (and operator counts) to Neuron:
//! INFO:Neuron: => aten::embedding: 1 [not supported]
//! ";
//! let reading = neuron_logs::read(log.as_bytes())?;
//! assert_eq!(reading.coverage(), Some((9, 10)));
//! let run = &reading.runs[0];
//! assert_eq!(run.host_operators.as_ref().unwrap()[0].operator, "aten::embedding");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! On its way a log passes `framing` (bytes, lines, records), `reader` (each record goes to the
//! formats), `producers` (a state machine for each producer), `findings` (the reading while it
//! grows, held to its bounds) and `conclusions` (what follows from the whole). [`reading`] is the
//! result as plain data, which serde can write.

mod conclusions;
mod findings;
mod framing;
pub mod limits;
mod producers;
mod reader;
pub mod reading;
mod text;

use std::io::{self, Read};

use framing::lines::LineReader;
use reader::LogReader;

pub use reading::LogReading;

/// Reads a log to its end. A source without any known line gives a reading that is not
/// [`recognised`](LogReading::recognised).
///
/// # Errors
///
/// Only those of `source`.
pub fn read(source: impl Read) -> io::Result<LogReading> {
    let mut reader = LogReader::default();
    let mut skipped = reading::SkippedInput::default();
    let mut lines = LineReader::new(source);
    lines.for_each(&mut skipped, |line, needles| reader.line(line, needles))?;
    Ok(reader.finish(&skipped))
}
