//! What the person at the terminal sees and presses: answers, errors, progress, screens, Ctrl-C.

pub(in crate::cli) mod full_screen;
pub(in crate::cli) mod interrupt;
pub(in crate::cli) mod print;
pub(in crate::cli) mod progress_bars;
pub(in crate::cli) mod wrap;
