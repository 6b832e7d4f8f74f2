//! The models that are served, under the names by which they are asked for.
//!
//! A request holds a [`ModelLease`] of its model from the moment its name is looked up until it is answered, so
//! that a model can be taken away without a request losing it: see [`ServedModel::wait_unused`].

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};
use std::time::Instant;

use anyhow::Result;

use crate::bucket::Row;
use crate::bundle::Bundle;
use crate::placement;
use crate::plan::Plan;
use crate::runtime::simulated::SimulatedModel;
use crate::serve::core::aliases::Alias;
use crate::serve::core::names::ModelId;
use crate::serve::core::statistics::InferenceStatistics;
use crate::task::TaskModel;

/// A bundle that is served.
#[derive(Debug)]
pub(crate) struct ServedModel {
    pub(crate) id: ModelId,
    pub(crate) name: Arc<str>,
    pub(crate) bundle: Arc<Bundle>,
    pub(crate) model: TaskModel,
    /// Inputs that are known to be good, the longest last.
    pub(crate) references: Vec<Row>,
    /// What it takes of a core.
    pub(crate) placed: placement::model::Model,
    /// Where a device is simulated.
    pub(crate) simulated: Option<SimulatedModel>,
    pub(crate) statistics: InferenceStatistics,
    uses: Mutex<usize>,
    unused: Condvar,
}

impl ServedModel {
    pub(crate) fn open(
        placed: placement::model::Model,
        bundle: Bundle,
        simulated: Option<SimulatedModel>,
        queue_rows: usize,
    ) -> Result<Arc<Self>> {
        let mut model = TaskModel::open(&bundle)?;
        // More could never wait together.
        model.rows_max = model.rows_max.min(queue_rows);
        Ok(Arc::new(Self {
            id: ModelId::next(),
            name: placed.name.as_str().into(),
            model,
            references: bundle.reference_rows()?,
            bundle: Arc::new(bundle),
            placed,
            simulated,
            statistics: InferenceStatistics::default(),
            uses: Mutex::new(0),
            unused: Condvar::new(),
        }))
    }

    /// What it was compiled from and for.
    pub(crate) fn plan(&self) -> &Plan {
        &self.bundle.manifest.plan
    }

    /// Waits until no request uses the model; false when that took too long.
    pub(crate) fn wait_unused(&self, ends: Instant) -> bool {
        let left = ends.saturating_duration_since(Instant::now());
        let waited = self
            .unused
            .wait_timeout_while(self.uses(), left, |uses| *uses > 0);
        *waited.unwrap_or_else(PoisonError::into_inner).0 == 0
    }

    fn uses(&self) -> MutexGuard<'_, usize> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's hold on its model.
#[derive(Debug)]
pub(crate) struct ModelLease(Arc<ServedModel>);

impl ModelLease {
    /// Only for a model that has its name while this is called: who replaces it waits for its uses after.
    fn of(model: &Arc<ServedModel>) -> Self {
        *model.uses() += 1;
        Self(Arc::clone(model))
    }
}

impl Clone for ModelLease {
    fn clone(&self) -> Self {
        Self::of(&self.0)
    }
}

impl Drop for ModelLease {
    fn drop(&mut self) {
        let mut uses = self.0.uses();
        *uses -= 1;
        if *uses == 0 {
            self.0.unused.notify_all();
        }
    }
}

impl Deref for ModelLease {
    type Target = ServedModel;

    fn deref(&self) -> &ServedModel {
        &self.0
    }
}

/// Models and aliases by name.
#[derive(Debug, Default)]
pub(crate) struct Models {
    state: RwLock<NameTable>,
}

#[derive(Debug, Default)]
struct NameTable {
    /// In the order in which they came; the first one is that of routes that name none.
    models: Vec<Arc<ServedModel>>,
    aliases: BTreeMap<String, Arc<Alias>>,
}

impl Models {
    pub(crate) fn new(models: Vec<Arc<ServedModel>>) -> Self {
        Self {
            state: RwLock::new(NameTable {
                models,
                aliases: BTreeMap::new(),
            }),
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<ServedModel>> {
        self.read().models.clone()
    }

    /// The model of that name, or of those under an alias the one whose turn it is, if `is_here` is true
    /// of it.
    pub(crate) fn find(&self, name: &str, is_here: impl Fn(ModelId) -> bool) -> Option<ModelLease> {
        let state = self.read();
        let named = |name: &str| state.named(name).filter(|model| is_here(model.id));
        if let Some(alias) = state.aliases.get(name) {
            let target = alias.choose(|target| named(target).is_some())?;
            return named(target).map(ModelLease::of);
        }
        named(name).map(ModelLease::of)
    }

    /// The first model that `is_it` is true of.
    pub(crate) fn first(&self, mut is_it: impl FnMut(&ServedModel) -> bool) -> Option<ModelLease> {
        let state = self.read();
        state
            .models
            .iter()
            .find(|model| is_it(model))
            .map(ModelLease::of)
    }

    /// The model of exactly that name.
    pub(crate) fn named(&self, name: &str) -> Option<Arc<ServedModel>> {
        self.read().named(name).cloned()
    }

    /// From now on `model` is asked for by its name, in place of the one that it returns.
    pub(crate) fn put(&self, model: Arc<ServedModel>) -> Option<Arc<ServedModel>> {
        let mut state = self.write();
        let known = |known: &Arc<ServedModel>| known.name == model.name;
        match state.models.iter().position(known) {
            Some(place) => Some(std::mem::replace(&mut state.models[place], model)),
            None => {
                state.models.push(model);
                None
            }
        }
    }

    pub(crate) fn remove(&self, model: &ServedModel) {
        self.write().models.retain(|known| known.id != model.id);
    }

    pub(crate) fn aliases(&self) -> BTreeMap<String, Arc<Alias>> {
        self.read().aliases.clone()
    }

    pub(crate) fn set_alias(&self, name: &str, alias: Option<Alias>) {
        let mut state = self.write();
        match alias {
            Some(alias) => state.aliases.insert(name.to_owned(), Arc::new(alias)),
            None => state.aliases.remove(name),
        };
    }

    /// Lists and maps are changed by calls that cannot panic halfway.
    fn read(&self) -> RwLockReadGuard<'_, NameTable> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, NameTable> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NameTable {
    fn named(&self, name: &str) -> Option<&Arc<ServedModel>> {
        self.models.iter().find(|model| *model.name == *name)
    }
}
