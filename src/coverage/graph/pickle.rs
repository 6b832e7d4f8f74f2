//! The shapes of the tensors in a pickle that torch wrote. Nothing in it is run.
//!
//! A pickle is a program for a stack machine. The instructions that torch emits are followed; calls
//! are not made, only recognised where they make a tensor.

use std::collections::BTreeMap;
use std::rc::Rc;

use anyhow::{Context as _, Result, bail};

/// The deepest nesting of values.
const DEPTH_MAX: usize = 200;

/// The most visits when a pickle is searched: a value may be reached in many ways.
const VISITS_MAX: usize = 1_000_000;

/// A value, and how deep it nests.
#[derive(Debug, Clone)]
pub(super) struct PickleValue {
    depth: usize,
    pub(super) kind: PickleKind,
}

/// The kinds of values that matter.
#[derive(Debug, Clone)]
pub(super) enum PickleKind {
    Int(i64),
    Text(String),
    Global(String),
    /// Also a tuple.
    List(Vec<Rc<PickleValue>>),
    Dict(Vec<(Rc<PickleValue>, Rc<PickleValue>)>),
    /// The name of its storage, and its shape.
    Tensor(String, Vec<usize>),
    /// Its class, and its state.
    Object(String, Option<Rc<PickleValue>>),
    Other,
}

/// A module as the archive stores it.
#[derive(Debug, Default)]
pub(super) struct PickledModule {
    pub(super) class: String,
    /// The shapes of its tensors, by the path of attribute names.
    pub(super) shapes: BTreeMap<String, Vec<usize>>,
}

/// The module in `data.pkl`.
pub(super) fn module(pickle: &[u8]) -> Result<PickledModule> {
    let root = load(pickle)?;
    let PickleKind::Object(class, _) = &root.kind else {
        bail!("the pickle holds no module")
    };
    let mut module = PickledModule {
        class: class.clone(),
        ..PickledModule::default()
    };
    let mut visits = 0;
    module.search(&root, String::new(), &mut visits)?;
    Ok(module)
}

