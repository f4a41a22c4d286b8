//! The blocks that run are the specification's, but for the listed substitutions.

use crate::SUBSTITUTIONS;

const SPECIFICATION: &str = include_str!("blocks.md");
const PROGRAM: &str = concat!(include_str!("blocks.rs"), include_str!("usage.rs"));

#[test]
fn every_block_of_the_specification_is_in_the_program() {
    let program = bare(PROGRAM);
    let blocks = blocks();
    assert_eq!(blocks.len(), 18, "the blocks of the specification");
    for block in blocks {
        for paragraph in block.split("\n\n") {
            let wanted = bare(&substitute(paragraph));
            assert!(!wanted.is_empty() && program.contains(&wanted), "not in the program:\n{paragraph}");
        }
    }
}

#[test]
fn every_substitution_is_needed() {
    let specification: String = blocks().concat();
    for (from, _) in SUBSTITUTIONS {
        assert!(specification.contains(from), "{from} is nowhere in the specification");
    }
}

fn blocks() -> Vec<String> {
    let opened = SPECIFICATION.split("```rust\n").skip(1);
    opened.map(|rest| rest.split("```").next().unwrap_or_default().trim_end().to_owned()).collect()
}

fn substitute(text: &str) -> String {
    SUBSTITUTIONS.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Code without comments and blanks.
fn bare(code: &str) -> String {
    let lines = code.lines().map(|line| {
        let line = line.trim();
        let comment = if line.starts_with("//") { Some(0) } else { line.find(" //") };
        &line[..comment.unwrap_or(line.len())]
    });
    lines.flat_map(str::split_whitespace).collect()
}
