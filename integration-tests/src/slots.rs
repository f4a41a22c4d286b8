//! Keys, slots, and slots on the move.

use std::ops::RangeInclusive;

use redis::cmd;

use crate::{Cluster, Server, cluster_view::ClusterView};

/// How many slots a cluster has.
pub const SLOTS: u16 = 16_384;

/// The slot of a key: CRC16 of the part between the first `{` and the next `}`, if there is one and it is not
/// empty, else of the whole key.
///
/// Source: the Redis Cluster specification, "Hash tags".
pub fn slot_of(key: &[u8]) -> u16 {
    let position = |bytes: &[u8], byte| bytes.iter().position(|b| *b == byte);
    let tag = position(key, b'{').map(|open| &key[open + 1..]);
    let tag = tag.and_then(|rest| position(rest, b'}').map(|close| &rest[..close]));
    let hashed = tag.filter(|tag| !tag.is_empty()).unwrap_or(key);
    crc16::State::<crc16::XMODEM>::calculate(hashed) % SLOTS
}

/// A hash tag such as `{1f3}` that puts a key into `slot`.
pub fn tag_for(slot: u16) -> String {
    let tags = (0u32..).map(|number| format!("{{{number:x}}}"));
    tags.into_iter().find(|tag| slot_of(tag.as_bytes()) == slot).expect("CRC16 reaches every slot")
}

/// Resharding.
impl Cluster {
    /// Marks `slot` as on its way to the master `to`: from now on its owner answers ASK for keys it lacks.
    ///
    /// # Panics
    /// When a node refuses.
    pub async fn begin_migration(&self, slot: u16, to: &Server) {
        self.mark(slot, self.owner_of(slot).await, to).await;
    }

    /// Moves up to `limit` keys of a slot that is on its way to `to`, and returns how many were moved.
    ///
    /// # Panics
    /// When a node refuses.
    pub async fn migrate_keys(&self, slot: u16, to: &Server, limit: usize) -> usize {
        migrate(slot, self.owner_of(slot).await, to, limit).await
    }

    /// Makes `to` the owner of a slot that is on its way there, and waits until all nodes know.
    ///
    /// # Panics
    /// When a node refuses.
    pub async fn finish_migration(&self, slot: u16, to: &Server) {
        self.assign(slot, self.owner_of(slot).await, to).await;
        self.wait_owner(slot..=slot, to).await;
    }

    /// Moves one slot with all its keys to the master `to`.
    ///
    /// # Panics
    /// When a node refuses.
    pub async fn move_slot(&self, slot: u16, to: &Server) {
        self.reshard(slot..=slot, to).await;
    }

    /// Moves slots with all their keys to the master `to`, one after the other, as `redis-cli --cluster
    /// reshard` does, and waits until all nodes know.
    ///
    /// # Panics
    /// When a node refuses.
    pub async fn reshard(&self, slots: RangeInclusive<u16>, to: &Server) {
        let view = self.settled_view().await;
        for slot in slots.clone() {
            let owner = view.owner_of(slot).expect("a settled cluster serves every slot");
            let from = self.node(&owner.id);
            if from.port() == to.port() {
                continue;
            }
            self.mark(slot, from, to).await;
            while migrate(slot, from, to, 100).await > 0 {}
            self.assign(slot, from, to).await;
        }
        self.wait_owner(slots, to).await;
    }

    async fn mark(&self, slot: u16, from: &Server, to: &Server) {
        to.command::<()>(cmd("CLUSTER").arg("SETSLOT").arg(slot).arg("IMPORTING").arg(self.id(from))).await;
        from.command::<()>(cmd("CLUSTER").arg("SETSLOT").arg(slot).arg("MIGRATING").arg(self.id(to))).await;
    }

    /// Tells the new owner first and the old one next, as the specification asks: should the second message
    /// be lost, two nodes claim the slot and the newer claim wins, while the other order could leave it to
    /// nobody. The other nodes hear of it by gossip.
    async fn assign(&self, slot: u16, from: &Server, to: &Server) {
        let command = cmd("CLUSTER").arg("SETSLOT").arg(slot).arg("NODE").arg(self.id(to)).to_owned();
        to.command::<()>(&command).await;
        from.command::<()>(&command).await;
    }

    async fn wait_owner(&self, slots: RangeInclusive<u16>, to: &Server) {
        let id = self.id(to);
        let owns =
            |view: &ClusterView| slots.clone().all(|slot| view.owner_of(slot).is_some_and(|o| o.id == id));
        self.find("the slots' new owner", |view| view.member(id).filter(|_| owns(view))).await;
    }
}

/// Moves up to `limit` keys of `slot`, and returns how many.
async fn migrate(slot: u16, from: &Server, to: &Server, limit: usize) -> usize {
    let keys: Vec<Vec<u8>> = from.command(cmd("CLUSTER").arg("GETKEYSINSLOT").arg(slot).arg(limit)).await;
    if !keys.is_empty() {
        let mut migrate = cmd("MIGRATE");
        migrate.arg("127.0.0.1").arg(to.port()).arg("").arg(0).arg(5000).arg("REPLACE");
        to.config().authenticate_migrate(&mut migrate);
        from.command::<()>(migrate.arg("KEYS").arg(&keys)).await;
    }
    keys.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(slot_of(b"123456789"), 0x31C3);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"user1000"));
        assert_eq!(slot_of(b"foo{}{bar}"), crc16::State::<crc16::XMODEM>::calculate(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot_of(b"foo{{bar}}zap"), slot_of(b"{bar"));
        assert_eq!(slot_of(b"{a4}"), 3788);
    }

    #[test]
    fn every_slot_has_a_tag() {
        for slot in (0..SLOTS).step_by(977) {
            assert_eq!(slot_of(tag_for(slot).as_bytes()), slot);
        }
    }
}
