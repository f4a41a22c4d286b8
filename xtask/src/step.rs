//! Running a command and showing how it goes.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, IsTerminal, stdout},
    process::Command,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{Result, workspace::Workspace};

/// One command of a verb.
///
/// On a terminal a spinner shows the command's latest line, and its whole output follows only if it fails.
/// Elsewhere, in a log, every line is printed as it comes.
pub(crate) struct Step {
    title: String,
    command: Command,
}

impl Step {
    /// A step that runs cargo in the workspace.
    pub(crate) fn cargo<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(
        workspace: &Workspace,
        title: impl Into<String>,
        arguments: I,
    ) -> Self {
        let mut command = Command::new("cargo");
        command.args(arguments).current_dir(workspace.root());
        Self { title: title.into(), command }
    }

    /// Sets an environment variable of the command.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs the command.
    pub(crate) fn run(self) -> Result {
        self.run_with(|_| Line::Passing)
    }

    /// Runs the command and shows each line of its output to `look`, which says what is to stay on the
    /// screen.
    pub(crate) fn run_with(mut self, mut look: impl FnMut(&str) -> Line) -> Result {
        let started = Instant::now();
        let (reader, writer) = std::io::pipe()?;
        let mut child = self.command.stdout(writer.try_clone()?).stderr(writer).spawn()?;
        // The command holds the other end of the pipe; while it does, the pipe does not end.
        drop(self.command);
        let screen = Screen::new(&self.title);
        let mut output = Vec::new();
        for line in BufReader::new(reader).lines() {
            let line = line?;
            let kind = look(&line);
            screen.show(&line, kind);
            output.push(line);
        }
        let succeeded = child.wait()?.success();
        screen.finish(&self.title, succeeded, started.elapsed(), &output);
        if succeeded { Ok(()) } else { Err(format!("{} failed", self.title).into()) }
    }
}

/// What is to be done with a line of output on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// It is shown until the next one comes.
    Passing,
    /// It stays.
    Lasting,
}

enum Screen {
    Terminal(ProgressBar),
    Log,
}

impl Screen {
    fn new(title: &str) -> Self {
        if !stdout().is_terminal() {
            println!("== {title}");
            return Self::Log;
        }
        let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed}  {wide_msg}");
        let bar = ProgressBar::new_spinner().with_style(style.expect("a valid template"));
        let bar = bar.with_prefix(title.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self::Terminal(bar)
    }

    fn show(&self, line: &str, kind: Line) {
        match (self, kind) {
            (Self::Log, _) => println!("{line}"),
            (Self::Terminal(bar), Line::Passing) => bar.set_message(line.trim().to_owned()),
            (Self::Terminal(bar), Line::Lasting) => bar.println(line),
        }
    }

    fn finish(self, title: &str, succeeded: bool, elapsed: Duration, output: &[String]) {
        let verdict = if succeeded { "ok" } else { "FAILED" };
        if let Self::Terminal(bar) = self {
            bar.finish_and_clear();
            if !succeeded {
                output.iter().for_each(|line| println!("{line}"));
            }
        }
        println!("== {title}: {verdict} in {:.1} s", elapsed.as_secs_f64());
    }
}
