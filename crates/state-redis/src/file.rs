//! Settings from a file: anything that serde reads.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::config::RedisConfig;
use crate::settings::{Draft, Given};

/// Reads the settings of the README's table, flat (`pool_min`) or in tables (`[pool] min`). What is not given has its
/// default; what is unknown, given twice, or out of its range is an error that names it and repeats no value.
impl<'de> Deserialize<'de> for RedisConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Node::Table(members) = Node::deserialize(deserializer)? else {
            return Err(D::Error::custom("expected a table of settings"));
        };
        let mut draft = Draft::over(Self::default());
        lay(&mut draft, "", members).and_then(|()| draft.finish()).map_err(D::Error::custom)
    }
}

/// A value of a file.
enum Node {
    Leaf(Given),
    Table(Vec<(String, Self)>),
}

/// Gives the settings under `path` to `draft`; the names of tables go in front of those of their members.
fn lay(draft: &mut Draft, path: &str, members: Vec<(String, Node)>) -> state_core::StateResult<()> {
    for (name, node) in members {
        let name = if path.is_empty() { name } else { format!("{path}_{name}") };
        match node {
            Node::Leaf(given) => draft.set(&name, &given)?,
            Node::Table(members) => lay(draft, &name, members)?,
        }
    }
    Ok(())
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

macro_rules! leaves {
    ($($visit:ident: $kind:ty;)*) => {
        $(fn $visit<E: Error>(self, value: $kind) -> Result<Node, E> {
            Ok(Node::Leaf(Given::One(value.to_string())))
        })*
    };
}

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, true or false, a list of texts, or a table")
    }

    leaves! {
        visit_bool: bool;
        visit_i64: i64;
        visit_u64: u64;
        visit_f64: f64;
        visit_str: &str;
    }

    /// JSON's null.
    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        self.visit_str("none")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = items.next_element()? {
            texts.push(text);
        }
        Ok(Node::Leaf(Given::Many(texts)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            members.push(entry);
        }
        Ok(Node::Table(members))
    }
}
