//! What a connection's end says to those who wait, and when a write waits for the tasks that are ready.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use futures_util::task::{ArcWake, waker};
use redis::Cmd;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::timeout;

use super::*;
use crate::budget::Budget;
use crate::config::Config;
use crate::endpoint::Endpoint;
use crate::error::{Class, Error, ErrorKind};
use crate::request::{Piped, Request};
use crate::stream::Traffic;

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

fn connection(capacity: usize) -> (Mux, DuplexStream) {
    let (near, far) = duplex(capacity);
    let mux = Mux::new(Arc::new(Traffic::default()));
    tokio::spawn(Pump::new(Box::new(near), mux.clone()));
    (mux, far)
}

fn ping() -> Cmd {
    redis::cmd("PING")
}

async fn soon<T>(outcome: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), outcome).await.expect("in time")
}

async fn receive(server: &mut DuplexStream, expected: &[u8]) {
    let mut bytes = vec![0; expected.len()];
    soon(server.read_exact(&mut bytes)).await.expect("open");
    assert_eq!(bytes, expected);
}

/// So that what is before it has been taken by the pump.
async fn after<T>(milliseconds: u64, outcome: impl Future<Output = T>) -> T {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    outcome.await
}

/// How the exchange of a caller's request ends.
async fn outcome<R: Request>(mux: &Mux, request: R) -> Result<R::Reply, Error> {
    soon(mux.send(&request, None)).await.map_err(Error::from).and_then(|answer| request.reply(answer))
}

#[tokio::test]
async fn answers_go_to_their_requests_in_order() {
    let (mux, mut server) = connection(1024);
    let serve = async {
        receive(&mut server, &PING.repeat(2)).await;
        server.write_all(b"+first\r\n>1\r\n+invalidate\r\n-ERR second\r\n").await.expect("open");
    };
    let (one, two) = (ping(), ping());
    let (first, second, ()) = tokio::join!(outcome(&mux, &one), outcome(&mux, &two), serve);
    assert_eq!(first.expect("an answer"), Value::SimpleString("first".to_owned()));
    assert!(matches!(second, Ok(Value::ServerError(error)) if error.code() == "ERR"));
}

