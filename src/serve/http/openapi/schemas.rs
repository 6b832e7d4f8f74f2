//! The schemas of the types that read requests and write answers.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value};

/// The place of the schemas of types in the document.
const SCHEMAS: &str = "/components/schemas";

/// On a property that names a model which is served: its schema then lists the names.
pub(in crate::serve::http) const SERVED_NAME: &str = "x-served-name";

/// The schemas so far. A type that is read has another schema than one that is written.
pub(in crate::serve::http) struct Schemas {
    requests: SchemaGenerator,
    answers: SchemaGenerator,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = SCHEMAS.into();
                settings.meta_schema = None;
            })
        };
        Self {
            requests: settings().into_generator(),
            answers: settings().for_serialize().into_generator(),
        }
    }

    /// The schema of a type that is read from a request.
    pub(in crate::serve::http) fn request<T: JsonSchema>(&mut self) -> Value {
        self.requests.subschema_for::<T>().to_value()
    }

    /// The schema of a type that is written into an answer.
    pub(in crate::serve::http) fn answer<T: JsonSchema>(&mut self) -> Value {
        self.answers.subschema_for::<T>().to_value()
    }

    /// The definitions of all types, by name: those of requests, and those of answers.
    pub(in crate::serve::http) fn definitions(mut self) -> [Map<String, Value>; 2] {
        let requests = self.requests.take_definitions(true);
        let answers = self.answers.take_definitions(true);
        [requests, answers]
    }
}
