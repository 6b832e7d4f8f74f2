//! The prefixes of records: times, levels, loggers, ranks, and what containers put in front.

use super::record::{LogLevel, LogRecord, Logger, PrefixLayout};
use super::timestamp::time;
use crate::text::scan::{Scan, after, find, is_word};

impl<'a> LogRecord<'a> {
    /// The body without its first prefix; `None` when it begins with no known one.
    ///
    /// The same text is a prefix behind some prefixes and a part of the message behind others:
    /// `12:30` at the start of a sentence must stay, and so must `[ERROR]` before a code.
    pub(super) fn strip(&mut self) -> Option<&'a [u8]> {
        let first = *self.body.first()?;
        match first {
            b'0'..=b'9' => self.strip_time(),
            b'I' | b'W' | b'E' | b'D' | b'C' | b'U' => self.strip_level(),
            b'[' => self.strip_bracket(),
            b'(' => self.strip_process(),
            b'N' => self.strip_name(),
            // Without a prefix before them, blanks belong to the message: lists are indented.
            b' ' | b'\t' if self.layout != PrefixLayout::Bare || self.time.is_some() => {
                Some(self.body.trim_ascii_start())
            }
            b':' | b'-' if self.time.is_some() => self.strip_separator(),
            // The wrapper's name stands between bars behind a level.
            b'|' if self.layout == PrefixLayout::Timed => self.strip_bars(),
            b'.' if self.layout == PrefixLayout::Bare && self.body.len() < self.text.len() => {
                Some(self.strip_dots())
            }
            _ if self.layout == PrefixLayout::Bare && self.logger == Logger::None => {
                self.strip_host()
            }
            _ => None,
        }
    }

    /// `2023-05-25 00:43:43.000394: `, `2023-06-15T12:11:12Z `, `05/24/2021 11:12:51 PM `.
    fn strip_time(&mut self) -> Option<&'a [u8]> {
        let Some((time, rest)) = time(self.body) else {
            return mangled_time(self.body);
        };
        self.time = Some(time);
        let mut scan = Scan::new(rest);
        scan.blanks();
        // The stream and the tag that a container runtime writes into its files.
        let _ = scan.lit("stdout F ").or_else(|| scan.lit("stderr F "));
        // A number with two blanks behind it is a process; otherwise the message begins with it.
        let mut pid = scan;
        if pid.count().is_some() && pid.rest.starts_with(b"  ") {
            pid.blanks();
            return Some(pid.rest);
        }
        // The layout of C++ programs: `E hilo/tools/hlo_opt_main.cc:71] `.
        if let [b'I' | b'W' | b'E' | b'F', b' ', rest @ ..] = scan.rest {
            self.logger = Logger::Other;
            return Some(after(rest, "] ").unwrap_or(rest));
        }
        Some(scan.rest)
    }

    /// `INFO:Neuron:`, `ERROR 58870 [neuron-cc]: `, `INFO ||NCC_WRAPPER||: `, `INFO : `.
    fn strip_level(&mut self) -> Option<&'a [u8]> {
        let mut scan = Scan::new(self.body);
        let level = level(scan.take_while(|byte| byte.is_ascii_uppercase()))?;
        match scan.rest {
            [b':', rest @ ..] if !rest.starts_with(b" ") => {
                let mut name = Scan::new(rest);
                let logger = name.take_while(|byte| is_word(byte) || byte == b'.');
                self.level = level;
                self.layout = PrefixLayout::Basic;
                if let [b':', rest @ ..] = name.rest {
                    self.logger = logger_named(logger);
                    return Some(rest);
                }
                self.logger = Logger::Other;
                name.lit(" - ").map(|()| name.rest)
            }
            [b' ', ..] => self.strip_spaced_level(level, scan),
            _ => None,
        }
    }

    /// The body behind a level and a blank.
    fn strip_spaced_level(&mut self, level: LogLevel, mut scan: Scan<'a>) -> Option<&'a [u8]> {
        scan.blanks();
        let digits = scan;
        if scan.count().is_some() {
            // vLLM writes a day without a year, and the place in its code in brackets behind it.
            if let Some(rest) = vllm_place(digits.rest) {
                self.level = level;
                self.logger = Logger::Other;
                return Some(rest);
            }
            scan.blanks();
            let _ = scan.count();
            scan.blanks();
        }
        match scan.rest {
            [b'|', b'|', ..] => {
                self.level = level;
                self.layout = PrefixLayout::Timed;
                Some(scan.rest)
            }
            [b':', b' ', rest @ ..] if self.time.is_some() => {
                self.level = level;
                self.layout = PrefixLayout::Timed;
                Some(rest)
            }
            [b'(' | b'[', ..] => {
                if scan.rest[0] == b'(' {
                    scan.until(") ")?;
                }
                scan.lit("[")?;
                let name = scan.until("]: ").or_else(|| scan.until("]:"))?;
                self.level = level;
                self.layout = PrefixLayout::Timed;
                self.component = name;
                self.logger = match name {
                    b"neuron-cc" => Logger::NeuronCc,
                    _ => Logger::NeuronxCc,
                };
                Some(scan.rest)
            }
            _ => None,
        }
    }

    /// `[rank0]: `, `[INFO] `, `[INFO]: `, `[2026-07-31 05:53:29] INFO file.py:111: `.
    fn strip_bracket(&mut self) -> Option<&'a [u8]> {
        let mut scan = Scan::new(&self.body[1..]);
        if let [b'0'..=b'9', ..] = scan.rest {
            let (_, rest) = time(scan.rest)?;
            self.logger = Logger::Other;
            return match rest {
                [b']', b' ', rest @ ..] => after(rest, ": "),
                _ => after(rest, "] "),
            };
        }
        if scan.lit("rank").is_some() {
            self.rank = scan.count();
            scan.lit("]:")?;
            return Some(scan.rest.strip_prefix(b" ").unwrap_or(scan.rest));
        }
        let level = level(scan.take_while(|byte| byte.is_ascii_uppercase()))?;
        scan.lit("]")?;
        if scan.lit(": ").is_some() {
            self.level = level;
            self.layout = PrefixLayout::Timed;
            self.logger = Logger::Wrapper;
            return Some(scan.rest);
        }
        scan.lit(" ")?;
        // `[ERROR] [NCC_EOOM001] …` is the message of a compiler, not a prefix before one.
        if scan.rest.starts_with(b"[") {
            return None;
        }
        self.level = level;
        self.layout = PrefixLayout::Bracketed;
        self.logger = Logger::Neuron;
        Some(scan.rest)
    }

    /// `(EngineCore_DP0 pid=13898) `, also with a service name and a bar behind it.
    fn strip_process(&mut self) -> Option<&'a [u8]> {
        let mut scan = Scan::new(&self.body[1..]);
        let name = scan.until(")")?;
        after(name, "pid=")?;
        let _ = scan.lit(" ");
        let mut service = scan;
        service.take_while(|byte| is_word(byte) || byte == b'-' || byte == b'.');
        service.blanks();
        match service.lit("| ") {
            Some(()) => Some(service.rest),
            None => Some(scan.rest),
        }
    }

    /// `Neuron: `.
    fn strip_name(&mut self) -> Option<&'a [u8]> {
        let rest = self.body.strip_prefix(b"Neuron: ")?;
        self.logger = Logger::Neuron;
        self.layout = PrefixLayout::NameOnly;
        Some(rest)
    }

    /// ` : INFO : ` and ` - Neuron - INFO - ` behind a time.
    fn strip_separator(&mut self) -> Option<&'a [u8]> {
        let mut scan = Scan::new(self.body);
        let mark = if scan.lit(": ").is_some() {
            " : "
        } else {
            " - "
        };
        let _ = scan.lit("- ");
        let word = scan.until(mark)?;
        if let Some(level) = level(word) {
            self.level = level;
            self.layout = PrefixLayout::Timed;
            if self.logger == Logger::None {
                self.logger = Logger::Neuron;
            }
            return Some(scan.rest);
        }
        // ` - Neuron - `: the separator is left for the level behind the name.
        let named = word.iter().all(|byte| is_word(*byte) || *byte == b'.');
        if mark != " - " || !named || self.logger != Logger::None {
            return None;
        }
        self.logger = logger_named(word);
        let at = self.body.len() - scan.rest.len() - 2;
        Some(&self.body[at..])
    }

    /// `||NEURON_CC_WRAPPER||: `.
    fn strip_bars(&mut self) -> Option<&'a [u8]> {
        let mut scan = Scan::new(self.body);
        scan.lit("||")?;
        self.component = scan.until("||: ").or_else(|| scan.until("||:"))?;
        self.logger = Logger::Wrapper;
        Some(scan.rest)
    }

    /// Progress dots behind a prefix, such as the time that a container adds.
    fn strip_dots(&mut self) -> &'a [u8] {
        let mut scan = Scan::new(self.body);
        self.dots += scan.take_while(|byte| byte == b'.').len() as u64;
        scan.rest
    }

    /// `HOST compiler-container-Primary[PID]: `, or `SERVICE  | ` of a composition.
    fn strip_host(&self) -> Option<&'a [u8]> {
        let mut scan = Scan::new(self.body);
        let host = |byte: u8| is_word(byte) || byte == b'-' || byte == b'.';
        let name = scan.take_while(host);
        if !scan.rest.starts_with(b" ") {
            return None;
        }
        let mut service = scan;
        service.blanks();
        if !name.is_empty() && service.lit("| ").is_some() {
            return Some(service.rest);
        }
        scan.lit(" ")?;
        let process = scan.take_while(host);
        scan.lit("[")?;
        scan.count()?;
        scan.lit("]: ")?;
        (!name.is_empty() && !process.is_empty()).then_some(scan.rest)
    }
}

