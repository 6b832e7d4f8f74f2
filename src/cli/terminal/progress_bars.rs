//! Progress bars on stderr, where that is a terminal.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, stderr};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::bucket::Bucket;
use crate::cli::terminal::print;
use crate::compiler::progress::CompilationProgress;
use crate::hub;

/// The progress bars of a command; they draw nothing where stderr is not a terminal.
pub(in crate::cli) struct Bars {
    all: MultiProgress,
    downloads: BTreeMap<String, ProgressBar>,
}

impl Bars {
    pub(in crate::cli) fn new() -> Self {
        let target = if stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Self {
            all: MultiProgress::with_draw_target(target),
            downloads: BTreeMap::new(),
        }
    }

    /// Shows an event of a download; each file has a bar of its own.
    pub(in crate::cli) fn download(&mut self, progress: hub::DownloadProgress) {
        use hub::DownloadProgress::{Advanced, Checking, Finished, Retrying, Started, Waiting};
        match progress {
            Waiting { file } => self.say(&format!(
                "waiting for another process that downloads {file}"
            )),
            Started {
                file,
                bytes,
                resumed_from,
            } => {
                let bar = self.bar(
                    bytes,
                    "{msg:30!} {bar:25} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
                );
                bar.set_message(file.to_owned());
                bar.set_position(resumed_from);
                bar.reset_eta();
                if let Some(old) = self.downloads.insert(file.to_owned(), bar) {
                    old.finish_and_clear();
                }
            }
            Advanced { file, bytes } => self.with(file, |bar| bar.inc(bytes)),
            Retrying { file, reason } => self.say(&format!("{file}: {reason}; trying again")),
            Checking { file } => self.with(file, |bar| bar.set_message(format!("checking {file}"))),
            Finished { file } => {
                if let Some(bar) = self.downloads.remove(file) {
                    bar.finish_and_clear();
                }
            }
        }
    }

    /// One bar over `count` buckets.
    pub(in crate::cli) fn buckets(&self, count: usize, doing: &str) -> BucketBar {
        let bar = self.bar(
            count as u64,
            "{msg:30!} {bar:25} {pos}/{len} buckets {elapsed}",
        );
        bar.set_message(doing.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        BucketBar(bar)
    }

    /// Shows a line of a compiler above the bars.
    pub(in crate::cli) fn compiler_output(&self, bucket: Bucket, line: &str) {
        self.say(&format!("{bucket} | {line}"));
    }

    fn bar(&self, length: u64, template: &str) -> ProgressBar {
        let style = ProgressStyle::with_template(template).expect("the template is constant");
        self.all.add(ProgressBar::new(length).with_style(style))
    }

    fn with(&self, file: &str, change: impl FnOnce(&ProgressBar)) {
        if let Some(bar) = self.downloads.get(file) {
            change(bar);
        }
    }

    fn say(&self, text: &str) {
        self.all.suspend(|| print::remark(text));
    }
}

/// A bar that counts buckets; it disappears when the value is dropped.
pub(in crate::cli) struct BucketBar(ProgressBar);

impl BucketBar {
    pub(in crate::cli) fn advance(&self) {
        self.0.inc(1);
    }

    pub(in crate::cli) fn compilation(&self, progress: CompilationProgress) {
        match progress {
            CompilationProgress::Tracing => self.0.set_message("tracing"),
            CompilationProgress::Traced { bucket, .. } => {
                self.0.set_message(format!("traced {bucket}"));
                self.0.inc(1);
            }
            CompilationProgress::Kept { bucket } => {
                self.0.set_message(format!("{bucket} is compiled already"));
                self.0.inc(1);
            }
            CompilationProgress::Stage { bucket, stage } => {
                self.0.set_message(format!("{bucket}: {}", stage.name()));
            }
            CompilationProgress::Dots { bucket, count } => {
                self.0
                    .set_message(format!("{bucket}: compiling, {count} dots"));
            }
            CompilationProgress::Compiled { bucket, .. } => {
                self.0.set_message(format!("compiled {bucket}"));
                self.0.inc(1);
            }
            CompilationProgress::Failed { bucket } => {
                self.0.set_message(format!("{bucket} failed"));
                self.0.inc(1);
            }
            CompilationProgress::Sealing => self.0.set_message("sealing"),
        }
    }
}

impl Drop for BucketBar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
