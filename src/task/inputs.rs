//! `inputs` of a request: one item or a list of them.

use serde_json::{Map, Value};

use crate::failure::known_names;
use crate::task::OneOrMany;
use crate::task::invalid::{Invalid, InvalidCode};
use crate::task::parameters::{shown, wrong_type};

/// A text of the request and where it stands there.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    pub(super) path: String,
    pub(super) text: &'a str,
}

/// What the items of a task's `inputs` are.
pub(super) struct ItemKind<'a, T> {
    /// What one item must be, for messages: `a string`.
    pub(super) name: &'static str,
    /// The item in a value that is at a path; `None` for a value of another JSON type.
    pub(super) read: fn(&'a Value, &str) -> Result<Option<T>, Invalid>,
}

/// The items of `inputs`: a value that is one, or a list of at most `items_max`.
pub(super) fn items<'a, T>(
    inputs: &'a Value,
    items_max: usize,
    kind: &ItemKind<'a, T>,
) -> Result<OneOrMany<T>, Invalid> {
    const PATH: &str = "inputs";
    if let Value::Array(many) = inputs {
        check_count(PATH, many.len(), items_max)?;
        let item = |(index, value)| {
            let path = format!("{PATH}[{index}]");
            (kind.read)(value, &path)?.ok_or_else(|| wrong_type(&path, kind.name, value))
        };
        let many = many.iter().enumerate().map(item);
        return many.collect::<Result<_, _>>().map(OneOrMany::Many);
    }
    let expected = format!("{} or a list of them", kind.name);
    (kind.read)(inputs, PATH)?
        .map(OneOrMany::One)
        .ok_or_else(|| wrong_type(PATH, &expected, inputs))
}

/// Refuses a list at `path` that is empty or has more than `items_max` items.
pub(crate) fn check_count(path: &str, items: usize, items_max: usize) -> Result<(), Invalid> {
    if items == 0 {
        return Err(Invalid::new(
            InvalidCode::Empty,
            path,
            format!("`{path}` is an empty list"),
        ));
    }
    if items > items_max {
        let message = format!("`{path}` has {items} items; a request may have {items_max}");
        return Err(Invalid::new(InvalidCode::TooMany, path, message));
    }
    Ok(())
}

/// Refuses a request that makes more rows than it may.
pub(super) fn check_rows(path: &str, rows: usize, rows_max: usize) -> Result<(), Invalid> {
    if rows <= rows_max {
        return Ok(());
    }
    let message = format!("the request needs {rows} rows up to `{path}`; it may have {rows_max}");
    Err(Invalid::new(InvalidCode::TooMany, path, message))
}

/// Items that are strings.
pub(super) fn strings<'a>() -> ItemKind<'a, Field<'a>> {
    ItemKind {
        name: "a string",
        read: |value, path| {
            let field = |text| Field {
                path: path.to_owned(),
                text,
            };
            Ok(value.as_str().map(field))
        },
    }
}

/// The fields of an object at `path`, every one of them in `known`.
pub(super) struct Object<'a> {
    path: String,
    map: &'a Map<String, Value>,
}

impl<'a> Object<'a> {
    pub(super) fn read(
        map: &'a Map<String, Value>,
        path: &str,
        known: &[&str],
    ) -> Result<Self, Invalid> {
        if let Some(name) = map.keys().find(|name| !known.contains(&name.as_str())) {
            let name = shown(name);
            let known = known_names(&name, known.iter().copied());
            let message = format!("`{path}` has no field `{name}`: {known}");
            return Err(Invalid::new(
                InvalidCode::UnknownField,
                &format!("{path}.{name}"),
                message,
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            map,
        })
    }

    /// The string `name`; `None` where it is absent or null.
    pub(super) fn text(&self, name: &str) -> Result<Option<Field<'a>>, Invalid> {
        let path = format!("{}.{name}", self.path);
        match self.map.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(Field { path, text })),
            Some(other) => Err(wrong_type(&path, "a string", other)),
        }
    }

    /// The string `name`, which must be there.
    pub(super) fn required_text(&self, name: &str) -> Result<Field<'a>, Invalid> {
        self.text(name)?.ok_or_else(|| {
            let path = format!("{}.{name}", self.path);
            Invalid::new(
                InvalidCode::MissingField,
                &path,
                format!("`{path}` is missing"),
            )
        })
    }
}

/// The JSON type of a value, with its article.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
