//! Lists of cores in the notation of the Neuron runtime, and which cores we may use.
//!
//! The runtime numbers cores from 0 over all devices. Where a chip groups physical cores, it numbers
//! the groups; everything here is in the runtime's numbers.

use std::fmt;

use anyhow::Result;
use serde::{Serialize, Serializer};

use crate::failure::Failure;

/// No machine has more cores; bounds what a typing error can make us allocate.
const CORE_MAX: u32 = 4095;

/// The variable that names the cores of a process.
pub const VISIBLE_CORES: &str = "NEURON_RT_VISIBLE_CORES";

/// The variable that says how many cores a process gets; 0 is all of them.
pub const NUM_CORES: &str = "NEURON_RT_NUM_CORES";

/// The variable that says how many physical cores make one core.
pub const VIRTUAL_CORE_SIZE: &str = "NEURON_RT_VIRTUAL_CORE_SIZE";

/// Cores in ascending order, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CoreList(Vec<u32>);

impl CoreList {
    /// The cores from 0 up to `count`.
    pub fn first(count: u32) -> Self {
        Self((0..count).collect())
    }

    /// Any cores, sorted.
    pub fn of(cores: impl IntoIterator<Item = u32>) -> Self {
        let mut cores: Vec<u32> = cores.into_iter().collect();
        cores.sort_unstable();
        cores.dedup();
        Self(cores)
    }

    /// Reads `5`, `0-3` or `0,2,5-7`; `origin` is what the error calls the text. The runtime wants
    /// ascending numbers, and so do we.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let refused = |why: String| {
            Failure::usage(format!("{origin} `{text}` is not a list of cores"))
                .why(why)
                .help("write core numbers in ascending order, such as `5`, `0-3` or `0,2,5-7`")
        };
        let mut cores: Vec<u32> = Vec::new();
        for part in text.split(',').map(str::trim) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (
                number(first).map_err(refused)?,
                number(last).map_err(refused)?,
            );
            if last < first {
                return Err(refused(format!("the range `{part}` ends before it begins")).into());
            }
            match cores.last() {
                Some(before) if *before >= first => {
                    let why = match cores.contains(&first) {
                        true => format!("core {first} is named twice"),
                        false => format!("core {first} comes after core {before}"),
                    };
                    return Err(refused(why).into());
                }
                _ => cores.extend(first..=last),
            }
        }
        Ok(Self(cores))
    }

    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().copied()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, core: u32) -> bool {
        self.0.binary_search(&core).is_ok()
    }

    /// The lowest core; none of an empty list.
    pub fn lowest(&self) -> Option<u32> {
        self.0.first().copied()
    }

    /// The cores of this list that are not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self(self.iter().filter(|core| !other.contains(*core)).collect())
    }

    /// True when a core is in both lists.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.iter().any(|core| other.contains(core))
    }

    /// The first `width` cores of the list that are adjacent.
    pub fn adjacent(&self, width: usize) -> Option<Self> {
        let is_adjacent = |run: &&[u32]| run.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        let run = self.0.windows(width.max(1)).find(is_adjacent)?;
        Some(Self(run.to_vec()))
    }
}

fn number(text: &str) -> Result<u32, String> {
    let text = text.trim();
    // `parse` alone would take a sign.
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u32>() {
        Ok(core) if digits && core <= CORE_MAX => Ok(core),
        _ if text.is_empty() => Err("a number is missing".to_owned()),
        _ if digits => Err(format!("`{text}` is beyond the largest number, {CORE_MAX}")),
        _ => Err(format!("`{text}` is not a core number")),
    }
}

impl fmt::Display for CoreList {
    /// As the runtime reads it: ranges where cores are adjacent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = self.0.chunk_by(|a, b| a + 1 == *b);
        for (index, run) in runs.enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match run {
                [one] => write!(f, "{comma}{one}")?,
                [first, .., last] => write!(f, "{comma}{first}-{last}")?,
                [] => {}
            }
        }
        Ok(())
    }
}

impl Serialize for CoreList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.0)
    }
}

/// What `--cores` takes: so many, or these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cores {
    Count(u32),
    List(CoreList),
}

impl Cores {
    /// A plain number is a count; a list of one core is written as a range, `5-5`.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        if text.contains([',', '-']) {
            return CoreList::parse(text, origin).map(Self::List);
        }
        match number(text) {
            Ok(0) => Err(Failure::usage(format!("{origin} is 0"))
                .why("a server needs at least one core")
                .into()),
            Ok(count) => Ok(Self::Count(count)),
            Err(why) => Err(Failure::usage(format!("{origin} cannot be used"))
                .why(why)
                .help("give a count such as `4`, or a list such as `0-3` or `5-5`")
                .into()),
        }
    }
}

/// Everything that says which cores to use, as text.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// What the user asked for.
    pub cores: Option<Cores>,
    /// `NEURON_RT_VISIBLE_CORES`, where somebody has set it.
    pub visible: Option<String>,
    /// `NEURON_RT_NUM_CORES`, where somebody has set it.
    pub count: Option<String>,
}

