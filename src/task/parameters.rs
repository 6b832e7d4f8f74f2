//! The body of a request: its `inputs` and its parameters, every one known and of its type.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::failure::{known_names, name_list};
use crate::recipe::Task;
use crate::task::inputs::type_name;
use crate::task::invalid::{Invalid, InvalidCode};
use crate::task::tokens::{Side, Truncation};

/// No more characters of an unknown name are repeated in a message.
const SHOWN_NAME_MAX: usize = 40;

/// Any number of things that make sense; what exceeds them is cut where it is used.
pub(super) const ANY_COUNT: RangeInclusive<usize> = 1..=1_000_000;

/// What the inference API takes as `options`; here nothing is cached, and a model is always waited for.
const OPTIONS: [&str; 2] = ["use_cache", "wait_for_model"];

/// What a task's requests may hold beside `inputs`.
pub(super) struct RequestFields {
    pub(super) task: Task,
    pub(super) parameters: &'static [&'static str],
    /// Parameters may also stand beside `inputs`.
    pub(super) at_root: bool,
}

/// A request of which all names are known.
pub(super) struct Request<'a> {
    pub(super) inputs: &'a Value,
    parameters: BTreeMap<&'a str, Given<'a>>,
}

/// A parameter as it was given.
struct Given<'a> {
    path: String,
    value: &'a Value,
}

impl<'a> Request<'a> {
    /// Reads a body `{"inputs": ..., "parameters": {...}}`.
    pub(super) fn read(body: &'a Value, fields: &RequestFields) -> Result<Self, Invalid> {
        let body = object(body, "")?;
        let mut parameters = BTreeMap::new();
        for (name, value) in body {
            match name.as_str() {
                "inputs" | "parameters" => {}
                "options" => check_options(value)?,
                name if fields.at_root && fields.parameters.contains(&name) => {
                    let path = name.to_owned();
                    parameters.insert(name, Given { path, value });
                }
                name => return Err(unknown_field(name, fields)),
            }
        }
        if let Some(inner) = body.get("parameters").filter(|inner| !inner.is_null()) {
            for (name, value) in object(inner, "parameters")? {
                if !fields.parameters.contains(&name.as_str()) {
                    return Err(unknown_parameter(name, fields));
                }
                let path = format!("parameters.{name}");
                let twice = format!("`{name}` is given twice, as `{name}` and as `{path}`");
                if parameters.insert(name, Given { path, value }).is_some() {
                    return Err(Invalid::new(InvalidCode::BadParameter, name, twice));
                }
            }
        }
        let missing = || Invalid::new(InvalidCode::MissingField, "inputs", "`inputs` is missing");
        Ok(Self {
            inputs: body.get("inputs").ok_or_else(missing)?,
            parameters,
        })
    }

