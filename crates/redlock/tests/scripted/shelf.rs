//! A lock node in memory that does what a test tells it to.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use redlock::{Claim, Fault, LockNode, NodeInfo, Place, Standing, Vote, async_trait};
use tokio::time::Instant;

/// One exclusive lock, by tokio's clock.
#[derive(Clone)]
pub(crate) struct Shelf {
    label: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) holder: Option<(String, Instant)>,
    pub(crate) counter: u64,
    /// It accepts requests and answers nothing.
    pub(crate) hangs: bool,
    /// It answers each acquire with this.
    pub(crate) refusal: Option<Fault>,
    /// It carries out the next release, and answers this.
    pub(crate) fault: Option<Fault>,
    /// What its counter has become when the next write-back arrives: given to somebody else meanwhile.
    pub(crate) overtaken: Option<u64>,
    pub(crate) raises: Vec<u64>,
    pub(crate) buried: Vec<String>,
}

impl Shelf {
    pub(crate) fn row(count: usize) -> Vec<Self> {
        let shelf = |i| Self { label: format!("shelf-{i}"), state: Arc::default() };
        (0..count).map(shelf).collect()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
    }

    pub(crate) fn is_held(&self) -> bool {
        self.state.lock().current().is_some()
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.state.lock())
    }

    async fn answer<T>(&self, act: impl FnOnce(&mut State) -> T) -> Result<T, Fault> {
        let hangs = self.state.lock().hangs;
        if hangs {
            std::future::pending::<()>().await;
        }
        Ok(act(&mut self.state.lock()))
    }
}

impl State {
    fn current(&mut self) -> Option<String> {
        self.holder.take_if(|(_, ends)| *ends <= Instant::now());
        self.holder.as_ref().map(|(id, _)| id.clone())
    }

    fn vote(&mut self, claim: &Claim) -> Vote {
        match self.standing(claim) {
            _ if self.buried.iter().any(|id| id == claim.id()) => Vote::Dead,
            Standing::Stolen => {
                let holder = self.current().expect("held by another");
                Vote::Held { holder, remaining: Duration::ZERO }
            }
            _ => {
                self.holder = Some((claim.id().to_owned(), Instant::now() + claim.ttl()));
                self.counter += 1;
                Vote::Granted { token: self.counter }
            }
        }
    }

    fn standing(&mut self, claim: &Claim) -> Standing {
        match self.current() {
            Some(id) if id == claim.id() => Standing::Held,
            Some(_) => Standing::Stolen,
            None => Standing::Missing,
        }
    }
}

#[async_trait]
impl LockNode for Shelf {
    fn label(&self) -> &str {
        &self.label
    }

    async fn inspect(&self) -> Result<NodeInfo, Fault> {
        self.answer(|_| NodeInfo { run_id: self.label.clone(), ..NodeInfo::default() }).await
    }

    async fn acquire(&self, claim: &Claim) -> Result<Vote, Fault> {
        self.answer(|state| state.refusal.clone().map_or_else(|| Ok(state.vote(claim)), Err)).await?
    }

    async fn enqueue(&self, _: &Claim, _: &Place) -> Result<Vote, Fault> {
        Err(Fault::Refused("a shelf has no queue".into()))
    }

    async fn extend(&self, claim: &Claim, ttl: Duration) -> Result<Standing, Fault> {
        self.answer(|state| {
            let standing = state.standing(claim);
            if let (Standing::Held, Some((_, ends))) = (standing, &mut state.holder) {
                *ends = (*ends).max(Instant::now() + ttl);
            }
            standing
        })
        .await
    }

    async fn raise(&self, claim: &Claim, token: u64) -> Result<Option<u64>, Fault> {
        self.answer(|state| {
            state.raises.push(token);
            state.counter = state.counter.max(token).max(state.overtaken.take().unwrap_or(0));
            (state.standing(claim) == Standing::Held).then_some(state.counter)
        })
        .await
    }

    async fn release(&self, claim: &Claim, burial: Option<Duration>) -> Result<Standing, Fault> {
        self.answer(|state| {
            let standing = state.standing(claim);
            if standing == Standing::Held {
                state.holder = None;
            }
            if burial.is_some() {
                state.buried.push(claim.id().to_owned());
            }
            state.fault.take().map_or(Ok(standing), Err)
        })
        .await?
    }

    async fn peek(&self, _: &Claim) -> Result<Vec<(String, Duration)>, Fault> {
        self.answer(|state| {
            let holder = state.current();
            holder.map(|id| (id, Duration::from_secs(1))).into_iter().collect()
        })
        .await
    }

    async fn bootstrap(&self, _: &str) -> Result<(), Fault> {
        self.answer(|_| ()).await
    }
}
