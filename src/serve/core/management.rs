//! Changes what is served while the server runs: models come, go and are replaced under their names,
//! and nothing that was accepted is lost.
//!
//! A new model is loaded on its cores first, on one after the other, and gets its name when all of them
//! hold it. A model that goes loses its name first, then is waited for until no request uses it, and
//! leaves its cores last. One change of what cores hold is made at a time, and one of what names mean, so
//! that an alias need not wait for a model to be loaded; all of this blocks.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::bundle::{Bundle, Check};
use crate::failure::sentence;
use crate::placement;
use crate::placement::cores::CoreList;
use crate::placement::memory::ModelTensors;
use crate::placement::model::Model;
use crate::recipe::Task;
use crate::serve::core::aliases::{Alias, AliasTarget};
use crate::serve::core::models::ServedModel;
use crate::serve::core::names::ModelId;
use crate::serve::core::state::ServedState;
use crate::serve::core::worker::{ServedWorker, WorkerState};

/// How long a core may take to load or let go of a model.
const CHANGE_LIMIT: Duration = Duration::from_secs(600);

/// Why nothing was changed.
#[derive(Debug)]
pub(crate) enum ChangeError {
    /// There is no such thing.
    Unknown(String),
    /// What is asked for is not valid.
    Invalid(String),
    /// It would break what is served.
    Conflict(String),
    /// It was tried, and taken back.
    Failed(String),
}

/// What a change came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChangeOutcome {
    /// False where everything was already as asked for.
    pub(crate) changed: bool,
    pub(crate) message: String,
}

impl ChangeOutcome {
    fn changed(message: String) -> Self {
        Self {
            changed: true,
            message,
        }
    }

    fn unchanged(message: String) -> Self {
        Self {
            changed: false,
            message,
        }
    }
}

type ChangeResult = Result<ChangeOutcome, ChangeError>;

/// What an operator asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct DesiredState<'a> {
    /// The folder of the bundle; without, that of the model as it is.
    pub(crate) bundle: Option<&'a Path>,
    /// Where it is to run; without, where it does, or everywhere.
    pub(crate) cores: Option<&'a CoreList>,
}

impl ServedState {
    /// Sees to it that a model of this name is served: loads it, puts it on more cores, or replaces the
    /// one of that name by another bundle.
    pub(crate) fn put_model(&self, name: &str, wish: &DesiredState<'_>) -> ChangeResult {
        let _changing = self.exclusively(&self.changing)?;
        let known = self.models.named(name);
        match (known, wish.bundle) {
            (None, None) => Err(ChangeError::Unknown(format!(
                "there is no model `{name}`: give the folder of its `bundle`"
            ))),
            (Some(known), None) => self.spread(&known, wish.cores),
            (known, Some(folder)) => {
                let bundle = Bundle::open(folder, Check::Content).map_err(invalid)?;
                match known {
                    Some(known) if known.bundle.identity() == bundle.identity() => {
                        self.spread(&known, wish.cores)
                    }
                    known => self.replace(name, bundle, known, wish.cores),
                }
            }
        }
    }

    /// Takes a model off some cores, or away. The last copy that answers goes only with `force`.
    pub(crate) fn take_model(
        &self,
        name: &str,
        cores: Option<&CoreList>,
        force: bool,
    ) -> ChangeResult {
        let _changing = self.exclusively(&self.changing)?;
        let Some(model) = self.models.named(name) else {
            return Ok(ChangeOutcome::unchanged(format!(
                "there is no model `{name}`"
            )));
        };
        let holding = self.holding(model.id);
        let leaving: Vec<&ServedWorker> = match cores {
            None => holding.clone(),
            Some(cores) => {
                let asked = self.cores_of(cores)?;
                let is_holding = |core: &&ServedWorker| core.wants(model.id);
                asked.into_iter().filter(is_holding).collect()
            }
        };
        if leaving.is_empty() {
            let message = format!("`{name}` is on none of these cores");
            return Ok(ChangeOutcome::unchanged(message));
        }
        let mut staying = holding.clone();
        staying.retain(|core| leaving.iter().all(|gone| gone.index != core.index));
        let answers =
            |cores: &[&ServedWorker]| cores.iter().any(|core| core.is_ready_for(model.id));
        // What could not be loaded is no copy that anybody would miss.
        let has_copy = |core: &&ServedWorker| !core.status().failed.contains_key(&model.id);
        let is_last = match staying.is_empty() {
            true => leaving.iter().any(has_copy),
            false => answers(&leaving) && !answers(&staying),
        };
        let cores = names(&leaving);
        if is_last && !force {
            return Err(ChangeError::Conflict(format!(
                "core {cores} has the last copy of `{name}`: `force` takes it away all the same"
            )));
        }
        if !staying.is_empty() {
            self.leave(&model, &leaving)?;
            return Ok(ChangeOutcome::changed(format!(
                "`{name}` left core {cores}"
            )));
        }
        let naming = self.naming();
        let aliases = self.models.aliases();
        let uses = |target: &AliasTarget| target.model == name;
        let mut using = aliases
            .iter()
            .filter(|(_, alias)| alias.targets().iter().any(uses));
        if let Some((alias, _)) = using.next() {
            return Err(ChangeError::Conflict(format!(
                "the alias `{alias}` stands for `{name}`: change it first"
            )));
        }
        self.models.remove(&model);
        drop(naming);
        self.retire(&model)?;
        Ok(ChangeOutcome::changed(format!(
            "`{name}` is no longer served"
        )))
    }

