//! Running a command and showing how it goes.

use std::{
    ffi::OsStr,
    io::{IsTerminal, stdout},
    process::Command,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    Result,
    output::{Output, Piece},
    tree,
    unfinished::Unfinished,
    workspace::Workspace,
};

/// One command of a verb.
///
/// On a terminal a spinner shows the command's latest line, and its whole output follows only if it fails.
/// Elsewhere, in a log, every line is printed as it comes.
pub(crate) struct Step {
    title: String,
    command: Command,
    /// For how long it may print nothing.
    patience: Option<Duration>,
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
        Self { title: title.into(), command, patience: None }
    }

    /// Ends the command, with all it started, and fails once it has printed nothing for `patience`: a test that hangs
    /// would hold everything for ever. That has to be longer than the slowest machine compiles in silence, and than
    /// the longest test takes.
    pub(crate) fn patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
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
        let (mut lines, mut unfinished) = (Vec::new(), Unfinished::default());
        let mut silence = None;
        for piece in Output::of(reader, self.patience) {
            let line = match piece? {
                Piece::Line(line) => line,
                Piece::Silence { begun } => {
                    tree::end(child.id())?;
                    silence = Some(complaint(self.patience, &unfinished.names(&begun), lines.last()));
                    begun
                }
            };
            unfinished.look(&line);
            let kind = look(&line);
            screen.show(&line, kind);
            lines.push(line);
        }
        let succeeded = child.wait()?.success();
        screen.finish(&self.title, succeeded, started.elapsed(), &lines);
        let failure = silence.unwrap_or_else(|| "failed".to_owned());
        if succeeded { Ok(()) } else { Err(format!("{} {failure}", self.title).into()) }
    }
}

/// Why a step was ended, in the words that follow its title.
fn complaint(patience: Option<Duration>, unfinished: &[String], last: Option<&String>) -> String {
    let seconds = patience.unwrap_or_default().as_secs_f64();
    let place = match (unfinished, last) {
        ([], None) => "it had printed nothing at all".to_owned(),
        ([], Some(last)) => format!("its last line was: {last}"),
        (tests, _) => format!("not finished: {}", tests.join(", ")),
    };
    format!("printed nothing for {seconds} s and was ended; {place}")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn step(script: &str) -> Step {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Step { title: "work".to_owned(), command, patience: Some(Duration::from_millis(500)) }
    }

    /// Runs a step that has to be ended, and returns its error and its lines.
    fn hang(script: &str) -> (String, Vec<String>) {
        let mut lines = Vec::new();
        let result = step(script).run_with(|line| {
            lines.push(line.to_owned());
            Line::Passing
        });
        (result.unwrap_err().to_string(), lines)
    }

    fn wait_for_the_end_of(process: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while tree::is_running(process.parse().unwrap()) {
            assert!(Instant::now() < deadline, "process {process} goes on");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_silent_step_is_ended_with_its_grandchild_and_names_its_test() {
        let (error, lines) = hang("sh -c 'echo $$; printf \"test some::one ... \"; sleep 600; true'; true");
        assert!(error.contains("work printed nothing for 0.5 s and was ended"), "{error}");
        assert!(error.contains("not finished: some::one"), "{error}");
        assert_eq!(lines[1], "test some::one ... ");
        wait_for_the_end_of(&lines[0]);
    }

    #[test]
    fn a_step_that_is_ended_leaves_alone_what_has_a_group_of_its_own() {
        // With `set -m` a child gets one, as the janitor does; not every `sh` can do that without a terminal.
        let (_, lines) = hang("exec bash -c 'set -m; sleep 600 >/dev/null 2>&1 & echo $!; wait'");
        assert!(tree::is_running(lines[0].parse().unwrap()));
        assert!(Command::new("sh").args(["-c", "kill -9 $0", &lines[0]]).status().unwrap().success());
        wait_for_the_end_of(&lines[0]);
    }

    #[test]
    fn a_silent_step_without_tests_says_how_far_it_came() {
        let (error, _) = hang("echo linking; exec sleep 600");
        assert!(error.ends_with("its last line was: linking"), "{error}");
    }

    #[test]
    fn a_step_that_goes_on_printing_may_take_its_time() {
        step("for i in 1 2 3 4 5 6; do echo $i; sleep 0.15; done").run().unwrap();
    }

    #[test]
    fn a_step_that_fails_says_no_more_than_that() {
        assert_eq!(step("exit 3").run().unwrap_err().to_string(), "work failed");
    }
}
