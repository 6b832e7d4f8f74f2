//! A view for people, as wide as they have room for.

use anstyle::{AnsiColor, Style};

use crate::top::line::{Line, aside, notice, wrapped};
use crate::top::table::{Column, Kind, Row, Table};
use crate::top::view::{CoreView, HostView, ModelView, Rates, View};

/// Cells of a bar.
const BAR: usize = 10;

/// Everything in lines of at most `width` characters; `address` is where the server was asked.
pub fn lines(view: &View, address: &str, width: usize) -> Vec<Line> {
    let mut lines = wrapped(&title(view, address), Style::new().bold(), width);
    let host = view.host.as_ref().map(host_line);
    for text in host.into_iter().chain(neuron_line(view)) {
        lines.extend(wrapped(&text, Style::new(), width));
    }
    // Ahead of what may not fit into the window.
    for text in &view.warnings {
        lines.extend(notice(&format!("warning: {text}"), width));
    }
    let tables = [
        ("cores", cores(view, width)),
        ("models", models(&view.models, width)),
    ];
    let mut left_out = Vec::new();
    for (name, table) in tables {
        lines.push(Line::default());
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

/// What is known of the cores beyond what the server counts.
#[derive(Debug, Clone, Copy)]
struct Known {
    processes: bool,
    devices: bool,
}

fn cores(view: &View, width: usize) -> Table {
    let mut cores = view.cores.iter();
    let known = Known {
        processes: cores.clone().any(|core| core.resident_bytes.is_some()),
        devices: cores.any(|core| core.neuron_utilization.is_some()),
    };
    let mut columns = vec![
        Column::new("CORE", "CORE", Kind::Word),
        Column::new("STATE", "STATE", Kind::Word),
        Column::new("BUSY", "BUSY", Kind::Bar(BAR)),
        Column::new("ROWS/S", "ROWS/S", Kind::Number),
        Column::new("BATCHES/S", "BATCH/S", Kind::Number).rank(9),
        Column::new("FILL", "FILL", Kind::Number).rank(7),
        Column::new("PADDING", "PAD", Kind::Number).rank(10),
        Column::new("RUN", "RUN", Kind::Number).rank(6),
    ];
    if known.processes {
        columns.extend([
            Column::new("PID", "PID", Kind::Number).rank(8),
            Column::new("CPU", "CPU", Kind::Number).rank(4),
            Column::new("RSS", "RSS", Kind::Number).rank(5),
            Column::new("PSS", "PSS", Kind::Number).rank(3),
        ]);
    }
    if known.devices {
        columns.extend([
            Column::new("NEURON", "NEURON", Kind::Number).rank(1),
            Column::new("DEVICE", "DEVICE", Kind::Number).rank(2),
        ]);
    }
    columns.extend([
        Column::new("RESTARTS", "RST", Kind::Number).rank(0),
        Column::new("MODELS", "MODELS", Kind::List),
    ]);
    let rows = view.cores.iter().map(|core| {
        let style = match core.state.as_str() {
            "ready" | "empty" => Style::new(),
            "starting" => AnsiColor::Yellow.on_default(),
            _ => AnsiColor::Red.on_default(),
        };
        (core_row(core, known), style)
    });
    Table::fit(&columns, &rows.collect::<Vec<Row>>(), width)
}

fn core_row(core: &CoreView, known: Known) -> Vec<String> {
    let mut row = vec![core.core.clone(), core.state.clone(), bar(core.busy)];
    row.extend(rate_cells(&core.rates));
    let size = |size: Option<u64>| size.map_or_else(none, bytes);
    if known.processes {
        row.push(core.pid.map_or_else(none, |pid| pid.to_string()));
        row.push(
            core.processors
                .map_or_else(none, |taken| format!("{taken:.2}")),
        );
        row.push(size(core.resident_bytes));
        row.push(size(core.proportional_bytes));
    }
    if known.devices {
        let percent = |value: f64| format!("{value:.0} %");
        row.push(core.neuron_utilization.map_or_else(none, percent));
        row.push(size(core.device_bytes));
    }
    row.push(core.restarts.to_string());
    row.push(core.models.join(","));
    row
}

fn models(models: &[ModelView], width: usize) -> Table {
    let columns = [
        Column::new("MODEL", "MODEL", Kind::Name),
        Column::new("BUCKET", "BUCKET", Kind::Word),
        Column::new("ROWS/S", "ROWS/S", Kind::Number),
        Column::new("BATCHES/S", "BATCH/S", Kind::Number).rank(4),
        Column::new("FILL", "FILL", Kind::Number).rank(3),
        Column::new("PADDING", "PAD", Kind::Number).rank(5),
        Column::new("RUN", "RUN", Kind::Number).rank(2),
        Column::new("WAITING", "QUEUE", Kind::Number).rank(1),
        Column::new("WAIT", "WAIT", Kind::Number).rank(0),
        Column::new("CORES", "CORES", Kind::List),
    ];
    let mut rows: Vec<Row> = Vec::new();
    for model in models {
        let mut all = vec![model.model.clone(), "all".to_owned()];
        all.extend(rate_cells(&model.rates));
        all.extend([
            model.queue_rows.to_string(),
            time(model.queue_seconds),
            model.cores.join(","),
        ]);
        let style = match model.ready {
            true => Style::new(),
            false => AnsiColor::Red.on_default(),
        };
        rows.push((all, style));
        for bucket in &model.buckets {
            let mut row = vec![String::new(), bucket.bucket.clone()];
            row.extend(rate_cells(&bucket.rates));
            rows.push((row, Style::new()));
        }
    }
    Table::fit(&columns, &rows, width)
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

/// A bar and the number that it shows.
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
