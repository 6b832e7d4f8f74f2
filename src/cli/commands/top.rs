//! `neuronc top`: shows what a server is doing, on a screen that is redrawn or once.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::cli::environment::Environment;
use crate::cli::flags::duration;
use crate::cli::terminal::full_screen::{self, Screen, ScreenEvent};
use crate::cli::terminal::print::{self, AnswerFormat};
use crate::failure::Failure;
use crate::files;
use crate::hub::Secret;
use crate::top::comparison::compare;
use crate::top::line::{self, Colours, StyledLine};
use crate::top::management_port::ManagementPort;
use crate::top::monitor::Monitor;
use crate::top::monitor_line::NeuronUse;
use crate::top::view::View;
use crate::top::{Observation, text};
use crate::trust::Trust;

const EXAMPLES: &str = "\
Examples:
  neuronc serve my-bundle --management-port 8081
  neuronc top
  neuronc top http://127.0.0.1:9000 --interval 5s
  neuronc top https://127.0.0.1:8081 --ca-cert cert.pem
  neuronc top --once --width 160
  neuronc top --once --format json | jq '.cores[] | {core, busy}'

On a terminal, q or Ctrl-C ends it, and arrows and PgUp, PgDn move what does not fit.

Exit codes: 0 ok; 2 not the management port of a server; 3 no server answers.";

/// Show what a server's cores, models and host are doing.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct TopArgs {
    /// The management port of the server.
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:8081")]
    address: String,

    /// Show one interval and end.
    #[arg(long)]
    once: bool,

    /// How often the server is asked; rates are of this time.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration::parse)]
    interval: Duration,

    /// For reading, or for programs: then one JSON object for each interval, in a line of its own
    /// unless there is only one.
    #[arg(long, value_enum, default_value_t = AnswerFormat::Text)]
    format: AnswerFormat,

    /// How wide text may be [default: as the terminal, elsewhere 80].
    #[arg(long, value_name = "COLUMNS", value_parser = clap::value_parser!(u16).range(40..))]
    width: Option<u16>,

    /// A file with the API key of an admin, where the server asks for keys.
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,

    /// Trust the certificates of a PEM file in place of those of the system: that of a CA, or the
    /// server's own.
    #[arg(long, value_name = "FILE")]
    ca_cert: Option<PathBuf>,

    /// Do not start `neuron-monitor`.
    #[arg(long)]
    no_neuron_monitor: bool,
}

/// `neuron-monitor` may print its first line this much later than its period.
const MONITOR_PATIENCE: Duration = Duration::from_secs(5);

pub(in crate::cli) fn run(args: &TopArgs, environment: &Environment) -> Result<()> {
    let key = match &args.api_key_file {
        None => None,
        Some(file) => {
            let is_word = |key: &Secret| key.reveal().bytes().all(|byte| byte.is_ascii_graphic());
            let key = Secret::new(&files::read_text(file)?).filter(is_word);
            Some(key.ok_or_else(|| {
                Failure::usage(format!("`{}` is not an API key", file.display()))
                    .why("a key is one word, and all that the file may have")
                    .help("put into it what `neuronc key` shows first")
            })?)
        }
    };
    let trust = Trust::new(args.ca_cert.as_deref())?;
    let server = ManagementPort::new(&args.address, key, trust)?;
    let watch = ServerWatch {
        args,
        environment,
        monitor: None,
        server,
    };
    let is_live =
        !args.once && args.format == AnswerFormat::Text && std::io::stdout().is_terminal();
    let events = full_screen::events(is_live && std::io::stdin().is_terminal())?;
    if is_live {
        watch.live(&events)
    } else {
        watch.print(&events)
    }
}

/// A server that is observed once per interval.
struct ServerWatch<'a> {
    args: &'a TopArgs,
    environment: &'a Environment,
    monitor: Option<Result<Monitor>>,
    server: ManagementPort,
}

