//! Output and input of the terminal: answers, errors, progress bars, full-screen views, Ctrl-C.

pub(in crate::cli) mod full_screen;
pub(in crate::cli) mod interrupt;
pub(in crate::cli) mod print;
pub(in crate::cli) mod progress_bars;
pub(in crate::cli) mod wrap;
