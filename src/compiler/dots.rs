//! The dots that the compilers print while they work: the only progress they show.

use std::sync::Mutex;

/// Counts the dots of lines that consist of nothing else so far.
#[derive(Debug)]
pub(super) struct Dots(Mutex<State>);

#[derive(Debug)]
struct State {
    count: u64,
    /// Nothing but dots since the line began.
    only_dots: bool,
}

impl Dots {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
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
