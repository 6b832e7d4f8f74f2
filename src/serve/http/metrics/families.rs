//! The families of metrics and what they are at the time of a scrape. Each one is written even where it
//! has no value yet, and what a core has not run yet is there with 0.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, MetricEncoder,
    NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::processes::{self, ProcessStat};
use crate::runtime::simulated::SIMULATED;
use crate::serve::core::counters::{BucketCounters, CounterValues, WorkCounts};
use crate::serve::core::histogram::{Histogram, SECONDS, SHARES};
use crate::serve::core::worker::{ServedWorker, WorkerState};
use crate::serve::http::management::status::words;
use crate::serve::http::protocol::Protocols;
use crate::serve::http::traffic::UNKNOWN;
use crate::serve::request::view::ServerView;

/// Every word for the state of a core.
const STATES: [&str; 6] = ["starting", "ready", "empty", "down", "broken", "closed"];

/// What a server tells when it is asked.
#[derive(Debug)]
pub(super) struct Scrape {
    pub(super) protocols: &'static Protocols,
    pub(super) view: ServerView,
}

/// A core with what it has done.
struct WorkerSnapshot<'a> {
    core: &'a ServedWorker,
    state: WorkerState,
    restarts: u64,
    book: CounterValues,
}

/// A name with its unit, what it is, and how it is read.
type MetricFamily = (&'static str, Option<Unit>, &'static str, MetricType);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let cores: Vec<WorkerSnapshot<'_>> = self
            .view
            .workers()
            .iter()
            .map(|core| WorkerSnapshot::of(core))
            .collect();
        self.server(&mut encoder)?;
        self.requests(&mut encoder)?;
        self.models(&mut encoder, &cores)?;
        runs(&mut encoder, &cores)?;
        core_states(&mut encoder, &cores)?;
        workers(&mut encoder, &cores)?;
        front(&mut encoder)
    }
}

impl<'a> WorkerSnapshot<'a> {
    fn of(core: &'a ServedWorker) -> Self {
        let status = core.status();
        let mut book = core.ledger.book();
        for model in &status.wanted {
            for bucket in &model.plan().buckets {
                let key = (model.name.clone(), *bucket);
                book.runs.entry(key).or_default();
            }
        }
        Self {
            core,
            state: status.state,
            restarts: status.restarts,
            book,
        }
    }

    fn name(&self) -> &str {
        &self.core.name
    }

    fn process_id(&self) -> Option<u32> {
        words(&self.state).1
    }
}

