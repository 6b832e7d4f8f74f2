//! How long a chip takes for a batch: published measurements, as data, and what follows from them for
//! shapes that nobody measured.
//!
//! The files under `profiles/timings/` are embedded; `docs/simulated.md` documents their keys. What is
//! not measured is assumed to lie on a line: see [`ModelTimings::service`].

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::bucket::Bucket;
use crate::failure::{Failure, known_names};
use crate::files;

include!(concat!(env!("OUT_DIR"), "/timings.rs"));

/// The version of the format that this build reads.
const FORMAT: u32 = 1;

/// What was measured on one chip.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    chip: String,
    models: BTreeMap<String, ModelTimings>,
}

/// What was measured for one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelTimings {
    pub family: String,
    pub layers: usize,
    pub hidden: usize,
    /// The instance on which it was measured.
    pub instance: String,
    /// The cores that shared the work there, each with a copy of the model.
    pub cores: u32,
    pub measured: Vec<Measured>,
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    pub batch: usize,
    pub sequence: usize,
    /// Rows per second of all cores together.
    pub per_second: f64,
    /// Of a batch, where it is published; it decides nothing here.
    #[serde(default)]
    pub p50_ms: Option<f64>,
    #[serde(default)]
    pub sdk: Option<String>,
    /// Where the figure stands.
    #[serde(default)]
    pub file: Option<String>,
}

/// The time that a core takes for one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ServiceTime {
    pub duration: Duration,
    /// It follows from measurements of other shapes.
    pub assumed: bool,
}

/// The timings of one model on one chip.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timings {
    /// The name under which they are asked for: `CHIP/MODEL`, or a file's path.
    pub name: String,
    pub chip: String,
    #[serde(flatten)]
    pub model: ModelTimings,
}

/// What decides how long a model takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    pub family: String,
    pub layers: usize,
    pub hidden: usize,
}

impl ModelTimings {
    /// The time of a batch in `bucket` on one core. A measured shape takes what was measured. For any
    /// other we assume that only its number of tokens counts, padding included, and that the time lies
    /// on the line through the two nearest measurements; with one measurement, in proportion to it.
    pub fn service(&self, bucket: Bucket) -> ServiceTime {
        let is_it = |m: &&Measured| m.batch == bucket.batch && m.sequence == bucket.sequence;
        if let Some(measured) = self.measured.iter().find(is_it) {
            return ServiceTime {
                duration: Duration::from_secs_f64(self.seconds(measured)),
                assumed: false,
            };
        }
        let mut points: Vec<(f64, f64)> = self
            .measured
            .iter()
            .map(|m| ((m.batch * m.sequence) as f64, self.seconds(m)))
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points.dedup_by(|a, b| a.0 == b.0);
        let seconds = on_the_line(&points, (bucket.batch * bucket.sequence) as f64);
        ServiceTime {
            duration: Duration::from_secs_f64(seconds),
            assumed: true,
        }
    }

    /// Of a batch on one core: all cores work at the same time.
    fn seconds(&self, measured: &Measured) -> f64 {
        measured.batch as f64 * f64::from(self.cores) / measured.per_second
    }

    fn problems(&self) -> Option<&'static str> {
        let is_wrong = |m: &Measured| m.batch == 0 || m.sequence == 0 || !is_rate(m.per_second);
        match self {
            _ if self.measured.is_empty() => Some("nothing is `measured`"),
            _ if self.cores == 0 => Some("`cores` is 0"),
            _ if self.measured.iter().any(is_wrong) => {
                Some("`batch`, `sequence` and `per_second` are above zero")
            }
            _ => None,
        }
    }
}

