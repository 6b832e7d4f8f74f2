//! Frames between the front process and a worker: a JSON header and the bytes of the tensors.
//!
//! A frame is two little-endian `u32` (bytes of the header, bytes of the payload), the header, and
//! the payload: the tensors that the header lists, one after the other, row-major, little-endian.
//! Blocking; both ends run it on a thread of their own.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::bucket::Bucket;
use crate::tensor::{HostTensor, Layout};

/// The largest header; one lists a bundle's artifacts at most.
const HEADER_BYTES_MAX: u32 = 1 << 20;

/// The largest payload; it bounds what a damaged or hostile peer can make us allocate.
const PAYLOAD_BYTES_MAX: u32 = 1 << 30;

/// From the front process to a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// Load a bundle, which the first request has to do; its artifacts are numbered after those that
    /// are loaded already.
    Load(Load),
    /// Run one artifact on the tensors of this frame.
    Run { id: u64, artifact: usize },
    /// Forget artifacts: `count` of them from `first` on. Their numbers are not used again.
    Unload { first: usize, count: usize },
}

/// What a worker loads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    pub protocol: u32,
    pub artifacts: Vec<Artifact>,
    /// What `neuronc-torch` opens first: it registers the operators of the artifacts.
    #[serde(default)]
    pub plugin: Option<Plugin>,
    /// The Python module that does the same in an interpreter.
    #[serde(default)]
    pub module: Option<String>,
    /// The safetensors file of the weights that every artifact takes as its first inputs; not read
    /// where `weight_names` is empty.
    pub weights: PathBuf,
    /// The order in which the artifacts take them.
    pub weight_names: Vec<String>,
    /// Threads that one operator may use.
    pub threads: usize,
}

/// A library that is opened ahead of the artifacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plugin {
    pub file: PathBuf,
    /// The version of torch that it was built for, where the front process knows; otherwise it is
    /// looked up in the Python environment around the file.
    #[serde(default)]
    pub torch: Option<String>,
}

/// The artifact of one bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    pub bucket: Bucket,
    pub file: PathBuf,
}

/// From a worker to the front process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// Everything is loaded.
    Loaded,
    /// The artifacts are forgotten.
    Unloaded,
    /// The output of run `id` is the one tensor of this frame.
    Output { id: u64, micros: u64 },
    /// The request failed; the worker stays usable if it was a run, or a load that was not the first.
    Failed { id: Option<u64>, message: String },
}

/// A message with its tensors.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame<M> {
    pub message: M,
    pub tensors: Vec<HostTensor>,
}

#[derive(Serialize, Deserialize)]
struct Header<M> {
    message: M,
    tensors: Vec<Layout>,
}

/// Writes one frame.
pub fn send<M: Serialize>(
    stream: &mut impl Write,
    message: &M,
    tensors: &[HostTensor],
) -> Result<()> {
    let header = serde_json::to_vec(&Header {
        message,
        tensors: tensors
            .iter()
            .map(|tensor| tensor.layout().clone())
            .collect(),
    })?;
    let payload: usize = tensors.iter().map(|tensor| tensor.bytes().len()).sum();
    let mut head = Vec::with_capacity(8 + header.len() + payload);
    head.extend(bounded(header.len(), HEADER_BYTES_MAX, "header")?.to_le_bytes());
    head.extend(bounded(payload, PAYLOAD_BYTES_MAX, "payload")?.to_le_bytes());
    head.extend(header);
    for tensor in tensors {
        head.extend_from_slice(tensor.bytes());
    }
    stream.write_all(&head).context("writing a frame")?;
    stream.flush().context("writing a frame")
}

