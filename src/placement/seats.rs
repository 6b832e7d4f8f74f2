//! Who sits where: cores are joined into workers, and each worker has so many seats for models.

use anyhow::Result;

use crate::failure::{Class, Failure};
use crate::placement::cores::CoreList;
use crate::placement::model::Model;

/// The workers so far, and the cores that are in none.
pub(super) struct Seats {
    usable: CoreList,
    free: CoreList,
    per_worker: usize,
    /// Cores and models of each worker.
    workers: Vec<(CoreList, Vec<usize>)>,
}

impl Seats {
    pub(super) fn new(usable: &CoreList, per_worker: usize) -> Self {
        Self {
            usable: usable.clone(),
            free: usable.clone(),
            per_worker: per_worker.max(1),
            workers: Vec::new(),
        }
    }

    /// Seats model `index` on each of the `asked` cores; all of them or an error.
    pub(super) fn pin(&mut self, models: &[Model], index: usize, asked: &CoreList) -> Result<()> {
        let model = &models[index];
        let beyond = asked.without(&self.usable);
        if !beyond.is_empty() {
            return Err(Failure::usage(format!(
                "model `{}` is to run on core {beyond}, which may not be used",
                model.name
            ))
            .why(format!("the usable cores are {}", self.usable))
            .into());
        }
        let mut left = asked.clone();
        while let Some(cores) = left
            .adjacent(model.width)
            .filter(|run| run.lowest() == left.lowest())
        {
            left = left.without(&cores);
            self.seat(models, index, cores)?;
        }
        match left.lowest() {
            None => Ok(()),
            Some(core) => Err(Failure::usage(format!(
                "model `{}` does not fill cores {asked}",
                model.name
            ))
            .why(format!(
                "each copy takes {} adjacent cores, and there are not so many from core {core} on",
                model.width
            ))
            .into()),
        }
    }

    /// Seats model `index` on exactly these cores.
    fn seat(&mut self, models: &[Model], index: usize, cores: CoreList) -> Result<()> {
        let name = &models[index].name;
        let Some(worker) = self
            .workers
            .iter_mut()
            .find(|(there, _)| there.overlaps(&cores))
        else {
            self.free = self.free.without(&cores);
            self.workers.push((cores, vec![index]));
            return Ok(());
        };
        let (there, seated) = worker;
        let other = &models[seated[0]].name;
        if *there != cores {
            return Err(Failure::usage(format!("models `{other}` and `{name}` overlap"))
                .why(format!(
                    "one takes cores {there} as a whole, the other cores {cores}"
                ))
                .help("a core belongs to one process: give them cores that are apart, or the same ones")
                .into());
        }
        if seated.len() == self.per_worker {
            return Err(Failure::usage(format!(
                "models `{other}` and `{name}` overlap on core {cores}"
            ))
            .why(format!("a core holds {} at most", count(self.per_worker)))
            .help(format!(
                "give them cores that are apart, or `--models-per-core {}`",
                self.per_worker + 1
            ))
            .into());
        }
        seated.push(index);
        Ok(())
    }

    /// Seats a copy of each model that has no cores of its own in turn, until nobody finds a seat. Wide
    /// models choose first, while there still are adjacent cores. Every model gets a seat, or it is an
    /// error.
    pub(super) fn fill(&mut self, models: &[Model]) -> Result<()> {
        let mut order: Vec<usize> = (0..models.len()).collect();
        order.retain(|index| models[*index].cores.is_none());
        order.sort_by_key(|index| std::cmp::Reverse(models[*index].width));
        for index in &order {
            if !self.seat_anywhere(models, *index) {
                return Err(self.no_seat(models, &models[*index]).into());
            }
        }
        let mut taken = 0;
        while self.taken() > taken {
            taken = self.taken();
            for index in &order {
                self.seat_anywhere(models, *index);
            }
        }
        Ok(())
    }

    fn taken(&self) -> usize {
        self.workers.iter().map(|(_, seated)| seated.len()).sum()
    }

    /// The first worker of the model's width with a seat left, or the next cores that are free.
    fn seat_anywhere(&mut self, models: &[Model], index: usize) -> bool {
        let width = models[index].width;
        let per_worker = self.per_worker;
        let open = self
            .workers
            .iter_mut()
            .filter(|(cores, seated)| {
                cores.len() == width && seated.len() < per_worker && !seated.contains(&index)
            })
            .min_by_key(|(cores, _)| cores.lowest());
        if let Some((_, seated)) = open {
            seated.push(index);
            return true;
        }
        let Some(cores) = self.free.adjacent(width) else {
            return false;
        };
        self.free = self.free.without(&cores);
        self.workers.push((cores, vec![index]));
        true
    }

    fn no_seat(&self, models: &[Model], model: &Model) -> Failure {
        let (cores, width) = (self.usable.len(), model.width);
        let failure = Failure::new(
            Class::Negative,
            format!("there is no core left for model `{}`", model.name),
        );
        if width > 1 && self.taken() == 0 {
            return failure.why(format!(
                "it takes {width} adjacent cores, of {}",
                self.usable
            ));
        }
        let needed = models.len().div_ceil(cores.max(1)).max(self.per_worker + 1);
        failure
            .why(format!(
                "{} models on {cores} cores, and a core holds {} at most",
                models.len(),
                count(self.per_worker)
            ))
            .help(format!("give `--models-per-core {needed}`, or more cores"))
    }

    pub(super) fn idle(&self) -> CoreList {
        self.free.clone()
    }

    /// Cores and models of each worker, by core.
    pub(super) fn into_workers(mut self) -> Vec<(CoreList, Vec<usize>)> {
        self.workers.sort_by_key(|(cores, _)| cores.lowest());
        self.workers
    }
}

fn count(models: usize) -> String {
    match models {
        1 => "1 model".to_owned(),
        _ => format!("{models} models"),
    }
}
