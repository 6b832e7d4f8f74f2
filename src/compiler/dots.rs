//! Counts the dots that compilers print while they work, which are their only sign of progress.

use std::sync::Mutex;

/// A counter of dots in lines that consist of dots only; a dot in a sentence does not count.
#[derive(Debug)]
pub(super) struct Dots(Mutex<DotState>);

#[derive(Debug)]
struct DotState {
    count: u64,
    /// True while the current line has nothing but dots.
    only_dots: bool,
}

impl Dots {
    pub(super) fn new() -> Self {
        Self(Mutex::new(DotState {
            count: 0,
            only_dots: true,
        }))
    }

    /// The number of dots so far, if `bytes` brought new ones.
    pub(super) fn count(&self, bytes: &[u8]) -> Option<u64> {
        let mut state = self.0.lock().ok()?;
        let before = state.count;
        for byte in bytes {
            match byte {
                b'\n' | b'\r' => state.only_dots = true,
                b'.' if state.only_dots => state.count += 1,
                _ => state.only_dots = false,
            }
        }
        (state.count > before).then_some(state.count)
    }
}

impl Default for Dots {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_in_sentences_do_not_count() {
        let dots = Dots::new();
        assert_eq!(dots.count(b"Compiling a.b.c...\n"), None);
        assert_eq!(dots.count(b".."), Some(2));
        assert_eq!(dots.count(b".\nCompiler status PASS"), Some(3));
        assert_eq!(dots.count(b"... no"), None);
    }
}
