//! The document itself: every test that it names exists, under that name and in that file.

use std::path::Path;

const DOCUMENT: &str = include_str!("../../../docs/semantics.md");

#[test]
fn every_test_that_the_document_names_exists() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut checked = 0;
    for quoted in DOCUMENT.split('`').skip(1).step_by(2) {
        let Some((file, name)) = quoted.split_once(".rs::") else { continue };
        let path = tests.join(format!("{file}.rs"));
        let source =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(source.contains(&format!("fn {name}(")), "{file}.rs has no test {name}");
        checked += 1;
    }
    assert!(checked >= 40, "only {checked} tests are named");
}
