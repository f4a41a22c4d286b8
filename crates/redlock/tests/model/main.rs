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

mod state;

use std::time::Duration;

use stateright::{Checker, Model, Property};

use state::{Attempt, Call, Link, Message, Phase, State};

const NODES: usize = 3;
const MAJORITY: usize = 2;

/// What is checked: how much happens, and which parts of the protocol are in force.
#[derive(Clone, Debug)]
struct Protocol {
    /// What each attempt wants.
    grabs: &'static [Grab],
    restarts: u8,
    extensions: u8,
    top_ups: bool,
    quarantine: bool,
    write_back: bool,
}

/// The resources of a claim, and how it holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Grab {
    resources: &'static [usize],
    shared: bool,
}

impl Grab {
    fn excludes(&self, other: &Self) -> bool {
        !(self.shared && other.shared) && self.resources.iter().any(|r| other.resources.contains(r))
    }
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
    /// Nodes that do not have the hold any more get it again.
    TopUp(usize),
    /// The oldest validity that is not over yet is over; with the last one, or at a release, the attempt is done.
    RunOut(usize),
    Leave(usize),
    /// One key of a hold expires: node, resource, attempt.
    Expire(usize, usize, usize),
    Restart(usize),
    EndQuarantine(usize),
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::first(self)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for a in 0..self.grabs.len() {
            self.client_actions(state, a, actions);
        }
        for n in 0..NODES {
            self.node_actions(state, n, actions);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Deliver(a, n, message) => next.deliver(a, n, message, self.grabs),
            Action::Hear(a, n, message) => {
                let call = next.nodes[n].links[a].call(message);
                if let Call::Answered(answer) = *call {
                    *call = Call::Heard(answer);
                }
            }
            Action::Expire(n, r, a) => next.nodes[n].resources[r].holders.retain(|(holder, _)| *holder != a),
            Action::Restart(n) => next.restart(n, self.quarantine),
            Action::EndQuarantine(n) => {
                next.nodes[n].abstains = None;
                next.floor = next.highest + 1;
            }
            Action::Grant(a) => next.grant(a, self.grabs[a]),
            client => next.step(client),
        }
        next.nodes.sort_unstable();
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one valid holder", |protocol: &Self, state: &State| {
                let holds: Vec<_> =
                    (0..protocol.grabs.len()).filter(|a| state.attempts[*a].holds()).collect();
                let excludes = |a: usize, b: usize| protocol.grabs[a].excludes(&protocol.grabs[b]);
                !holds.iter().any(|a| holds.iter().any(|b| a < b && excludes(*a, *b)))
            }),
            Property::always("tokens rise", |_, state: &State| !state.inverted),
        ]
    }
}

impl Protocol {
    fn client_actions(&self, state: &State, a: usize, actions: &mut Vec<Action>) {
        let attempt = &state.attempts[a];
        // Attempts that want the same are alike: they begin in order.
        let turn =
            a == 0 || state.attempts[a - 1].phase != Phase::Waiting || self.grabs[a - 1] != self.grabs[a];
        let (token, agreeing) = state.agreement(a);
        let voted =
            attempt.phase == Phase::Voting && state.heard(a, |link| link.acquire) && attempt.over == 0;
        let agreed = agreeing >= MAJORITY || !self.write_back;
        let settled = attempt.asked == attempt.confirmed;
        let confirmed = state.heard(a, |link| link.extend);
        let prolonged = attempt.holds() && settled && attempt.confirmed > 1;
        let last = attempt.over + 1 >= attempt.asked;
        let running = matches!(attempt.phase, Phase::Voting | Phase::Holding);
        let steps = [
            (attempt.phase == Phase::Waiting && turn, Action::Begin(a)),
            (voted && agreed, Action::Grant(a)),
            (voted && !agreed && attempt.raising < token, Action::WriteBack(a)),
            (attempt.holds() && settled && attempt.asked <= self.extensions, Action::Prolong(a)),
            (attempt.holds() && !settled && confirmed, Action::Confirm(a)),
            (
                self.top_ups && prolonged && state.nodes.iter().any(|n| wants_top_up(&n.links[a])),
                Action::TopUp(a),
            ),
            (running && !last, Action::RunOut(a)),
            (running, Action::Leave(a)),
        ];
        push_possible(&steps, actions);
    }