impl Scrape {
    fn server(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let served = self.view.served();
        let runtime = match served.is_simulated() {
            true => SIMULATED,
            false => "actual",
        };
        let labels = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("runtime", runtime),
            ("chip", &*served.profile.name),
            ("machine", &*served.environment.machine.name),
        ];
        let what = "Always 1; its labels say what the server is.";
        family(encoder, gauge("neuronc_server_info", what), |out| {
            set(out, &labels, 1u32)
        })?;
        let what = "1 while a request for any model would be answered.";
        family(encoder, gauge("neuronc_ready", what), |out| {
            out.encode_gauge(&u32::from(self.view.is_ready()))
        })
    }

    fn requests(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let traffic = &self.view.frontend.traffic;
        let account = traffic.account();
        let what = "Connections that are open.";
        family(encoder, gauge("neuronc_connections_open", what), |out| {
            out.encode_gauge(&(traffic.connections() as u64))
        })?;
        let what = "BoundedTasks that were answered.";
        family(encoder, counter("neuronc_requests", what), |out| {
            for (route, statuses) in &account.answered {
                for (status, count) in statuses {
                    let status = status.to_string();
                    let labels = [
                        ("protocol", self.protocols.name_of(route).unwrap_or(UNKNOWN)),
                        ("route", route),
                        ("status", &status),
                    ];
                    add(out, &labels, *count)?;
                }
            }
            Ok(())
        })?;
        let what = "BoundedTasks that are not yet answered.";
        family(encoder, gauge("neuronc_requests_open", what), |out| {
            out.encode_gauge(&(traffic.open() as u64))
        })?;
        let what = "BoundedTasks and connections that were refused, by the code of the refusal.";
        family(encoder, counter("neuronc_refusals", what), |out| {
            for (reason, count) in &account.refused {
                add(out, &[("reason", *reason)], *count)?;
            }
            Ok(())
        })?;
        let what = "Time from the head of a request to that of its answer, of requests that had rows to run.";
        family(encoder, times("neuronc_request_duration", what), |out| {
            for name in self.model_names() {
                let empty = Histogram::new(SECONDS);
                let times = account.durations.get(&*name).unwrap_or(&empty);
                spread(out, &[("model", &*name)], times)?;
            }
            Ok(())
        })
    }

    fn models(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        cores: &[WorkerSnapshot<'_>],
    ) -> fmt::Result {
        let of_all = |name: &str, bounds, pick: fn(&CounterValues, &str) -> Option<Histogram>| {
            let mut all = Histogram::new(bounds);
            let books = cores.iter().map(|core| &core.book);
            for one in books.filter_map(|book| pick(book, name)) {
                all.add(&one);
            }
            all
        };
        let what = "Time that a row waited until the run of its batch began.";
        family(encoder, times("neuronc_queue_duration", what), |out| {
            for name in self.model_names() {
                let waits =
                    |book: &CounterValues, name: &str| Some(book.arrivals.get(name)?.waits.clone());
                spread(out, &[("model", &*name)], &of_all(&name, SECONDS, waits))?;
            }
            Ok(())
        })?;
        let what = "The share of a batch's rows that were not padding.";
        let fill: MetricFamily = (
            "neuronc_batch_fill",
            Some(Unit::Other("ratio".to_owned())),
            what,
            MetricType::Histogram,
        );
        family(encoder, fill, |out| {
            for name in self.model_names() {
                let fills =
                    |book: &CounterValues, name: &str| Some(book.arrivals.get(name)?.fills.clone());
                spread(out, &[("model", &*name)], &of_all(&name, SHARES, fills))?;
            }
            Ok(())
        })?;
        let models = self.view.models();
        let what = "Rows that wait for a core.";
        family(encoder, gauge("neuronc_queue_rows", what), |out| {
            for model in &models {
                let (rows, _) = self.view.served().queue.depth(model.id);
                set(out, &[("model", &*model.name)], rows as u64)?;
            }
            Ok(())
        })?;
        let what = "Cores that would answer a request for the model.";
        family(encoder, gauge("neuronc_model_cores", what), |out| {
            for model in &models {
                let is_ready = |core: &&Arc<ServedWorker>| core.is_ready_for(model.id);
                let ready = self.view.workers().iter().filter(is_ready).count();
                set(out, &[("model", &*model.name)], ready as u64)?;
            }
            Ok(())
        })?;
        let what = "1 while a request for the model would be answered.";
        family(encoder, gauge("neuronc_model_ready", what), |out| {
            for model in &models {
                let is_ready = u32::from(self.view.is_model_ready(model.id));
                set(out, &[("model", &*model.name)], is_ready)?;
            }
            Ok(())
        })
    }

    fn model_names(&self) -> Vec<Arc<str>> {
        let models = self.view.models();
        models.iter().map(|model| model.name.clone()).collect()
    }
}

/// What was run, by model, bucket and core.
fn runs(encoder: &mut DescriptorEncoder<'_>, cores: &[WorkerSnapshot<'_>]) -> fmt::Result {
    type Count = fn(&WorkCounts) -> u64;
    let counts: [(&'static str, &'static str, Count); 5] = [
        ("neuronc_batches", "Batches that were run.", |t| t.batches),
        ("neuronc_rows", "Rows that were run.", |t| t.rows),
        (
            "neuronc_padding_rows",
            "Rows of batches that were padding.",
            |t| t.padding_rows,
        ),
        ("neuronc_tokens", "Tokens of rows that were run.", |t| {
            t.tokens
        }),
        (
            "neuronc_padding_tokens",
            "Tokens of batches that were padding, those of padding rows included.",
            |t| t.padding_tokens,
        ),
    ];
    for (name, what, count) in counts {
        family(encoder, counter(name, what), |out| {
            each_run(cores, |labels, runs| add(out, labels, count(&runs.tally)))
        })?;
    }
    let what = "Time of a batch on its core.";
    family(encoder, times("neuronc_run_duration", what), |out| {
        each_run(cores, |labels, runs| spread(out, labels, &runs.times))
    })
}

fn each_run(
    cores: &[WorkerSnapshot<'_>],
    mut write: impl FnMut(&[(&str, &str); 3], &BucketCounters) -> fmt::Result,
) -> fmt::Result {
    for core in cores {
        for ((model, bucket), runs) in &core.book.runs {
            let bucket = bucket.to_string();
            let labels = [
                ("model", &**model),
                ("bucket", &*bucket),
                ("core", core.name()),
            ];
            write(&labels, runs)?;
        }
    }
    Ok(())
}

fn core_states(encoder: &mut DescriptorEncoder<'_>, cores: &[WorkerSnapshot<'_>]) -> fmt::Result {
    let what = "Time in which the core worked, on what it works on as well.";
    let busy = seconds("neuronc_core_busy", what);
    family(encoder, busy, |out| {
        for core in cores {
            let busy = core.book.busy().as_secs_f64();
            add(out, &[("core", core.name())], busy)?;
        }
        Ok(())
    })?;
    let what = "1 for the state that the core is in, 0 for the others.";
    family(encoder, gauge("neuronc_core_state", what), |out| {
        for core in cores {
            let (now, _, _) = words(&core.state);
            for state in STATES {
                let labels = [("core", core.name()), ("state", state)];
                set(out, &labels, u32::from(state == now))?;
            }
        }
        Ok(())
    })?;
    let what = "Workers that were started because the one before was lost.";
    family(encoder, counter("neuronc_worker_restarts", what), |out| {
        for core in cores {
            add(out, &[("core", core.name())], core.restarts)?;
        }
        Ok(())
    })
}

