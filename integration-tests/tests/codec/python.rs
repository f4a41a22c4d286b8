//! `integration-tests/python/read_envelope.py`, which shares no code with the crate, reads every
//! golden file.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::{golden, root};

#[test]
fn a_reader_in_python_decodes_every_golden_envelope() {
    let python = match environment() {
        Ok(python) => python,
        Err(reason) => return report_not_run(&reason),
    };
    let script = root().join("integration-tests/python/read_envelope.py");
    let output =
        Command::new(python).arg(script).arg(golden()).output().expect("the interpreter was just used");
    let shown = show(&output);
    println!("{shown}");
    assert!(output.status.success(), "{shown}");
    let envelopes = fs::read_dir(golden()).unwrap().filter(|entry| {
        entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("v1-"))
    });
    let expected = format!("{} envelopes and 3 records read", envelopes.count());
    assert!(shown.contains(&expected), "not every file was read:\n{shown}");
}

/// The interpreter of a virtual environment under the target folder that has the pinned packages.
fn environment() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-reader");
    let (python, stamp) = (folder.join("bin/python"), folder.join("installed.txt"));
    let requirements = root().join("integration-tests/python/requirements.txt");
    let wanted = fs::read_to_string(&requirements).expect("requirements.txt stands beside the script");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
    run(pip.arg(&requirements))?;
    fs::write(stamp, wanted).map_err(|error| error.to_string())?;
    Ok(python)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {}", show(&output))) }
}

fn show(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|stream| String::from_utf8_lossy(stream)).concat()
}

/// Straight to the standard error stream: the test harness hides what a passing test prints.
fn report_not_run(reason: &str) {
    let banner = "=".repeat(80);
    let message = format!(
        "\n{banner}\nNOT RUN: a_reader_in_python_decodes_every_golden_envelope\n\
         It takes python3 with venv, and pip with a package index.\n{reason}\n{banner}\n"
    );
    io::stderr().write_all(message.as_bytes()).expect("the standard error stream is open");
}
