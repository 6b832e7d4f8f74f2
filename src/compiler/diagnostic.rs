//! Explains why a compilation failed: memory, time, the compiler or the SDK; with the relevant lines of
//! the log and a command that repeats it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use neuron_logs::reading::LogReading;

use crate::bucket::Bucket;
use crate::command::{self, CommandError};

use crate::executor::events::FailureClass;
use crate::explain;
use crate::failure::{Class, Failure};

/// Number of lines of the log that an error shows.
const LINES_SHOWN: usize = 20;

/// Number of these lines before the first error.
const LINES_BEFORE: usize = 4;

/// Longer lines are cut.
const LINE_CHARACTERS_MAX: usize = 300;

/// Texts with which compilers say that the memory of a core, not of the host, is too small.
const DEVICE_MEMORY: [&str; 4] = ["NCC_EOOM", "NCC_EXSP001", "XCG815", "exceeds HBM limit"];

/// Texts with which compilers and kernels say that the host's memory ran out.
const HOST_MEMORY: [&str; 6] = [
    "[F137]",
    "failed with -9",
    "Compile command returned: -9",
    "Non-zero exit status (137)",
    "MemoryError",
    "Cannot allocate memory",
];

/// Texts with which programs say that the disk is full.
const DISK: [&str; 2] = ["No space left on device", "Disk quota exceeded"];

/// Texts with which torch-neuron says that its compiler is not installed.
const NO_COMPILER: [&str; 2] = [
    "check that neuron-cc is installed",
    "neuronx-cc compiler binary does not exist",
];

/// Text with which torch-neuron says that a sub-graph is left to the host.
const FALLS_BACK: &str = "falling back to native python function call";

/// The entry of `neuronc explain` for a process that the kernel killed.
const KILLED_ENTRY: &str = "exit -9";

/// One compilation that failed.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    pub bucket: Bucket,
    pub log: &'a Path,
    pub rerun: &'a Path,
}

/// The cause of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    HostMemory,
    DeviceMemory,
    Disk,
    Time,
    /// torch-neuron leaves the parts that its compiler refuses to the host; here these are all parts.
    NothingCompiled,
    Sdk,
    Device,
    Input,
    Compiler,
}

/// Everything that is known about a failure.
struct Evidence {
    ended: Option<anyhow::Error>,
    reported: Option<FailureClass>,
    /// The message that was reported, or how the process ended.
    message: String,
    /// Lines of the log to show.
    lines: Vec<String>,
    /// The whole log as the reader understood it.
    reading: LogReading,
}

/// The failure of one compilation. `ended` is the failure of its process, `reported` the one that the
/// process reported itself.
pub fn failure(
    attempt: &Attempt,
    ended: Option<anyhow::Error>,
    reported: Option<(FailureClass, String)>,
) -> anyhow::Error {
    let message = match (&reported, &ended) {
        (Some((_, message)), _) => message.clone(),
        (None, Some(error)) => first_line(&format!("{error:#}")),
        (None, None) => "it ended without an artifact and without an error".to_owned(),
    };
    // The failure of the compilation matters more than that of reading its log.
    let reading = File::open(attempt.log)
        .ok()
        .and_then(|file| neuron_logs::read(file).ok());
    let reading = reading.unwrap_or_default();
    let reported = reported.map(|(class, _)| class);
    let evidence = Evidence {
        ended,
        message,
        lines: lines_that_matter(attempt.log, &reading, reported),
        reported,
        reading,
    };
    let cause = evidence.cause();
    let mut why = evidence.message.clone();
    for line in &evidence.lines {
        why.push_str("\n| ");
        why.push_str(line);
    }
    let help = format!(
        "{}\nlog: {}\nonce more, this bucket alone: sh {}",
        evidence.help(cause),
        attempt.log.display(),
        attempt.rerun.display()
    );
    Failure::new(cause.class(), cause.what(attempt.bucket))
        .why(why)
        .help(help)
        .into()
}

/// The failure of all buckets together: the first one in full, the others in a line each, and the buckets
/// that are kept.
pub fn all(mut failures: Vec<(Bucket, anyhow::Error)>, kept: &[Bucket]) -> anyhow::Error {
    let (_, first) = failures.remove(0);
    let others: Vec<String> = failures
        .iter()
        .map(|(bucket, error)| format!("{bucket}: {}", first_line(&format!("{error:#}"))))
        .collect();
    let names: Vec<String> = kept.iter().map(ToString::to_string).collect();
    let kept = match names.as_slice() {
        [] => None,
        [one] => Some(format!("{one} is")),
        [init @ .., last] => Some(format!("{} and {last} are", init.join(", "))),
    };
    let mut failure = match first.downcast_ref::<Failure>() {
        Some(failure) => failure.clone(),
        None => Failure::new(Failure::class_of(&first), format!("{first:#}")),
    };
    if !others.is_empty() {
        failure = failure.add_help(format!("also failed:\n{}", others.join("\n")));
    }
    if let Some(kept) = kept {
        failure = failure.add_help(format!(
            "{kept} compiled and kept: the same command goes on from there"
        ));
    }
    failure.into()
}

