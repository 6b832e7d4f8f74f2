//! From two observations of a server to a view: what it counted in between, as rates.

use std::collections::BTreeMap;

use crate::serve::status::{BucketWork, CoreStatus, ServerStatus, WorkDone};
use crate::top::Observation;
use crate::top::host::{HostCounters, ProcessCounters};
use crate::top::view::{BucketView, CoreView, HostView, ModelView, Rates, SCHEMA_VERSION, View};
use crate::top::warnings::warnings;

/// The rates and shares between `before` and `now`.
pub fn compare(before: &Observation, now: &Observation) -> View {
    // Counts of another process say nothing about this one. In a container every server has the same
    // process id, so a restart shows only in an uptime that became smaller.
    let passed = now.server.front.uptime_seconds - before.server.front.uptime_seconds;
    let is_same = before.server.front.pid == now.server.front.pid && passed >= 0.0;
    let (before, seconds) = if is_same {
        (before, passed)
    } else {
        (now, now.server.front.uptime_seconds)
    };
    let seconds = seconds.max(1e-3);
    let cores: Vec<CoreView> = now
        .server
        .cores
        .iter()
        .map(|core| core_view(core, before, now, seconds))
        .collect();
    let host = now.host.as_ref();
    let host = host.map(|host| host_view(before.host.as_ref(), host, seconds));
    let mut view = View {
        schema_version: SCHEMA_VERSION,
        at: now.server.now,
        seconds,
        server: now.server.front.clone(),
        models: model_views(&before.server, &now.server, seconds),
        cores,
        host,
        neuron: now.neuron.clone(),
        warnings: Vec::new(),
    };
    view.warnings = warnings(&view);
    view
}

fn core_view(core: &CoreStatus, before: &Observation, now: &Observation, seconds: f64) -> CoreView {
    let old = before.server.cores.iter();
    let old = old.clone().find(|known| known.core == core.core);
    let (done, busy) = match old {
        Some(old) => (
            difference(&core.total, &old.total),
            core.busy_seconds - old.busy_seconds,
        ),
        None => (core.total, core.busy_seconds),
    };
    let worker = |look: &Observation| -> Option<ProcessCounters> {
        let host = look.host.as_ref()?;
        host.workers.get(&core.pid?).copied()
    };
    let failed = core.models.iter();
    let failed = failed.filter_map(|model| Some((model.name.clone(), model.cause.clone()?)));
    let process = worker(now);
    let device = now.neuron.as_ref();
    let device = device.and_then(|used| used.processes.get(&core.pid?));
    CoreView {
        core: core.core.clone(),
        state: core.state.clone(),
        cause: core.cause.clone(),
        busy: (busy / seconds).clamp(0.0, 1.0),
        rates: rates(&done, seconds),
        models: core.models.iter().map(|model| model.name.clone()).collect(),
        failed: failed.collect(),
        restarts: core.restarts,
        pid: core.pid,
        processors: process
            .zip(worker(before))
            .map(|(now, before)| processors_taken(&before, &now, seconds)),
        resident_bytes: process.map(|memory| memory.process.resident_bytes),
        proportional_bytes: process.and_then(|memory| memory.proportional_bytes),
        neuron_utilization: device.and_then(|used| used.mean_utilization()),
        device_bytes: device.and_then(|used| used.device_bytes),
    }
}

/// Processors that a process took on average.
fn processors_taken(before: &ProcessCounters, now: &ProcessCounters, seconds: f64) -> f64 {
    let took = now.process.cpu_seconds - before.process.cpu_seconds;
    (took / seconds).max(0.0)
}

fn host_view(before: Option<&HostCounters>, now: &HostCounters, seconds: f64) -> HostView {
    let before = before.unwrap_or(now);
    let (busy, all) = (
        now.processors.busy_seconds - before.processors.busy_seconds,
        now.processors.seconds - before.processors.seconds,
    );
    let share = if all > 0.0 { busy / all } else { 0.0 };
    let workers = now.workers.iter().filter_map(|(id, now)| {
        let before = before.workers.get(id)?;
        Some(processors_taken(before, now, seconds))
    });
    let each = std::iter::once(&now.front).chain(now.workers.values());
    HostView {
        processors: now.processors.count,
        processors_busy: share.clamp(0.0, 1.0) * now.processors.count as f64,
        front_processors: processors_taken(&before.front, &now.front, seconds),
        // An empty sum of floats is -0.
        workers_processors: workers.fold(0.0, |sum, taken| sum + taken),
        memory_bytes: now.memory.most(),
        memory_available_bytes: now.memory.usable(),
        front_resident_bytes: now.front.process.resident_bytes,
        front_proportional_bytes: now.front.proportional_bytes,
        server_proportional_bytes: each.map(|memory| memory.proportional_bytes).sum(),
    }
}

