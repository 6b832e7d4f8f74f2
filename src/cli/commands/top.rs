//! `neuronc top`.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::cli::environment::Environment;
use crate::cli::flags::duration;
use crate::cli::terminal::full_screen::{self, Screen, Wish};
use crate::cli::terminal::print::{self, AnswerFormat};
use crate::failure::Failure;
use crate::files;
use crate::hub::Secret;
use crate::top::line::{self, Colours, Line};
use crate::top::monitor::Monitor;
use crate::top::source::Source;
use crate::top::text;
use crate::top::view::View;
use crate::top::{Look, monitor::NeuronUse};
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

/// `neuron-monitor` may take this long beyond its period to say something for the first time.
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
    let source = Source::new(&args.address, key, trust)?;
    let watch = Watch {
        args,
        environment,
        monitor: None,
        source,
    };
    let is_live =
        !args.once && args.format == AnswerFormat::Text && std::io::stdout().is_terminal();
    let wishes = full_screen::wishes(is_live && std::io::stdin().is_terminal())?;
    match is_live {
        true => watch.live(&wishes),
        false => watch.print(&wishes),
    }
}

/// A server that is looked at again and again.
struct Watch<'a> {
    args: &'a TopArgs,
    environment: &'a Environment,
    monitor: Option<Result<Monitor>>,
    source: Source,
}

impl Watch<'_> {
    /// The first look. Only here is `neuron-monitor` started, where the server is on this machine.
    fn first(&mut self) -> Result<Look> {
        let look = self.look()?;
        let places = &self.environment.places;
        let may_start = look.host.is_some() && !self.args.no_neuron_monitor;
        if may_start && let Some(program) = Monitor::find(places) {
            let monitor = Monitor::start(program, self.args.interval, &places.temporary);
            self.monitor = Some(monitor);
        }
        Ok(look)
    }

    fn look(&self) -> Result<Look> {
        let status = self.source.ask()?;
        let neuron = self.monitor.as_ref().map(|monitor| match monitor {
            Ok(monitor) => monitor.last(Duration::ZERO),
            Err(error) => NeuronUse::silent(format!("{error:#}")),
        });
        let root = &self.environment.places.root;
        Ok(Look::at(status, self.source.is_near(), root, neuron))
    }

    /// Prints one interval after the other, or only one.
    fn print(mut self, wishes: &Receiver<Wish>) -> Result<()> {
        let mut before = self.first()?;
        if let Some(Ok(monitor)) = &self.monitor {
            monitor.last(self.args.interval + MONITOR_PATIENCE);
        }
        while !self.is_to_end(wishes) {
            let now = self.look()?;
            let view = View::between(&before, &now);
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
        let lines = text::lines(view, self.source.address(), self.width());
        let lines = lines.iter().map(|line| line.show(usize::MAX, Colours::No));
        let text = lines.collect::<Vec<String>>().join("\n");
        print::answer(&text)?;
        match self.args.once {
            true => Ok(()),
            false => print::answer(""),
        }
    }

    /// Waits for an interval; true as soon as an end is wanted.
    fn is_to_end(&self, wishes: &Receiver<Wish>) -> bool {
        let ends = Instant::now() + self.args.interval;
        loop {
            match next(wishes, ends) {
                Some(Wish::End) => return true,
                Some(_) => {}
                None => return false,
            }
        }
    }

    /// Redraws the screen until it is told to stop. A server that goes away may come back.
    fn live(mut self, wishes: &Receiver<Wish>) -> Result<()> {
        let mut before = self.first()?;
        let screen = Screen::open()?;
        let mut shown = Shown {
            notice: Some(format!(
                "asking {} for {} s; q ends",
                self.source.address(),
                self.args.interval.as_secs_f64()
            )),
            view: None,
            from: 0,
        };
        loop {
            let ends = Instant::now() + self.args.interval;
            loop {
                let lines = shown.lines(&self);
                screen.show(&lines, shown.from)?;
                match next(wishes, ends) {
                    Some(Wish::End) => return Ok(()),
                    Some(Wish::Move(step)) => {
                        shown.from = screen.moved(lines.len(), shown.from, step);
                    }
                    Some(Wish::Redraw) => {}
                    None => break,
                }
            }
            match self.look() {
                Ok(now) => {
                    shown.view = Some(View::between(&before, &now));
                    shown.notice = None;
                    before = now;
                }
                Err(error) => {
                    let why = format!("{error:#}");
                    let first = why.lines().next().unwrap_or_default();
                    shown.notice = Some(format!("{first}; what is below is from before"));
                }
            }
        }
    }

    fn width(&self) -> usize {
        self.args.width.map_or_else(full_screen::width, usize::from)
    }
}

/// What is on the screen.
struct Shown {
    notice: Option<String>,
    view: Option<View>,
    /// The first line of it that is seen.
    from: usize,
}

impl Shown {
    fn lines(&self, watch: &Watch<'_>) -> Vec<Line> {
        let width = watch.width();
        let mut lines = Vec::new();
        if let Some(text) = &self.notice {
            lines.extend(line::notice(text, width));
        }
        if let Some(view) = &self.view {
            lines.extend(text::lines(view, watch.source.address(), width));
        }
        lines
    }
}

/// Waits until `ends` for somebody to want something.
fn next(wishes: &Receiver<Wish>, ends: Instant) -> Option<Wish> {
    match wishes.recv_timeout(ends.saturating_duration_since(Instant::now())) {
        Ok(wish) => Some(wish),
        Err(RecvTimeoutError::Timeout) => None,
        // Nobody is left who could say it.
        Err(RecvTimeoutError::Disconnected) => Some(Wish::End),
    }
}
