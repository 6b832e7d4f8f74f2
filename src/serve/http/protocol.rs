//! How a protocol is declared: one value with everything that is particular to it. The router, the routes that
//! need no key, the form in which a path is refused, the names in metrics and the OpenAPI document are made
//! from these values.

use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter};
use schemars::JsonSchema;
use serde_json::Value;

use crate::serve::http::openapi::schemas::Schemas;
use crate::serve::listener::ListenerRole;
use crate::serve::request::refusal::Refusal;
use crate::serve::request::view::ServerView;

/// A protocol that the server speaks.
#[derive(Debug)]
pub(super) struct Protocol {
    /// Its name in metrics and in `docs/protocols.md`.
    pub(super) name: &'static str,
    /// The beginning of its paths, such as `/v1/`. A path that begins so is refused in its form, also where it
    /// is not one of its routes.
    pub(super) prefix: Option<&'static str>,
    /// True where its routes are on the port for management alone.
    pub(super) is_management: bool,
    /// Writes a refusal in its form.
    pub(super) refuse: fn(Refusal) -> Response,
    /// The schema of the body of its refusals.
    pub(super) error: MakeSchema,
    /// In the order of the OpenAPI document.
    pub(super) groups: &'static [RouteGroup],
}

/// Routes with a common beginning.
#[derive(Debug)]
pub(super) struct RouteGroup {
    /// Their heading in the OpenAPI document.
    pub(super) tag: &'static str,
    /// What stands in front of each of their paths; it may have parameters, such as `/tei/{model}`.
    pub(super) at: &'static str,
    pub(super) routes: &'static [Route],
}

/// Makes the handler of a route for its method, with the declarations of all protocols.
pub(super) type MakeHandler = fn(MethodFilter, &'static Protocols) -> MethodRouter<ServerView>;

/// Makes a schema, and defines the types that it refers to.
pub(super) type MakeSchema = fn(&mut Schemas) -> Value;

/// Makes a body that a route takes, of a model of this name.
type MakeExample = fn(&str) -> Value;

/// Makes parameters of a route, from the names of the models that are served.
type MakeParameters = fn(&[String]) -> Vec<Value>;

/// A route, with what the OpenAPI document says of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route {
    pub(super) method: MethodFilter,
    path: &'static str,
    handler: MakeHandler,
    /// The path in the document, where it is narrower than the router can say.
    documented: Option<&'static str>,
    pub(super) summary: &'static str,
    pub(super) access: RouteAccess,
    /// True where it is asked again and again, and says nothing of requests.
    is_probe: bool,
    /// True where `{model}` in its path may be a new name on the port for management.
    pub(super) may_name_new: bool,
    pub(super) body: BodyContent,
    /// A body that it takes.
    pub(super) example: Option<MakeExample>,
    /// Its parameters that are not in its path.
    pub(super) parameters: Option<MakeParameters>,
    pub(super) answer: AnswerContent,
    /// The statuses of refusals that only this route has. Those that a body or a key brings are added; a route
    /// that can answer 504, or has a body, takes a deadline.
    pub(super) refusals: &'static [u16],
    /// Those that it has in addition on the port for management.
    pub(super) management_refusals: &'static [u16],
    /// The body of its 503, where that is not a refusal.
    pub(super) unready: Option<MakeSchema>,
}

/// What a request for a route needs, where there are API keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RouteAccess {
    /// No key: whoever starts and stops servers has none, and pages ask for one.
    Open,
    /// Any key.
    Key,
    /// The key of an admin. Without API keys, the port for management alone.
    Admin,
}

/// What a route takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum BodyContent {
    Nothing,
    Json(MakeSchema),
    /// JSON, or no body.
    Optional(MakeSchema),
}

/// What a route answers with 200.
#[derive(Debug, Clone, Copy)]
pub(super) enum AnswerContent {
    Nothing,
    /// Nothing, and that on the port for management alone: elsewhere it always refuses.
    NothingForOperators,
    Json(MakeSchema),
    /// JSON, or JSON and the bytes of tensors.
    Tensors(MakeSchema),
    /// Text of these types.
    Text(&'static [&'static str]),
}