impl Cause {
    fn class(self) -> Class {
        match self {
            Cause::HostMemory | Cause::DeviceMemory | Cause::Disk => Class::Resources,
            Cause::Sdk | Cause::Device => Class::Executor,
            Cause::Input => Class::Usage,
            Cause::Time | Cause::NothingCompiled | Cause::Compiler => Class::Compilation,
        }
    }

    fn what(self, bucket: Bucket) -> String {
        match self {
            Cause::HostMemory => {
                format!("the memory of this machine ran out while bucket {bucket} was compiled")
            }
            Cause::DeviceMemory => {
                format!("bucket {bucket} does not fit into the memory of the chip")
            }
            Cause::Disk => format!("the disk was full while bucket {bucket} was compiled"),
            Cause::Time => format!("bucket {bucket} was not compiled in time"),
            Cause::NothingCompiled => format!("0 % of bucket {bucket} was compiled for the chip"),
            Cause::Sdk => format!("the SDK cannot compile bucket {bucket}"),
            Cause::Device => format!("the device cannot run bucket {bucket}"),
            Cause::Input => format!("bucket {bucket} cannot be compiled as asked"),
            Cause::Compiler => format!("the compilation of bucket {bucket} failed"),
        }
    }

    /// The remedy where the table of `neuronc explain` has none.
    fn help(self) -> &'static str {
        match self {
            Cause::HostMemory => "compile with `--jobs 1`, or on a machine with more memory",
            Cause::DeviceMemory => "compile a smaller bucket",
            Cause::Disk => "free some of the disk, or set XDG_CACHE_HOME to a larger one",
            Cause::Time => {
                "give it longer with `--compile-timeout`, or compile a smaller bucket; \
                 `--optlevel 1` compiles fastest where the compiler has it"
            }
            Cause::Sdk => "give a complete environment of the SDK with `--sdk PATH`",
            Cause::Device => "see who uses the device, or compile on a machine without one",
            Cause::Input => "change what the reason names",
            Cause::NothingCompiled | Cause::Compiler => {
                "the cause is above, where the compiler names one"
            }
        }
    }
}

impl Evidence {
    fn cause(&self) -> Cause {
        match self.ended.as_ref().and_then(|error| error.downcast_ref()) {
            Some(CommandError::Killed { signal: 9, .. }) => return Cause::HostMemory,
            Some(CommandError::DeadlineExceeded { .. }) => return Cause::Time,
            Some(CommandError::NotFound { .. } | CommandError::CouldNotStart { .. }) => {
                return Cause::Sdk;
            }
            _ => {}
        }
        if self.tells(&DEVICE_MEMORY) {
            return Cause::DeviceMemory;
        }
        if self.tells(&HOST_MEMORY) || self.reading.return_codes.contains(&-9) {
            return Cause::HostMemory;
        }
        let disk_is_full = self.ended.as_ref().map(Failure::class_of) == Some(Class::Resources);
        if disk_is_full || self.tells(&DISK) {
            return Cause::Disk;
        }
        if self.tells(&NO_COMPILER) {
            return Cause::Sdk;
        }
        match self.reported {
            Some(FailureClass::Resources) => Cause::HostMemory,
            Some(FailureClass::Sdk) => Cause::Sdk,
            Some(FailureClass::Device) => Cause::Device,
            Some(FailureClass::Input) => Cause::Input,
            _ if self.nothing_compiled() => Cause::NothingCompiled,
            _ => Cause::Compiler,
        }
    }

    fn tells(&self, signs: &[&str]) -> bool {
        let mut texts = self.texts();
        texts.any(|text| signs.iter().any(|sign| text.contains(sign)))
    }

    /// Everything that may name the cause, the most specific first.
    fn texts(&self) -> impl Iterator<Item = &str> {
        let errors = self.reading.errors.iter().map(|error| error.line.as_str());
        let lines = self.lines.iter().map(String::as_str);
        errors
            .chain(std::iter::once(self.message.as_str()))
            .chain(lines)
    }

    /// True when the log says that nothing of the last run was compiled.
    fn nothing_compiled(&self) -> bool {
        let compiled = self
            .reading
            .runs
            .last()
            .and_then(|run| run.compiled.as_ref());
        compiled.is_some_and(|compiled| compiled.compiled == 0)
    }

    /// The remedy: that of the table of `neuronc explain` where it has one.
    fn help(&self, cause: Cause) -> String {
        let entry = match cause {
            Cause::Time | Cause::Disk | Cause::Sdk => None,
            Cause::HostMemory => explain::lookup(if self.tells(&["[F137]"]) {
                "F137"
            } else {
                KILLED_ENTRY
            }),
            _ => self.texts().find_map(explain::advice_for),
        };
        match entry {
            Some(entry) => {
                let quote = if entry.name.contains(' ') { "'" } else { "" };
                let remedy = entry.remedy.join("\n");
                let name = &entry.name;
                format!("{remedy}\n(`neuronc explain {quote}{name}{quote}` has more)")
            }
            None => cause.help().to_owned(),
        }
    }
}

