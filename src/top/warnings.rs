//! Warnings about a view: facts that an operator should look into.

use crate::top::view::{ModelView, View};

/// The processors of the host count as full from this share of busy time on.
const FULL: f64 = 0.95;

/// Cores count as idle below this share.
const IDLE: f64 = 0.80;

/// One line per warning: about the host, then the cores, the models and the devices.
pub(super) fn warnings(view: &View) -> Vec<String> {
    let mut warnings: Vec<String> = full_host(view).into_iter().collect();
    for core in &view.cores {
        if let Some(cause) = &core.cause {
            warnings.push(format!("core {} is {}: {cause}", core.core, core.state));
        }
        for (model, cause) in &core.failed {
            warnings.push(format!("core {} has no `{model}`: {cause}", core.core));
        }
    }
    let is_missing = |model: &&ModelView| !model.ready && !view.server.stopping;
    for model in view.models.iter().filter(is_missing) {
        warnings.push(format!("model `{}` has no core that is ready", model.model));
    }
    if let Some(neuron) = &view.neuron {
        if neuron.memory_errors > 0 {
            let count = neuron.memory_errors;
            warnings.push(format!(
                "the devices count {count} memory errors that could not be corrected"
            ));
        }
        for problem in &neuron.problems {
            warnings.push(format!("neuron-monitor: {problem}"));
        }
    }
    warnings
}

/// The processors of the host are full while cores that have work are idle: the host is what limits
/// the server.
fn full_host(view: &View) -> Option<String> {
    let (host, busy) = (view.host.as_ref()?, view.busy()?);
    let share = host.processors_busy / host.processors.max(1) as f64;
    // Without requests idle cores are no sign of a full host.
    let has_work = view.models.iter().any(|model| model.queue_rows > 0)
        || view.cores.iter().any(|core| core.busy > 0.0);
    let ours = host.front_processors + host.workers_processors;
    (share >= FULL && busy < IDLE && has_work).then(|| {
        format!(
            "the processors of the host are full ({:.0} %) while the cores are idle ({:.0} % busy): \
             neuronc has {ours:.1} processors, everything else {:.1}",
            share * 100.0,
            busy * 100.0,
            (host.processors_busy - ours).max(0.0),
        )
    })
}
