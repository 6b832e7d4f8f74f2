//! Writes a view for people, in lines that fit into the terminal.

use anstyle::{AnsiColor, Style};

use crate::top::line::{StyledLine, aside, notice, wrapped};
use crate::top::table::{Column, ColumnKind, FittedTable, TableRow};
use crate::top::view::{CoreView, HostView, ModelView, Rates, View};

/// Number of characters of a bar.
const BAR: usize = 10;

/// The whole view in lines of at most `width` characters; `address` is the URL of the server.
pub fn lines(view: &View, address: &str, width: usize) -> Vec<StyledLine> {
    let mut lines = wrapped(&title(view, address), Style::new().bold(), width);
    let host = view.host.as_ref().map(host_line);
    for text in host.into_iter().chain(neuron_line(view)) {
        lines.extend(wrapped(&text, Style::new(), width));
    }
    // Above the tables, whose ends may lie below the window.
    for text in &view.warnings {
        lines.extend(notice(&format!("warning: {text}"), width));
    }
    let tables = [
        ("cores", cores(view, width)),
        ("models", models(&view.models, width)),
    ];
    let mut left_out = Vec::new();
    for (name, table) in tables {
        lines.push(StyledLine::default());
        lines.extend(table.lines);
        if !table.left_out.is_empty() {
            left_out.push(format!("{} of {name}", table.left_out.join(", ")));
        }
    }
    if !left_out.is_empty() {
        let text = format!("no room for {}", left_out.join(", nor for "));
        lines.extend(aside(&text, width));
    }
    lines
}

fn title(view: &View, address: &str) -> String {
    let server = &view.server;
    let state = match (server.stopping, server.ready) {
        (true, _) => "stopping",
        (false, true) => "ready",
        (false, false) => "not ready",
    };
    let runtime = match server.runtime.as_str() {
        "actual" => String::new(),
        other => format!(", {other}"),
    };
    format!(
        "neuronc {} on {} ({}{runtime}), {state}, up {}, at {address}",
        server.version,
        server.machine,
        server.chip,
        span(server.uptime_seconds)
    )
}

fn host_line(host: &HostView) -> String {
    let mut text = format!(
        "host: {:.1} of {} processors busy, the front {:.1}, the workers {:.1}",
        host.processors_busy, host.processors, host.front_processors, host.workers_processors
    );
    if let (Some(all), Some(left)) = (host.memory_bytes, host.memory_available_bytes) {
        text.push_str(&format!("; {} of {} memory left", bytes(left), bytes(all)));
    }
    let server = host.server_proportional_bytes;
    if let Some(server) = server {
        text.push_str(&format!(", neuronc has {}", bytes(server)));
    }
    text
}

fn neuron_line(view: &View) -> Option<String> {
    let neuron = view.neuron.as_ref()?;
    let count = neuron.device_count?;
    let kind = neuron.device_type.as_deref().unwrap_or("neuron");
    Some(format!("devices: {count} of type {kind}"))
}

/// Columns that exist only where the host or `neuron-monitor` has the numbers for them.
#[derive(Debug, Clone, Copy)]
struct ExtraColumns {
    processes: bool,
    devices: bool,
}

fn cores(view: &View, width: usize) -> FittedTable {
    let mut cores = view.cores.iter();
    let extra = ExtraColumns {
        processes: cores.clone().any(|core| core.resident_bytes.is_some()),
        devices: cores.any(|core| core.neuron_utilization.is_some()),
    };
    let mut columns = vec![
        Column::new("CORE", "CORE", ColumnKind::Word),
        Column::new("STATE", "STATE", ColumnKind::Word),
        Column::new("BUSY", "BUSY", ColumnKind::Bar(BAR)),
        Column::new("ROWS/S", "ROWS/S", ColumnKind::Number),
        Column::new("BATCHES/S", "BATCH/S", ColumnKind::Number).rank(9),
        Column::new("FILL", "FILL", ColumnKind::Number).rank(7),
        Column::new("PADDING", "PAD", ColumnKind::Number).rank(10),
        Column::new("RUN", "RUN", ColumnKind::Number).rank(6),
    ];
    if extra.processes {
        columns.extend([
            Column::new("PID", "PID", ColumnKind::Number).rank(8),
            Column::new("CPU", "CPU", ColumnKind::Number).rank(4),
            Column::new("RSS", "RSS", ColumnKind::Number).rank(5),
            Column::new("PSS", "PSS", ColumnKind::Number).rank(3),
        ]);
    }
    if extra.devices {
        columns.extend([
            Column::new("NEURON", "NEURON", ColumnKind::Number).rank(1),
            Column::new("DEVICE", "DEVICE", ColumnKind::Number).rank(2),
        ]);
    }
    columns.extend([
        Column::new("RESTARTS", "RST", ColumnKind::Number).rank(0),
        Column::new("MODELS", "MODELS", ColumnKind::List),
    ]);
    let rows = view.cores.iter().map(|core| {
        let style = match core.state.as_str() {
            "ready" | "empty" => Style::new(),
            "starting" => AnsiColor::Yellow.on_default(),
            _ => AnsiColor::Red.on_default(),
        };
        (core_row(core, extra), style)
    });
    FittedTable::fit(&columns, &rows.collect::<Vec<TableRow>>(), width)
}

