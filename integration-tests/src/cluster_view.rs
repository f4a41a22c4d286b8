//! What one node knows of its cluster.

use redis::cmd;

use crate::Server;

/// One node's view of the whole cluster. Two nodes agree when their views are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClusterView {
    /// In the order of their ids.
    pub(crate) members: Vec<MemberView>,
}

/// One member in such a view.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct MemberView {
    pub(crate) id: String,
    /// The id of the master it follows; `None` for a master.
    pub(crate) master: Option<String>,
    /// The slot ranges it owns, both ends included.
    pub(crate) slots: Vec<(u16, u16)>,
}

impl ClusterView {
    /// Asks a node.
    pub(crate) async fn of(node: &Server) -> Result<Self, String> {
        let explain = |error: redis::RedisError| format!("{node}: {error}");
        let info: String = node.try_command(cmd("CLUSTER").arg("INFO")).await.map_err(explain)?;
        let state = info.lines().next().unwrap_or_default();
        if state != "cluster_state:ok" {
            return Err(format!("{node}: {state}"));
        }
        let nodes: String = node.try_command(cmd("CLUSTER").arg("NODES")).await.map_err(explain)?;
        Self::parse(&nodes).ok_or_else(|| format!("{node}: {nodes}"))
    }

    /// Reads CLUSTER NODES; `None` while a member is in handshake or without address.
    fn parse(nodes: &str) -> Option<Self> {
        let mut members = nodes.lines().map(MemberView::parse).collect::<Option<Vec<_>>>()?;
        members.sort();
        Some(Self { members })
    }

    pub(crate) fn member(&self, id: &str) -> Option<&MemberView> {
        self.members.iter().find(|member| member.id == id)
    }

    pub(crate) fn owner_of(&self, slot: u16) -> Option<&MemberView> {
        let owns =
            |member: &&MemberView| member.slots.iter().any(|&(first, last)| (first..=last).contains(&slot));
        self.members.iter().find(owns)
    }
}

impl MemberView {
    /// Reads one line: id, address, flags, master, three numbers, link state, slots.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(' ');
        let id = fields.next()?.to_owned();
        let flags = fields.nth(1)?;
        if flags.contains("handshake") || flags.contains("noaddr") {
            return None;
        }
        let master = Some(fields.next()?).filter(|master| *master != "-").map(str::to_owned);
        // Slots in square brackets are on the move; they are listed among the owned ones, too.
        let slots =
            fields.skip(4).filter(|slot| !slot.starts_with('[')).map(parse_range).collect::<Option<_>>()?;
        Some(Self { id, master, slots })
    }

    pub(crate) fn slot_count(&self) -> usize {
        self.slots.iter().map(|(first, last)| usize::from(last - first) + 1).sum()
    }
}

fn parse_range(range: &str) -> Option<(u16, u16)> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    Some((first.parse().ok()?, last.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_single_slots_and_moving_slots_are_read() {
        let line = "a 127.0.0.1:1@2,host myself,master - 0 0 1 connected 0-5460 9000 [93->-b]";
        let member = MemberView::parse(line).unwrap();
        assert_eq!(member.slots, [(0, 5460), (9000, 9000)]);
        assert_eq!(member.slot_count(), 5462);
        let view = ClusterView::parse(line).unwrap();
        assert_eq!(view.owner_of(9000).map(|owner| owner.id.as_str()), Some("a"));
        assert_eq!(view.owner_of(5461), None);
    }

    #[test]
    fn a_view_with_a_handshake_is_no_view() {
        assert_eq!(ClusterView::parse("a 127.0.0.1:1@2 handshake - 0 0 0 connected"), None);
    }
}