    /// Makes a name stand for models, each with its share of the requests.
    pub(crate) fn put_alias(&self, name: &str, targets: Vec<AliasTarget>) -> ChangeResult {
        let _naming = self.exclusively(&self.naming)?;
        if self.models.named(name).is_some() {
            return Err(ChangeError::Conflict(format!("`{name}` is a model")));
        }
        let mut first: Option<(&str, Task)> = None;
        for AliasTarget { model: named, .. } in &targets {
            let unknown = || ChangeError::Invalid(format!("there is no model `{named}`"));
            let model = self.models.named(named).ok_or_else(unknown)?;
            let task = model.model.head.task();
            let (other, expected) = *first.get_or_insert((named, task));
            if task != expected {
                let message = format!("`{other}` and `{named}` are for different tasks");
                return Err(ChangeError::Conflict(message));
            }
        }
        let before = self.models.aliases().remove(name);
        if before
            .as_ref()
            .is_some_and(|before| before.targets() == targets)
        {
            return Ok(ChangeOutcome::unchanged(format!(
                "`{name}` is that already"
            )));
        }
        let alias = Alias::new(targets, before.as_deref());
        let alias = alias.ok_or_else(|| {
            ChangeError::Invalid("an alias needs a model with a weight above 0".to_owned())
        })?;
        self.models.set_alias(name, Some(alias));
        Ok(ChangeOutcome::changed(format!("`{name}` is set")))
    }

    /// Gives an alias the targets that it had before its last change.
    pub(crate) fn roll_back_alias(&self, name: &str) -> ChangeResult {
        let aliases = self.models.aliases();
        let alias = aliases.get(name);
        let alias =
            alias.ok_or_else(|| ChangeError::Unknown(format!("there is no alias `{name}`")))?;
        match alias.previous() {
            Some(previous) => self.put_alias(name, previous.to_vec()),
            None => Err(ChangeError::Conflict(format!(
                "`{name}` has been what it is since it was set"
            ))),
        }
    }

    pub(crate) fn take_alias(&self, name: &str) -> ChangeResult {
        let _naming = self.exclusively(&self.naming)?;
        match self.models.aliases().contains_key(name) {
            false => Ok(ChangeOutcome::unchanged(format!(
                "there is no alias `{name}`"
            ))),
            true => {
                self.models.set_alias(name, None);
                Ok(ChangeOutcome::changed(format!("`{name}` is gone")))
            }
        }
    }

    /// Puts a model that is served on more cores.
    fn spread(&self, model: &Arc<ServedModel>, cores: Option<&CoreList>) -> ChangeResult {
        let name = &model.name;
        let mut added = match cores {
            Some(cores) => self.cores_of(cores)?,
            None => self.holding(model.id),
        };
        // Also asks again for what could not be loaded.
        let is_missing = |core: &&ServedWorker| !core.status().held.contains(&model.id);
        added.retain(is_missing);
        if added.is_empty() {
            return Ok(ChangeOutcome::unchanged(format!(
                "`{name}` is served there"
            )));
        }
        let new: Vec<&ServedWorker> = added
            .iter()
            .copied()
            .filter(|core| !core.wants(model.id))
            .collect();
        self.check_fit(&model.placed, &new)?;
        self.enter(model, &added)
            .inspect_err(|_| self.take_back(model, &new))?;
        Ok(ChangeOutcome::changed(format!(
            "`{name}` is also on core {}",
            names(&added)
        )))
    }

