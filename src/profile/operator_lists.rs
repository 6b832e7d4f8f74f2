//! The embedded lists of the operators that compilers take.

include!(concat!(env!("OUT_DIR"), "/operator_lists.rs"));

/// The names of the embedded operator lists, in alphabetical order.
pub fn operator_list_names() -> Vec<&'static str> {
    OPERATOR_LISTS.iter().map(|(name, _)| *name).collect()
}

/// The text of the embedded operator list of that name.
pub fn operator_list(name: &str) -> Option<&'static str> {
    let list = OPERATOR_LISTS.iter().find(|(known, _)| *known == name);
    list.map(|(_, text)| *text)
}
