//! Versions of packages, compared by their numbers.

/// True when a package of `version` has what exists since version `since`. What is not a version is
/// as old as can be.
pub fn reaches(version: &str, since: &str) -> bool {
    parts(version) >= parts(since)
}

/// The leading numbers of a version: 2.24.5133.0+58f8de22 begins with 2, 24, 5133 and 0.
pub(super) fn parts(version: &str) -> Vec<u64> {
    let parts = version.split(['.', '+', '-']);
    parts.map_while(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert!(reaches("2.27.5334.0", "2.27"));
        assert!(reaches("2.27", "2.27"));
        assert!(reaches("2.101.0.0+abc", "2.27"));
        assert!(!reaches("2.9.1", "2.27"));
        assert!(!reaches("unknown", "2.27"));
    }
}