impl PickledModule {
    fn search(&mut self, value: &PickleValue, path: String, visits: &mut usize) -> Result<()> {
        *visits += 1;
        if *visits > VISITS_MAX {
            bail!("the pickle refers to itself too often");
        }
        match &value.kind {
            PickleKind::Tensor(_, shape) => {
                self.shapes.insert(path, shape.clone());
            }
            PickleKind::Object(_, Some(state)) => self.search(state, path, visits)?,
            PickleKind::Dict(entries) => {
                for (key, value) in entries {
                    let PickleKind::Text(key) = &key.kind else {
                        continue;
                    };
                    let path = match path.as_str() {
                        "" => key.clone(),
                        _ => format!("{path}.{key}"),
                    };
                    self.search(value, path, visits)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// All tensors below `value`, in order: storage and shape.
pub(super) fn tensors(value: &PickleValue) -> Vec<(String, Vec<usize>)> {
    let (mut found, mut visits) = (Vec::new(), 0);
    collect(value, &mut found, &mut visits);
    found
}

fn collect(value: &PickleValue, found: &mut Vec<(String, Vec<usize>)>, visits: &mut usize) {
    *visits += 1;
    if *visits > VISITS_MAX {
        return;
    }
    match &value.kind {
        PickleKind::Tensor(storage, shape) => found.push((storage.clone(), shape.clone())),
        PickleKind::List(items) => items.iter().for_each(|item| collect(item, found, visits)),
        PickleKind::Dict(entries) => {
            let values = entries.iter().map(|(_, value)| value);
            values.for_each(|value| collect(value, found, visits));
        }
        PickleKind::Object(_, Some(state)) => collect(state, found, visits),
        _ => {}
    }
}

/// The value that a pickle describes.
pub(super) fn load(pickle: &[u8]) -> Result<Rc<PickleValue>> {
    let mut machine = PickleMachine {
        rest: pickle,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: BTreeMap::new(),
    };
    while let Some(&code) = machine.rest.first() {
        machine.rest = &machine.rest[1..];
        if code == b'.' {
            return machine.pop();
        }
        machine.step(code)?;
    }
    bail!("the pickle does not end")
}

/// The stack machine.
struct PickleMachine<'bytes> {
    rest: &'bytes [u8],
    stack: Vec<Rc<PickleValue>>,
    marks: Vec<usize>,
    memo: BTreeMap<u32, Rc<PickleValue>>,
}

impl PickleMachine<'_> {
    fn step(&mut self, code: u8) -> Result<()> {
        match code {
            // PROTO and FRAME have arguments of no interest; MARK begins a list of values.
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'N' | 0x88 | 0x89 => self.push(PickleKind::Other)?,
            b'K' => self.push_int(1)?,
            b'M' => self.push_int(2)?,
            b'J' => {
                let bytes = self.take(4)?;
                let number = i32::from_le_bytes(bytes.try_into()?);
                self.push(PickleKind::Int(number.into()))?;
            }
            // LONG1: a count, and a number of that many bytes, whose last one has the sign.
            0x8a => {
                let count = usize::from(self.take(1)?[0]);
                let bytes = self.take(count)?;
                let sign = bytes
                    .last()
                    .map_or(0, |last| if last & 0x80 == 0 { 0 } else { 0xff });
                let mut wide = [sign; 8];
                let used = count.min(8);
                wide[..used].copy_from_slice(&bytes[..used]);
                self.push(PickleKind::Int(i64::from_le_bytes(wide)))?;
            }
            b'G' => {
                self.take(8)?;
                self.push(PickleKind::Other)?;
            }
            b'X' => {
                let length = u32::from_le_bytes(self.take(4)?.try_into()?);
                let bytes = self.take(usize::try_from(length)?)?;
                let text = String::from_utf8_lossy(bytes).into_owned();
                self.push(PickleKind::Text(text))?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(PickleKind::Global(format!("{module}.{name}")))?;
            }
            b'q' | b'r' => self.remember(code)?,
            b'h' | b'j' => {
                let key = self.memo_key(code == b'h')?;
                let value = self.memo.get(&key).context("an unknown memo")?;
                self.stack.push(Rc::clone(value));
            }
            _ => self.build(code)?,
        }
        Ok(())
    }

    /// The instructions that make a value of other values.
    fn build(&mut self, code: u8) -> Result<()> {
        match code {
            b')' | b']' => self.push(PickleKind::List(Vec::new())),
            b'}' => self.push(PickleKind::Dict(Vec::new())),
            b't' => {
                let items = self.marked()?;
                self.push(PickleKind::List(items))
            }
            0x85..=0x87 => {
                let count = usize::from(code - 0x84);
                let start = self
                    .stack
                    .len()
                    .checked_sub(count)
                    .context("too few values")?;
                let items = self.stack.split_off(start);
                self.push(PickleKind::List(items))
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(vec![item])
            }
            b'e' => {
                let items = self.marked()?;
                self.extend(items)
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.extend(vec![key, value])
            }
            b'u' => {
                let items = self.marked()?;
                self.extend(items)
            }
            // BINPERSID: the storage of a tensor stays the tuple that names it.
            b'Q' => Ok(()),
            b'R' => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                self.push(reduced(&function, &arguments))
            }
            0x81 => {
                let (_, class) = (self.pop()?, self.pop()?);
                let class = match &class.kind {
                    PickleKind::Global(name) => name.clone(),
                    _ => String::new(),
                };
                self.push(PickleKind::Object(class, None))
            }
            b'b' => {
                let (state, object) = (self.pop()?, self.pop()?);
                let class = match &object.kind {
                    PickleKind::Object(class, _) => class.clone(),
                    _ => String::new(),
                };
                self.push(PickleKind::Object(class, Some(state)))
            }
            _ => bail!("instruction {code:#x} is not one that torch writes"),
        }
    }

    fn take(&mut self, count: usize) -> Result<&[u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).context("it is cut off")?;
        self.rest = rest;
        Ok(taken)
    }

    fn line(&mut self) -> Result<String> {
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let line = self.take(end.context("it is cut off")?)?;
        let line = String::from_utf8_lossy(line).into_owned();
        self.take(1)?;
        Ok(line)
    }

    fn push_int(&mut self, count: usize) -> Result<()> {
        let mut wide = [0; 8];
        wide[..count].copy_from_slice(self.take(count)?);
        self.push(PickleKind::Int(i64::from_le_bytes(wide)))
    }

    fn memo_key(&mut self, short: bool) -> Result<u32> {
        Ok(if short {
            u32::from(self.take(1)?[0])
        } else {
            u32::from_le_bytes(self.take(4)?.try_into()?)
        })
    }

    fn remember(&mut self, code: u8) -> Result<()> {
        let key = self.memo_key(code == b'q')?;
        let top = self.stack.last().context("nothing to remember")?;
        self.memo.insert(key, Rc::clone(top));
        Ok(())
    }

    fn push(&mut self, kind: PickleKind) -> Result<()> {
        let depth_of = |values: &[Rc<PickleValue>]| values.iter().map(|value| value.depth).max();
        let below = match &kind {
            PickleKind::List(items) => depth_of(items),
            PickleKind::Dict(entries) => {
                let depths = entries
                    .iter()
                    .flat_map(|(key, value)| [key.depth, value.depth]);
                depths.max()
            }
            PickleKind::Object(_, Some(state)) => Some(state.depth),
            _ => None,
        };
        self.push_at(below.unwrap_or(0) + 1, kind)
    }

    fn push_at(&mut self, depth: usize, kind: PickleKind) -> Result<()> {
        if depth > DEPTH_MAX {
            bail!("its values nest too deep");
        }
        self.stack.push(Rc::new(PickleValue { depth, kind }));
        Ok(())
    }

    fn pop(&mut self) -> Result<Rc<PickleValue>> {
        self.stack.pop().context("too few values")
    }

    fn marked(&mut self) -> Result<Vec<Rc<PickleValue>>> {
        let mark = self.marks.pop().context("no mark")?;
        if mark > self.stack.len() {
            bail!("too few values");
        }
        Ok(self.stack.split_off(mark))
    }

    /// Adds items to the list or dict on top of the stack.
    fn extend(&mut self, items: Vec<Rc<PickleValue>>) -> Result<()> {
        let PickleValue { depth, mut kind } = Rc::unwrap_or_clone(self.pop()?);
        let deepest = items.iter().map(|item| item.depth + 1).max();
        match &mut kind {
            PickleKind::List(list) => list.extend(items),
            PickleKind::Dict(entries) => {
                let mut items = items.into_iter();
                while let (Some(key), Some(value)) = (items.next(), items.next()) {
                    entries.push((key, value));
                }
            }
            _ => bail!("only lists and dicts are extended"),
        }
        self.push_at(depth.max(deepest.unwrap_or(0)), kind)
    }
}

/// `_rebuild_tensor_v2(("storage", type, key, device, count), offset, shape, ...)`, and
/// `restore_type_tag(value, type)`.
fn reduced(function: &PickleValue, arguments: &PickleValue) -> PickleKind {
    let (PickleKind::Global(function), PickleKind::List(arguments)) =
        (&function.kind, &arguments.kind)
    else {
        return PickleKind::Other;
    };
    if function.ends_with("restore_type_tag") {
        return arguments
            .first()
            .map_or(PickleKind::Other, |value| value.kind.clone());
    }
    let is_tensor = function.starts_with("torch._utils._rebuild");
    match arguments.as_slice() {
        [storage, _, shape, ..] if is_tensor => tensor(storage, shape).unwrap_or(PickleKind::Other),
        _ => PickleKind::Other,
    }
}

fn tensor(storage: &PickleValue, shape: &PickleValue) -> Option<PickleKind> {
    let (PickleKind::List(storage), PickleKind::List(shape)) = (&storage.kind, &shape.kind) else {
        return None;
    };
    let dimension = |value: &Rc<PickleValue>| match value.kind {
        PickleKind::Int(size) => usize::try_from(size).ok(),
        _ => None,
    };
    let shape = shape.iter().map(dimension).collect::<Option<Vec<_>>>()?;
    // The storage's key is unique within its element type only, so that both make its name.
    match (&storage.get(1)?.kind, &storage.get(2)?.kind) {
        (PickleKind::Global(of), PickleKind::Text(key)) => {
            Some(PickleKind::Tensor(format!("{of}/{key}"), shape))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_or_foreign_is_an_error() {
        for pickle in [
            &b""[..],
            b"\x80\x02",
            b"h\x07.",
            b"(t",
            b"\x80\x02X\xff\xff\xff\x7fa.",
        ] {
            assert!(load(pickle).is_err(), "{pickle:?}");
        }
        assert!(load(b"cos\nsystem\n(X\x02\x00\x00\x00lstR.").is_ok());
    }

    #[test]
    fn deep_nesting_is_refused() {
        let mut pickle = vec![b')'];
        pickle.extend([0x85; 100_000]);
        pickle.push(b'.');
        assert!(load(&pickle).is_err());
    }
    proptest::proptest! {
        #[test]
        fn foreign_bytes_do_not_panic(bytes: Vec<u8>, codes in "[()\\]}te.usbhqQRcKMNX\u{1}]{0,60}") {
            let _ = module(&bytes);
            if let Ok(value) = load(codes.as_bytes()) {
                tensors(&value);
            }
        }
    }
}
