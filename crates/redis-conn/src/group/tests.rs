//! What a group looks like on the wire, and who is told what.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;
use redis::Cmd;

use super::*;
use crate::observe::{Outcome, Settle};
use crate::options::SetOptions;
use crate::slot::Pending;
use crate::typed::{Get, Set};

/// What the callers of a group are told.
#[derive(Default)]
struct Callers(Vec<Pending<Answer>>);

impl Callers {
    fn join<T: Typed>(&mut self, group: &mut Group, operation: &T, seconds: u64) {
        let (caller, pending) = Caller::new();
        group.join(operation, Instant::now() + Duration::from_secs(seconds), caller);
        self.0.push(pending);
    }

    /// `None` for those who still wait.
    fn told(&mut self) -> Vec<Option<Answer>> {
        self.0.iter_mut().map(FutureExt::now_or_never).collect()
    }
}

fn plain(key: &'static str) -> Set<'static> {
    Set { key: key.as_bytes(), value: b"v", options: SetOptions::new() }
}

fn reads(keys: &[&str]) -> (Group, Callers) {
    let (mut group, mut callers) = (Group::default(), Callers::default());
    keys.iter().for_each(|key| callers.join(&mut group, &Get(key.as_bytes()), 60));
    (group, callers)
}

fn launch(group: &mut Group, kind: BatchKind, merges: bool) -> (Flight, Vec<u8>) {
    let mut out = Vec::new();
    let flight = group.launch(kind, merges, Permit::untracked(), &mut out);
    assert!(group.is_empty());
    (flight, out)
}

fn packed(commands: &[&[&str]]) -> Vec<u8> {
    let pack = |words: &&[&str]| {
        let mut command = Cmd::new();
        for word in *words {
            command.arg(word);
        }
        command.get_packed_command()
    };
    commands.iter().flat_map(pack).collect()
}

fn text(text: &str) -> Value {
    Value::BulkString(text.as_bytes().to_vec())
}

fn error(code: &str) -> Value {
    redis::parse_redis_value(format!("-{code} for a reason\r\n").as_bytes()).expect("an error")
}

fn is_apart(answer: Option<Answer>) -> bool {
    answer.is_some_and(|answer| answer.is_err_and(|lost| lost.is_apart()))
}

#[test]
fn reads_share_a_command_whose_nils_decide_nothing() {
    let (mut group, mut callers) = reads(&["a", "b", "c"]);
    let (mut flight, out) = launch(&mut group, BatchKind::Get, true);
    assert_eq!(out, packed(&[&["MGET", "a", "b", "c"]]));
    assert_eq!(flight.reply(Value::Array(vec![text("A"), Value::Nil, text("C")])), 3);
    assert!(flight.is_over());
    assert!((flight.share_apart() - 1.0 / 3.0).abs() < 1e-6);
    let [a, b, c] = callers.told().try_into().ok().expect("three");
    assert!(matches!(a, Some(Ok(value)) if value == text("A")));
    assert!(is_apart(b));
    assert!(matches!(c, Some(Ok(value)) if value == text("C")));
}

#[test]
fn unmerged_reads_are_each_answered_for_good() {
    let (mut group, mut callers) = reads(&["a", "b"]);
    let (mut flight, out) = launch(&mut group, BatchKind::Get, false);
    assert_eq!(out, packed(&[&["GET", "a"], &["GET", "b"]]));
    assert_eq!(flight.reply(Value::Nil), 1);
    assert!(!flight.is_over());
    flight.reply(error("WRONGTYPE"));
    assert!(flight.is_over());
    // An `MGET` would have answered nil for both.
    assert!((flight.share_apart() - 1.0).abs() < 1e-6);
    let [a, b] = callers.told().try_into().ok().expect("two");
    assert!(matches!(a, Some(Ok(Value::Nil))));
    assert!(matches!(b, Some(Ok(Value::ServerError(error))) if error.code() == "WRONGTYPE"));
}

#[test]
fn a_lone_read_is_a_get() {
    let (mut group, mut callers) = reads(&["a"]);
    let (mut flight, out) = launch(&mut group, BatchKind::Get, true);
    assert_eq!(out, packed(&[&["GET", "a"]]));
    flight.reply(Value::Nil);
    assert!(matches!(callers.told().remove(0), Some(Ok(Value::Nil))));
}

#[test]
fn runs_of_plain_writes_share_commands_in_order_with_the_others() {
    let (mut group, mut callers) = (Group::default(), Callers::default());
    let brief = Set { options: SetOptions::new().with_ttl(Duration::from_secs(1)), ..plain("b") };
    callers.join(&mut group, &plain("a"), 60);
    callers.join(&mut group, &brief, 60);
    callers.join(&mut group, redis::cmd("INCR").arg("n"), 60);
    callers.join(&mut group, &plain("c"), 60);
    callers.join(&mut group, &plain("d"), 60);
    let (mut flight, out) = launch(&mut group, BatchKind::Set, true);
    let commands: [&[&str]; 4] =
        [&["SET", "a", "v"], &["SET", "b", "v", "PX", "1000"], &["INCR", "n"], &["MSET", "c", "v", "d", "v"]];
    assert_eq!(out, packed(&commands));
    let replies = [Value::Okay, Value::Okay, Value::Int(7), Value::Okay];
    assert_eq!(replies.map(|reply| flight.reply(reply)), [1, 1, 1, 2]);
    assert!(flight.is_over());
    let told: Vec<Value> =
        callers.told().into_iter().map(|answer| answer.expect("told").ok().expect("answered")).collect();
    assert_eq!(told, [Value::Okay, Value::Okay, Value::Int(7), Value::Okay, Value::Okay]);
}

#[test]
fn what_one_member_may_not_do_is_found_out_alone_and_other_refusals_hold_for_all() {
    for (code, alone) in
        [("NOPERM", true), ("CROSSSLOT", true), ("ERR", true), ("OOM", false), ("LOADING", false)]
    {
        let (mut group, mut callers) = (Group::default(), Callers::default());
        callers.join(&mut group, &plain("a"), 60);
        callers.join(&mut group, &plain("b"), 60);
        let (mut flight, _) = launch(&mut group, BatchKind::Set, true);
        flight.reply(error(code));
        for answer in callers.told() {
            if alone {
                assert!(is_apart(answer));
            } else {
                assert!(matches!(answer, Some(Ok(Value::ServerError(error))) if error.code() == code));
            }
        }
    }
}

#[test]
fn a_reply_of_another_shape_is_an_error_for_all() {
    for reply in [Value::Array(vec![text("A")]), Value::Okay, text("A")] {
        let (mut group, mut callers) = reads(&["a", "b"]);
        let (mut flight, _) = launch(&mut group, BatchKind::Get, true);
        flight.reply(reply);
        for answer in callers.told() {
            let error = answer.expect("told").map_err(Error::from).expect_err("an error");
            assert_eq!((error.kind(), error.class()), (ErrorKind::Protocol, Class::Ambiguous));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_late_or_gone_before_it_is_sent_is_taken_out() {
    let (mut group, mut callers) = (Group::default(), Callers::default());
    for (key, seconds) in [("late", 1), ("gone", 60), ("stays", 60)] {
        callers.join(&mut group, &plain(key), seconds);
    }
    drop(callers.0.remove(1));
    tokio::time::advance(Duration::from_secs(2)).await;
    group.take_back(Instant::now());
    let late = callers.0.remove(0).now_or_never().expect("told").map_err(Error::from).expect_err("late");
    assert_eq!((late.kind(), late.class()), (ErrorKind::Timeout, Class::NotSent));
    let (mut flight, out) = launch(&mut group, BatchKind::Set, true);
    assert_eq!(out, packed(&[&["SET", "stays", "v"]]));
    flight.reply(Value::Okay);
    assert!(matches!(callers.told().remove(0), Some(Ok(Value::Okay))));
}

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Outcome>>>);

impl Settle for Told {
    fn settle(self: Box<Self>, outcome: Outcome) {
        self.0.lock().push(outcome);
    }
}

/// What the gate is told of two reads, that are each given a second, after `fate`.
fn outcomes(fate: impl FnOnce(&mut Flight)) -> Vec<Outcome> {
    let (mut group, mut callers) = (Group::default(), Callers::default());
    callers.join(&mut group, &Get(b"a"), 1);
    callers.join(&mut group, &Get(b"b"), 2);
    let told = Told::default();
    let permit = Permit::tracked(Box::new(told.clone()));
    let mut flight = group.launch(BatchKind::Get, false, permit, &mut Vec::new());
    fate(&mut flight);
    drop(flight);
    told.0.lock().clone()
}

#[tokio::test(start_paused = true)]
async fn the_gate_is_told_once_of_a_group() {
    let failure = |kind, class| [Outcome::Failure { kind, class }];
    let answered = outcomes(|flight| {
        flight.reply(Value::Nil);
        flight.reply(Value::Nil);
    });
    assert_eq!(answered, [Outcome::Success]);
    let refused = outcomes(|flight| {
        flight.reply(error("LOADING"));
        flight.reply(Value::Nil);
    });
    assert_eq!(refused, failure(ErrorKind::NotReady, Class::Refused));
    let in_seconds = |seconds| Instant::now() + Duration::from_secs(seconds);
    assert_eq!(outcomes(|flight| flight.expire(in_seconds(1))), [Outcome::Cancelled]);
    let late = outcomes(|flight| flight.expire(in_seconds(2)));
    assert_eq!(late, failure(ErrorKind::Timeout, Class::Ambiguous));
    let lost =
        outcomes(|flight| flight.fail(true, &std::io::Error::from(std::io::ErrorKind::BrokenPipe).into()));
    assert_eq!(lost, failure(ErrorKind::Disconnected, Class::Ambiguous));
}
