//! Which tests are under way, from what `cargo test` prints.

/// The tests that were reported as slow, and the one whose line is not complete.
#[derive(Debug, Default)]
pub(crate) struct Unfinished {
    slow: Vec<String>,
}

impl Unfinished {
    /// Reads a line.
    pub(crate) fn look(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("test ") else { return };
        if let Some((name, _)) = rest.split_once(" has been running for over ") {
            self.slow.push(name.to_owned());
        } else if let Some((name, _)) = rest.split_once(" ... ") {
            self.slow.retain(|slow| slow != name);
        }
    }

    /// Their names. A harness that runs one test at a time reports none as slow, but has begun its line.
    pub(crate) fn names(&self, begun: &str) -> Vec<String> {
        let begun = begun.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "));
        self.slow.iter().cloned().chain(begun.map(|(name, _)| name.to_owned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_test_is_unfinished_until_it_ends() {
        let mut unfinished = Unfinished::default();
        for line in [
            "test swift ... ok",
            "test slow::one has been running for over 60 seconds",
            "test slow::two has been running for over 60 seconds",
            "test slow::one ... FAILED",
            "test result: ok. 3 passed; 0 failed",
        ] {
            unfinished.look(line);
        }
        assert_eq!(unfinished.names(""), ["slow::two"]);
    }

    #[test]
    fn a_test_that_runs_alone_has_begun_its_line() {
        assert_eq!(Unfinished::default().names("test alone::in_its_thread ... "), ["alone::in_its_thread"]);
        assert!(Unfinished::default().names("   Compiling zstd-sys").is_empty());
    }
}