fn is_rate(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

/// The value at `tokens` of the line through the nearest two of `points`, which are in order. Before the
/// first point it is at least in proportion to that one, or a steep line would end below zero.
fn on_the_line(points: &[(f64, f64)], tokens: f64) -> f64 {
    let Some((known, seconds)) = points.first() else {
        return 0.0;
    };
    let proportion = seconds * tokens / known;
    if points.len() == 1 {
        return proportion;
    }
    let beyond = points.iter().position(|(known, _)| *known >= tokens);
    let upper = beyond.unwrap_or(points.len() - 1).max(1);
    let ((x0, y0), (x1, y1)) = (points[upper - 1], points[upper]);
    let line = y0 + (y1 - y0) / (x1 - x0) * (tokens - x0);
    match tokens < *known {
        true => line.max(proportion),
        false => line,
    }
}

impl Timings {
    /// The embedded timings of that name, or those in a file of the user that holds one model.
    pub fn load(name: &str) -> Result<Self> {
        let all = all()?;
        if let Some(found) = all.iter().find(|timings| timings.name == name) {
            return Ok(found.clone());
        }
        let path = Path::new(name);
        if path.extension().is_none_or(|extension| extension != "yaml") {
            let names = all.iter().map(|timings| timings.name.as_str());
            return Err(Failure::usage(format!("timings `{name}` are unknown"))
                .help(format!("{}; or give a FILE.yaml", known_names(name, names)))
                .into());
        }
        let file = parse(&files::read_text(path)?, name)?;
        match <[Self; 1]>::try_from(file) {
            Ok([mut timings]) => {
                name.clone_into(&mut timings.name);
                Ok(timings)
            }
            Err(several) => Err(Failure::usage(format!("`{name}` is not valid"))
                .why(format!("it has {} models, not one", several.len()))
                .into()),
        }
    }

    /// The embedded timings on `chip` of a model of that shape.
    pub fn of_shape(chip: &str, shape: Option<&Shape>) -> Result<Self> {
        let all = all()?;
        let is_it = |timings: &&Self| {
            let model = &timings.model;
            let same = |shape: &Shape| {
                (shape.family.as_str(), shape.layers, shape.hidden)
                    == (model.family.as_str(), model.layers, model.hidden)
            };
            timings.chip == chip && shape.is_some_and(same)
        };
        if let Some(found) = all.iter().find(is_it) {
            return Ok(found.clone());
        }
        let names: Vec<&str> = all.iter().map(|timings| timings.name.as_str()).collect();
        let what = match shape {
            None => format!("nobody published how long chip `{chip}` takes for this model"),
            Some(shape) => format!(
                "nobody published how long chip `{chip}` takes for {} layers of {}",
                shape.layers, shape.hidden
            ),
        };
        Err(Failure::usage(what)
            .help(format!(
                "let it take as long as another model with `--timings`: {}",
                names.join(", ")
            ))
            .into())
    }
}

/// All embedded timings.
pub fn all() -> Result<Vec<Timings>> {
    let mut timings = Vec::new();
    for (name, text) in TIMINGS {
        timings.extend(parse(text, &format!("profiles/timings/{name}.yaml"))?);
    }
    Ok(timings)
}

fn parse(text: &str, origin: &str) -> Result<Vec<Timings>> {
    let file: File = files::parse_yaml(text, origin)?;
    let refuse = |why: String| Failure::usage(format!("`{origin}` is not valid")).why(why);
    if file.format != FORMAT {
        return Err(refuse(format!("format {}, not {FORMAT}", file.format)).into());
    }
    let chip = file.chip;
    let timings = file
        .models
        .into_iter()
        .map(|(name, model)| match model.problems() {
            Some(problem) => Err(refuse(format!("`{name}`: {problem}")).into()),
            None => Ok(Timings {
                name: format!("{chip}/{name}"),
                chip: chip.clone(),
                model,
            }),
        });
    timings.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(timings: &Timings, batch: usize, sequence: usize) -> (u128, bool) {
        let time = timings.model.service(Bucket { sequence, batch });
        (time.duration.as_micros(), time.assumed)
    }

    #[test]
    fn a_measured_bucket_takes_what_was_measured() {
        let bert = Timings::load("inf2/bert-base-uncased").unwrap();
        // Two cores at 2674.19 rows a second: each takes 8 rows in 8 x 2 / 2674.19 s.
        assert_eq!(micros(&bert, 8, 128), (5983, false));
        assert_eq!(micros(&bert, 1, 128), (1000, false));
    }

    #[test]
    fn any_other_bucket_lies_on_a_line_and_says_so() {
        let bert = Timings::load("inf2/bert-base-uncased").unwrap();
        let (four, assumed) = micros(&bert, 4, 128);
        assert!(assumed);
        assert!(four.abs_diff(1001 + (5983 - 1001) * 3 / 7) <= 1, "{four}");
        let times: Vec<u128> = [1, 16, 32, 64, 128, 512, 4096]
            .iter()
            .map(|sequence| micros(&bert, 1, *sequence).0)
            .collect();
        assert!(times[0] > 0 && times.is_sorted(), "{times:?}");
        assert_eq!(micros(&bert, 4, 64).0, micros(&bert, 2, 128).0);
    }

    #[test]
    fn one_measurement_is_a_proportion() {
        assert_eq!(on_the_line(&[(128.0, 2.0)], 64.0), 1.0);
        // Steep enough to be below zero at the left.
        let steep = [(100.0, 1.0), (200.0, 4.0)];
        assert_eq!(on_the_line(&steep, 10.0), 0.1);
    }

    #[test]
    fn every_embedded_file_is_valid_and_every_shape_is_found() {
        let all = all().unwrap();
        assert!(all.len() >= 10);
        let base = Shape {
            family: "bert".to_owned(),
            layers: 12,
            hidden: 768,
        };
        let found = Timings::of_shape("inf2", Some(&base)).unwrap();
        assert_eq!(found.name, "inf2/bert-base-uncased");
        let tiny = Shape { layers: 2, ..base };
        let error = Timings::of_shape("inf2", Some(&tiny)).unwrap_err();
        assert!(error.to_string().contains("2 layers of 768"), "{error}");
    }

    #[test]
    fn what_is_not_valid_is_refused() {
        let text = "format: 1\nchip: x\nmodels:\n  m: {family: bert, layers: 1, hidden: 1, \
                    instance: i, cores: 1, measured: [{batch: 0, sequence: 1, per_second: 1}]}\n";
        let error = format!("{:#}", parse(text, "mine.yaml").unwrap_err());
        assert!(error.contains("`m`: `batch`"), "{error}");
        assert!(
            Timings::load("inf2/bert-base")
                .unwrap_err()
                .to_string()
                .contains("bert-base-uncased")
        );
    }
}