/// Reads one frame; `None` when the peer closed the stream between two frames.
pub fn receive<M: DeserializeOwned>(stream: &mut impl Read) -> Result<Option<Frame<M>>> {
    let mut sizes = [0; 8];
    // A socket with a deadline is not read on by itself after a signal.
    let first = loop {
        match stream.read(&mut sizes[..1]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            first => break first.context("reading a frame")?,
        }
    };
    if first == 0 {
        return Ok(None);
    }
    stream
        .read_exact(&mut sizes[1..])
        .context("reading a frame")?;
    let ([header_bytes, payload_bytes], _) = sizes.as_chunks::<4>() else {
        bail!("a frame's sizes are two numbers");
    };
    let header_bytes = u32::from_le_bytes(*header_bytes);
    let payload_bytes = u32::from_le_bytes(*payload_bytes);
    bounded(header_bytes as usize, HEADER_BYTES_MAX, "header")?;
    bounded(payload_bytes as usize, PAYLOAD_BYTES_MAX, "payload")?;
    let header: Header<M> = serde_json::from_slice(&read_bytes(stream, header_bytes)?)
        .context("the header of a frame is not the expected JSON")?;
    let announced: Option<usize> = header
        .tensors
        .iter()
        .try_fold(0usize, |sum, layout| sum.checked_add(layout.bytes()?));
    if announced != Some(payload_bytes as usize) {
        bail!("a frame of {payload_bytes} payload bytes lists tensors of another size");
    }
    let tensors = header
        .tensors
        .into_iter()
        .map(|layout| {
            let bytes = u32::try_from(layout.bytes().unwrap_or(0))?;
            HostTensor::new(layout, read_bytes(stream, bytes)?)
        })
        .collect::<Result<_>>()?;
    Ok(Some(Frame {
        message: header.message,
        tensors,
    }))
}

fn bounded(bytes: usize, max: u32, part: &str) -> Result<u32> {
    match u32::try_from(bytes) {
        Ok(bytes) if bytes <= max => Ok(bytes),
        _ => bail!("a frame's {part} of {bytes} bytes exceeds the bound of {max}"),
    }
}

/// Reads exactly `bytes` bytes, allocating as they arrive.
fn read_bytes(stream: &mut impl Read, bytes: u32) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    stream
        .take(u64::from(bytes))
        .read_to_end(&mut content)
        .context("reading a frame")?;
    if content.len() != bytes as usize {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof)).context("reading a frame");
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_frame_comes_back_as_it_was_sent() {
        let tensors = vec![
            HostTensor::from_i64(&[1, 2], &[5, -6]).unwrap(),
            HostTensor::from_f32(&[3], &[1.0, 2.0, 3.5]).unwrap(),
        ];
        let message = Request::Run { id: 7, artifact: 2 };
        let mut bytes = Vec::new();
        send(&mut bytes, &message, &tensors).unwrap();
        let frame: Frame<Request> = receive(&mut bytes.as_slice()).unwrap().unwrap();
        assert_eq!(frame, Frame { message, tensors });
    }

    #[test]
    fn a_closed_stream_is_an_end_and_a_cut_frame_is_an_error() {
        assert_eq!(receive::<Reply>(&mut [].as_slice()).unwrap(), None);
        let mut bytes = Vec::new();
        send(&mut bytes, &Reply::Loaded, &[]).unwrap();
        bytes.pop();
        assert!(receive::<Reply>(&mut bytes.as_slice()).is_err());
    }

    /// A stream whose first read a signal interrupts.
    struct Interrupted<'a>(Option<io::Error>, &'a [u8]);

    impl Read for Interrupted<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.take().map_or_else(|| self.1.read(buffer), Err)
        }
    }

    #[test]
    fn a_signal_is_not_the_end_of_a_stream() {
        let mut bytes = Vec::new();
        send(&mut bytes, &Reply::Loaded, &[]).unwrap();
        let interruption = io::Error::from(io::ErrorKind::Interrupted);
        let mut stream = Interrupted(Some(interruption), &bytes);
        let frame: Frame<Reply> = receive(&mut stream).unwrap().unwrap();
        assert_eq!(frame.message, Reply::Loaded);
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = receive::<Reply>(&mut bytes.as_slice());
        }
    }
}