fn model_views(before: &ServerStatus, now: &ServerStatus, seconds: f64) -> Vec<ModelView> {
    let (old, new) = (by_bucket(before), by_bucket(now));
    let models = now.models.iter().map(|model| {
        let mut all = WorkDone::default();
        let of_model = new.iter().filter(|((name, _), _)| *name == model.name);
        let buckets = of_model.map(|(key, work)| {
            let done = difference(work, old.get(key).unwrap_or(&WorkDone::default()));
            add(&mut all, &done);
            BucketView {
                bucket: key.1.to_owned(),
                rates: rates(&done, seconds),
            }
        });
        let buckets = buckets.collect();
        ModelView {
            model: model.name.clone(),
            task: model.task.clone(),
            ready: model.ready,
            cores: model.cores.clone(),
            queue_rows: model.queue_rows,
            queue_seconds: model.queue_seconds,
            rates: rates(&all, seconds),
            buckets,
        }
    });
    models.collect()
}

/// The work of all cores since the start, by model and bucket.
fn by_bucket(status: &ServerStatus) -> BTreeMap<(&str, &str), WorkDone> {
    let mut all: BTreeMap<(&str, &str), WorkDone> = BTreeMap::new();
    for core in &status.cores {
        for BucketWork {
            model,
            bucket,
            work,
        } in &core.buckets
        {
            add(all.entry((model, bucket)).or_default(), work);
        }
    }
    all
}

fn add(all: &mut WorkDone, more: &WorkDone) {
    all.batches += more.batches;
    all.rows += more.rows;
    all.padding_rows += more.padding_rows;
    all.tokens += more.tokens;
    all.padding_tokens += more.padding_tokens;
    all.busy_seconds += more.busy_seconds;
}

fn difference(now: &WorkDone, before: &WorkDone) -> WorkDone {
    WorkDone {
        batches: now.batches.saturating_sub(before.batches),
        rows: now.rows.saturating_sub(before.rows),
        padding_rows: now.padding_rows.saturating_sub(before.padding_rows),
        tokens: now.tokens.saturating_sub(before.tokens),
        padding_tokens: now.padding_tokens.saturating_sub(before.padding_tokens),
        busy_seconds: (now.busy_seconds - before.busy_seconds).max(0.0),
    }
}