impl Route {
    pub(super) const fn get(
        path: &'static str,
        handler: MakeHandler,
        summary: &'static str,
    ) -> Self {
        Self::new(MethodFilter::GET, path, handler, summary)
    }

    pub(super) const fn post(
        path: &'static str,
        handler: MakeHandler,
        summary: &'static str,
    ) -> Self {
        Self::new(MethodFilter::POST, path, handler, summary)
    }

    pub(super) const fn put(
        path: &'static str,
        handler: MakeHandler,
        summary: &'static str,
    ) -> Self {
        Self::new(MethodFilter::PUT, path, handler, summary)
    }

    pub(super) const fn delete(
        path: &'static str,
        handler: MakeHandler,
        summary: &'static str,
    ) -> Self {
        Self::new(MethodFilter::DELETE, path, handler, summary)
    }

    /// A route that takes and answers nothing.
    const fn new(
        method: MethodFilter,
        path: &'static str,
        handler: MakeHandler,
        summary: &'static str,
    ) -> Self {
        Self {
            method,
            path,
            handler,
            documented: None,
            summary,
            access: RouteAccess::Key,
            is_probe: false,
            may_name_new: false,
            body: BodyContent::Nothing,
            example: None,
            parameters: None,
            answer: AnswerContent::Nothing,
            refusals: &[],
            management_refusals: &[],
            unready: None,
        }
    }

    pub(super) const fn documented_as(mut self, path: &'static str) -> Self {
        self.documented = Some(path);
        self
    }

    pub(super) const fn open(mut self) -> Self {
        self.access = RouteAccess::Open;
        self
    }

    pub(super) const fn probe(mut self) -> Self {
        self.is_probe = true;
        self
    }

    pub(super) const fn for_admins(mut self) -> Self {
        self.access = RouteAccess::Admin;
        self
    }

    pub(super) const fn may_name_new(mut self) -> Self {
        self.may_name_new = true;
        self
    }

    pub(super) const fn takes<T: JsonSchema>(mut self, example: MakeExample) -> Self {
        self.body = BodyContent::Json(Schemas::request::<T>);
        self.example = Some(example);
        self
    }

    pub(super) const fn may_take<T: JsonSchema>(mut self, example: MakeExample) -> Self {
        self.body = BodyContent::Optional(Schemas::request::<T>);
        self.example = Some(example);
        self
    }

    /// A body whose schema no type has.
    pub(super) const fn takes_json(mut self, schema: MakeSchema, example: MakeExample) -> Self {
        self.body = BodyContent::Json(schema);
        self.example = Some(example);
        self
    }

    pub(super) const fn parameters(mut self, parameters: MakeParameters) -> Self {
        self.parameters = Some(parameters);
        self
    }

    pub(super) const fn answers<T: JsonSchema>(mut self) -> Self {
        self.answer = AnswerContent::Json(Schemas::answer::<T>);
        self
    }

    pub(super) const fn answers_with(mut self, answer: AnswerContent) -> Self {
        self.answer = answer;
        self
    }

    pub(super) const fn refuses(mut self, statuses: &'static [u16]) -> Self {
        self.refusals = statuses;
        self
    }

    pub(super) const fn refuses_on_management(mut self, statuses: &'static [u16]) -> Self {
        self.management_refusals = statuses;
        self
    }

    pub(super) const fn unready(mut self, schema: MakeSchema) -> Self {
        self.unready = Some(schema);
        self
    }
}

impl RouteGroup {
    /// The path of a route as the router has it.
    fn path(&self, route: &Route) -> String {
        format!("{}{}", self.at, route.path)
    }

    /// The path of a route as the OpenAPI document has it.
    pub(super) fn documented_path(&self, route: &Route) -> String {
        format!("{}{}", self.at, route.documented.unwrap_or(route.path))
    }
}