impl Wanted {
    /// The cores of a machine with `cores` cores that may be used: what the environment leaves, and of
    /// that what the user asked for. As in the runtime, the list wins over the count.
    pub fn resolve(&self, cores: u32) -> Result<CoreList> {
        let (granted, by) = match (&self.visible, &self.count) {
            (Some(list), _) => (CoreList::parse(list, VISIBLE_CORES)?, VISIBLE_CORES),
            (None, Some(count)) => (self.counted(count, cores)?, NUM_CORES),
            (None, None) => (CoreList::first(cores), "the machine"),
        };
        check_range(&granted, cores, by)?;
        match &self.cores {
            None => Ok(granted),
            Some(Cores::Count(count)) => {
                let count = usize::try_from(*count)?;
                if count > granted.len() {
                    let has = granted.len();
                    return Err(Failure::usage(format!("{count} cores are asked for"))
                        .why(format!("{by} has {has}: {granted}"))
                        .help(format!("give `--cores {has}` or fewer"))
                        .into());
                }
                Ok(CoreList::of(granted.iter().take(count)))
            }
            Some(Cores::List(list)) => {
                check_range(list, cores, "--cores")?;
                let beyond = list.without(&granted);
                if !beyond.is_empty() {
                    return Err(Failure::usage(format!("cores {list} are asked for"))
                        .why(format!("{by} leaves {granted}, without {beyond}"))
                        .help(format!("choose from {granted}"))
                        .into());
                }
                Ok(list.clone())
            }
        }
    }

    /// The runtime takes any that are free; we have to name them, and name the first.
    fn counted(&self, text: &str, cores: u32) -> Result<CoreList> {
        let count = number(text).map_err(|why| {
            Failure::usage(format!("{NUM_CORES} `{text}` is not a number of cores")).why(why)
        })?;
        match count {
            0 => Ok(CoreList::first(cores)),
            _ if count > cores => Err(Failure::usage(format!("{NUM_CORES} is {count}"))
                .why(format!("the machine has {cores} cores"))
                .into()),
            _ => Ok(CoreList::first(count)),
        }
    }
}

/// Refuses a list with a core that a machine of `cores` cores does not have.
pub fn check_range(list: &CoreList, cores: u32, origin: &str) -> Result<()> {
    match list.iter().find(|core| *core >= cores) {
        None => Ok(()),
        Some(core) => Err(Failure::usage(format!("{origin} names core {core}"))
            .why(match cores {
                0 => "the machine has no cores".to_owned(),
                _ => format!("the machine has cores 0-{}", cores - 1),
            })
            .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Vec<u32> {
        CoreList::parse(text, "it").unwrap().iter().collect()
    }

    #[test]
    fn every_legal_form_is_read() {
        assert_eq!(parsed("5"), [5]);
        assert_eq!(parsed("0-3"), [0, 1, 2, 3]);
        assert_eq!(parsed("0,2,5-7"), [0, 2, 5, 6, 7]);
        assert_eq!(parsed("3-5,6"), [3, 4, 5, 6]);
        assert_eq!(parsed("10-10"), [10]);
        assert_eq!(parsed(" 0 - 1, 3 "), [0, 1, 3]);
    }

    #[test]
    fn every_other_form_is_refused_with_its_reason() {
        for (text, why) in [
            ("", "a number is missing"),
            ("1,", "a number is missing"),
            ("-1", "a number is missing"),
            ("1-", "a number is missing"),
            ("+1", "`+1` is not a core number"),
            ("a", "`a` is not a core number"),
            ("0-2-4", "`2-4` is not a core number"),
            ("3-1", "ends before it begins"),
            ("0-3,2", "core 2 is named twice"),
            ("4,1", "core 1 comes after core 4"),
            ("0-4096", "beyond the largest"),
            ("99999999999", "beyond the largest"),
        ] {
            let error = CoreList::parse(text, "it").unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    fn resolved(cores: Option<&str>, visible: Option<&str>, count: Option<&str>) -> Result<String> {
        let wanted = Wanted {
            cores: cores.map(|text| Cores::parse(text, "--cores").unwrap()),
            visible: visible.map(str::to_owned),
            count: count.map(str::to_owned),
        };
        wanted.resolve(12).map(|list| list.to_string())
    }

    #[test]
    fn the_list_of_the_environment_wins_over_its_count_and_bounds_the_user() {
        assert_eq!(resolved(None, None, None).unwrap(), "0-11");
        assert_eq!(resolved(None, None, Some("0")).unwrap(), "0-11");
        assert_eq!(resolved(None, None, Some("3")).unwrap(), "0-2");
        assert_eq!(resolved(None, Some("4,6-7"), Some("9")).unwrap(), "4,6-7");
        assert_eq!(resolved(Some("2"), Some("4,6-7"), None).unwrap(), "4,6");
        assert_eq!(resolved(Some("6-7"), Some("4,6-7"), None).unwrap(), "6-7");
        assert_eq!(resolved(Some("5-5"), None, None).unwrap(), "5");
    }

    #[test]
    fn what_the_environment_or_the_machine_does_not_have_is_refused() {
        for (cores, visible, count, part) in [
            (Some("4"), Some("4,6-7"), None, "has 3: 4,6-7"),
            (Some("5-6"), Some("4,6-7"), None, "without 5"),
            (Some("0-12"), None, None, "--cores names core 12"),
            (
                None,
                Some("11-12"),
                None,
                "NEURON_RT_VISIBLE_CORES names core 12",
            ),
            (None, Some("x"), None, "NEURON_RT_VISIBLE_CORES `x`"),
            (None, None, Some("13"), "NEURON_RT_NUM_CORES is 13"),
            (None, None, Some("two"), "NEURON_RT_NUM_CORES `two`"),
        ] {
            let error = resolved(cores, visible, count).unwrap_err().to_string();
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    proptest! {
        #[test]
        fn a_list_is_read_as_it_is_shown(cores in proptest::collection::btree_set(0u32..200, 1..40)) {
            let list = CoreList::of(cores);
            prop_assert_eq!(&CoreList::parse(&list.to_string(), "it").unwrap(), &list);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9,\\- ax]{0,12}") {
            if let Ok(list) = CoreList::parse(&text, "it") {
                prop_assert!(!list.is_empty());
            }
        }
    }
}
