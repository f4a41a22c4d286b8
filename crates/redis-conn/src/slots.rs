//! Which slot a key belongs to, and which node serves a slot.

use std::sync::Arc;

use redis::Value;

use crate::endpoint::Endpoint;

/// Slots of a Redis Cluster.
pub(crate) const SLOTS: usize = 16_384;

/// The slot of a key: CRC16/XMODEM of its hash tag, which is what stands between the first `{` and the first
/// `}` after it when that is not empty, or else of the whole key (Redis Cluster specification, "Hash tags").
pub fn slot_of(key: &[u8]) -> u16 {
    crc16::State::<crc16::XMODEM>::calculate(hash_tag(key)) % SLOTS as u16
}

/// From an address that a node announces to one that is reachable from here.
pub(crate) type Reachable<'a> = dyn Fn(Endpoint) -> Arc<Endpoint> + Send + Sync + 'a;

/// Who serves what, as one answer to `CLUSTER SLOTS` told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SlotMap {
    shards: Vec<Shard>,
    /// Index into `shards` for each slot, `UNSERVED` where no node serves it.
    owner: Box<[u16]>,
}

/// A master and its replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    pub(crate) master: Arc<Endpoint>,
    pub(crate) replicas: Vec<Arc<Endpoint>>,
}

const UNSERVED: u16 = u16::MAX;

impl SlotMap {
    /// A map in which nobody serves anything.
    pub(crate) fn empty() -> Self {
        Self { shards: Vec::new(), owner: vec![UNSERVED; SLOTS].into_boxed_slice() }
    }

    /// Reads the reply to `CLUSTER SLOTS`. The host of `asked` stands in where a node does not know its own.
    /// Ports need no care under TLS: the server lists those of the kind of connection that asked.
    /// `reachable` translates announced addresses.
    ///
    /// `None` when the reply has another shape.
    pub(crate) fn parse(reply: &Value, asked: &Endpoint, reachable: &Reachable<'_>) -> Option<Self> {
        let Value::Array(ranges) = reply else { return None };
        let mut map = Self::empty();
        for range in ranges {
            let Value::Array(parts) = range else { return None };
            let [Value::Int(first), Value::Int(last), master, replicas @ ..] = parts.as_slice() else {
                return None;
            };
            let slots = usize::try_from(*first).ok()?..=usize::try_from(*last).ok()?;
            if slots.is_empty() || *slots.end() >= SLOTS {
                return None;
            }
            // A node whose address nobody knows ("?") cannot be dialled: its slots stay unserved.
            let Some(master) = node(master, asked, reachable)? else { continue };
            let mut replicas: Vec<_> =
                replicas.iter().filter_map(|replica| node(replica, asked, reachable).flatten()).collect();
            // Nodes list them in different orders, which would pass for a change.
            replicas.sort_by_cached_key(|replica| replica.to_string());
            let shard = map.shard(master, replicas)?;
            map.owner[slots].fill(shard);
        }
        Some(map)
    }

    /// Which of [`shards`](Self::shards) serves `slot`.
    pub(crate) fn shard_index(&self, slot: u16) -> Option<usize> {
        self.owner.get(usize::from(slot)).filter(|owner| **owner != UNSERVED).map(|owner| usize::from(*owner))
    }

    /// All shards that serve slots.
    pub(crate) fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// Whether every slot is served.
    pub(crate) fn is_complete(&self) -> bool {
        self.owner.iter().all(|owner| *owner != UNSERVED)
    }

    fn shard(&mut self, master: Arc<Endpoint>, replicas: Vec<Arc<Endpoint>>) -> Option<u16> {
        let known = self.shards.iter().position(|shard| shard.master == master);
        let index = known.unwrap_or_else(|| {
            self.shards.push(Shard { master, replicas });
            self.shards.len() - 1
        });
        u16::try_from(index).ok().filter(|index| *index != UNSERVED)
    }
}

/// `[host, port, id, ...]`. The outer `None` is a malformed node, the inner one a node without an address.
fn node(value: &Value, asked: &Endpoint, reachable: &Reachable<'_>) -> Option<Option<Arc<Endpoint>>> {
    let Value::Array(parts) = value else { return None };
    let [host, Value::Int(port), ..] = parts.as_slice() else { return None };
    let Endpoint::Tcp { host: asked_host, .. } = asked else { return None };
    let port = u16::try_from(*port).ok()?;
    let host = match host {
        Value::Nil => asked_host.as_str(),
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?,
        Value::SimpleString(text) => text.as_str(),
        _ => return None,
    };
    Some(match host {
        "" => Some(reachable(Endpoint::tcp(asked_host.clone(), port))),
        "?" => None,
        host => Some(reachable(Endpoint::tcp(host, port))),
    })
}

fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|byte| *byte == b'{') else { return key };
    let inside = &key[open + 1..];
    match inside.iter().position(|byte| *byte == b'}') {
        Some(length) if length > 0 => &inside[..length],
        _ => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_agree_with_the_specification() {
        // 12739 is the specification's own example, the others are what CLUSTER KEYSLOT answers.
        assert_eq!(slot_of(b"123456789"), 12_739);
        assert_eq!(slot_of(b"foo"), 12_182);
        assert_eq!(slot_of(b"bar"), 5_061);
        assert_eq!(slot_of(b""), 0);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"user1000"));
        assert_eq!(slot_of(b"foo{}{bar}"), crc16::State::<crc16::XMODEM>::calculate(b"foo{}{bar}") % 16_384);
        assert_eq!(slot_of(b"foo{{bar}}zap"), slot_of(b"{bar"));
        assert_eq!(slot_of(b"foo{bar}{zap}"), slot_of(b"bar"));
        assert_eq!(hash_tag(b"open{only"), b"open{only");
    }

    #[test]
    fn a_reply_becomes_a_map() {
        let map = SlotMap::parse(&reply(), &Endpoint::tcp("seed", 7000), &Arc::new).unwrap();
        assert!(map.is_complete());
        assert_eq!(map.shards().len(), 2);
        assert_eq!(*shard(&map, 0).master, Endpoint::tcp("10.0.0.1", 7000));
        assert_eq!(shard(&map, 0).replicas, [Arc::new(Endpoint::tcp("seed", 7003))]);
        assert_eq!(*shard(&map, 16_383).master, Endpoint::tcp("seed", 7001));
    }

    #[test]
    fn announced_addresses_are_translated() {
        let reachable = |announced: Endpoint| match announced {
            Endpoint::Tcp { port, .. } => Arc::new(Endpoint::tcp("outside", port + 1000)),
            other => Arc::new(other),
        };
        let map = SlotMap::parse(&reply(), &Endpoint::tcp("seed", 7000), &reachable).unwrap();
        assert_eq!(*shard(&map, 0).master, Endpoint::tcp("outside", 8000));
        assert_eq!(shard(&map, 0).replicas, [Arc::new(Endpoint::tcp("outside", 8003))]);
    }

    #[test]
    fn nodes_without_an_address_leave_their_slots_unserved() {
        let Value::Array(mut ranges) = reply() else { unreachable!() };
        ranges.truncate(1);
        ranges.push(Value::Array(vec![Value::Int(8192), Value::Int(16_383), peer("?", 7009)]));
        let map = SlotMap::parse(&Value::Array(ranges), &Endpoint::tcp("seed", 7000), &Arc::new).unwrap();
        assert!(!map.is_complete());
        assert!(map.shard_index(8192).is_none());
    }

    #[test]
    fn malformed_replies_are_refused() {
        let asked = Endpoint::tcp("seed", 7000);
        for bad in [
            Value::Nil,
            Value::Array(vec![Value::Nil]),
            Value::Array(vec![Value::Array(vec![Value::Int(0), Value::Int(16_384), peer("a", 1)])]),
            Value::Array(vec![Value::Array(vec![Value::Int(-1), Value::Int(5), peer("a", 1)])]),
            Value::Array(vec![Value::Array(vec![Value::Int(9), Value::Int(5), peer("a", 1)])]),
            Value::Array(vec![Value::Array(vec![Value::Int(0), Value::Int(5), peer("a", 70_000)])]),
            Value::Array(vec![Value::Array(vec![Value::Int(0), Value::Int(5)])]),
        ] {
            assert_eq!(SlotMap::parse(&bad, &asked, &Arc::new), None, "{bad:?}");
        }
    }

    fn shard(map: &SlotMap, slot: u16) -> &Shard {
        &map.shards()[map.shard_index(slot).unwrap()]
    }

    fn reply() -> Value {
        Value::Array(vec![
            Value::Array(vec![Value::Int(0), Value::Int(8191), peer("10.0.0.1", 7000), peer("", 7003)]),
            Value::Array(vec![
                Value::Int(8192),
                Value::Int(16_383),
                Value::Array(vec![Value::Nil, Value::Int(7001), Value::BulkString(b"id".to_vec())]),
            ]),
        ])
    }

    fn peer(host: &str, port: i64) -> Value {
        Value::Array(vec![
            Value::BulkString(host.as_bytes().to_vec()),
            Value::Int(port),
            Value::BulkString(b"id".to_vec()),
        ])
    }
}
