//! `bare --serve SETTING`: a variant of the suite `layers`, built with `--no-default-features`.

use peers::Outcome;
use peers::suites::layers;

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("--serve"), Some(setting)) => layers::serve(&setting).await,
        _ => Err("usage: bare --serve SETTING".into()),
    }
}