impl ServerWatch<'_> {
    /// The first observation. If it shows that the server is on this machine, `neuron-monitor` is
    /// started.
    fn first(&mut self) -> Result<Observation> {
        let first = self.observe()?;
        let places = &self.environment.places;
        let may_start = first.host.is_some() && !self.args.no_neuron_monitor;
        if may_start && let Some(program) = Monitor::find(places) {
            let monitor = Monitor::start(program, self.args.interval, &places.temporary);
            self.monitor = Some(monitor);
        }
        Ok(first)
    }

    fn observe(&self) -> Result<Observation> {
        let status = self.server.status()?;
        let neuron = self.monitor.as_ref().map(|monitor| match monitor {
            Ok(monitor) => monitor.last(Duration::ZERO),
            Err(error) => NeuronUse::unavailable(format!("{error:#}")),
        });
        let root = &self.environment.places.root;
        Ok(Observation::new(
            status,
            self.server.is_local(),
            root,
            neuron,
        ))
    }

    /// Prints one interval after the other, or only one.
    fn print(mut self, events: &Receiver<ScreenEvent>) -> Result<()> {
        let mut before = self.first()?;
        if let Some(Ok(monitor)) = &self.monitor {
            monitor.last(self.args.interval + MONITOR_PATIENCE);
        }
        while !self.is_ended(events) {
            let now = self.observe()?;
            let view = compare(&before, &now);
            match (self.args.format, self.args.once) {
                (AnswerFormat::Json, true) => print::json(&view)?,
                (AnswerFormat::Json, false) => print::answer(&serde_json::to_string(&view)?)?,
                (AnswerFormat::Text, _) => self.print_text(&view)?,
            }
            if self.args.once {
                break;
            }
            before = now;
        }
        Ok(())
    }

    fn print_text(&self, view: &View) -> Result<()> {
        let lines = text::lines(view, self.server.address(), self.width());
        let lines = lines.iter().map(|line| line.show(usize::MAX, Colours::No));
        let text = lines.collect::<Vec<String>>().join("\n");
        print::answer(&text)?;
        if self.args.once {
            return Ok(());
        }
        print::answer("")
    }

    /// Waits for an interval; true when the user ends the command meanwhile.
    fn is_ended(&self, events: &Receiver<ScreenEvent>) -> bool {
        let ends = Instant::now() + self.args.interval;
        loop {
            match next(events, ends) {
                Some(ScreenEvent::End) => return true,
                Some(_) => {}
                None => return false,
            }
        }
    }

    /// Redraws the screen until the user ends the command. A server that goes away may come back, so
    /// an error is only shown.
    fn live(mut self, events: &Receiver<ScreenEvent>) -> Result<()> {
        let mut before = self.first()?;
        let screen = Screen::open()?;
        let mut content = ScreenContent {
            notice: Some(format!(
                "asking {} for {} s; q ends",
                self.server.address(),
                self.args.interval.as_secs_f64()
            )),
            view: None,
            from: 0,
        };
        loop {
            let ends = Instant::now() + self.args.interval;
            loop {
                let lines = content.lines(&self);
                screen.show(&lines, content.from)?;
                match next(events, ends) {
                    Some(ScreenEvent::End) => return Ok(()),
                    Some(ScreenEvent::Move(step)) => {
                        content.from = screen.moved(lines.len(), content.from, step);
                    }
                    Some(ScreenEvent::Redraw) => {}
                    None => break,
                }
            }
            match self.observe() {
                Ok(now) => {
                    content.view = Some(compare(&before, &now));
                    content.notice = None;
                    before = now;
                }
                Err(error) => {
                    let why = format!("{error:#}");
                    let first = why.lines().next().unwrap_or_default();
                    content.notice = Some(format!("{first}; what is below is from before"));
                }
            }
        }
    }

    fn width(&self) -> usize {
        self.args.width.map_or_else(full_screen::width, usize::from)
    }
}

/// The view on the screen, a notice above it, and the part of it that is visible.
struct ScreenContent {
    notice: Option<String>,
    view: Option<View>,
    /// Index of the first visible line.
    from: usize,
}

impl ScreenContent {
    fn lines(&self, watch: &ServerWatch<'_>) -> Vec<StyledLine> {
        let width = watch.width();
        let mut lines = Vec::new();
        if let Some(text) = &self.notice {
            lines.extend(line::notice(text, width));
        }
        if let Some(view) = &self.view {
            lines.extend(text::lines(view, watch.server.address(), width));
        }
        lines
    }
}

/// Waits until `ends` for an event.
fn next(events: &Receiver<ScreenEvent>, ends: Instant) -> Option<ScreenEvent> {
    match events.recv_timeout(ends.saturating_duration_since(Instant::now())) {
        Ok(event) => Some(event),
        Err(RecvTimeoutError::Timeout) => None,
        // The threads that send events are gone, so nothing else could end the command.
        Err(RecvTimeoutError::Disconnected) => Some(ScreenEvent::End),
    }
}