/// The lines around the first error of a log, or its last lines where the reader found no error.
fn lines_that_matter(
    log: &Path,
    reading: &LogReading,
    reported: Option<FailureClass>,
) -> Vec<String> {
    // The runtime's own error about a device comes first; the errors that follow from it say less.
    let of_runtime = |line: &str| line.contains(" ERROR ") && line.contains("NRT:");
    let of_device = match reported {
        Some(FailureClass::Device) => around(log, &of_runtime),
        _ => None,
    };
    let first = reading.errors.first();
    let is_first = |line: &str| first.is_some_and(|error| line.contains(&error.line));
    let found = of_device.or_else(|| around(log, &|line| is_first(line) || leads_to_error(line)));
    let lines = found.unwrap_or_else(|| command::tail(log, LINES_SHOWN));
    let telling = lines.iter().filter(|line| !is_blank(line));
    telling.map(|line| cut(line)).collect()
}

/// True for a line in which torch-neuron says that a compiler failed. It goes on, and its own error comes
/// much later.
fn leads_to_error(line: &str) -> bool {
    let status = line.split_once("Compile command returned: ");
    status.is_some_and(|(_, status)| status != "0") || line.contains(FALLS_BACK)
}

/// The lines around the first one for which `is_it` is true.
fn around(log: &Path, is_it: &dyn Fn(&str) -> bool) -> Option<Vec<String>> {
    let mut reader = BufReader::new(File::open(log).ok()?);
    let mut lines: VecDeque<String> = VecDeque::new();
    let mut bytes = Vec::new();
    let mut found = false;
    loop {
        bytes.clear();
        // After a read error the lines so far are shown.
        if reader.read_until(b'\n', &mut bytes).unwrap_or(0) == 0 {
            break;
        }
        let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        if is_blank(&line) {
            continue;
        }
        found = found || is_it(&line);
        lines.push_back(line);
        match found {
            true if lines.len() >= LINES_SHOWN => break,
            false if lines.len() > LINES_BEFORE => drop(lines.pop_front()),
            _ => {}
        }
    }
    found.then(|| lines.into())
}

/// True when a line is empty or a rule of stars behind the prefix that compilers put before every line.
fn is_blank(line: &str) -> bool {
    let body = line.rsplit("]: ").next().unwrap_or(line);
    line.ends_with("]:") || !body.contains(char::is_alphanumeric)
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(LINE_CHARACTERS_MAX) {
        Some((at, _)) => format!("{}...", &line[..at]),
        None => line.to_owned(),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUCKET: Bucket = Bucket {
        sequence: 16,
        batch: 1,
    };

    fn shown(log: &str, reported: Option<FailureClass>) -> (Class, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        crate::files::write(&path, log.as_bytes()).unwrap();
        let attempt = Attempt {
            bucket: BUCKET,
            log: &path,
            rerun: &path,
        };
        let reported = reported.map(|class| (class, "it failed".to_owned()));
        let error = failure(&attempt, None, reported);
        (Failure::class_of(&error), error.to_string())
    }

    #[test]
    fn the_memory_of_the_host_and_that_of_the_chip_are_told_apart() {
        let (class, host) = shown(
            "2026-05-01T10:00:00Z ERROR 1 [neuronx-cc]: [F137] neuronx-cc was forcibly killed\n",
            Some(FailureClass::Compiler),
        );
        assert_eq!(class, Class::Resources);
        assert!(
            host.contains("memory of this machine") && host.contains("--jobs 1"),
            "{host}"
        );
        let (class, chip) = shown(
            "[ERROR] [NCC_EOOM001] Maximum peak HBM usage of 18GB exceeds HBM limit of 16GB\n",
            Some(FailureClass::Resources),
        );
        assert_eq!(class, Class::Resources);
        assert!(
            chip.contains("memory of the chip") && !chip.contains("--jobs 1"),
            "{chip}"
        );
    }

    #[test]
    fn a_full_disk_is_not_called_memory() {
        let log = "OSError: [Errno 28] No space left on device\n";
        let (class, text) = shown(log, Some(FailureClass::Resources));
        assert_eq!(class, Class::Resources);
        assert!(text.starts_with("the disk was full"), "{text}");
    }

    #[test]
    fn blank_lines_are_not_shown() {
        let prefix = "05/01/2026 10:00:00 AM ERROR 1 [neuron-cc]:";
        let body = |text: &str| format!("{prefix} {text}\n");
        let log = [
            format!("{prefix}\n"),
            body("***"),
            body("Error message:  no"),
            body("why not"),
        ];
        let (_, text) = shown(&log.concat(), Some(FailureClass::Compiler));
        assert_eq!(text.matches("        | ").count(), 2, "{text}");
    }

    #[test]
    fn other_buckets_are_named() {
        let failed = |text: &str| Failure::new(Class::Compilation, text).into();
        let two = Bucket { batch: 2, ..BUCKET };
        let failures = vec![(BUCKET, failed("first")), (two, failed("second"))];
        let text = all(failures, &[Bucket { batch: 3, ..BUCKET }]).to_string();
        assert!(
            text.contains("2x16: second") && text.contains("3x16 is compiled"),
            "{text}"
        );
    }
}
