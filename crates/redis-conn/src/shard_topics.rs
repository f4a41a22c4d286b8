//! Who listens to which sharded channel of one connection.

use std::collections::HashMap;
use std::sync::Arc;

use redis::Value;
use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, Result};
use crate::shard_line::Join;

/// What the server tells a subscriber.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Message {
        channel: String,
        payload: Vec<u8>,
    },
    Subscribed,
    /// On demand, or because the slot is no longer served here.
    Ended {
        channel: String,
    },
    Pong,
}

impl Told {
    /// `None` for anything else.
    pub(crate) fn read(fields: Vec<Value>) -> Option<Self> {
        let mut fields = fields.into_iter();
        let mut bytes = || match fields.next()? {
            Value::BulkString(bytes) => Some(bytes),
            _ => None,
        };
        let kind = bytes()?;
        let mut channel = || String::from_utf8(bytes()?).ok();
        Some(match kind.as_slice() {
            b"pong" => Self::Pong,
            b"ssubscribe" => Self::Subscribed,
            b"sunsubscribe" => Self::Ended { channel: channel()? },
            b"smessage" => Self::Message { channel: channel()?, payload: bytes()? },
            _ => return None,
        })
    }
}

/// The channels of one connection.
#[derive(Default)]
pub(crate) struct Topics {
    by_name: HashMap<Arc<str>, Topic>,
    /// The number of the last subscription.
    last: u64,
}

struct Topic {
    /// The subscription that it waits for: the confirmation of an earlier one, ended since, does not count.
    number: u64,
    is_confirmed: bool,
    members: Vec<Member>,
}

struct Member {
    number: u64,
    feed: mpsc::Sender<Vec<u8>>,
    /// Until the subscription is confirmed.
    done: Option<oneshot::Sender<Result<()>>>,
}

impl Topics {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Takes a member in; returns the number of the subscription that is to be made for it, if one is.
    pub(crate) fn join(&mut self, join: Join) -> Option<u64> {
        let Join { channel, member, feed, done } = join;
        let mut member = Member { number: member, feed, done: Some(done) };
        if let Some(topic) = self.by_name.get_mut(&channel) {
            if topic.is_confirmed {
                member.is_in(Ok(()));
            }
            topic.members.push(member);
            return None;
        }
        self.last += 1;
        let topic = Topic { number: self.last, is_confirmed: false, members: vec![member] };
        self.by_name.insert(channel, topic);
        Some(self.last)
    }

    /// Lets a member go; says whether the subscription is to be ended, because it was the last.
    pub(crate) fn leave(&mut self, channel: &Arc<str>, member: u64) -> bool {
        let Some(topic) = self.by_name.get_mut(channel) else { return false };
        topic.members.retain(|other| other.number != member);
        topic.members.is_empty() && self.by_name.remove(channel).is_some()
    }

    pub(crate) fn confirm(&mut self, number: u64) {
        if let Some(topic) = self.by_name.values_mut().find(|topic| topic.number == number) {
            topic.is_confirmed = true;
            topic.members.iter_mut().for_each(|member| member.is_in(Ok(())));
        }
    }

    pub(crate) fn refuse(&mut self, number: u64, error: &Error) {
        let refused = self.by_name.extract_if(|_, topic| topic.number == number);
        for (_, topic) in refused {
            topic.members.into_iter().for_each(|mut member| member.is_in(Err(error.restated())));
        }
    }

    /// Passes a message on. Returns the channel when its last reader was too slow, which ends it.
    pub(crate) fn deliver(&mut self, channel: &str, payload: &[u8]) -> Option<Arc<str>> {
        let topic = self.by_name.get_mut(channel)?;
        topic.members.retain(|member| member.feed.try_send(payload.to_vec()).is_ok());
        if !topic.members.is_empty() {
            return None;
        }
        self.by_name.remove_entry(channel).map(|(channel, _)| channel)
    }

    /// The server has ended a subscription. One that is to be confirmed comes after that.
    pub(crate) fn end(&mut self, channel: &str) {
        if self.by_name.get(channel).is_some_and(|topic| topic.is_confirmed) {
            self.by_name.remove(channel);
        }
    }

    /// Ends the channels of which this is true, and names them.
    pub(crate) fn end_if(&mut self, is_over: impl Fn(&str) -> bool) -> Vec<Arc<str>> {
        let over: Vec<_> = self.by_name.keys().filter(|channel| is_over(channel)).cloned().collect();
        over.iter().for_each(|channel| drop(self.by_name.remove(channel)));
        over
    }
}

impl Member {
    fn is_in(&mut self, outcome: Result<()>) {
        if let Some(done) = self.done.take() {
            // A caller that stopped waiting does not want the outcome.
            let _ = done.send(outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Reader {
        messages: mpsc::Receiver<Vec<u8>>,
        done: oneshot::Receiver<Result<()>>,
    }

    fn join(topics: &mut Topics, member: u64) -> (Option<u64>, Reader) {
        let (feed, messages) = mpsc::channel(2);
        let (done, confirmed) = oneshot::channel();
        let number = topics.join(Join { channel: "c".into(), member, feed, done });
        (number, Reader { messages, done: confirmed })
    }

    #[test]
    fn members_share_one_subscription() {
        let mut topics = Topics::default();
        let (first, mut one) = join(&mut topics, 1);
        let (second, mut two) = join(&mut topics, 2);
        assert_eq!((first, second), (Some(1), None));
        assert!(one.done.try_recv().is_err(), "not confirmed yet");
        topics.confirm(1);
        assert!(one.done.try_recv().unwrap().is_ok() && two.done.try_recv().unwrap().is_ok());
        assert!(topics.deliver("c", b"m").is_none());
        assert_eq!(two.messages.try_recv().unwrap(), b"m");
        assert!(!topics.leave(&"c".into(), 1));
        assert!(topics.leave(&"c".into(), 2));
        assert!(topics.is_empty());
    }

    #[test]
    fn the_confirmation_of_an_earlier_subscription_is_not_that_of_the_next() {
        let mut topics = Topics::default();
        let (first, _) = join(&mut topics, 1);
        assert!(topics.leave(&"c".into(), 1));
        let (second, mut reader) = join(&mut topics, 2);
        topics.confirm(first.unwrap());
        topics.end("c");
        assert!(reader.done.try_recv().is_err());
        topics.confirm(second.unwrap());
        assert!(reader.done.try_recv().unwrap().is_ok());
    }

    #[test]
    fn the_end_of_a_subscription_ends_what_its_readers_hear() {
        let mut topics = Topics::default();
        let (number, mut reader) = join(&mut topics, 1);
        topics.confirm(number.unwrap());
        topics.deliver("c", b"last");
        topics.end("c");
        assert_eq!(reader.messages.try_recv().unwrap(), b"last");
        assert_eq!(reader.messages.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    }

    #[test]
    fn a_reader_that_is_too_slow_loses_the_channel() {
        let mut topics = Topics::default();
        let (number, _reader) = join(&mut topics, 1);
        topics.confirm(number.unwrap());
        assert!(topics.deliver("c", b"1").is_none() && topics.deliver("c", b"2").is_none());
        assert_eq!(topics.deliver("c", b"3").as_deref(), Some("c"));
        assert!(topics.is_empty());
    }
}