/// The processes of the workers, where they are processes.
fn workers(encoder: &mut DescriptorEncoder<'_>, cores: &[WorkerSnapshot<'_>]) -> fmt::Result {
    let read = |core: &WorkerSnapshot<'_>| ProcessStat::read(Path::new("/"), core.process_id()?);
    let processes: Vec<(&str, ProcessStat)> = cores
        .iter()
        .filter_map(|core| Some((core.name(), read(core)?)))
        .collect();
    let what = "Time of processors that the worker took; it begins anew with each worker.";
    family(encoder, seconds("neuronc_worker_cpu", what), |out| {
        for (core, process) in &processes {
            add(out, &[("core", *core)], process.cpu_seconds)?;
        }
        Ok(())
    })?;
    let what = "Memory of the worker, with the weights that all workers share.";
    family(
        encoder,
        bytes("neuronc_worker_resident_memory", what),
        |out| {
            for (core, process) in &processes {
                set(out, &[("core", *core)], process.resident_bytes)?;
            }
            Ok(())
        },
    )
}

/// The front process, under the names that every exporter gives them.
fn front(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let (root, id) = (Path::new("/"), std::process::id());
    let process = ProcessStat::read(root, id);
    let started = process.and_then(|it| Some(it.started_seconds + processes::boot_seconds(root)?));
    let what = "Time of processors that the front process took.";
    family(encoder, seconds("process_cpu", what), |out| {
        let taken = process.map_or(0.0, |process| process.cpu_seconds);
        out.encode_counter::<NoLabelSet, f64, f64>(&taken, None)
    })?;
    let what = "Memory of the front process.";
    family(
        encoder,
        bytes("process_resident_memory", what),
        |out| match process {
            Some(process) => out.encode_gauge(&process.resident_bytes),
            None => Ok(()),
        },
    )?;
    let what = "Files and sockets that the front process has open.";
    family(
        encoder,
        gauge("process_open_fds", what),
        |out| match processes::open_files(root, id) {
            Some(files) => out.encode_gauge(&files),
            None => Ok(()),
        },
    )?;
    let what = "When the front process was started, since 1970.";
    let start: MetricFamily = (
        "process_start_time",
        Some(Unit::Seconds),
        what,
        MetricType::Gauge,
    );
    family(encoder, start, |out| match started {
        Some(started) => out.encode_gauge(&started),
        None => Ok(()),
    })
}

fn gauge(name: &'static str, what: &'static str) -> MetricFamily {
    (name, None, what, MetricType::Gauge)
}

fn bytes(name: &'static str, what: &'static str) -> MetricFamily {
    (name, Some(Unit::Bytes), what, MetricType::Gauge)
}

fn counter(name: &'static str, what: &'static str) -> MetricFamily {
    (name, None, what, MetricType::Counter)
}

fn seconds(name: &'static str, what: &'static str) -> MetricFamily {
    (name, Some(Unit::Seconds), what, MetricType::Counter)
}

fn times(name: &'static str, what: &'static str) -> MetricFamily {
    (name, Some(Unit::Seconds), what, MetricType::Histogram)
}

/// Writes what a family is, and its values.
fn family(
    encoder: &mut DescriptorEncoder<'_>,
    (name, unit, what, kind): MetricFamily,
    values: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    let mut out = encoder.encode_descriptor(name, what, unit.as_ref(), kind)?;
    values(&mut out)
}

fn set(
    out: &mut MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    value: impl EncodeGaugeValue,
) -> fmt::Result {
    out.encode_family(labels)?.encode_gauge(&value)
}

fn add(
    out: &mut MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    value: impl EncodeCounterValue,
) -> fmt::Result {
    let mut out = out.encode_family(labels)?;
    out.encode_counter::<NoLabelSet, _, f64>(&value, None)
}

fn spread(
    out: &mut MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    values: &Histogram,
) -> fmt::Result {
    let mut out = out.encode_family(labels)?;
    out.encode_histogram::<NoLabelSet>(values.sum(), values.count(), &values.steps(), None)
}
