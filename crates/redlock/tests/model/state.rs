//! The nodes, the attempts, and what is on its way between them.

use crate::{Grab, MAJORITY, NODES, Protocol};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// Sorted, because nodes are alike.
    pub(crate) nodes: Vec<Node>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) restarts: u8,
    /// The highest token given by any node, and what the clock contributes to a token.
    pub(crate) highest: u8,
    pub(crate) floor: u8,
    /// The highest tokens granted so far for each resource: to anybody, and to exclusive holders.
    pub(crate) last: Vec<(u8, u8)>,
    /// Whether one was granted that was not above those of the holders it excludes.
    pub(crate) inverted: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Node {
    pub(crate) resources: Vec<Resource>,
    /// The validities, by attempt, that have to be over before it may vote.
    pub(crate) abstains: Option<Vec<u8>>,
    /// What is between it and each attempt.
    pub(crate) links: Vec<Link>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Resource {
    /// The attempts that hold it, each with the validity its key covers. Sorted.
    pub(crate) holders: Vec<(usize, u8)>,
    pub(crate) counter: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Link {
    pub(crate) acquire: Call,
    pub(crate) raise: Call,
    pub(crate) extend: Call,
    /// The validity that a second acquire, to top up, is for; 0 = none was sent.
    pub(crate) topped: u8,
}

/// A message to a node and its answer, a counter. Refusals change nothing at the client and are not sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Call {
    #[default]
    None,
    Sent,
    Answered(u8),
    Heard(u8),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Attempt {
    pub(crate) phase: Phase,
    /// The token that is being written back.
    pub(crate) raising: u8,
    /// Validities asked for, confirmed by a majority, and over.
    pub(crate) asked: u8,
    pub(crate) confirmed: u8,
    pub(crate) over: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    #[default]
    Waiting,
    Voting,
    Holding,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Acquire,
    Raise,
    Extend,
}

impl Attempt {
    pub(crate) fn holds(&self) -> bool {
        self.phase == Phase::Holding && self.over < self.confirmed
    }

    pub(crate) fn is_over(&self, validity: u8) -> bool {
        self.phase == Phase::Done || self.over >= validity
    }
}

impl Link {
    pub(crate) fn call(&mut self, message: Message) -> &mut Call {
        match message {
            Message::Acquire => &mut self.acquire,
            Message::Raise => &mut self.raise,
            Message::Extend => &mut self.extend,
        }
    }

    /// The highest counter that the attempt knows the node to have reached while it held it.
    pub(crate) fn token(&self) -> Option<u8> {
        let heard = |call| if let Call::Heard(token) = call { Some(token) } else { None };
        heard(self.raise).max(heard(self.acquire))
    }
}

impl Resource {
    fn holds(&self, a: usize) -> bool {
        self.holders.iter().any(|(holder, _)| *holder == a)
    }

    fn take(&mut self, a: usize, validity: u8) {
        let before = self.holders.iter().position(|(holder, _)| *holder == a);
        let before = before.map_or(0, |i| self.holders.remove(i).1);
        self.holders.push((a, validity.max(before)));
        self.holders.sort_unstable();
    }
}

impl Node {
    /// The scripts: handles a message of attempt `a`, and answers the highest of its counters.
    fn handle(
        &mut self,
        a: usize,
        message: Message,
        attempt: &Attempt,
        floor: u8,
        grabs: &[Grab],
    ) -> Option<u8> {
        let grab = grabs[a];
        let free = |resource: &Resource| {
            resource.holders.iter().all(|(holder, _)| *holder == a || (grab.shared && grabs[*holder].shared))
        };
        let mine = grab.resources.iter().all(|r| self.resources[*r].holds(a));
        let accepted = match message {
            Message::Acquire => {
                self.abstains.is_none() && grab.resources.iter().all(|r| free(&self.resources[*r]))
            }
            Message::Raise | Message::Extend => mine,
        };
        if !accepted {
            return None;
        }
        let top = grab.resources.iter().map(|r| self.resources[*r].counter).max().unwrap_or(0);
        let (token, validity) = match message {
            Message::Acquire => ((top + 1).max(floor), Some(self.links[a].topped.max(1))),
            Message::Raise => (top.max(attempt.raising), None),
            Message::Extend => (top, Some(attempt.asked)),
        };
        for r in grab.resources {
            let resource = &mut self.resources[*r];
            if message != Message::Extend {
                resource.counter = token;
            }
            if let Some(validity) = validity {
                resource.take(a, validity);
            }
        }
        Some(token)
    }
}

impl State {
    pub(crate) fn first(protocol: &Protocol) -> Self {
        let attempts = protocol.grabs.len();
        let resources = 1 + protocol.grabs.iter().flat_map(|grab| grab.resources).max().copied().unwrap_or(0);
        let node = Node {
            links: vec![Link::default(); attempts],
            resources: vec![Resource::default(); resources],
            ..Node::default()
        };
        Self {
            nodes: vec![node; NODES],
            attempts: vec![Attempt::default(); attempts],
            restarts: 0,
            highest: 0,
            floor: 0,
            last: vec![(0, 0); resources],
            inverted: false,
        }
    }

    /// The highest token an attempt knows and how many nodes have reached it.
    pub(crate) fn agreement(&self, a: usize) -> (u8, usize) {
        let tokens = self.nodes.iter().map(|node| node.links[a].token());
        let top = tokens.clone().flatten().max().unwrap_or(0);
        (top, tokens.filter(|token| *token == Some(top)).count())
    }

    /// Whether a majority answered.
    pub(crate) fn heard(&self, a: usize, call: fn(&Link) -> Call) -> bool {
        self.nodes.iter().filter(|node| matches!(call(&node.links[a]), Call::Heard(_))).count() >= MAJORITY
    }

    pub(crate) fn send(&mut self, a: usize, message: Message, to: impl Fn(&Link) -> bool) {
        for node in &mut self.nodes {
            if to(&node.links[a]) {
                *node.links[a].call(message) = Call::Sent;
            }
        }
    }

    pub(crate) fn deliver(&mut self, a: usize, n: usize, message: Message, grabs: &[Grab]) {
        let (node, attempt) = (&mut self.nodes[n], &self.attempts[a]);
        let answer = node.handle(a, message, attempt, self.floor, grabs);
        if message == Message::Acquire {
            self.highest = self.highest.max(answer.unwrap_or(0));
        }
        // Nobody acts on the answer to a top-up, nor on one that comes after the end.
        let link = &mut node.links[a];
        let listens = attempt.phase != Phase::Done && (message != Message::Acquire || link.topped == 0);
        *link.call(message) = answer.filter(|_| listens).map_or(Call::None, Call::Answered);
    }

    /// A grant: tokens have to be above those of all holders that this one excludes.
    pub(crate) fn grant(&mut self, a: usize, grab: Grab) {
        let (token, _) = self.agreement(a);
        for r in grab.resources {
            let (any, exclusive) = &mut self.last[*r];
            self.inverted |= token <= if grab.shared { *exclusive } else { *any };
            *any = token.max(*any);
            if !grab.shared {
                *exclusive = token.max(*exclusive);
            }
        }
        self.attempts[a].phase = Phase::Holding;
        self.nodes.iter_mut().for_each(|node| node.links[a].raise = Call::None);
    }

    pub(crate) fn restart(&mut self, n: usize, quarantine: bool) {
        self.restarts += 1;
        let needs = self.attempts.iter().map(|attempt| attempt.asked).collect();
        let node = &mut self.nodes[n];
        node.resources.fill(Resource::default());
        node.abstains = quarantine.then_some(needs);
    }

    pub(crate) fn finish(&mut self, a: usize) {
        self.attempts[a] = Attempt { phase: Phase::Done, ..Attempt::default() };
        for node in &mut self.nodes {
            let link = &mut node.links[a];
            let late = link.acquire == Call::Sent;
            *link = Link::default();
            if late {
                link.acquire = Call::Sent;
            }
        }
    }
}