fn rates(done: &WorkDone, seconds: f64) -> Rates {
    let share = |part: u64, rest: u64| {
        let all = part + rest;
        (all > 0).then(|| part as f64 / all as f64)
    };
    Rates {
        rows_per_second: done.rows as f64 / seconds,
        batches_per_second: done.batches as f64 / seconds,
        tokens_per_second: done.tokens as f64 / seconds,
        fill: share(done.rows, done.padding_rows),
        padding_tokens: share(done.padding_tokens, done.tokens),
        run_seconds: (done.batches > 0).then(|| done.busy_seconds / done.batches as f64),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::host_memory::HostMemory;
    use crate::processes::{ProcessStat, Processors};

    fn status(now: f64, rows: u64, busy: f64) -> ServerStatus {
        let work = serde_json::json!({
            "batches": rows / 4, "rows": rows, "padding_rows": rows,
            "tokens": rows * 10, "padding_tokens": rows * 30, "busy_seconds": busy,
        });
        let mut bucket = work.clone();
        bucket["model"] = "m".into();
        bucket["bucket"] = "8x16".into();
        serde_json::from_value(serde_json::json!({
            "schema_version": 1, "now": now, "uptime_seconds": now, "version": "0", "runtime": "actual",
            "chip": "cpu", "machine": "this", "ready": true, "stopping": false, "pid": 1,
            "cores": [{
                "core": "0", "device": "0", "state": "ready", "pid": 2, "cause": null, "vcpus": 1,
                "threads": 1, "memory_bytes": 0, "memory_limit_bytes": null,
                "models": [{"name": "m", "state": "loaded", "cause": null}],
                "restarts": 0, "incidents": [], "busy_seconds": busy, "total": work, "buckets": [bucket],
            }],
            "models": [{
                "name": "m", "bundle": "b", "digest": "d", "task": "t", "buckets": ["8x16"],
                "cores": ["0"], "ready": true, "queue_rows": 3, "queue_seconds": 0.5,
            }],
            "aliases": {},
        }))
        .unwrap()
    }

    fn host(busy: f64, all: f64, worker: f64) -> HostCounters {
        let memory = |cpu_seconds| ProcessCounters {
            process: ProcessStat {
                parent: 1,
                cpu_seconds,
                started_seconds: 0.0,
                resident_bytes: 100,
            },
            proportional_bytes: Some(40),
        };
        HostCounters {
            processors: Processors {
                count: 2,
                busy_seconds: busy,
                seconds: all,
            },
            memory: HostMemory::default(),
            front: memory(worker / 2.0),
            workers: BTreeMap::from([(2, memory(worker))]),
        }
    }

    fn look(server: ServerStatus, host: HostCounters) -> Observation {
        Observation {
            server,
            host: Some(host),
            neuron: None,
        }
    }

    #[test]
    fn rates_are_differences_of_counts() {
        let before = look(status(10.0, 80, 1.0), host(10.0, 20.0, 1.0));
        let now = look(status(12.0, 480, 2.0), host(13.92, 24.0, 2.0));
        let view = compare(&before, &now);
        let core = &view.cores[0];
        assert_eq!((view.seconds, core.busy), (2.0, 0.5));
        assert_eq!(core.rates.rows_per_second, 200.0);
        assert_eq!(core.rates.fill, Some(0.5));
        assert_eq!(core.rates.padding_tokens, Some(0.75));
        assert_eq!(core.rates.run_seconds, Some(0.01));
        assert_eq!(core.processors, Some(0.5));
        let model = &view.models[0];
        assert_eq!(model.rates.batches_per_second, 50.0);
        assert_eq!(model.buckets[0].rates.rows_per_second, 200.0);
        let host = view.host.as_ref().unwrap();
        assert!((host.processors_busy - 1.96).abs() < 1e-9);
        assert_eq!(host.server_proportional_bytes, Some(80));
        // 98 % of the processors, with half the core's time unused.
        assert_eq!(view.warnings.len(), 1, "{:?}", view.warnings);
        assert!(view.warnings[0].contains("full (98 %) while the cores are idle (50 % busy)"));
    }

    #[test]
    fn a_server_that_is_asked_nothing_or_stops_raises_no_warning() {
        let before = look(status(10.0, 80, 1.0), host(10.0, 20.0, 1.0));
        let mut now = look(status(12.0, 80, 1.0), host(13.92, 24.0, 2.0));
        now.server.front.stopping = true;
        now.server.models[0].ready = false;
        now.server.models[0].queue_rows = 0;
        let warnings = |now: &Observation| compare(&before, now).warnings;
        assert_eq!(warnings(&now), [""; 0]);
        now.server.front.stopping = false;
        assert_eq!(warnings(&now), ["model `m` has no core that is ready"]);
    }

    #[test]
    fn a_server_that_was_started_again_begins_anew() {
        let before = look(status(10.0, 800, 5.0), host(10.0, 20.0, 1.0));
        let mut now = look(status(12.0, 80, 1.0), host(11.0, 24.0, 1.0));
        now.server.front.pid = 9;
        let view = compare(&before, &now);
        assert_eq!(view.cores[0].rates.rows_per_second, 0.0);
        assert!(view.warnings.is_empty(), "{:?}", view.warnings);
        // Under the id that it had before, as in a container.
        let mut now = look(status(12.0, 900, 1.0), host(11.0, 24.0, 1.0));
        now.server.front.uptime_seconds = 1.5;
        let view = compare(&before, &now);
        assert_eq!(
            (view.seconds, view.cores[0].rates.rows_per_second),
            (1.5, 0.0)
        );
    }

    #[test]
    fn a_clock_that_is_set_changes_no_rate() {
        let before = look(status(10.0, 80, 1.0), host(10.0, 20.0, 1.0));
        for jump in [-3600.0, 3600.0] {
            let mut now = look(status(12.0, 480, 2.0), host(11.0, 24.0, 1.0));
            now.server.now += jump;
            let view = compare(&before, &now);
            let rows = view.cores[0].rates.rows_per_second;
            assert_eq!((view.seconds, rows), (2.0, 200.0));
        }
    }

    #[test]
    fn a_process_that_is_not_ours_is_not_looked_into() {
        assert_eq!(HostCounters::read(Path::new("/"), 1, &[]), None);
    }
}