#[tokio::test]
async fn a_pipeline_gets_the_part_of_its_replies_that_it_wants() {
    let (mux, mut server) = connection(1024);
    let mut transaction = redis::pipe();
    transaction.atomic().cmd("INCR").arg("n").cmd("INCR").arg("m");
    let mut plain = redis::pipe();
    plain.cmd("A").cmd("B").cmd("C");
    let middle = Piped { pipeline: &plain, offset: 1, count: 1 };
    let answer = ping();
    let serve = async {
        receive(&mut server, b"*1\r\n$5\r\nMULTI\r\n*2\r\n$4\r\nINCR\r\n").await;
        server
            .write_all(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n:2\r\n:10\r\n:11\r\n:12\r\n+PONG\r\n")
            .await
            .expect("open");
    };
    let (exec, middle, pong, ()) = tokio::join!(
        outcome(&mux, Piped::new(&transaction)),
        outcome(&mux, middle),
        outcome(&mux, &answer),
        serve
    );
    assert_eq!(exec.expect("run"), [Value::Array(vec![Value::Int(1), Value::Int(2)])]);
    assert_eq!(middle.expect("run"), [Value::Int(11)]);
    assert_eq!(pong.expect("not shifted"), Value::SimpleString("PONG".to_owned()));
}

/// What left the process is ambiguous, what did not is not: told apart request by request.
#[tokio::test]
async fn the_end_says_of_each_request_whether_it_was_sent() {
    let (mux, mut server) = connection(PING.len());
    let pings: Vec<Cmd> = (0..4).map(|_| ping()).collect();
    let callers = join_all(pings.iter().map(|ping| outcome(&mux, ping)));
    let serve = async {
        // One is read, so that one more goes out.
        receive(&mut server, PING).await;
        while mux.traffic().written() < 2 * PING.len() as u64 {
            tokio::task::yield_now().await;
        }
        drop(server);
    };
    let (outcomes, ()) = tokio::join!(callers, serve);
    let classes: Vec<_> =
        outcomes.iter().map(|outcome| outcome.as_ref().expect_err("lost").class()).collect();
    assert_eq!(classes, [Class::Ambiguous, Class::Ambiguous, Class::NotSent, Class::NotSent]);
    let late = ping();
    assert_eq!(outcome(&mux, &late).await.expect_err("over").class(), Class::NotSent);
}

#[tokio::test]
async fn a_pump_that_is_dropped_tells_those_who_wait() {
    let (near, mut server) = duplex(1024);
    let mux = Mux::new(Arc::new(Traffic::default()));
    let pump = tokio::spawn(Pump::new(Box::new(near), mux.clone()));
    let request = ping();
    let serve = async {
        receive(&mut server, PING).await;
        pump.abort();
    };
    let (outcome, ()) = tokio::join!(outcome(&mux, &request), serve);
    assert_eq!(outcome.expect_err("lost").kind(), ErrorKind::Disconnected);
    assert!(mux.traffic().is_closed());
}

#[tokio::test]
async fn a_severed_connection_writes_nothing_more() {
    let (mux, mut server) = connection(1024);
    mux.traffic().sever();
    let request = ping();
    assert_eq!(outcome(&mux, &request).await.expect_err("severed").class(), Class::NotSent);
    let mut rest = Vec::new();
    soon(server.read_to_end(&mut rest)).await.expect("closed");
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn what_is_not_resp_ends_the_connection() {
    for nonsense in [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"+PONG\r\n+nobody asked\r\n"] {
        let (mux, mut server) = connection(1024);
        let (one, two) = (ping(), ping());
        let serve = async {
            receive(&mut server, PING).await;
            server.write_all(nonsense).await.expect("open");
            let _ = soon(server.read_to_end(&mut Vec::new())).await;
        };
        let (_, ()) = tokio::join!(outcome(&mux, &one), serve);
        let error = outcome(&mux, &two).await.expect_err("over");
        assert_eq!((error.kind(), error.class()), (ErrorKind::Protocol, Class::NotSent));
    }
}

/// A server without a place for another client, or in protected mode, says so and closes.
#[tokio::test]
async fn what_a_server_says_before_it_is_asked_answers_the_first_request() {
    for closes_first in [false, true] {
        let (mux, mut server) = connection(1024);
        server.write_all(b"-ERR max number of clients reached\r\n").await.expect("open");
        if closes_first {
            drop(server);
            while !mux.traffic().is_closed() {
                tokio::task::yield_now().await;
            }
        }
        let request = ping();
        let answer = outcome(&mux, &request).await.expect("an answer");
        assert!(matches!(answer, Value::ServerError(_)), "{answer:?}");
    }
}

#[tokio::test]
async fn a_caller_that_has_gone_shifts_no_answer() {
    let (mux, mut server) = connection(1024);
    let (gone, other) = (ping(), ping());
    assert!(mux.send(&&gone, None).now_or_never().is_none());
    let serve = async {
        receive(&mut server, &PING.repeat(2)).await;
        server.write_all(b"+gone\r\n+other\r\n").await.expect("open");
    };
    let (answer, ()) = tokio::join!(outcome(&mux, &other), serve);
    assert_eq!(answer.expect("an answer"), Value::SimpleString("other".to_owned()));
}

/// What is late is told so: whether it may have run, and nothing else waits or is shifted by it.
#[tokio::test(start_paused = true)]
async fn deadlines_are_kept_whether_or_not_the_request_was_written() {
    // Room for one request: the others wait to be written.
    let (mux, mut server) = connection(PING.len());
    let pings: Vec<Cmd> = (0..4).map(|_| ping()).collect();
    let at = |seconds| Some(Instant::now() + Duration::from_secs(seconds));
    let late = async |request: &Cmd, seconds| {
        let lost = mux.send(&request, at(seconds)).await.expect_err("late");
        (lost.is_owed(), Error::from(lost).class())
    };
    let serve = async {
        // Until then the far end reads nothing. The second request is half written when it is late.
        tokio::time::sleep(Duration::from_secs(3)).await;
        receive(&mut server, PING).await;
        receive(&mut server, PING).await;
        server.write_all(b"+late\r\n+late\r\n").await.expect("open");
        receive(&mut server, PING).await;
        server.write_all(b"+answer\r\n").await.expect("open");
    };
    let second = after(1, late(&pings[1], 1));
    let third = after(2, late(&pings[2], 2));
    let last = &pings[3];
    let fourth = after(2, async { mux.send(&last, at(10)).await });
    let (first, second, third, fourth, ()) = tokio::join!(late(&pings[0], 2), second, third, fourth, serve);
    assert_eq!(first, (true, Class::Ambiguous));
    assert_eq!(second, (true, Class::Ambiguous));
    assert_eq!(third, (false, Class::NotSent));
    assert!(matches!(fourth, Ok(Value::SimpleString(answer)) if answer == "answer"));
}

/// Requests and replies larger than all buffers, both at once.
#[tokio::test]
async fn a_peer_that_reads_only_while_it_is_read_from_is_no_deadlock() {
    const LENGTH: usize = 3_000_000;
    let (mux, server) = connection(512);
    let mut echo = redis::cmd("ECHO");
    echo.arg(vec![7_u8; LENGTH]);
    let (mut from, mut to) = tokio::io::split(server);
    let serve = async {
        let mut header = vec![0; format!("*2\r\n$4\r\nECHO\r\n${LENGTH}\r\n").len()];
        from.read_exact(&mut header).await.expect("open");
        to.write_all(format!("${LENGTH}\r\n").as_bytes()).await.expect("open");
        tokio::io::copy(&mut (&mut from).take(LENGTH as u64 + 2), &mut to).await.expect("open");
    };
    let (answer, ()) = tokio::join!(outcome(&mux, &echo), soon(serve));
    assert_eq!(answer.expect("an answer"), Value::BulkString(vec![7; LENGTH]));
}

/// How many turns of the pump a request needs until it is written.
fn turns_until_written(in_flight: usize) -> usize {
    let budget = Arc::new(Budget::new(&Config::standalone(Endpoint::tcp("unused", 1))));
    let charges: Vec<_> = (0..in_flight).map(|_| budget.count_always()).collect();
    let (near, _far) = duplex(1024);
    let mux = Mux::new(Arc::new(Traffic::default()));
    mux.traffic().share(&budget);
    let mut pump = Pump::new(Box::new(near), mux.clone());
    let woken = Arc::new(Woken::default());
    let waker = waker(Arc::clone(&woken));
    let mut turn = || assert!(Pin::new(&mut pump).poll(&mut Context::from_waker(&waker)).is_pending());
    turn();
    let request = &ping();
    let mut answer = Box::pin(mux.send(&request, None));
    assert!(answer.as_mut().now_or_never().is_none());
    let mut turns = 0;
    while mux.traffic().written() == 0 {
        assert!(woken.0.swap(false, Ordering::SeqCst), "whoever is put off wakes itself");
        turn();
        turns += 1;
    }
    charges.into_iter().for_each(|charge| budget.give_back(charge));
    turns
}

/// More would be told before the first of them could send again.
#[tokio::test]
async fn a_turn_answers_a_part_and_writes_what_it_sends_before_the_next() {
    const CALLS: usize = 64;
    const TURN: usize = CALLS / 4;
    let budget = Arc::new(Budget::new(&Config::standalone(Endpoint::tcp("unused", 1))));
    let charges: Vec<_> = (0..CALLS).map(|_| budget.count_always()).collect();
    let (near, mut far) = duplex(64 * 1024);
    let mux = Mux::new(Arc::new(Traffic::default()));
    mux.traffic().share(&budget);
    let mut pump = Pump::new(Box::new(near), mux.clone());
    let woken = Arc::new(Woken::default());
    let waker = waker(Arc::clone(&woken));
    let mut turn = || assert!(Pin::new(&mut pump).poll(&mut Context::from_waker(&waker)).is_pending());
    let request = &ping();
    let mut calls: Vec<_> = (0..CALLS).map(|_| Box::pin(mux.send(&request, None))).collect();
    let mut answered = || {
        let before = calls.len();
        calls.retain_mut(|call| call.as_mut().now_or_never().is_none());
        before - calls.len()
    };
    assert_eq!(answered(), 0);
    // The first puts the write off.
    turn();
    turn();
    receive(&mut far, &PING.repeat(CALLS)).await;
    far.write_all(&b"+PONG\r\n".repeat(CALLS)).await.expect("open");
    woken.0.store(false, Ordering::SeqCst);
    turn();
    assert_eq!(answered(), TURN);
    assert!(woken.0.load(Ordering::SeqCst), "there is more to do");
    let mut next = Box::pin(mux.send(&request, None));
    assert!(next.as_mut().now_or_never().is_none());
    turn();
    receive(&mut far, PING).await;
    assert_eq!(answered(), TURN);
    charges.into_iter().for_each(|charge| budget.give_back(charge));
}

#[derive(Default)]
struct Woken(AtomicBool);

impl ArcWake for Woken {
    fn wake_by_ref(woken: &Arc<Self>) {
        woken.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_lone_operation_is_written_at_once_and_one_among_others_is_put_off_once() {
    assert_eq!(turns_until_written(1), 1);
    assert_eq!(turns_until_written(2), 2);
}
