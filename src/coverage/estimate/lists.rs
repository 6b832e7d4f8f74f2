//! The operator lists of a chip, and what they say about an operator.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};

use crate::coverage::estimate::cost::out_of_place;
use crate::coverage::estimate::lowering;
use crate::coverage::estimate::result::{ListUsed, OperatorSupport};
use crate::profile::{Absent, Operators, operator_list};

/// The statement of a list about an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ListEntry {
    Yes,
    Limited,
    No,
}

/// The kind of operators that a list names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OperatorNames {
    Aten,
    Hlo,
}

/// One list.
#[derive(Debug)]
struct OperatorList {
    used: ListUsed,
    names: OperatorNames,
    entries: BTreeMap<String, (ListEntry, String)>,
}

/// All lists of a chip.
#[derive(Debug)]
pub(super) struct OperatorLists {
    lists: Vec<OperatorList>,
    absent: Absent,
}

/// Whether a chip takes an operator, and why, where that needs saying.
pub(super) type SupportVerdict = (OperatorSupport, Option<String>);

impl OperatorLists {
    pub(super) fn load(operators: &Operators) -> Result<Self> {
        let list = |name: &String| {
            let text = operator_list(name).with_context(|| format!("no operator list `{name}`"))?;
            parse(name, text).with_context(|| format!("operator list `{name}`"))
        };
        Ok(Self {
            lists: operators.lists.iter().map(list).collect::<Result<_>>()?,
            absent: operators.absent,
        })
    }

    pub(super) fn used(&self) -> Vec<ListUsed> {
        self.lists.iter().map(|list| list.used.clone()).collect()
    }

    /// The verdict on an operator such as `aten::add_`. An operator that works in place is also found under the name of the one that does not: the tracers convert it.
    pub(super) fn verdict(&self, operator: &str) -> SupportVerdict {
        let plain = operator.strip_prefix("aten::").map_or_else(
            || operator.to_owned(),
            |name| format!("aten::{}", out_of_place(name)),
        );
        let found: Vec<(&OperatorList, &(ListEntry, String))> = [operator, plain.as_str()]
            .iter()
            .flat_map(|name| self.entries(OperatorNames::Aten, name))
            .collect();
        if let Some((list, (_, note))) =
            found.iter().find(|(_, (entry, _))| *entry == ListEntry::No)
        {
            let reason = format!("{}: {note}", list.used.title);
            return (OperatorSupport::NotSupported, Some(reason));
        }
        if let Some((_, (entry, note))) = found.first() {
            let limited = (*entry == ListEntry::Limited).then(|| format!("limited: {note}"));
            return (OperatorSupport::Supported, limited);
        }
        if let Some(verdict) = self.lowered(&plain) {
            return verdict;
        }
        match self.absent {
            Absent::NotSupported => (
                OperatorSupport::NotSupported,
                Some("not on the list".to_owned()),
            ),
            Absent::NotKnown => (
                OperatorSupport::NotKnown,
                Some("on none of the lists".to_owned()),
            ),
        }
    }

    /// Whether the chip takes an operator of XLA; `None` without a list of them.
    pub(super) fn hlo(&self, name: &str) -> Option<OperatorSupport> {
        if !self
            .lists
            .iter()
            .any(|list| list.names == OperatorNames::Hlo)
        {
            return None;
        }
        let found = self.entries(OperatorNames::Hlo, name);
        Some(match found.first() {
            Some((_, (ListEntry::No, _))) => OperatorSupport::NotSupported,
            Some(_) => OperatorSupport::Supported,
            None => OperatorSupport::NotKnown,
        })
    }

    fn entries(
        &self,
        names: OperatorNames,
        name: &str,
    ) -> Vec<(&OperatorList, &(ListEntry, String))> {
        let lists = self.lists.iter().filter(|list| list.names == names);
        lists
            .filter_map(|list| Some((list, list.entries.get(name)?)))
            .collect()
    }

    /// The verdict on the operators of XLA that an operator becomes; `None` without a list of them,
    /// or when it is not known what it becomes.
    fn lowered(&self, operator: &str) -> Option<SupportVerdict> {
        if !self
            .lists
            .iter()
            .any(|list| list.names == OperatorNames::Hlo)
        {
            return None;
        }
        let needed = lowering::of(operator)?;
        let found = |name: &&str| self.entries(OperatorNames::Hlo, name).first().copied();
        let missing: Vec<&str> = needed
            .iter()
            .copied()
            .filter(|name| !found(name).is_some_and(|(_, (entry, _))| *entry != ListEntry::No))
            .collect();
        if !missing.is_empty() {
            let reason = format!("becomes {}, which no list has", missing.join(", "));
            return Some((OperatorSupport::NotKnown, Some(reason)));
        }
        let limits: Vec<String> = needed
            .iter()
            .filter_map(|name| Some((name, found(name)?)))
            .filter(|(_, (_, (entry, _)))| *entry == ListEntry::Limited)
            .map(|(name, (_, (_, note)))| format!("{name} {note}"))
            .collect();
        let mut reason = match needed {
            [] => "needs no operator of the chip".to_owned(),
            _ => format!("becomes {}", needed.join(", ")),
        };
        if !limits.is_empty() {
            reason.push_str(&format!("; limited: {}", limits.join("; ")));
        }
        Some((OperatorSupport::Supported, Some(reason)))
    }
}