    /// Serves a bundle under a name, in place of the model that has it, if there is one.
    fn replace(
        &self,
        name: &str,
        bundle: Bundle,
        old: Option<Arc<ServedModel>>,
        cores: Option<&CoreList>,
    ) -> ChangeResult {
        self.check_no_alias(name)?;
        let model = self.open(name, bundle)?;
        let cores = match (cores, &old) {
            (Some(cores), _) => self.cores_of(cores)?,
            (None, Some(old)) => self.holding(old.id),
            (None, None) => self.workers.iter().map(|core| &**core).collect(),
        };
        self.check_fit(&model.placed, &cores)?;
        self.queue.open(model.id, &model.plan().buckets);
        let named = self.enter(&model, &cores);
        let named = named.and_then(|()| self.name(&model));
        named.inspect_err(|_| {
            self.take_back(&model, &cores);
            self.queue.shut(model.id);
        })?;
        let Some(old) = old else {
            let cores = names(&cores);
            let message = format!("`{name}` is served on core {cores}");
            return Ok(ChangeOutcome::changed(message));
        };
        let mut left = self.holding(old.id);
        left.retain(|core| cores.iter().all(|other| other.index != core.index));
        self.retire(&old)?;
        let mut message = format!("`{name}` is that bundle now, on core {}", names(&cores));
        if !left.is_empty() {
            message.push_str(&format!(", and no longer on core {}", names(&left)));
        }
        Ok(ChangeOutcome::changed(message))
    }

    /// Gives a model that its cores hold its name, unless an alias has got it meanwhile.
    fn name(&self, model: &Arc<ServedModel>) -> Result<(), ChangeError> {
        let _naming = self.naming();
        self.check_no_alias(&model.name)?;
        self.models.put(Arc::clone(model));
        Ok(())
    }

    fn check_no_alias(&self, name: &str) -> Result<(), ChangeError> {
        match self.models.aliases().contains_key(name) {
            true => Err(ChangeError::Conflict(format!("`{name}` is an alias"))),
            false => Ok(()),
        }
    }

    fn open(&self, name: &str, bundle: Bundle) -> Result<Arc<ServedModel>, ChangeError> {
        let plan = &bundle.manifest.plan;
        let chip = &self.profile.name;
        let simulated = self
            .environment
            .runtime
            .simulated(&bundle)
            .map_err(invalid)?;
        if simulated.is_none() && plan.chip != *chip {
            return Err(ChangeError::Invalid(format!(
                "the bundle is for chip `{}`, and this server is on `{chip}`",
                plan.chip
            )));
        }
        let tensors = ModelTensors {
            weights: bundle.weights().map_err(invalid)?,
            output: bundle.manifest.output,
        };
        let placed = Model::new(name, plan, &tensors, &self.profile, None).map_err(invalid)?;
        ServedModel::open(placed, bundle, simulated, self.limits.queue_rows).map_err(invalid)
    }

    /// Has cores load a model, one after the other, as a core that loads runs nothing: the first one that
    /// cannot is the last one that tries.
    fn enter(&self, model: &Arc<ServedModel>, cores: &[&ServedWorker]) -> Result<(), ChangeError> {
        cores
            .iter()
            .try_for_each(|core| self.enter_one(model, core))
    }

    /// Has a core load a model, and waits until it holds it.
    fn enter_one(&self, model: &Arc<ServedModel>, core: &ServedWorker) -> Result<(), ChangeError> {
        self.queue.assign(model.id, core.index);
        core.want(model);
        self.queue.call();
        let status = core.wait(Instant::now() + CHANGE_LIMIT, |status| {
            status.held.contains(&model.id)
                || status.failed.contains_key(&model.id)
                || matches!(
                    status.state,
                    WorkerState::Broken { .. } | WorkerState::Closed
                )
        });
        if status.held.contains(&model.id) {
            return Ok(());
        }
        let failure = status.failed.get(&model.id);
        let why = failure.map_or("it is not running", |failure| &failure.why);
        Err(ChangeError::Failed(format!(
            "core {} cannot load `{}`: {why}",
            core.name, model.name
        )))
    }

