//! Settings as text: how each type of setting is read, shown, and explained when it cannot be read.

use std::time::Duration;

use redis_conn::{ReadFrom, WriteConcern};

use crate::keyspace::Layout;

/// A setting's value as it stands in a file or the environment.
pub(crate) trait Text: Sized {
    /// What is expected, for errors: they never repeat what was given, which may be secret.
    const EXPECTED: &'static str;

    fn read(text: &str) -> Option<Self>;

    fn show(&self) -> String;
}

/// What stands for "not set".
const NONE: &str = "none";

impl<T: Text> Text for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn read(text: &str) -> Option<Self> {
        if text == NONE { Some(None) } else { T::read(text).map(Some) }
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| NONE.to_owned(), Text::show)
    }
}

impl Text for Duration {
    const EXPECTED: &'static str = "a duration such as 3s, 250ms or 1m 30s";

    fn read(text: &str) -> Option<Self> {
        humantime::parse_duration(text).ok()
    }

    fn show(&self) -> String {
        humantime::format_duration(*self).to_string()
    }
}

impl Text for String {
    const EXPECTED: &'static str = "a text";

    fn read(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    fn show(&self) -> String {
        self.clone()
    }
}

macro_rules! parsed {
    ($($kind:ty: $expected:literal;)*) => {
        $(impl Text for $kind {
            const EXPECTED: &'static str = $expected;

            fn read(text: &str) -> Option<Self> {
                text.parse().ok()
            }

            fn show(&self) -> String {
                self.to_string()
            }
        })*
    };
}

parsed! {
    bool: "true or false";
    u32: "a whole number that is not negative";
    usize: "a whole number that is not negative";
    f64: "a number";
}

macro_rules! words {
    ($(#[$meta:meta])* $kind:ty: $expected:literal, $($word:literal = $value:expr,)*) => {
        $(#[$meta])*
        impl Text for $kind {
            const EXPECTED: &'static str = $expected;

            fn read(text: &str) -> Option<Self> {
                [$(($word, $value)),*].into_iter().find_map(|(word, value)| (word == text).then_some(value))
            }

            fn show(&self) -> String {
                let words = [$(($word, $value)),*];
                let word = words.into_iter().find_map(|(word, value)| (value == *self).then_some(word));
                word.unwrap_or("other").to_owned()
            }
        }
    };
}

words! {
    Layout: "namespaced or plain",
    "namespaced" = Self::Namespaced,
    "plain" = Self::Plain,
}

words! {
    ReadFrom: "master, prefer_replica or replica",
    "master" = Self::Master,
    "prefer_replica" = Self::PreferReplica,
    "replica" = Self::Replica,
}

words! {
    #[cfg(feature = "codec")]
    crate::SerializationFormat: "messagepack, json or postcard",
    "messagepack" = Self::MessagePack,
    "json" = Self::Json,
    "postcard" = Self::Postcard,
}

words! {
    #[cfg(feature = "encrypt")]
    state_codec::Plaintext: "accept or refuse",
    "accept" = Self::Accept,
    "refuse" = Self::Refuse,
}

impl Text for WriteConcern {
    const EXPECTED: &'static str = "fast, or wait(replicas, time) such as wait(1, 500ms)";

    fn read(text: &str) -> Option<Self> {
        if text == "fast" {
            return Some(Self::Fast);
        }
        let (replicas, timeout) = within(text, "wait")?.split_once(',')?;
        Some(Self::Wait { replicas: u32::read(replicas.trim())?, timeout: Duration::read(timeout.trim())? })
    }

    fn show(&self) -> String {
        match self {
            Self::Fast => "fast".to_owned(),
            Self::Wait { replicas, timeout } => format!("wait({replicas}, {})", timeout.show()),
            _ => "other".to_owned(),
        }
    }
}

#[cfg(feature = "codec")]
impl Text for state_codec::Compression {
    const EXPECTED: &'static str = "none, lz4, snappy, zstd, or zstd(level) such as zstd(7)";

    fn read(text: &str) -> Option<Self> {
        Some(match text {
            "none" => Self::None,
            "lz4" => Self::Lz4,
            "snappy" => Self::Snappy,
            "zstd" => Self::ZSTD,
            other => Self::Zstd { level: within(other, "zstd")?.trim().parse().ok()? },
        })
    }

    fn show(&self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::Lz4 => "lz4".to_owned(),
            Self::Snappy => "snappy".to_owned(),
            Self::Zstd { level } => format!("zstd({level})"),
            _ => "other".to_owned(),
        }
    }
}

/// What stands in the parentheses of `name(...)`.
fn within<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.strip_prefix(name)?.trim_start().strip_prefix('(')?.strip_suffix(')')
}