fn core_row(core: &CoreView, extra: ExtraColumns) -> Vec<String> {
    let mut row = vec![core.core.clone(), core.state.clone(), bar(core.busy)];
    row.extend(rate_cells(&core.rates));
    let size = |size: Option<u64>| size.map_or_else(none, bytes);
    if extra.processes {
        row.push(core.pid.map_or_else(none, |pid| pid.to_string()));
        row.push(
            core.processors
                .map_or_else(none, |taken| format!("{taken:.2}")),
        );
        row.push(size(core.resident_bytes));
        row.push(size(core.proportional_bytes));
    }
    if extra.devices {
        let percent = |value: f64| format!("{value:.0} %");
        row.push(core.neuron_utilization.map_or_else(none, percent));
        row.push(size(core.device_bytes));
    }
    row.push(core.restarts.to_string());
    row.push(core.models.join(","));
    row
}

fn models(models: &[ModelView], width: usize) -> FittedTable {
    let columns = [
        Column::new("MODEL", "MODEL", ColumnKind::Name),
        Column::new("BUCKET", "BUCKET", ColumnKind::Word),
        Column::new("ROWS/S", "ROWS/S", ColumnKind::Number),
        Column::new("BATCHES/S", "BATCH/S", ColumnKind::Number).rank(4),
        Column::new("FILL", "FILL", ColumnKind::Number).rank(3),
        Column::new("PADDING", "PAD", ColumnKind::Number).rank(5),
        Column::new("RUN", "RUN", ColumnKind::Number).rank(2),
        Column::new("WAITING", "QUEUE", ColumnKind::Number).rank(1),
        Column::new("WAIT", "WAIT", ColumnKind::Number).rank(0),
        Column::new("CORES", "CORES", ColumnKind::List),
    ];
    let mut rows: Vec<TableRow> = Vec::new();
    for model in models {
        let mut all = vec![model.model.clone(), "all".to_owned()];
        all.extend(rate_cells(&model.rates));
        all.extend([
            model.queue_rows.to_string(),
            time(model.queue_seconds),
            model.cores.join(","),
        ]);
        let style = if model.ready {
            Style::new()
        } else {
            AnsiColor::Red.on_default()
        };
        rows.push((all, style));
        for bucket in &model.buckets {
            let mut row = vec![String::new(), bucket.bucket.clone()];
            row.extend(rate_cells(&bucket.rates));
            rows.push((row, Style::new()));
        }
    }
    FittedTable::fit(&columns, &rows, width)
}

fn rate_cells(rates: &Rates) -> [String; 5] {
    [
        rate(rates.rows_per_second),
        rate(rates.batches_per_second),
        share(rates.fill),
        share(rates.padding_tokens),
        time(rates.run_seconds),
    ]
}

fn none() -> String {
    "-".to_owned()
}

/// A share as a bar and in percent.
fn bar(share: f64) -> String {
    let full = (share.clamp(0.0, 1.0) * BAR as f64).round() as usize;
    let percent = format!("{:.0} %", share * 100.0);
    format!(
        "{}{}  {percent:>5}",
        "#".repeat(full),
        ".".repeat(BAR - full)
    )
}

fn rate(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value => format!("{value:.1}"),
    }
}

fn share(value: Option<f64>) -> String {
    value.map_or_else(none, |value| format!("{:.0} %", value * 100.0))
}

fn time(seconds: Option<f64>) -> String {
    seconds.map_or_else(none, |seconds| match seconds {
        s if s < 1.0 => format!("{:.1} ms", s * 1000.0),
        s => format!("{s:.1} s"),
    })
}

fn bytes(count: u64) -> String {
    match count as f64 {
        count if count >= 1e9 => format!("{:.1} GB", count / 1e9),
        count => format!("{:.0} MB", count / 1e6),
    }
}

fn span(seconds: f64) -> String {
    let seconds = seconds as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86400, seconds / 3600 % 24),
    }
}
