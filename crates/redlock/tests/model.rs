//! A model of the quorum protocol: nodes that expire, restart empty and abstain; clients that acquire, agree on a
//! token, prolong and release; messages that arrive in any order, late or never.
//!
//! Time is left out, its consequences are kept. A key may expire once the validity that the client derived from the
//! request that set it is over, and not before, because the client counts from before it was sent. A quarantine ends
//! once every validity that a request sent before the restart could found is over, and by then the clock's floor is
//! above every token given before. Clocks that break these rules are not in the model.
//!
//! To keep it small: an attempt whose validity is over, which was released and which was abandoned are the same; its
//! keys may vanish at any time from then on, which is a release that arrives or does not, and what it had sent except
//! its acquires is forgotten. Nodes are alike, so states that differ in their order are one state.

#![allow(clippy::print_stdout, reason = "the figures are part of the result")]

use std::time::Duration;

use stateright::{Checker, Model, Property};

const NODES: usize = 3;
const MAJORITY: usize = 2;

/// What is checked: how much happens, and which parts of the protocol are in force.
#[derive(Clone, Debug)]
struct Protocol {
    attempts: usize,
    restarts: u8,
    extensions: u8,
    quarantine: bool,
    write_back: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    /// Sorted, because nodes are alike.
    nodes: Vec<Node>,
    attempts: Vec<Attempt>,
    restarts: u8,
    /// The highest token given by any node, and what the clock contributes to a token.
    highest: u8,
    floor: u8,
    /// The token of the latest grant, and whether one was not above that before it.
    last: u8,
    inverted: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Node {
    /// The attempt that holds it, and the validity its key covers.
    holder: Option<(usize, u8)>,
    counter: u8,
    /// The validities, by attempt, that have to be over before it may vote.
    abstains: Option<Vec<u8>>,
    /// What is between it and each attempt.
    links: Vec<Link>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Link {
    acquire: Call,
    raise: Call,
    extend: Call,
}

/// A message to a node and its answer, a counter. Refusals change nothing at the client and are not sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Call {
    #[default]
    None,
    Sent,
    Answered(u8),
    Heard(u8),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Attempt {
    phase: Phase,
    /// The token that is being written back.
    raising: u8,
    /// Validities asked for, confirmed by a majority, and over.
    asked: u8,
    confirmed: u8,
    over: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Phase {
    #[default]
    Waiting,
    Voting,
    Holding,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    Acquire,
    Raise,
    Extend,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Begin(usize),
    /// A node handles a message: the scripts.
    Deliver(usize, usize, Message),
    /// A client hears the answer.
    Hear(usize, usize, Message),
    WriteBack(usize),
    Grant(usize),
    Prolong(usize),
    Confirm(usize),
    /// The oldest validity that is not over yet is over; with the last one, or at a release, the attempt is done.
    RunOut(usize),
    Leave(usize),
    Expire(usize),
    Restart(usize),
    EndQuarantine(usize),
}

impl Attempt {
    fn holds(&self) -> bool {
        self.phase == Phase::Holding && self.over < self.confirmed
    }

    fn is_over(&self, validity: u8) -> bool {
        self.phase == Phase::Done || self.over >= validity
    }
}

impl Link {
    fn call(&mut self, message: Message) -> &mut Call {
        match message {
            Message::Acquire => &mut self.acquire,
            Message::Raise => &mut self.raise,
            Message::Extend => &mut self.extend,
        }
    }

    /// The highest counter that the attempt knows the node to have reached while it held it.
    fn token(&self) -> Option<u8> {
        let heard = |call| if let Call::Heard(token) = call { Some(token) } else { None };
        heard(self.raise).max(heard(self.acquire))
    }
}

impl State {
    fn tokens(&self, a: usize) -> Vec<Option<u8>> {
        self.nodes.iter().map(|node| node.links[a].token()).collect()
    }

    /// The highest token an attempt knows and how many nodes have reached it.
    fn agreement(&self, a: usize) -> (u8, usize) {
        let tokens = self.tokens(a);
        let top = tokens.iter().flatten().copied().max().unwrap_or(0);
        (top, tokens.iter().filter(|token| **token == Some(top)).count())
    }

    fn heard(&self, a: usize, call: fn(&Link) -> Call) -> usize {
        self.nodes.iter().filter(|node| matches!(call(&node.links[a]), Call::Heard(_))).count()
    }

    fn send(&mut self, a: usize, message: Message, to: impl Fn(&Link) -> bool) {
        for node in &mut self.nodes {
            if to(&node.links[a]) {
                *node.links[a].call(message) = Call::Sent;
            }
        }
    }

    fn deliver(&mut self, a: usize, n: usize, message: Message) {
        let (node, attempt) = (&mut self.nodes[n], &self.attempts[a]);
        let mine = node.holder.is_some_and(|(holder, _)| holder == a);
        let accepted = match message {
            Message::Acquire => node.abstains.is_none() && (mine || node.holder.is_none()),
            Message::Raise | Message::Extend => mine,
        };
        if !accepted {
            *node.links[a].call(message) = Call::None;
            return;
        }
        match message {
            Message::Acquire => {
                node.holder = Some((a, 1));
                node.counter = (node.counter + 1).max(self.floor);
                self.highest = self.highest.max(node.counter);
            }
            Message::Raise => node.counter = node.counter.max(attempt.raising),
            Message::Extend => node.holder = Some((a, attempt.asked)),
        }
        let listens = attempt.phase != Phase::Done;
        *node.links[a].call(message) = if listens { Call::Answered(node.counter) } else { Call::None };
    }

    fn finish(&mut self, a: usize) {
        self.attempts[a] = Attempt { phase: Phase::Done, ..Attempt::default() };
        for node in &mut self.nodes {
            let acquire = if node.links[a].acquire == Call::Sent { Call::Sent } else { Call::None };
            node.links[a] = Link { acquire, ..Link::default() };
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let node = Node { links: vec![Link::default(); self.attempts], ..Node::default() };
        let attempts = vec![Attempt::default(); self.attempts];
        let nodes = vec![node; NODES];
        vec![State { nodes, attempts, restarts: 0, highest: 0, floor: 0, last: 0, inverted: false }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for a in 0..self.attempts {
            self.client_actions(state, a, actions);
        }
        for (n, node) in state.nodes.iter().enumerate() {
            let over = |needs: &Vec<u8>| needs.iter().zip(&state.attempts).all(|(need, a)| a.is_over(*need));
            let steps = [
                (node.holder.is_some_and(|(a, v)| state.attempts[a].is_over(v)), Action::Expire(n)),
                (state.restarts < self.restarts, Action::Restart(n)),
                (node.abstains.as_ref().is_some_and(over), Action::EndQuarantine(n)),
            ];
            push_possible(&steps, actions);
            for (a, link) in node.links.iter().enumerate() {
                for message in [Message::Acquire, Message::Raise, Message::Extend] {
                    match *link.clone().call(message) {
                        Call::Sent => actions.push(Action::Deliver(a, n, message)),
                        Call::Answered(_) => actions.push(Action::Hear(a, n, message)),
                        Call::None | Call::Heard(_) => {}
                    }
                }
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Deliver(a, n, message) => next.deliver(a, n, message),
            Action::Hear(a, n, message) => {
                let call = next.nodes[n].links[a].call(message);
                if let Call::Answered(answer) = *call {
                    *call = Call::Heard(answer);
                }
            }
            Action::Expire(n) => next.nodes[n].holder = None,
            Action::Restart(n) => {
                next.restarts += 1;
                let needs = next.attempts.iter().map(|attempt| attempt.asked).collect();
                let node = &mut next.nodes[n];
                (node.holder, node.counter) = (None, 0);
                node.abstains = self.quarantine.then_some(needs);
            }
            Action::EndQuarantine(n) => {
                next.nodes[n].abstains = None;
                next.floor = next.highest + 1;
            }
            Action::Grant(a) => {
                let (token, _) = next.agreement(a);
                next.inverted |= token <= next.last;
                next.last = token;
                next.attempts[a].phase = Phase::Holding;
                for node in &mut next.nodes {
                    node.links[a].raise = Call::None;
                }
            }
            client => next.step(client),
        }
        next.nodes.sort_unstable();
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one valid holder", |_, state: &State| {
                state.attempts.iter().filter(|attempt| attempt.holds()).count() <= 1
            }),
            Property::always("tokens rise", |_, state: &State| !state.inverted),
        ]
    }
}

impl Protocol {
    fn client_actions(&self, state: &State, a: usize, actions: &mut Vec<Action>) {
        let attempt = &state.attempts[a];
        // Attempts are alike: they begin in order.
        let turn = a == 0 || state.attempts[a - 1].phase != Phase::Waiting;
        let (token, agreeing) = state.agreement(a);
        let votes = state.heard(a, |link| link.acquire);
        let voted = attempt.phase == Phase::Voting && votes >= MAJORITY && attempt.over == 0;
        let agreed = agreeing >= MAJORITY || !self.write_back;
        let settled = attempt.asked == attempt.confirmed;
        let confirmed = state.heard(a, |link| link.extend) >= MAJORITY;
        let last = attempt.over + 1 >= attempt.asked;
        let running = matches!(attempt.phase, Phase::Voting | Phase::Holding);
        let steps = [
            (attempt.phase == Phase::Waiting && turn, Action::Begin(a)),
            (voted && agreed, Action::Grant(a)),
            (voted && !agreed && attempt.raising < token, Action::WriteBack(a)),
            (attempt.holds() && settled && attempt.asked <= self.extensions, Action::Prolong(a)),
            (attempt.holds() && !settled && confirmed, Action::Confirm(a)),
            (running && !last, Action::RunOut(a)),
            (running, Action::Leave(a)),
        ];
        push_possible(&steps, actions);
    }
}

fn push_possible(steps: &[(bool, Action)], actions: &mut Vec<Action>) {
    actions.extend(steps.iter().filter(|(possible, _)| *possible).map(|(_, action)| *action));
}

impl State {
    /// What a client does.
    fn step(&mut self, action: Action) {
        match action {
            Action::Begin(a) => {
                self.attempts[a] =
                    Attempt { phase: Phase::Voting, asked: 1, confirmed: 1, ..Attempt::default() };
                self.send(a, Message::Acquire, |_| true);
            }
            Action::WriteBack(a) => {
                let (token, _) = self.agreement(a);
                self.attempts[a].raising = token;
                self.send(a, Message::Raise, |link| link.token() != Some(token));
            }
            Action::Prolong(a) => {
                self.attempts[a].asked += 1;
                self.send(a, Message::Extend, |_| true);
            }
            Action::Confirm(a) => self.attempts[a].confirmed = self.attempts[a].asked,
            Action::RunOut(a) => self.attempts[a].over += 1,
            Action::Leave(a) => self.finish(a),
            other => unreachable!("{other:?} is handled elsewhere"),
        }
    }
}

fn long() -> bool {
    std::env::var_os("STATE_REDIS_LONG").is_some_and(|value| value == "1")
}

/// Explores the protocol and prints how much of it; returns the violated properties.
fn explore(name: &str, protocol: Protocol, seconds: u64) -> Vec<&'static str> {
    let complete = Duration::from_secs(seconds);
    let begun = std::time::Instant::now();
    let checker = protocol.checker().threads(2).timeout(complete).spawn_bfs().join();
    println!(
        "{name}: {} states, {} of them different, depth {}, {}",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        if begun.elapsed() < complete {
            "all there are or up to a violation"
        } else {
            "as many as time allowed"
        }
    );
    let mut violated: Vec<_> = checker.discoveries().into_keys().collect();
    violated.sort_unstable();
    violated
}

const SOUND: Protocol =
    Protocol { attempts: 2, restarts: 1, extensions: 0, quarantine: true, write_back: true };

#[test]
fn with_quarantine_a_restart_breaks_nothing() {
    assert_eq!(explore("two attempts, one restart", SOUND, if long() { 1800 } else { 10 }), [""; 0]);
    if long() {
        assert_eq!(explore("three attempts, one restart", Protocol { attempts: 3, ..SOUND }, 1800), [""; 0]);
    }
}

#[test]
fn with_write_back_tokens_rise_over_three_grants() {
    let protocol = Protocol { attempts: 3, restarts: 0, ..SOUND };
    assert_eq!(explore("three attempts", protocol, if long() { 1800 } else { 10 }), [""; 0]);
}

#[test]
fn prolonging_keeps_the_promises_too() {
    let protocol = Protocol { extensions: 1, ..SOUND };
    assert_eq!(explore("with an extension", protocol, if long() { 1800 } else { 8 }), [""; 0]);
}

#[test]
fn without_quarantine_a_restart_gives_the_lock_to_two() {
    let violated = explore("without quarantine", Protocol { quarantine: false, ..SOUND }, 120);
    assert!(violated.contains(&"one valid holder"), "{violated:?}");
}

#[test]
fn without_write_back_tokens_do_not_rise() {
    let violated =
        explore("without write-back", Protocol { attempts: 3, restarts: 0, write_back: false, ..SOUND }, 120);
    assert!(violated.contains(&"tokens rise"), "{violated:?}");
}
