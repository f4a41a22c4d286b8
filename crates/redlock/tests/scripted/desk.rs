//! A single authority in memory that lets everybody wait, and the channel on which it calls them.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use redlock::{
    BoxStream, Claim, Fault, LockConfig, LockManager, LockNode, LockOptions, NodeInfo, Place, Standing,
    Subscriber, Vote, async_trait,
};
use tokio::sync::mpsc;

/// Answers looks as a test says, `waiting` when it says nothing, and notes what it was asked.
#[derive(Clone, Default)]
pub(crate) struct Desk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    answers: VecDeque<(Duration, Vote)>,
    notes: Notes,
    channel: Option<mpsc::UnboundedSender<String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notes {
    /// The id of the last claim.
    pub(crate) id: String,
    pub(crate) looks: u64,
    pub(crate) extensions: Vec<Duration>,
    /// Releases, with a burial or without.
    pub(crate) releases: Vec<bool>,
}

impl Desk {
    /// A manager that listens already.
    pub(crate) async fn manager(&self, config: LockConfig) -> LockManager {
        let builder = LockManager::builder(config).subscriber(self.clone());
        let manager = builder.single(self.clone()).await.expect("a manager");
        let answers = std::mem::take(&mut self.0.lock().answers);
        self.answer([(Duration::ZERO, Vote::Granted { token: 1 })]);
        let first = manager.acquire("first", LockOptions::default()).await.expect("it is granted");
        first.release().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut state = self.0.lock();
        state.answers = answers;
        state.notes = Notes::default();
        drop(state);
        manager
    }

    /// The next looks take this long and are answered so.
    pub(crate) fn answer(&self, answers: impl IntoIterator<Item = (Duration, Vote)>) {
        self.0.lock().answers.extend(answers);
    }

    pub(crate) fn notes(&self) -> Notes {
        self.0.lock().notes.clone()
    }

    /// Publishes that the lock was handed to the last claim after this look.
    pub(crate) fn hand_over(&self, look: u64, token: u64) {
        let id = self.notes().id;
        self.publish(&format!("{id} {look} {token}"));
    }

    pub(crate) fn publish(&self, message: &str) {
        let state = self.0.lock();
        let channel = state.channel.as_ref().expect("somebody listens");
        channel.send(message.to_owned()).expect("somebody listens");
    }
}

pub(crate) fn waiting() -> Vote {
    Vote::Waiting { holder: "other/1".into(), remaining: Duration::ZERO, score: "1".into() }
}

#[async_trait]
impl Subscriber for Desk {
    async fn subscribe(
        &self,
        _channel: &str,
    ) -> Result<BoxStream<'static, String>, Box<dyn std::error::Error + Send + Sync>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.0.lock().channel = Some(sender);
        let next = |mut receiver: mpsc::UnboundedReceiver<String>| async {
            Some((receiver.recv().await?, receiver))
        };
        Ok(stream::unfold(receiver, next).boxed())
    }
}

#[async_trait]
impl LockNode for Desk {
    fn label(&self) -> &str {
        "desk"
    }

    async fn inspect(&self) -> Result<NodeInfo, Fault> {
        Ok(NodeInfo { run_id: "desk".into(), ..NodeInfo::default() })
    }

    async fn acquire(&self, _: &Claim) -> Result<Vote, Fault> {
        Err(Fault::Refused("a desk has a queue".into()))
    }

    async fn enqueue(&self, claim: &Claim, place: &Place) -> Result<Vote, Fault> {
        let (takes, vote) = {
            let mut state = self.0.lock();
            state.notes.id = claim.id().to_owned();
            state.notes.looks = place.look;
            state.answers.pop_front().unwrap_or_else(|| (Duration::ZERO, waiting()))
        };
        tokio::time::sleep(takes).await;
        Ok(vote)
    }

    async fn extend(&self, _: &Claim, ttl: Duration) -> Result<Standing, Fault> {
        self.0.lock().notes.extensions.push(ttl);
        Ok(Standing::Held)
    }

    async fn raise(&self, _: &Claim, _: u64) -> Result<Option<u64>, Fault> {
        Err(Fault::Refused("a desk has one counter".into()))
    }

    async fn release(&self, _: &Claim, burial: Option<Duration>) -> Result<Standing, Fault> {
        self.0.lock().notes.releases.push(burial.is_some());
        Ok(Standing::Held)
    }

    async fn peek(&self, _: &Claim) -> Result<Vec<(String, Duration)>, Fault> {
        Ok(Vec::new())
    }

    async fn bootstrap(&self, _: &str) -> Result<(), Fault> {
        Ok(())
    }
}