    fn node_actions(&self, state: &State, n: usize, actions: &mut Vec<Action>) {
        let node = &state.nodes[n];
        let over = |needs: &Vec<u8>| needs.iter().zip(&state.attempts).all(|(need, a)| a.is_over(*need));
        let steps = [
            (state.restarts < self.restarts, Action::Restart(n)),
            (node.abstains.as_ref().is_some_and(over), Action::EndQuarantine(n)),
        ];
        push_possible(&steps, actions);
        for (r, resource) in node.resources.iter().enumerate() {
            let ended = |(a, validity): &&(usize, u8)| state.attempts[*a].is_over(*validity);
            actions.extend(resource.holders.iter().filter(ended).map(|(a, _)| Action::Expire(n, r, *a)));
        }
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

/// A node that did not confirm, has no acquire on its way and was not topped up before.
fn wants_top_up(link: &Link) -> bool {
    link.extend == Call::None && link.acquire != Call::Sent && link.topped == 0
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
            Action::TopUp(a) => {
                let validity = self.attempts[a].asked;
                for link in
                    self.nodes.iter_mut().map(|node| &mut node.links[a]).filter(|link| wants_top_up(link))
                {
                    (link.topped, link.acquire) = (validity, Call::Sent);
                }
            }
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

const ONE: Grab = Grab { resources: &[0], shared: false };
const READER: Grab = Grab { resources: &[0], shared: true };
const OTHER: Grab = Grab { resources: &[1], shared: false };
const BOTH: Grab = Grab { resources: &[0, 1], shared: false };

const SOUND: Protocol = Protocol {
    grabs: &[ONE, ONE],
    restarts: 1,
    extensions: 0,
    top_ups: false,
    quarantine: true,
    write_back: true,
};

/// Explores for this long, or with `STATE_REDIS_LONG=1` for half an hour, and finds nothing.
fn holds(name: &str, protocol: Protocol, seconds: u64) {
    assert_eq!(explore(name, protocol, if long() { 1800 } else { seconds }), [""; 0]);
}

#[test]
fn with_quarantine_a_restart_breaks_nothing() {
    holds("two attempts, one restart", SOUND, 10);
    if long() {
        holds("three attempts, one restart", Protocol { grabs: &[ONE; 3], ..SOUND }, 10);
    }
}

#[test]
fn with_write_back_tokens_rise_over_three_grants() {
    holds("three attempts", Protocol { grabs: &[ONE; 3], restarts: 0, ..SOUND }, 10);
}

#[test]
fn prolonging_keeps_the_promises_too() {
    holds("with an extension", Protocol { extensions: 1, ..SOUND }, 8);
}

#[test]
fn topping_up_keeps_the_promises_too() {
    let protocol = Protocol { extensions: 1, top_ups: true, ..SOUND };
    holds("topping up after an extension, one restart", protocol.clone(), 8);
    holds("topping up after an extension", Protocol { restarts: 0, ..protocol }, 8);
}

#[test]
fn readers_share_and_exclude_a_writer() {
    let protocol = Protocol { grabs: &[READER, READER, ONE], restarts: 0, ..SOUND };
    holds("two readers and a writer", protocol.clone(), 10);
    holds(
        "a reader and a writer, one restart",
        Protocol { grabs: &[READER, ONE], restarts: 1, ..protocol },
        8,
    );
}

#[test]
fn several_resources_are_held_all_or_none() {
    let protocol = Protocol { grabs: &[BOTH, ONE, OTHER], restarts: 0, ..SOUND };
    holds("both resources, and each alone", protocol.clone(), 10);
    holds(
        "both resources, and one alone, one restart",
        Protocol { grabs: &[BOTH, ONE], restarts: 1, ..protocol },
        8,
    );
}

#[test]
fn without_quarantine_a_restart_gives_the_lock_to_two() {
    for grabs in [&[ONE, ONE], &[READER, ONE], &[BOTH, ONE]] {
        let violated = explore("without quarantine", Protocol { quarantine: false, grabs, ..SOUND }, 120);
        assert!(violated.contains(&"one valid holder"), "{violated:?}");
    }
}

#[test]
fn without_write_back_tokens_do_not_rise() {
    let protocol = Protocol { grabs: &[ONE; 3], restarts: 0, write_back: false, ..SOUND };
    let violated = explore("without write-back", protocol, 120);
    assert!(violated.contains(&"tokens rise"), "{violated:?}");
}
