//! `bench [--quick] [--suite NAME]... [--publish FILE] --out FOLDER`: what `cargo xtask bench` runs.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use std::{env, fs};

use lexopt::{Arg, Parser, ValueExt as _};
use peers::figures::{self, Outcome as Kept};
use peers::lab::Lab;
use peers::machine::Machine;
use peers::suites::{self, Suite, layers};
use peers::{Outcome, child, page, publish, summary, table};

/// What the command line asks for.
#[derive(Default)]
struct Options {
    quick: bool,
    suites: Vec<String>,
    publish: Option<PathBuf>,
    out: Option<PathBuf>,
    child: Option<String>,
    serve: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all promises were kept.
async fn run() -> Outcome<bool> {
    let options = parse(Parser::from_env())?;
    if let Some(task) = &options.child {
        return child::answer(task).await.map(|()| true);
    }
    if let Some(setting) = &options.serve {
        return layers::serve(setting).await.map(|()| true);
    }
    let suites = chosen(&options)?;
    let out = options.out.ok_or("--out FOLDER is missing")?;
    fs::create_dir_all(&out)?;
    let programs = env::current_exe()?.parent().ok_or("a program without a folder")?.to_owned();
    let lab = Lab { quick: options.quick, programs };
    let (machine, began) = (Machine::here(lab.quick)?, Instant::now());
    let mut cases = Vec::new();
    for suite in suites {
        let began = Instant::now();
        cases.extend((suite.run)(&lab).await?);
        println!("{:>8}  {:.1} s", suite.name, began.elapsed().as_secs_f64());
    }
    let verdicts = figures::judge(&cases);
    table::print(&cases, &verdicts);
    summary::write(&out, &cases)?;
    page::write(&out, &machine, &cases, &verdicts)?;
    if let Some(file) = &options.publish {
        publish::write(file, &machine, &cases, &verdicts)?;
        println!("wrote {}", file.display());
    }
    println!(
        "{} and summary.json; {:.0} s in all",
        out.join("report.html").display(),
        began.elapsed().as_secs_f64()
    );
    let failures = figures::failures(&cases);
    failures.iter().for_each(|failure| println!("failed operations: {failure}"));
    Ok(failures.is_empty() && verdicts.iter().all(|verdict| verdict.outcome != Kept::Missed))
}

fn chosen(options: &Options) -> Outcome<Vec<Suite>> {
    if options.publish.is_some() && !options.suites.is_empty() {
        return Err("what is published is the whole run: --publish takes no --suite".into());
    }
    let known = |name: &String| suites::ALL.iter().any(|suite| suite.name == name);
    if let Some(unknown) = options.suites.iter().find(|name| !known(name)) {
        let names = suites::ALL.map(|suite| suite.name).join(", ");
        return Err(format!("no suite is named {unknown}; there are {names}").into());
    }
    let is_asked =
        |suite: &Suite| options.suites.is_empty() || options.suites.iter().any(|name| name == suite.name);
    Ok(suites::ALL.into_iter().filter(is_asked).collect())
}

fn parse(mut parser: Parser) -> Outcome<Options> {
    let mut options = Options::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("quick") => options.quick = true,
            Arg::Long("suite") => options.suites.push(parser.value()?.string()?),
            Arg::Long("publish") => options.publish = Some(parser.value()?.into()),
            Arg::Long("out") => options.out = Some(parser.value()?.into()),
            Arg::Long("serve") => options.serve = Some(parser.value()?.string()?),
            Arg::Long("child") => options.child = Some(parser.value()?.string()?),
            unexpected => return Err(unexpected.unexpected().into()),
        }
    }
    Ok(options)
}