impl Protocol {
    /// Each of its routes with its group.
    pub(super) fn routes(&self) -> impl Iterator<Item = (&'static RouteGroup, &'static Route)> {
        let groups = self.groups.iter();
        groups.flat_map(|group| group.routes.iter().map(move |route| (group, route)))
    }

    /// True where `path` is refused in the form of this protocol.
    fn owns(&self, path: &str) -> bool {
        let is_below = |prefix: &str| {
            path.starts_with(prefix) || path == prefix.strip_suffix('/').unwrap_or(prefix)
        };
        if self.prefix.is_some_and(is_below) {
            return true;
        }
        // Routes with parameters have a prefix before them, or are native.
        let path = path.strip_suffix('/').unwrap_or(path);
        self.routes()
            .any(|(group, route)| path.strip_prefix(group.at) == Some(route.path))
    }
}

/// The declarations of all protocols.
#[derive(Debug)]
pub(super) struct Protocols {
    all: &'static [&'static Protocol],
    /// The one that refuses the paths of none.
    fallback: &'static Protocol,
    /// The templates of the routes that need no key.
    open: Vec<String>,
    /// The templates of the routes that are probes.
    probes: Vec<String>,
}

impl Protocols {
    /// Paths that none of `all` owns are refused in the form of `fallback`.
    pub(super) fn new(all: &'static [&'static Protocol], fallback: &'static Protocol) -> Self {
        let templates = |is_wanted: fn(&Route) -> bool| {
            let routes = all.iter().flat_map(|protocol| protocol.routes());
            let wanted = routes.filter(|(_, route)| is_wanted(route));
            wanted.map(|(group, route)| group.path(route)).collect()
        };
        Self {
            all,
            fallback,
            open: templates(|route| route.access == RouteAccess::Open),
            probes: templates(|route| route.access == RouteAccess::Open || route.is_probe),
        }
    }

    /// The protocols that are spoken on a port.
    pub(super) fn on(&self, role: ListenerRole) -> impl Iterator<Item = &'static Protocol> + use<> {
        let is_there = move |protocol: &&'static Protocol| {
            role == ListenerRole::Management || !protocol.is_management
        };
        self.all.iter().copied().filter(is_there)
    }

    /// The routes of a port, each with the template of its path and its handler.
    pub(super) fn routes(
        &'static self,
        role: ListenerRole,
    ) -> impl Iterator<Item = (String, MethodRouter<ServerView>, &'static Route)> {
        let routes = self.on(role).flat_map(Protocol::routes);
        routes.map(move |(group, route)| {
            let handler = (route.handler)(route.method, self);
            (group.path(route), handler, route)
        })
    }

    /// True where the route of this template needs no key.
    pub(super) fn is_open(&self, route: &str) -> bool {
        self.open.iter().any(|open| open == route)
    }

    /// True where the route of this template is asked again and again, and says nothing of requests.
    pub(super) fn is_probe(&self, route: &str) -> bool {
        self.probes.iter().any(|probe| probe == route)
    }

    /// The name of the protocol that has the route of this template.
    pub(super) fn name_of(&self, route: &str) -> Option<&'static str> {
        let has_it = |protocol: &&&Protocol| {
            let mut routes = protocol.routes();
            routes.any(|(group, own)| route.strip_prefix(group.at) == Some(own.path))
        };
        self.all.iter().find(has_it).map(|protocol| protocol.name)
    }

    /// The protocol in whose form `path` is refused before it reaches a handler.
    pub(super) fn owner(&self, path: &str) -> &'static Protocol {
        let mut all = self.all.iter().copied();
        all.find(|protocol| protocol.owns(path))
            .unwrap_or(self.fallback)
    }

    /// Writes a refusal in the form of the protocol that owns `path`.
    pub(super) fn refuse(&self, path: &str, refusal: Refusal) -> Response {
        (self.owner(path).refuse)(refusal)
    }
}