/// The text behind a time that a mail client rewrote, if it is a wrapper's level.
fn mangled_time(text: &[u8]) -> Option<&[u8]> {
    let head = &text[..text.len().min(MANGLED_BYTES_MAX)];
    let bars = find(head, b" ||")?;
    let start = head[..bars].iter().rposition(|byte| *byte == b' ')? + 1;
    level(&head[start..bars])?;
    Some(&text[start..])
}

/// The most bytes of a time, however it was rewritten.
const MANGLED_BYTES_MAX: usize = 96;

/// The level that a word names. neuronx-cc once wrote `EEEERROR`.
fn level(word: &[u8]) -> Option<LogLevel> {
    match word {
        [b'I', b'N', b'F', b'O'] | b"DEBUG" | b"USER" => Some(LogLevel::Info),
        b"WARNING" | b"WARN" => Some(LogLevel::Warning),
        b"ERROR" | b"CRITICAL" => Some(LogLevel::Error),
        _ if word.starts_with(b"EE") && word.ends_with(b"ERROR") => Some(LogLevel::Error),
        _ => None,
    }
}

fn logger_named(name: &[u8]) -> Logger {
    match name {
        b"Neuron" => Logger::Neuron,
        b"tensorflow" => Logger::Tensorflow,
        _ => Logger::Other,
    }
}

