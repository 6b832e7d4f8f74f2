//! A placement for reading: a summary, a table of the workers, and one of the models.

use std::fmt::Write as _;

use crate::cli::terminal::wrap::wrap;
use crate::placement::cores::CoreList;
use crate::placement::machine::MachineMemory;
use crate::placement::{Placement, Worker, gib};

/// Above this number, workers that are alike are shown together in one row.
const ROWS_MAX: usize = 16;

/// A row of the table, for one worker or for several that are alike.
struct WorkerRow {
    cores: Vec<String>,
    devices: Vec<String>,
    vcpus: String,
    memory: String,
    models: Vec<String>,
}

pub(super) fn placement_text(placement: &Placement, notes: &[String]) -> String {
    let mut text = format!("{}\n\n{}", summary(placement), table(placement));
    if !placement.idle.is_empty() {
        let _ = write!(text, "\n  idle: {}", placement.idle);
    }
    text.push_str("\n\n");
    text.push_str(&models(placement));
    for note in notes {
        let _ = write!(text, "\n{}", wrap("note: ", note));
    }
    text
}

/// The table of workers; without a column for devices where cores are processors.
fn table(placement: &Placement) -> String {
    let rows = rows(placement);
    let width = |column: fn(&WorkerRow) -> &Vec<String>, title: &str| {
        let lines = rows.iter().flat_map(column).map(String::len);
        lines.max().unwrap_or(0).max(title.len())
    };
    let cores = width(|row| &row.cores, "core");
    let devices = match placement.machine.cores_per_device {
        Some(_) => width(|row| &row.devices, "device") + 2,
        None => 0,
    };
    let memory = rows.iter().map(|row| row.memory.len()).max().unwrap_or(0);
    let memory = memory.max("memory".len());
    let title = if devices == 0 { "" } else { "device" };
    let mut text = format!(
        "  {:cores$}  {title:devices$}{:>5}  {:>memory$}  models",
        "core", "vCPUs", "memory"
    );
    for row in &rows {
        let height = row.cores.len().max(row.devices.len()).max(row.models.len());
        for index in 0..height {
            let line = |lines: &Vec<String>| lines.get(index).cloned().unwrap_or_default();
            let once = |text: &String| {
                if index == 0 {
                    text.clone()
                } else {
                    String::new()
                }
            };
            let line = format!(
                "  {:cores$}  {:devices$}{:>5}  {:>memory$}  {}",
                line(&row.cores),
                line(&row.devices),
                once(&row.vcpus),
                once(&row.memory),
                line(&row.models),
            );
            let _ = write!(text, "\n{}", line.trim_end());
        }
    }
    text
}

fn summary(placement: &Placement) -> String {
    let models = placement.models.len();
    let copies: usize = placement
        .workers
        .iter()
        .map(|worker| worker.models.len())
        .sum();
    let used: usize = placement
        .workers
        .iter()
        .map(|worker| worker.cores.len())
        .sum();
    let fullest = placement
        .workers
        .iter()
        .map(|worker| worker.memory_bytes)
        .max();
    let memory = match placement.machine.memory {
        MachineMemory::PerCore(bytes) => {
            format!(
                "at most {} of {} a core",
                gib(fullest.unwrap_or(0)),
                gib(bytes)
            )
        }
        MachineMemory::Shared(bytes) => {
            format!(
                "{} of {} together",
                gib(placement.memory_bytes()),
                gib(bytes)
            )
        }
    };
    let answer = match models {
        1 => format!("`{}` fits", placement.models[0].name),
        _ => format!("{models} models fit"),
    };
    format!(
        "{answer} {}: {copies} {} on {used} of {} cores\n  memory: {memory}, as estimated",
        placement.machine.name,
        if copies == 1 { "copy" } else { "copies" },
        placement.machine.cores,
    )
}

fn rows(placement: &Placement) -> Vec<WorkerRow> {
    let workers = &placement.workers;
    if workers.len() <= ROWS_MAX {
        return workers
            .iter()
            .map(|worker| row(placement, &[worker]))
            .collect();
    }
    let alike = |a: &Worker, b: &Worker| {
        a.models == b.models && a.cores.len() == b.cores.len() && a.vcpus == b.vcpus
    };
    let mut groups: Vec<Vec<&Worker>> = Vec::new();
    for worker in workers {
        match groups.iter_mut().find(|group| alike(group[0], worker)) {
            Some(group) => group.push(worker),
            None => groups.push(vec![worker]),
        }
    }
    groups.iter().map(|group| row(placement, group)).collect()
}

/// The row of workers that are alike but for their cores.
fn row(placement: &Placement, workers: &[&Worker]) -> WorkerRow {
    let first = workers[0];
    let cores = workers.iter().flat_map(|worker| worker.cores.iter());
    let devices = workers.iter().flat_map(|worker| worker.devices.iter());
    let each = if workers.len() > 1 { " each" } else { "" };
    let name = |index: &usize| placement.models[*index].name.clone();
    WorkerRow {
        cores: break_list(&list(cores)),
        devices: break_list(&list(devices)),
        vcpus: first.vcpus.map_or("-".to_owned(), |vcpus| match vcpus {
            0 => "<1".to_owned(),
            _ => vcpus.to_string(),
        }),
        memory: format!("{}{each}", gib(first.memory_bytes)),
        models: first.models.iter().map(name).collect(),
    }
}

fn list(cores: impl Iterator<Item = u32>) -> String {
    CoreList::of(cores).to_string()
}

/// Longer lists of cores are broken at a comma.
const LIST_COLUMNS: usize = 18;

fn break_list(list: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for part in list.split_inclusive(',') {
        let last = lines.len() - 1;
        if lines[last].len() + part.len() <= LIST_COLUMNS || lines[last].is_empty() {
            lines[last].push_str(part)
        } else {
            lines.push(part.to_owned())
        }
    }
    lines
}

/// The table of models: the memory of a copy, and its parts.
fn models(placement: &Placement) -> String {
    let mut text = format!(
        "  {:>6}  {:>5}  {:>7}  {:>14}  {:>7}  {:>11}  model",
        "copies", "cores", "a copy", "weights", "code", "activations"
    );
    for (index, model) in placement.models.iter().enumerate() {
        let memory = &model.memory;
        let weights = if memory.weights_shared {
            format!("{} shared", gib(memory.weights))
        } else {
            format!("{} x {}", memory.weight_copies, gib(memory.weights))
        };
        let _ = write!(
            text,
            "\n  {:>6}  {:>5}  {:>7}  {weights:>14}  {:>7}  {:>11}  {}",
            placement.copies(index),
            model.width,
            gib(memory.each()),
            gib(memory.code),
            gib(memory.activations),
            model.name,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_broken_at_commas() {
        assert_eq!(break_list("0-63"), ["0-63"]);
        let lines = break_list("0,2,4,6,8,10,12,14,16,18,20");
        assert!(
            lines.iter().all(|line| line.len() <= LIST_COLUMNS),
            "{lines:?}"
        );
        assert_eq!(lines.concat(), "0,2,4,6,8,10,12,14,16,18,20");
    }
}
