//! Contradictions within a profile.

use crate::failure::known_names;
use crate::profile::argument::{Argument, Decides, PassedTo, Unfit};
use crate::profile::chip::{ChipHardware, ChipProfile, FORMAT, InstanceType};
use crate::profile::operator_lists::{operator_list, operator_list_names};
use crate::profile::spelling::{TypedFlag, flags};
use crate::profile::version::parts;

impl ChipProfile {
    /// Everything in the profile that cannot be true at once.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.format != FORMAT {
            problems.push(format!("format {} is not format {FORMAT}", self.format));
        }
        for (name, argument) in &self.arguments {
            let found = self.problems_of(argument).into_iter();
            problems.extend(found.map(|problem| format!("argument `{name}`: {problem}")));
        }
        problems.extend(self.problems_of_decisions());
        problems.extend(self.problems_of_refusals());
        let buckets = self.buckets.buckets();
        if buckets.iter().any(|b| b.batch == 0 || b.sequence == 0) || buckets.is_empty() {
            problems.push("buckets: every size must be at least 1".to_owned());
        }
        problems.extend(self.problems_of_compiler());
        let lists = self.operators.iter().flat_map(|operators| &operators.lists);
        for name in lists.filter(|name| operator_list(name).is_none()) {
            problems.push(format!(
                "operators: list `{name}` is unknown; {}",
                known_names(name, operator_list_names())
            ));
        }
        if let Some(hardware) = &self.hardware {
            problems.extend(
                self.instances
                    .iter()
                    .filter_map(|row| row.problem(hardware)),
            );
        }
        problems
    }

    fn problems_of_compiler(&self) -> Vec<String> {
        if self.compiler.kind.is_host() {
            return Vec::new();
        }
        let (Some(sdk), true) = (&self.sdk, self.hardware.is_some()) else {
            return vec!["a Neuron chip needs `sdk` and `hardware`".to_owned()];
        };
        match &self.compiler.package {
            None => vec!["compiler: a Neuron chip needs `package`".to_owned()],
            Some(package) if !sdk.packages.contains_key(package) => {
                vec![format!(
                    "compiler: package `{package}` is not in `sdk.packages`"
                )]
            }
            Some(_) => Vec::new(),
        }
    }

    fn problems_of(&self, argument: &Argument) -> Vec<String> {
        let mut problems = Vec::new();
        if argument.kinds() > 1 {
            problems.push(
                "only one of `values`, `keywords`, `number` and `switch` is possible".to_owned(),
            );
        }
        if argument.passed_to == PassedTo::Compiler && !argument.flag.starts_with('-') {
            problems.push(format!("flag `{}` has no dash", argument.flag));
        }
        if let Some(short) = argument.short.as_ref().filter(|short| {
            short.starts_with("--") || !short.starts_with('-') || short.chars().count() < 2
        }) {
            problems.push(format!(
                "`{short}` is not a short form: those have one dash"
            ));
        }
        if let Some(default) = &argument.default
            && argument.check(default).is_err()
        {
            problems.push(format!("default `{default}` is not a value"));
        }
        if let Some(since) = &argument.since
            && parts(since).is_empty()
        {
            problems.push(format!("since `{since}` is not a version such as \"2.27\""));
        }
        if let Some(other) = &argument.excludes
            && !self.arguments.contains_key(other)
        {
            problems.push(format!("excludes `{other}`, which is not an argument"));
        }
        problems
    }

    /// Each decision must be made by one argument, and be known for every value of it.
    fn problems_of_decisions(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for decides in [Decides::Cast, Decides::CoreSize, Decides::Cores] {
            let arguments = self.arguments.values();
            if arguments.filter(|a| a.decides == Some(decides)).count() > 1 {
                problems.push(format!("arguments: two decide {decides:?}"));
            }
        }
        match self.deciding(Decides::Cast) {
            Some((name, argument)) => {
                let values = argument.listed();
                let of = |value: &str| format!("value `{value}` of `{name}`");
                problems.extend(
                    values
                        .iter()
                        .filter(|value| !self.tolerances.contains_key(**value))
                        .map(|value| format!("tolerances: {} has none", of(value))),
                );
                problems.extend(
                    self.tolerances
                        .keys()
                        .filter(|key| argument.check(key).is_err())
                        .map(|key| format!("tolerances: there is no {}", of(key))),
                );
            }
            None if !self.tolerances.contains_key("none") => {
                problems.push("tolerances: no argument decides the cast: `none` is missing".into());
            }
            None => {}
        }
        if let Some((name, argument)) = self.deciding(Decides::CoreSize) {
            let wrong = |value: &&&str| !self.groups_cores_by(value);
            let listed = argument.listed();
            problems.extend(listed.iter().filter(wrong).map(|value| {
                format!(
                    "argument `{name}`: {value} cores do not divide those of a device as \
                     `hardware.logical_cores_per_device` says"
                )
            }));
        }
        if let Some((name, argument)) = self.deciding(Decides::Cores) {
            let most = self.instances.iter().map(|row| row.cores).max();
            let bound = argument.number.and_then(|number| number.to);
            if bound.is_none() || bound > most.map(f64::from) {
                problems.push(format!(
                    "argument `{name}`: needs a `number` up to the cores of the largest instance"
                ));
            }
        }
        problems
    }

    fn groups_cores_by(&self, value: &str) -> bool {
        let (Some(hardware), Ok(size)) = (&self.hardware, value.parse::<u32>()) else {
            return false;
        };
        let logical = hardware.logical_cores_per_device.get(&size);
        logical.is_some_and(|logical| logical * size == hardware.cores_per_device)
    }

    fn problems_of_refusals(&self) -> Vec<String> {
        let split = |text: &str| flags(text.split_whitespace().map(str::to_owned));
        let mut problems = Vec::new();
        for refusal in &self.refused {
            if refusal.why.is_none() && refusal.instead.is_none() {
                let given = refusal.given.join(", ");
                problems.push(format!("refused `{given}`: needs `why` or `instead`"));
            }
            for given in &refusal.given {
                match split(given) {
                    Ok(flags) if !flags.is_empty() => problems.extend(
                        flags
                            .iter()
                            .filter(|typed| self.find(typed).is_some())
                            .map(|typed| {
                                format!("refused `{given}`: `{}` is an argument", typed.flag)
                            }),
                    ),
                    _ => problems.push(format!("refused `{given}`: must begin with a flag")),
                }
            }
            let Some(instead) = &refusal.instead else {
                continue;
            };
            let fits = |typed: &TypedFlag| match self.find(typed) {
                Some((_, argument, words)) => argument.accept(&words),
                None => Err(Unfit::Unknown(typed.flag.clone())),
            };
            match split(instead) {
                Ok(flags) if flags.iter().all(|typed| fits(typed).is_ok()) => {}
                _ => problems.push(format!("refused: `{instead}` is not possible instead")),
            }
        }
        problems
    }
}

