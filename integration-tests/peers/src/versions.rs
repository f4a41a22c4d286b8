//! Versions of the packages, from the lock file they were built with.

const LOCK: &str = include_str!("../Cargo.lock");

/// The version of `package`.
///
/// # Panics
/// When the lock file does not have it.
pub fn of(package: &str) -> String {
    let name = format!("name = \"{package}\"");
    let mut lines = LOCK.lines().skip_while(|line| *line != name).skip(1);
    let version = lines.next().and_then(|line| line.strip_prefix("version = \""));
    version.unwrap_or_else(|| panic!("{package} is not locked")).trim_end_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn versions_are_those_of_the_lock_file() {
        assert!(super::of("redis").starts_with("1."));
        assert!(super::of("fred").starts_with("10."));
    }
}
