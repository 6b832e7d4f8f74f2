//! A view for people: as wide as it must be, cut to the terminal by whoever shows it.

use anstyle::{AnsiColor, Style};

use crate::top::view::{CoreView, HostView, ModelView, View};

/// Cells of a bar.
const BAR: usize = 10;

/// Whether text has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    Yes,
    No,
}

/// A line of text and how it looks.
#[derive(Debug, Clone, Default)]
pub struct Line {
    text: String,
    style: Style,
}

impl Line {
    fn plain(text: String) -> Self {
        Self {
            text,
            style: Style::new(),
        }
    }

    fn styled(text: String, style: Style) -> Self {
        Self { text, style }
    }

    /// At most `width` characters of it.
    pub fn show(&self, width: usize, colours: Colours) -> String {
        let text: String = self.text.trim_end().chars().take(width).collect();
        match colours {
            Colours::No => text,
            Colours::Yes => format!("{}{text}{}", self.style.render(), self.style.render_reset()),
        }
    }
}

/// A remark of our own.
pub fn notice(text: &str) -> Line {
    Line::styled(clean(text), AnsiColor::Yellow.on_default())
}

/// Everything, line by line; `address` is where the server was asked.
pub fn lines(view: &View, address: &str) -> Vec<Line> {
    let mut lines = vec![Line::styled(title(view, address), Style::new().bold())];
    if let Some(host) = &view.host {
        lines.push(Line::plain(host_line(host)));
    }
    lines.extend(neuron_line(view).map(Line::plain));
    lines.push(Line::default());
    lines.extend(cores(view));
    lines.push(Line::default());
    lines.extend(models(&view.models));
    if !view.warnings.is_empty() {
        lines.push(Line::default());
        let warnings = view.warnings.iter();
        lines.extend(warnings.map(|text| notice(&format!("warning: {text}"))));
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
    clean(&format!(
        "neuronc {} on {} ({}{runtime}), {state}, up {}, at {address}",
        server.version,
        server.machine,
        server.chip,
        span(server.uptime_seconds)
    ))
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
    Some(clean(&format!("devices: {count} of type {kind}")))
}

/// What is known of the cores beyond what the server counts.
#[derive(Debug, Clone, Copy)]
struct Known {
    processes: bool,
    devices: bool,
}

fn cores(view: &View) -> Vec<Line> {
    let mut cores = view.cores.iter();
    let known = Known {
        processes: cores.clone().any(|core| core.resident_bytes.is_some()),
        devices: cores.any(|core| core.neuron_utilization.is_some()),
    };
    let mut head = vec![
        "CORE",
        "STATE",
        "BUSY",
        "",
        "ROWS/S",
        "BATCHES/S",
        "FILL",
        "PADDING",
        "RUN",
    ];
    if known.processes {
        head.extend(["PID", "CPU", "RSS", "PSS"]);
    }
    if known.devices {
        head.extend(["NEURON", "DEVICE"]);
    }
    head.extend(["RESTARTS", "MODELS"]);
    let mut rows = vec![head.into_iter().map(str::to_owned).collect()];
    for core in &view.cores {
        rows.push(core_row(core, known));
    }
    let styles = view.cores.iter().map(|core| match core.state.as_str() {
        "ready" | "empty" => Style::new(),
        "starting" => AnsiColor::Yellow.on_default(),
        _ => AnsiColor::Red.on_default(),
    });
    table(&rows, styles)
}

fn core_row(core: &CoreView, known: Known) -> Vec<String> {
    let rates = &core.rates;
    let mut row = vec![
        core.core.clone(),
        core.state.clone(),
        bar(core.busy),
        format!("{:.0} %", core.busy * 100.0),
        rate(rates.rows_per_second),
        rate(rates.batches_per_second),
        share(rates.fill),
        share(rates.padding_tokens),
        time(rates.run_seconds),
    ];
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

fn models(models: &[ModelView]) -> Vec<Line> {
    let head = [
        "MODEL",
        "BUCKET",
        "ROWS/S",
        "BATCHES/S",
        "FILL",
        "PADDING",
        "RUN",
        "WAITING",
        "WAIT",
        "CORES",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let mut styles = Vec::new();
    for model in models {
        let rates = &model.rates;
        rows.push(vec![
            model.model.clone(),
            "all".to_owned(),
            rate(rates.rows_per_second),
            rate(rates.batches_per_second),
            share(rates.fill),
            share(rates.padding_tokens),
            time(rates.run_seconds),
            model.queue_rows.to_string(),
            time(model.queue_seconds),
            model.cores.join(","),
        ]);
        styles.push(match model.ready {
            true => Style::new(),
            false => AnsiColor::Red.on_default(),
        });
        for bucket in &model.buckets {
            let rates = &bucket.rates;
            rows.push(vec![
                String::new(),
                bucket.bucket.clone(),
                rate(rates.rows_per_second),
                rate(rates.batches_per_second),
                share(rates.fill),
                share(rates.padding_tokens),
                time(rates.run_seconds),
            ]);
            styles.push(Style::new());
        }
    }
    table(&rows, styles.into_iter())
}

/// Columns of which all but names stand at their right; the first row is that of their names.
fn table(rows: &[Vec<String>], styles: impl Iterator<Item = Style>) -> Vec<Line> {
    const LEFT: [&str; 6] = ["CORE", "STATE", "BUSY", "MODEL", "BUCKET", "MODELS"];
    let Some(head) = rows.first() else {
        return Vec::new();
    };
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| clean(cell)).collect())
        .collect();
    let width = |column: usize| {
        let of_column = cells.iter().filter_map(|row: &Vec<String>| row.get(column));
        of_column
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let write = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).zip(head);
        let cells = cells.map(|((cell, width), name)| {
            let is_last = name == "CORES";
            match is_last || LEFT.contains(&name.as_str()) {
                true => format!("{cell:<width$}"),
                false => format!("{cell:>width$}"),
            }
        });
        cells.collect::<Vec<String>>().join("  ")
    };
    let styles = std::iter::once(Style::new().dimmed()).chain(styles);
    cells
        .iter()
        .zip(styles)
        .map(|(row, style)| Line::styled(write(row), style))
        .collect()
}

/// Text of somebody else, in which nothing moves the cursor.
fn clean(text: &str) -> String {
    let shown = |character: char| match character.is_control() {
        true => char::REPLACEMENT_CHARACTER,
        false => character,
    };
    text.chars().map(shown).collect()
}

fn none() -> String {
    "-".to_owned()
}

fn bar(share: f64) -> String {
    let full = (share.clamp(0.0, 1.0) * BAR as f64).round() as usize;
    format!("{}{}", "#".repeat(full), ".".repeat(BAR - full))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_to_the_width_and_to_their_place() {
        let rows = [
            vec!["CORE".to_owned(), "ROWS/S".to_owned(), "MODELS".to_owned()],
            vec!["0".to_owned(), "1.5".to_owned(), "a\u{1b}[2J".to_owned()],
        ];
        let lines = table(&rows, [Style::new()].into_iter());
        let shown: Vec<String> = lines.iter().map(|l| l.show(80, Colours::No)).collect();
        assert_eq!(
            shown,
            ["CORE  ROWS/S  MODELS", "0        1.5  a\u{fffd}[2J"]
        );
        assert_eq!(lines[1].show(8, Colours::No), "0       ");
        assert_eq!(
            (bar(0.26), span(3700.0)),
            ("###.......".to_owned(), "1 h 1 min".to_owned())
        );
    }
}