    /// Undoes what was begun.
    fn take_back(&self, model: &ServedModel, cores: &[&ServedWorker]) {
        for core in cores {
            core.unwant(model.id);
            self.queue.withdraw(model.id, core.index);
        }
        self.queue.call();
    }

    /// Has cores let go of a model that others still have.
    fn leave(&self, model: &ServedModel, cores: &[&ServedWorker]) -> Result<(), ChangeError> {
        self.take_back(model, cores);
        let ends = Instant::now() + CHANGE_LIMIT;
        for core in cores {
            let status = core.wait(ends, |status| !status.held.contains(&model.id));
            if status.held.contains(&model.id) {
                return Err(ChangeError::Failed(format!(
                    "core {} does not let go of `{}`",
                    core.name, model.name
                )));
            }
        }
        Ok(())
    }

    /// Lets the requests of a model that has no name any more end, and has its cores let go of it.
    fn retire(&self, model: &ServedModel) -> Result<(), ChangeError> {
        let longest = Instant::now() + self.limits.request + self.limits.run;
        if !model.wait_unused(longest) {
            tracing::warn!(model = &*model.name, "requests outlived the model");
        }
        let cores = self.holding(model.id);
        let left = self.leave(model, &cores);
        self.queue.shut(model.id);
        left
    }

    /// The cores that have a model or are to have it.
    fn holding(&self, model: ModelId) -> Vec<&ServedWorker> {
        let cores = self.workers.iter().map(|core| &**core);
        cores.filter(|core| core.wants(model)).collect()
    }

    /// The workers of these cores, each of which must be asked for as a whole.
    fn cores_of(&self, asked: &CoreList) -> Result<Vec<&ServedWorker>, ChangeError> {
        let cores = self.workers.iter().map(|core| &**core);
        let found: Vec<&ServedWorker> = cores
            .filter(|core| core.place.cores.overlaps(asked))
            .collect();
        let all = CoreList::of(found.iter().flat_map(|core| core.place.cores.iter()));
        match all == *asked {
            true => Ok(found),
            false => Err(ChangeError::Invalid(format!(
                "cores {asked} are not those of workers: there are {}",
                names(&self.workers.iter().map(|core| &**core).collect::<Vec<_>>())
            ))),
        }
    }

    /// Refuses a model for which `cores` have no room beside what they hold.
    fn check_fit(&self, model: &Model, cores: &[&ServedWorker]) -> Result<(), ChangeError> {
        let width = model.width;
        if let Some(core) = cores.iter().find(|core| core.place.cores.len() != width) {
            return Err(ChangeError::Conflict(format!(
                "`{}` takes {width} cores, and a worker has core {}",
                model.name, core.name
            )));
        }
        let mut models: Vec<Arc<ServedModel>> = Vec::new();
        let mut workers = Vec::new();
        for core in &self.workers {
            let mut worker = core.place.clone();
            worker.models.clear();
            for wanted in core.status().wanted {
                let known = models.iter().position(|model| model.id == wanted.id);
                let place = known.unwrap_or_else(|| {
                    models.push(wanted);
                    models.len() - 1
                });
                worker.models.push(place);
            }
            workers.push(worker);
        }
        let mut placed: Vec<Model> = models.iter().map(|model| model.placed.clone()).collect();
        for core in cores {
            workers[core.index].models.push(placed.len());
        }
        placed.push(model.clone());
        for worker in &mut workers {
            let each = |place: &usize| placed[*place].memory.each();
            worker.memory_bytes = worker.models.iter().map(each).sum();
        }
        let fits = placement::check_memory(&self.environment.machine, &placed, &workers);
        fits.map_err(|error| ChangeError::Conflict(sentence(&error)))
    }

    /// Of a change that has begun, the part that is about a name.
    fn naming(&self) -> MutexGuard<'_, ()> {
        self.naming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One change at a time; none begins while the server stops.
    fn exclusively<'a>(&self, lock: &'a Mutex<()>) -> Result<MutexGuard<'a, ()>, ChangeError> {
        let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
        match self.is_stopping() {
            true => Err(ChangeError::Conflict("the server is stopping".to_owned())),
            false => Ok(guard),
        }
    }
}

fn invalid(error: anyhow::Error) -> ChangeError {
    ChangeError::Invalid(sentence(&error))
}

fn names(cores: &[&ServedWorker]) -> String {
    let names: Vec<&str> = cores.iter().map(|core| &*core.name).collect();
    names.join(", ")
}