impl InstanceType {
    fn problem(&self, hardware: &ChipHardware) -> Option<String> {
        let cores = self.devices * hardware.cores_per_device;
        let memory = f64::from(self.devices) * hardware.memory_gib_per_device;
        let consistent =
            self.cores == cores && (f64::from(self.device_memory_gib) - memory).abs() < 0.5;
        (!consistent).then(|| {
            format!(
                "instance `{}`: {} devices make {cores} cores and {memory} GiB, not {} and {}",
                self.name, self.devices, self.cores, self.device_memory_gib
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::profile::chip::ChipProfile;
    use crate::profile::load;

    fn problems(chip: &str, change: impl FnOnce(&mut ChipProfile)) -> String {
        let mut profile = load(chip).unwrap();
        change(&mut profile);
        profile.problems().join("\n")
    }

    #[test]
    fn every_value_of_the_cast_needs_a_tolerance_and_no_other_has_one() {
        let found = problems("cpu", |profile| {
            let tolerance = profile.tolerances.remove("matmult").unwrap();
            profile.tolerances.insert("matmul".to_owned(), tolerance);
        });
        assert_eq!(
            found,
            "tolerances: value `matmult` of `auto-cast` has none\n\
             tolerances: there is no value `matmul` of `auto-cast`"
        );
    }

    #[test]
    fn a_core_size_must_divide_the_cores_of_a_device() {
        let found = problems("trn2", |profile| {
            let lnc = profile.arguments.get_mut("lnc").unwrap();
            lnc.values.push("3".to_owned());
        });
        assert!(found.contains("`lnc`: 3 cores do not divide"), "{found}");
        let found = problems("trn2", |profile| {
            let hardware = profile.hardware.as_mut().unwrap();
            hardware.logical_cores_per_device.insert(2, 8);
        });
        assert!(found.contains("`lnc`: 2 cores do not divide"), "{found}");
    }

    #[test]
    fn a_refusal_names_arguments_that_exist_and_none_that_it_refuses() {
        let found = problems("inf1", |profile| {
            profile.refused[0].instead = Some("--fast-maths none".to_owned());
            profile.refused[1].given.push("--fast-math all".to_owned());
            profile.refused[2].given.push("nothing".to_owned());
        });
        assert_eq!(
            found,
            "refused: `--fast-maths none` is not possible instead\n\
             refused `--fast-math all`: `--fast-math` is an argument\n\
             refused `nothing`: must begin with a flag"
        );
    }

    #[test]
    fn an_argument_that_contradicts_itself_is_found() {
        let found = problems("inf2", |profile| {
            let argument = profile.arguments.get_mut("optlevel").unwrap();
            argument.switch = true;
            argument.default = Some("4".to_owned());
            argument.since = Some("new".to_owned());
            argument.short = Some("O".to_owned());
            argument.excludes = Some("nothing".to_owned());
            argument.flag = "optlevel".to_owned();
        });
        let of = |problem: &str| format!("argument `optlevel`: {problem}");
        for problem in [
            "only one of `values`",
            "default `4`",
            "since `new`",
            "`O` is not a short form",
            "excludes `nothing`",
            "flag `optlevel` has no dash",
        ] {
            assert!(found.contains(&of(problem)), "{problem}:\n{found}");
        }
    }

    #[test]
    fn a_pipeline_is_no_longer_than_the_largest_instance() {
        let found = problems("inf1", |profile| {
            profile.instances.retain(|row| row.devices == 1);
        });
        assert!(found.contains("largest instance"), "{found}");
    }

    #[test]
    fn a_neuron_chip_names_its_compiler_package() {
        let found = problems("inf2", |profile| {
            profile.compiler.package = Some("neuron-cc".to_owned());
        });
        assert!(found.contains("`neuron-cc` is not in"), "{found}");
    }
}
