//! Who owns which slot and which slots are on the move, as the masters themselves say it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::endpoint::Endpoint;
use crate::slots::{Reachable, SLOTS};

/// The ownership of all slots at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ground {
    pub(crate) masters: Vec<Arc<Endpoint>>,
    /// Index into `masters` for each slot.
    owner: Vec<usize>,
    pub(crate) moving: HashSet<Move>,
}

/// A slot that goes, or has gone, from one master to another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Move {
    pub(crate) slot: u16,
    pub(crate) from: Arc<Endpoint>,
    pub(crate) to: Arc<Endpoint>,
}

const UNOWNED: usize = usize::MAX;

impl Ground {
    /// Reads what each master answered to `CLUSTER NODES`. `None` when a slot is claimed by none of them, or
    /// an answer has another shape. `reachable` translates the addresses of other nodes; their own are known.
    pub(crate) fn survey(answers: &[(Arc<Endpoint>, String)], reachable: &Reachable<'_>) -> Option<Self> {
        let mut ids = HashMap::new();
        for (_, text) in answers {
            for line in text.lines() {
                let mut fields = line.split(' ');
                ids.entry(fields.next()?)
                    .or_insert_with_key(|_| fields.next().and_then(address).map(reachable));
            }
        }
        for (endpoint, text) in answers {
            ids.insert(own_line(text)?.split(' ').next()?, Some(Arc::clone(endpoint)));
        }
        let mut owner = vec![UNOWNED; SLOTS];
        let mut moving = HashSet::new();
        for (index, (endpoint, text)) in answers.iter().enumerate() {
            for token in own_line(text)?.split(' ').skip(8) {
                match token.strip_prefix('[') {
                    Some(moved) => moving.extend(parse_move(moved, endpoint, &ids)),
                    None => owner.get_mut(range(token)?)?.fill(index),
                }
            }
        }
        let masters = answers.iter().map(|(endpoint, _)| Arc::clone(endpoint)).collect();
        (!owner.contains(&UNOWNED)).then_some(Self { masters, owner, moving })
    }

    /// Slots that have another owner in `later`.
    pub(crate) fn changes(&self, later: &Self) -> Vec<Move> {
        let changed = (0..SLOTS).filter(|slot| self.owner_of(*slot) != later.owner_of(*slot));
        changed
            .map(|slot| Move {
                slot: slot as u16,
                from: Arc::clone(self.owner_of(slot)),
                to: Arc::clone(later.owner_of(slot)),
            })
            .collect()
    }

    fn owner_of(&self, slot: usize) -> &Arc<Endpoint> {
        &self.masters[self.owner[slot]]
    }
}

fn own_line(text: &str) -> Option<&str> {
    text.lines().find(|line| line.split(' ').nth(2).is_some_and(|flags| flags.contains("myself")))
}

/// `ip:port@bus[,hostname]`; a node that prefers its host name is known by that.
fn address(field: &str) -> Option<Endpoint> {
    let (address, rest) = field.split_once('@')?;
    let (host, port) = address.rsplit_once(':')?;
    let host = rest.split(',').nth(1).filter(|name| !name.is_empty()).unwrap_or(host);
    (!host.is_empty()).then_some(Endpoint::tcp(host, port.parse().ok()?))
}

fn range(token: &str) -> Option<std::ops::RangeInclusive<usize>> {
    let (first, last) = token.split_once('-').unwrap_or((token, token));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

/// `93->-id]` for a slot on its way out, `77-<-id]` for one on its way in.
fn parse_move(token: &str, own: &Arc<Endpoint>, ids: &HashMap<&str, Option<Arc<Endpoint>>>) -> Option<Move> {
    let token = token.strip_suffix(']')?;
    let (slot, id, outward) = match token.split_once("->-") {
        Some((slot, id)) => (slot, id, true),
        None => token.split_once("-<-").map(|(slot, id)| (slot, id, false))?,
    };
    let peer = ids.get(id)?.clone()?;
    let (from, to) = if outward { (Arc::clone(own), peer) } else { (peer, Arc::clone(own)) };
    Some(Move { slot: slot.parse().ok()?, from, to })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaa 127.0.0.1:7000@17000,, myself,master - 0 0 1 connected 0-8000 8002 [93->-ccc]\n\
                     bbb 127.0.0.1:7001@17001,, master - 0 0 2 connected 8001 8003-16383\n\
                     ccc 127.0.0.1:7002@17002,, master - 0 0 3 connected\n";
    const B: &str = "bbb :7001@17001,, myself,master - 0 0 2 connected 8001 8003-16383\n\
                     aaa 127.0.0.1:7000@17000,, master - 0 0 1 connected 0-8000 8002\n";

    fn endpoint(port: u16) -> Arc<Endpoint> {
        Arc::new(Endpoint::tcp("127.0.0.1", port))
    }

    #[test]
    fn ownership_and_moves_are_read_from_the_masters_own_lines() {
        let answers = [(endpoint(7000), A.to_owned()), (endpoint(7001), B.to_owned())];
        let ground = Ground::survey(&answers, &Arc::new).unwrap();
        assert_eq!(ground.owner_of(8002), &endpoint(7000));
        assert_eq!(ground.owner_of(8001), &endpoint(7001));
        let expected = Move { slot: 93, from: endpoint(7000), to: endpoint(7002) };
        assert_eq!(ground.moving, HashSet::from([expected]));
    }

    #[test]
    fn a_slot_nobody_owns_is_no_ground_to_walk_on() {
        assert_eq!(Ground::survey(&[(endpoint(7000), A.to_owned())], &Arc::new), None);
        assert_eq!(Ground::survey(&[(endpoint(7000), "nonsense".to_owned())], &Arc::new), None);
    }

    #[test]
    fn changes_name_the_old_and_the_new_owner() {
        let before =
            Ground::survey(&[(endpoint(7000), A.to_owned()), (endpoint(7001), B.to_owned())], &Arc::new)
                .unwrap();
        let a = A.replace("0-8000", "0-7999");
        let b = B.replace("connected 8001 8003", "connected 8000-8001 8003");
        let after = Ground::survey(&[(endpoint(7000), a), (endpoint(7001), b)], &Arc::new).unwrap();
        let expected = Move { slot: 8000, from: endpoint(7000), to: endpoint(7001) };
        assert_eq!(before.changes(&after), [expected]);
        assert_eq!(before.changes(&before), []);
    }
}
