//! Small text files in which the kernel and the firmware describe the machine.

use std::path::Path;

use crate::files;

/// The text of such a file without the white space around it; `None` where the file cannot be read or
/// is blank.
pub(super) fn fact(path: &Path) -> Option<String> {
    let text = files::read_text(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
