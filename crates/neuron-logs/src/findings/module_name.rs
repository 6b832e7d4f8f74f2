//! The names of modules, which tell graphs apart, in paths and commands.

use crate::text::scan::after;

/// Shorter last parts of a module's name are numbers, not hashes.
const KEY_BYTES_MIN: usize = 8;

/// The module that a path or a command names: its name there, and the part that all its names
/// share. `MODULE_0_SyncTensorsGraph.6_874` in one line is `MODULE_874` in another.
pub(super) fn module_and_key(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = after(text, "MODULE_")?;
    let start = text.len() - rest.len() - "MODULE_".len();
    let is_part = |at: usize| match rest[at] {
        // A dot is part of the name before a digit; else it begins the extension of a file.
        b'.' => rest.get(at + 1).is_some_and(u8::is_ascii_digit),
        byte => byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'_',
    };
    let length = (0..rest.len()).find(|at| !is_part(*at));
    let length = length.unwrap_or(rest.len());
    let id = &rest[..length];
    let key = id.rsplit(|byte| *byte == b'_').next()?;
    let name = &text[start..start + "MODULE_".len() + length];
    let is_unique = key.len() >= KEY_BYTES_MIN || key.len() == id.len();
    (length > 0).then_some((name, if is_unique { key } else { id }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_has_one_key_in_all_its_names() {
        let cases = [
            (
                "/c/neuronxcc-2.26+6f/MODULE_10918481393192567537+f7f529f3/model.neff",
                (
                    "MODULE_10918481393192567537+f7f529f3",
                    "10918481393192567537+f7f529f3",
                ),
            ),
            ("model.MODULE_1+2.hlo_module.pb", ("MODULE_1+2", "1+2")),
            (
                "/tmp/MODULE_SyncTensorsGraph.206_13827541762401764204.hlo.pb ",
                (
                    "MODULE_SyncTensorsGraph.206_13827541762401764204",
                    "13827541762401764204",
                ),
            ),
            (
                "/c/MODULE_13827541762401764204.",
                ("MODULE_13827541762401764204", "13827541762401764204"),
            ),
            ("MODULE_0_a", ("MODULE_0_a", "0_a")),
        ];
        for (text, (name, key)) in cases {
            let found = module_and_key(text.as_bytes());
            assert_eq!(found, Some((name.as_bytes(), key.as_bytes())), "{text}");
        }
        assert_eq!(module_and_key(b"SM_MODULE_"), None);
    }
}