    /// The parameter, unless it is absent or null.
    fn given(&self, name: &str) -> Option<&Given<'a>> {
        let given = self.parameters.get(name)?;
        (!given.value.is_null()).then_some(given)
    }

    /// True for a parameter that is there and null.
    pub(super) fn is_null(&self, name: &str) -> bool {
        matches!(self.parameters.get(name), Some(given) if given.value.is_null())
    }

    /// The path of a parameter in this request, for messages.
    pub(super) fn path(&self, name: &str) -> String {
        match self.parameters.get(name) {
            Some(given) => given.path.clone(),
            None => format!("parameters.{name}"),
        }
    }

    /// A refusal of a parameter's value.
    pub(super) fn refuse(&self, name: &str, why: &str) -> Invalid {
        let path = self.path(name);
        Invalid::new(InvalidCode::BadParameter, &path, format!("`{path}` {why}"))
    }

    fn wrong_type(&self, name: &str, expected: &str, found: &Value) -> Invalid {
        let path = self.path(name);
        wrong_type(&path, expected, found)
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Invalid> {
        let Some(given) = self.given(name) else {
            return Ok(None);
        };
        let flag = given.value.as_bool();
        flag.map(Some)
            .ok_or_else(|| self.wrong_type(name, "true or false", given.value))
    }

    /// A whole number within `range`.
    pub(super) fn count(
        &self,
        name: &str,
        range: RangeInclusive<usize>,
    ) -> Result<Option<usize>, Invalid> {
        let Some(given) = self.given(name) else {
            return Ok(None);
        };
        if !given.value.is_number() {
            return Err(self.wrong_type(name, "a whole number", given.value));
        }
        let count = given
            .value
            .as_u64()
            .and_then(|count| usize::try_from(count).ok());
        match count.filter(|count| range.contains(count)) {
            Some(count) => Ok(Some(count)),
            None => {
                let (least, most) = (range.start(), range.end());
                let why = format!(
                    "must be a whole number from {least} to {most}, not {}",
                    given.value
                );
                Err(self.refuse(name, &why))
            }
        }
    }

    /// One of `choices`, by its name.
    pub(super) fn choice<T: Copy>(
        &self,
        name: &str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, Invalid> {
        let Some(given) = self.given(name) else {
            return Ok(None);
        };
        let names = choices.iter().map(|(name, _)| *name);
        let Some(typed) = given.value.as_str() else {
            let expected = format!("one of {}", name_list(names));
            return Err(self.wrong_type(name, &expected, given.value));
        };
        match choices.iter().find(|(choice, _)| *choice == typed) {
            Some((_, choice)) => Ok(Some(*choice)),
            None => {
                let typed = shown(typed);
                let known = known_names(&typed, names);
                Err(self.refuse(name, &format!("cannot be `{typed}`: {known}")))
            }
        }
    }

    /// A string or a list of strings, as a list.
    pub(super) fn strings(&self, name: &str) -> Result<Option<Vec<&'a str>>, Invalid> {
        const EXPECTED: &str = "a list of strings";
        let Some(given) = self.given(name) else {
            return Ok(None);
        };
        let item = |(index, value): (usize, &'a Value)| {
            let path = format!("{}[{index}]", given.path);
            value
                .as_str()
                .ok_or_else(|| wrong_type(&path, "a string", value))
        };
        match given.value {
            Value::String(one) => Ok(Some(vec![one])),
            Value::Array(many) => many
                .iter()
                .enumerate()
                .map(item)
                .collect::<Result<_, _>>()
                .map(Some),
            other => Err(self.wrong_type(name, EXPECTED, other)),
        }
    }

    /// Whether texts that are too long may be cut, by `truncate` or its other name `truncation`.
    pub(super) fn truncation(&self) -> Result<Truncation, Invalid> {
        let sides = [
            ("Right", Side::Right),
            ("Left", Side::Left),
            ("right", Side::Right),
            ("left", Side::Left),
        ];
        let side = self.choice("truncation_direction", &sides)?;
        let (truncate, truncation) = (self.flag("truncate")?, self.flag("truncation")?);
        if let (Some(one), Some(other)) = (truncate, truncation)
            && one != other
        {
            let other = self.path("truncation");
            return Err(self.refuse("truncate", &format!("contradicts `{other}`")));
        }
        Ok(match truncate.or(truncation) {
            Some(true) => Truncation::Cut(side.unwrap_or(Side::Right)),
            _ => Truncation::Refuse {
                unless: Some("`\"truncate\": true` in `parameters`"),
            },
        })
    }
}

fn object<'a>(value: &'a Value, path: &str) -> Result<&'a Map<String, Value>, Invalid> {
    value
        .as_object()
        .ok_or_else(|| wrong_type(path, "an object", value))
}

/// A refusal of a value that is not of the type `expected`.
pub(super) fn wrong_type(path: &str, expected: &str, found: &Value) -> Invalid {
    let found = type_name(found);
    let message = match path {
        "" => format!("the body must be {expected}, not {found}"),
        path => format!("`{path}` must be {expected}, not {found}"),
    };
    Invalid::new(InvalidCode::WrongType, path, message)
}

/// Options mean nothing here, but have to be such.
fn check_options(options: &Value) -> Result<(), Invalid> {
    if options.is_null() {
        return Ok(());
    }
    for (name, value) in object(options, "options")? {
        let shown = shown(name);
        let path = format!("options.{shown}");
        if !OPTIONS.contains(&name.as_str()) {
            let known = known_names(&shown, OPTIONS);
            let message = format!("there is no option `{shown}`: {known}");
            return Err(Invalid::new(InvalidCode::UnknownField, &path, message));
        }
        if !value.is_boolean() {
            let message = format!("`{path}` must be true or false, not {}", type_name(value));
            return Err(Invalid::new(InvalidCode::WrongType, &path, message));
        }
    }
    Ok(())
}

fn unknown_field(name: &str, fields: &RequestFields) -> Invalid {
    let shown = shown(name);
    let message = match fields.parameters.contains(&name) {
        true => format!("`{shown}` is a parameter: put it into `parameters`"),
        false => {
            let known = known_names(&shown, ["inputs", "parameters"]);
            format!("a request has no field `{shown}`: {known}")
        }
    };
    Invalid::new(InvalidCode::UnknownField, &shown, message)
}

fn unknown_parameter(name: &str, fields: &RequestFields) -> Invalid {
    let shown = shown(name);
    let known = known_names(&shown, fields.parameters.iter().copied());
    let task = fields.task;
    Invalid::new(
        InvalidCode::UnknownField,
        &format!("parameters.{shown}"),
        format!("{task} has no parameter `{shown}`: {known}"),
    )
}

/// A name from the request, short enough for a message.
pub(super) fn shown(name: &str) -> String {
    match name.char_indices().nth(SHOWN_NAME_MAX) {
        None => name.to_owned(),
        Some((end, _)) => format!("{}…", &name[..end]),
    }
}
