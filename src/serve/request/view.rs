//! The server as seen through one of its listeners: which workers and models answer there.

use std::sync::Arc;

use crate::failure::name_list;
use crate::family::Head;
use crate::serve::core::aliases::Alias;
use crate::serve::core::models::{ModelLease, ServedModel};
use crate::serve::core::names::ModelId;
use crate::serve::core::state::ServedState;
use crate::serve::core::worker::ServedWorker;
use crate::serve::listener::ListenerRole;
use crate::serve::request::frontend::Frontend;
use crate::serve::request::refusal::{Code, Refusal};

/// The server as seen through one of its listeners.
#[derive(Debug, Clone)]
pub(crate) struct ServerView {
    pub(crate) frontend: Arc<Frontend>,
    pub(crate) role: ListenerRole,
}

impl ServerView {
    pub(crate) fn served(&self) -> &ServedState {
        &self.frontend.served
    }

    /// The index of the worker that alone answers here.
    pub(crate) fn worker(&self) -> Option<usize> {
        match self.role {
            ListenerRole::Worker(index) => Some(index),
            ListenerRole::All | ListenerRole::Management => None,
        }
    }

    /// The workers that answer here.
    pub(crate) fn workers(&self) -> &[Arc<ServedWorker>] {
        let workers = &self.served().workers;
        match self.worker() {
            None => workers,
            Some(index) => &workers[index..=index],
        }
    }

    fn is_here(&self, model: ModelId) -> bool {
        self.worker()
            .is_none_or(|index| self.served().workers[index].wants(model))
    }

    /// The models that are served here, the first one first.
    pub(crate) fn models(&self) -> Vec<Arc<ServedModel>> {
        let mut models = self.served().models.all();
        models.retain(|model| self.is_here(model.id));
        models
    }

    /// The names that can be asked for here: models, and aliases of which a model is here.
    pub(crate) fn names(&self) -> Vec<String> {
        let models = self.models();
        let mut names: Vec<String> = models.iter().map(|model| model.name.to_string()).collect();
        let is_here = |alias: &Alias| {
            let mut targets = alias.targets().iter().filter(|target| target.weight > 0);
            targets.any(|target| models.iter().any(|model| *model.name == *target.model))
        };
        for (name, alias) in self.served().models.aliases() {
            if is_here(&alias) {
                names.push(name);
            }
        }
        names
    }

    /// The model of this name, or the model whose turn it is under an alias, if it is served here. The
    /// refusal names the models that are.
    pub(crate) fn find_model(&self, name: &str) -> Result<ModelLease, Refusal> {
        let found = self.served().models.find(name, |model| self.is_here(model));
        found.ok_or_else(|| {
            let models = self.models();
            let names = name_list(models.iter().map(|model| &*model.name));
            Refusal::new(Code::UnknownModel, "there is no model of that name")
                .help(&format!("served: {names}"))
        })
    }

    /// The model of a route that names none: the first one here that the route is for, else the first one,
    /// whose refusal says what it is for.
    pub(crate) fn default_model(
        &self,
        is_for: impl Fn(&Head) -> bool,
    ) -> Result<ModelLease, Refusal> {
        let first = self.first(|model| is_for(&model.model.head));
        let first = first.or_else(|| self.first(|_| true));
        first.ok_or_else(|| Refusal::new(Code::UnknownModel, "no model is served on this port"))
    }

    /// The first of the models here for which `is_wanted` is true.
    pub(crate) fn first(
        &self,
        mut is_wanted: impl FnMut(&ServedModel) -> bool,
    ) -> Option<ModelLease> {
        let models = &self.served().models;
        models.first(|model| self.is_here(model.id) && is_wanted(model))
    }

    /// True when there are models, and a request for any of them would be answered.
    pub(crate) fn is_ready(&self) -> bool {
        let models = self.models();
        !models.is_empty() && models.iter().all(|model| self.is_model_ready(model.id))
    }

    /// True when a request for this model would be answered: the server is not stopping and the model
    /// has a worker that is ready.
    pub(crate) fn is_model_ready(&self, model: ModelId) -> bool {
        let mut workers = self.workers().iter();
        !self.served().is_stopping() && workers.any(|worker| worker.is_ready_for(model))
    }

    /// Answers a probe: the refusal says why a request might not be answered.
    pub(crate) fn check_ready(&self) -> Result<(), Refusal> {
        if self.is_ready() {
            return Ok(());
        }
        if self.served().is_stopping() {
            return Err(Refusal::stopping());
        }
        let why = if self.models().is_empty() {
            "no model is served"
        } else {
            "a model has no core that is ready"
        };
        Err(Refusal::new(Code::NotReady, why))
    }
}
