//! Keeps a topology running until this process ends: `servers standalone | sentinel | cluster`.
//!
//! It prints one line `url ...`, one line per node, and then `ready`. `cargo xtask up` runs it.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

use std::{future::pending, process::ExitCode};

use integration_tests::{Cluster, SentinelGroup, Server};

const USAGE: &str = "usage: servers standalone | sentinel | cluster";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["standalone"] => standalone().await,
        ["sentinel"] => sentinel().await,
        ["cluster"] => cluster().await,
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

async fn standalone() -> ExitCode {
    let server = Server::start().await;
    println!("url {}", server.url());
    announce("server", &server);
    stay().await
}

async fn sentinel() -> ExitCode {
    let group = SentinelGroup::start().await;
    println!("url {}", group.url());
    announce("master", group.master().await);
    group.replicas().await.into_iter().for_each(|replica| announce("replica", replica));
    group.sentinels().iter().for_each(|sentinel| announce("sentinel", sentinel));
    stay().await
}

async fn cluster() -> ExitCode {
    let cluster = Cluster::start().await;
    println!("url {}", cluster.url());
    for master in cluster.masters().await {
        announce("master", master);
        announce("replica", cluster.replica_of(master).await);
    }
    stay().await
}

fn announce(role: &str, server: &Server) {
    let pid = server.pid().expect("the server has just answered");
    println!("{role} {} process {pid} folder {}", server.address(), server.dir().display());
}

/// Stays until a signal ends this process; the servers end with it.
async fn stay() -> ExitCode {
    println!("ready");
    pending().await
}
