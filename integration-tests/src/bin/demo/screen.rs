//! What is shown: a bar while something runs on a terminal, and one line for each thing done.

use std::{
    io::{IsTerminal, stdout},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

pub(crate) struct Screen {
    terminal: bool,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self { terminal: stdout().is_terminal() }
    }

    /// A line that stays.
    pub(crate) fn say(&self, line: &str) {
        println!("{line}");
    }

    /// The line above those of a part.
    pub(crate) fn title(&self, line: &str) {
        println!("\n{line}");
    }

    /// A bar up to `length`, visible on a terminal only. Dropping it clears it.
    pub(crate) fn bar(&self, title: &str, length: usize) -> Bar {
        if !self.terminal {
            return Bar(ProgressBar::hidden());
        }
        let style =
            ProgressStyle::with_template("{prefix:28} {bar:40} {pos}/{len}").expect("a valid template");
        let bar = ProgressBar::new(length as u64).with_style(style).with_prefix(title.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        Bar(bar)
    }
}

pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn advance(&self, steps: usize) {
        self.0.inc(steps as u64);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