/// Comment lines of the form `# key: value` say what the list is; others are for people.
fn parse(name: &str, text: &str) -> Result<OperatorList> {
    let header = |key: &str| -> Result<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("# "));
        let mut values = lines.filter_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
        let value = values
            .next()
            .with_context(|| format!("no line `# {key}: ...`"))?;
        Ok(value.trim().to_owned())
    };
    let names = match header("operators")?.as_str() {
        "aten" => OperatorNames::Aten,
        "hlo" => OperatorNames::Hlo,
        other => bail!("`{other}` is neither aten nor hlo"),
    };
    let mut entries = BTreeMap::new();
    for line in text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
        let mut columns = line.splitn(3, '\t');
        let operator = columns.next().unwrap_or_default();
        let entry = match columns.next() {
            Some("yes") => ListEntry::Yes,
            Some("limited") => ListEntry::Limited,
            Some("no") => ListEntry::No,
            _ => bail!("`{operator}` says neither yes, limited nor no"),
        };
        let note = columns.next().unwrap_or_default().to_owned();
        if entry != ListEntry::Yes && note.is_empty() {
            bail!("`{operator}` does not say why");
        }
        if entries.insert(operator.to_owned(), (entry, note)).is_some() {
            bail!("`{operator}` is there twice");
        }
    }
    Ok(OperatorList {
        used: ListUsed {
            name: name.to_owned(),
            title: header("title")?,
            version: header("version")?,
            source: header("source")?,
        },
        names,
        entries,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile;

    fn lists(chip: &str) -> OperatorLists {
        OperatorLists::load(&profile::load(chip).unwrap().operators.unwrap()).unwrap()
    }

    #[test]
    fn every_embedded_list_can_be_read() {
        assert!(!profile::operator_list_names().is_empty());
        for name in profile::operator_list_names() {
            parse(name, operator_list(name).unwrap())
                .unwrap_or_else(|error| panic!("{name}: {error:#}"));
        }
    }

    #[test]
    fn on_a_complete_list_absence_decides() {
        let lists = lists("inf1");
        let state = |operator: &str| lists.verdict(operator).0;
        assert_eq!(state("aten::linear"), OperatorSupport::Supported);
        assert_eq!(state("aten::add_"), OperatorSupport::Supported);
        assert_eq!(state("aten::mul_"), OperatorSupport::Supported);
        assert_eq!(state("aten::embedding"), OperatorSupport::NotSupported);
        assert_eq!(
            state("aten::scaled_dot_product_attention"),
            OperatorSupport::NotSupported
        );
        let (state, reason) = lists.verdict("aten::where");
        assert_eq!(state, OperatorSupport::Supported);
        assert!(reason.unwrap().starts_with("limited: "));
    }

    #[test]
    fn on_lists_that_are_not_complete_absence_is_not_known() {
        let lists = lists("inf2");
        let state = |operator: &str| lists.verdict(operator).0;
        assert_eq!(state("aten::embedding"), OperatorSupport::Supported);
        assert_eq!(state("aten::layer_norm"), OperatorSupport::Supported);
        assert_eq!(state("aten::sigmoid"), OperatorSupport::Supported);
        assert_eq!(state("aten::sort"), OperatorSupport::NotSupported);
        assert_eq!(state("aten::nonzero"), OperatorSupport::NotSupported);
        assert_eq!(state("aten::_convolution"), OperatorSupport::NotKnown);
        assert_eq!(state("aten::something_new"), OperatorSupport::NotKnown);
        assert_eq!(state("mine::kernel"), OperatorSupport::NotKnown);
        let (_, reason) = lists.verdict("aten::_convolution");
        assert!(reason.unwrap().contains("Convolution"));
    }

    #[test]
    fn a_list_that_is_not_one_is_refused_with_its_line() {
        let header = "# title: t\n# version: v\n# source: s\n# operators: aten\n";
        let error = |lines: &str| {
            parse("x", &format!("{header}{lines}"))
                .unwrap_err()
                .to_string()
        };
        assert!(error("aten::add\tmaybe\n").contains("aten::add"));
        assert!(error("aten::add\tno\n").contains("why"));
        assert!(error("aten::add\tyes\naten::add\tyes\n").contains("twice"));
        assert!(parse("x", "aten::add\tyes\n").is_err());
    }
}