/// The text behind `07-31 06:15:17 [core.py:1006] `.
fn vllm_place(text: &[u8]) -> Option<&[u8]> {
    let mut scan = Scan::new(text);
    let day = scan.take_while(|byte| byte.is_ascii_digit() || byte == b'-');
    scan.lit(" ")?;
    scan.take_while(|byte| byte.is_ascii_digit() || byte == b':');
    scan.lit(" [")?;
    scan.until("]")?;
    let _ = scan.lit(" ");
    (day.len() == 5 && day[2] == b'-').then_some(scan.rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One line for each layout, and who it is from.
    const PREFIXES: [(&str, Logger); 29] = [
        ("INFO:Neuron:x", Logger::Neuron),
        ("..INFO:Neuron:x", Logger::Neuron),
        ("[WARNING] x", Logger::Neuron),
        ("2030-01-02 03:04:05,100 : INFO : x", Logger::Neuron),
        (
            "2023-12-29 11:39:47,031 - Neuron - INFO - x",
            Logger::Neuron,
        ),
        ("Neuron: x", Logger::Neuron),
        ("ERROR:neuronperf.compiling - x", Logger::Other),
        (
            "05/24/2021 11:12:51 PM ERROR [neuron-cc]: x",
            Logger::NeuronCc,
        ),
        (
            "05/24/2021 11:12:51 PM ERROR 58870 [neuron-cc]: x",
            Logger::NeuronCc,
        ),
        (
            "WARNING:tensorflow:01/23/2020 01:15:40 AM ERROR [neuron-cc]: x",
            Logger::NeuronCc,
        ),
        ("ERROR 227874 [neuronx-cc]: x", Logger::NeuronxCc),
        ("EEEERROR 103915 [neuronx-cc]: x", Logger::NeuronxCc),
        (
            "2023-06-15T12:11:12Z ERROR 9513 [neuronx-cc]: x",
            Logger::NeuronxCc,
        ),
        (
            "2023-11-01T14:23:34Z USER 7205 139878755739456 [root]: x",
            Logger::NeuronxCc,
        ),
        (
            "2026-03-28T14:10:42Z WARNING 1041628 (nc01/sg00) [ErrorInjector]: x",
            Logger::NeuronxCc,
        ),
        (
            "2022-07-17 17:59:53.000541: INFO ||NCC_WRAPPER||: x",
            Logger::Wrapper,
        ),
        ("INFO ||NCC_WRAPPER||: x", Logger::Wrapper),
        (
            "2023-02-02 22 (tel:2023020222):46:58.000299: INFO ||NCC_WRAPPER||: x",
            Logger::Wrapper,
        ),
        (
            ".2023-05-25 00:43:43.000394:  776642  INFO ||ANALYZE||: x",
            Logger::Wrapper,
        ),
        (
            "2026-07-31 04:58:40.000899:  6776  [INFO]: x",
            Logger::Wrapper,
        ),
        (
            "(EngineCore_DP0 pid=13898) 2026-07-31 06:13:36.000217:  13898  [INFO]: x",
            Logger::Wrapper,
        ),
        (
            "(task, pid=12) vllm-1  | (APIServer pid=7) INFO:Neuron:x",
            Logger::Neuron,
        ),
        ("[rank0]: x", Logger::None),
        (
            "host-1 compiler-container-Primary[42]: INFO:Neuron:x",
            Logger::Neuron,
        ),
        (
            "2024-05-01T12:00:00.123+00:00 INFO:Neuron:x",
            Logger::Neuron,
        ),
        ("trainer-1  | ..INFO:Neuron:x", Logger::Neuron),
        (
            "(APIServer pid=1) ERROR 07-31 06:15:17 [core.py:1006] x",
            Logger::Other,
        ),
        (
            "[2026-07-31 05:53:29] INFO platform.py:111: x",
            Logger::Other,
        ),
        (
            "2026-04-25 19:54:58.105773: E hilo/tools/hlo_opt_main.cc:71] x",
            Logger::Other,
        ),
    ];
    fn body(line: &str) -> (String, Logger) {
        let record = LogRecord::new(line.as_bytes());
        (
            String::from_utf8_lossy(record.body).into_owned(),
            record.logger,
        )
    }

    #[test]
    fn every_layout_of_a_prefix_is_stripped() {
        for (line, logger) in PREFIXES {
            assert_eq!(body(line), ("x".to_owned(), logger), "{line}");
        }
    }

    #[test]
    fn what_only_looks_like_a_prefix_stays() {
        for line in [
            "[ERROR] [NCC_EOOM001] Maximum",
            "[XCG815]  Estimated",
            "Compiler status PASS",
            " => aten::add: 3",
            "12:30 is a time of day",
            "(no process) x",
            "ERROR: Compilation finished in 60 seconds",
        ] {
            assert_eq!(body(line).0, line);
        }
    }
}
