//! One supervised connection, as operations see it: send, wait until the deadline, say what is known.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use redis::{ServerError, Value};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::budget::{Budget, Charge};
use crate::classify::{Trouble, server_error, trouble};
use crate::dial::Dialed;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::events::State;
use crate::handshake::ServerInfo;
use crate::mux::{Answer, Lost, Mux, Terms};
use crate::observe::Permit;
use crate::request::{Request, submit};
use crate::setup::Setup;
use crate::slot::Pending;
use crate::stream::Traffic;
use crate::typed::Typed;

/// An established connection and what is still owed to it.
pub(crate) struct Live {
    pub(crate) mux: Mux,
    pub(crate) epoch: u64,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) server: ServerInfo,
    pub(crate) debts: Debts,
}

impl Live {
    pub(crate) fn new(dialed: &Dialed, epoch: u64, endpoint: Arc<Endpoint>, link: &Link) -> Self {
        dialed.traffic.share(&link.budget);
        dialed.mux.open(Terms { setup: Arc::clone(&link.setup), endpoint: Arc::clone(&endpoint) });
        Self {
            mux: dialed.mux.clone(),
            epoch,
            endpoint,
            traffic: Arc::clone(&dialed.traffic),
            server: dialed.server,
            debts: Debts::new(),
        }
    }
}

/// What requests that were given up unanswered occupy of the budget: theirs until the server has answered.
pub(crate) struct Debts {
    /// `None` once the connection is over, and with it everything owed.
    owed: Mutex<Option<u64>>,
    pub(crate) grown: Notify,
}

impl Debts {
    fn new() -> Self {
        Self { owed: Mutex::new(Some(0)), grown: Notify::new() }
    }

    pub(crate) fn owed(&self) -> Charge {
        Charge::from_bits(self.owed.lock().unwrap_or(0))
    }

    /// A request was given up unanswered.
    fn add(&self, charge: Charge, budget: &Budget) {
        match self.owed.lock().as_mut() {
            Some(owed) => *owed += charge.bits(),
            None => return budget.give_back(charge),
        }
        self.grown.notify_one();
    }

    /// The requests behind `charge` have been answered after all.
    pub(crate) fn repay(&self, charge: Charge, budget: &Budget) {
        if let Some(owed) = self.owed.lock().as_mut() {
            *owed -= charge.bits();
            budget.give_back(charge);
        }
    }

    /// The connection is over: nothing more will be answered on it.
    pub(crate) fn write_off(&self, budget: &Budget) {
        if let Some(owed) = self.owed.lock().take() {
            budget.give_back(Charge::from_bits(owed));
        }
    }
}

/// What operations tell the supervisor: the latest trouble and the epoch it arose in.
#[derive(Default)]
pub(crate) struct Signal {
    word: AtomicU64,
    raised: Notify,
}

impl Signal {
    fn raise(&self, epoch: u64, trouble: Trouble) {
        let code = match trouble {
            Trouble::WrongRole => 1,
            Trouble::Auth => 2,
        };
        self.word.store(epoch << 2 | code, Ordering::Release);
        self.raised.notify_one();
    }

    /// Waits for trouble on the connection of `epoch`; word of earlier ones is dropped.
    pub(crate) async fn next(&self, epoch: u64) -> Trouble {
        loop {
            let word = self.word.swap(0, Ordering::AcqRel);
            match (word >> 2 == epoch, word & 3) {
                (true, 1) => return Trouble::WrongRole,
                (true, 2) => return Trouble::Auth,
                _ => self.raised.notified().await,
            }
        }
    }
}

/// The connection's state, and the last failure while there is none.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    pub(crate) state: State,
    pub(crate) failure: Option<Arc<Error>>,
}

/// One supervised connection. Its supervisor task puts `current` in place and takes it away.
pub(crate) struct Link {
    pub(crate) setup: Arc<Setup>,
    pub(crate) current: ArcSwapOption<Live>,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) signal: Signal,
    /// The server that was dialled last.
    last: ArcSwapOption<Endpoint>,
}

impl Link {
    pub(crate) fn new(setup: Arc<Setup>) -> Self {
        let status = watch::Sender::new(Status { state: State::Connecting, failure: None });
        let budget = Arc::new(Budget::new(&setup.config));
        let (current, last) = (ArcSwapOption::empty(), ArcSwapOption::empty());
        Self { setup, current, status, budget, signal: Signal::default(), last }
    }

    /// Sends one request and waits for its answer, at most until `deadline`. Error replies come back as data.
    pub(crate) async fn send<R: Request>(
        &self,
        request: R,
        bytes: usize,
        deadline: Instant,
    ) -> Result<R::Reply> {
        let share = self.charge(bytes, deadline).await?;
        self.exchange(&request, deadline, share).await
    }

    /// Sends an operation of so many bytes, with others where so many are in flight that groups pay. Error replies come
    /// back as data.
    pub(crate) async fn perform<T: Typed>(
        &self,
        operation: &T,
        bytes: usize,
        deadline: Instant,
    ) -> Result<Value> {
        let goes_together = self.goes_together(bytes) && !operation.is_empty();
        let mut share = match self.try_charge(bytes) {
            Some(share) => share,
            None => Box::pin(self.wait_in_line(bytes, deadline)).await?,
        };
        if goes_together {
            let answer = self.on_current(|live| share.join(live, operation, deadline))?;
            match answer.await {
                Err(lost) if lost.is_apart() => share.epoch = None,
                answer => return share.settle(&operation, answer),
            }
        }
        self.exchange(&operation, deadline, share).await
    }

    fn goes_together(&self, bytes: usize) -> bool {
        let settings = &self.setup.config.batching;
        let is_due = settings.threshold.is_some_and(|threshold| self.budget.count() >= threshold);
        is_due && bytes < settings.large_value
    }

    /// Sends a request whose members have been charged already.
    pub(crate) async fn send_charged<R: Request>(&self, request: R, deadline: Instant) -> Result<R::Reply> {
        let share = self.share(self.budget.count_always());
        self.exchange(&request, deadline, share).await
    }

    /// Sends a request of this crate's own: past the limits, and past the gate.
    pub(crate) async fn send_own<R: Request>(&self, request: R, deadline: Instant) -> Result<R::Reply> {
        let mut share = self.share(self.budget.count_always());
        let sent = match &*self.current.load() {
            Some(live) => share.send(live, &request, deadline),
            None => Err(self.down()),
        };
        let answer = sent?.await;
        share.settle(&request, answer)
    }

    /// Takes a share of the in-flight budget, waiting in line for it if need be.
    ///
    /// # Errors
    /// `Overloaded`, or `Timeout` at `deadline`; nothing was sent.
    pub(crate) async fn charge(&self, bytes: usize, deadline: Instant) -> Result<Share<'_>> {
        match self.try_charge(bytes) {
            Some(share) => Ok(share),
            None => Box::pin(self.wait_in_line(bytes, deadline)).await,
        }
    }

    /// The established connection.
    ///
    /// # Errors
    /// Why there is none; nothing was sent.
    pub(crate) fn live(&self) -> Result<Arc<Live>> {
        self.current.load_full().ok_or_else(|| self.down())
    }

    /// Does something on the established connection for an operation of the caller's. While there is none the gate is
    /// asked all the same, for the server that was dialled last: it hears of the failure, and may refuse from some
    /// number on.
    ///
    /// # Errors
    /// As [`live`](Self::live); `Rejected` when the gate refuses.
    pub(crate) fn on_current<T>(&self, act: impl FnOnce(&Live) -> T) -> Result<T> {
        match &*self.current.load() {
            Some(live) => Ok(act(live)),
            None => Err(self.down_for_caller()),
        }
    }

    /// Notes which server is being dialled.
    pub(crate) fn dials(&self, endpoint: &Arc<Endpoint>) {
        self.last.store(Some(Arc::clone(endpoint)));
    }

    /// Waits for a share. To be boxed, as it is rare: the future of each operation would be the larger for it.
    async fn wait_in_line(&self, bytes: usize, deadline: Instant) -> Result<Share<'_>> {
        // While down there is nothing to wait for.
        self.on_current(|_| ())?;
        let began = Instant::now();
        let charge = self.budget.wait(bytes, deadline).await;
        self.setup.observe(|observer| observer.queued(began.elapsed()));
        Ok(self.share(charge?))
    }

    async fn exchange<R: Request>(
        &self,
        request: &R,
        deadline: Instant,
        mut share: Share<'_>,
    ) -> Result<R::Reply> {
        let (permit, sent) = self.on_current(|live| {
            let permit = self.admit(&live.endpoint);
            permit.map(|permit| (permit, share.send(live, request, deadline)))
        })??;
        let result = match sent {
            Ok(answer) => {
                let answer = answer.await;
                share.settle(request, answer)
            }
            Err(error) => Err(error),
        };
        if let Some(permit) = permit {
            permit.finish(&judged::<R>(&result));
        }
        result
    }

    fn try_charge(&self, bytes: usize) -> Option<Share<'_>> {
        self.budget.try_take(bytes).map(|charge| self.share(charge))
    }

    fn share(&self, charge: Charge) -> Share<'_> {
        Share { link: self, epoch: None, charge }
    }

    fn admit(&self, endpoint: &Endpoint) -> Result<Option<Permit>> {
        let Some(gate) = &self.setup.config.gate else { return Ok(None) };
        match gate.admit(endpoint) {
            Some(permit) => Ok(Some(permit)),
            None => Err(Error::not_sent(ErrorKind::Rejected, "the endpoint gate refused; nothing was sent")),
        }
    }

    /// Tells the supervisor what error replies say about the connection of `epoch`.
    pub(crate) fn inspect<'e>(&self, epoch: u64, errors: impl Iterator<Item = &'e ServerError>) {
        for error in errors {
            if let Some(trouble) = trouble(error) {
                self.signal.raise(epoch, trouble);
            }
        }
    }

    fn down_for_caller(&self) -> Error {
        let down = self.down();
        if down.kind() == ErrorKind::Closed {
            return down;
        }
        let Some(endpoint) = self.last.load_full() else { return down };
        match self.admit(&endpoint) {
            Ok(Some(permit)) => permit.finish(&Err::<(), _>(down.restated())),
            Ok(None) => {}
            Err(refused) => return refused,
        }
        down
    }

    fn down(&self) -> Error {
        let status = self.status.borrow();
        match (&status.state, &status.failure) {
            (State::Closed, _) => Error::not_sent(ErrorKind::Closed, "nothing was sent"),
            (_, Some(failure)) => {
                let kind = match failure.kind() {
                    ErrorKind::Timeout | ErrorKind::Disconnected => ErrorKind::Unavailable,
                    kind => kind,
                };
                Error::not_sent(kind, format!("not connected ({}); nothing was sent", failure.context()))
            }
            (_, None) => Error::not_sent(ErrorKind::Unavailable, "still connecting; nothing was sent"),
        }
    }
}

/// The outcome as a gate sees it: an error reply of the server is a failure too, and its class says of what.
fn judged<R: Request>(result: &Result<R::Reply>) -> Result<()> {
    match result {
        Ok(reply) => R::errors(reply).next().map_or(Ok(()), |error| Err(server_error(error))),
        Err(error) => Err(error.restated()),
    }
}

/// A request's share of the budget. It is given back on drop; while the request is unanswered it goes to the debts
/// of the connection instead, where it stays taken until the server has answered all the same.
pub(crate) struct Share<'a> {
    link: &'a Link,
    /// On which connection the request was sent, as long as it is unanswered. Not the connection itself, which all
    /// operations would have to count themselves in and out of.
    epoch: Option<u64>,
    charge: Charge,
}

impl Share<'_> {
    fn join<T: Typed>(&mut self, live: &Live, operation: &T, deadline: Instant) -> Pending<Answer> {
        self.epoch = Some(live.epoch);
        live.mux.join(operation, self.link.setup.config.batching.max_members, deadline)
    }

    fn send<R: Request>(&mut self, live: &Live, request: &R, deadline: Instant) -> Result<Pending<Answer>> {
        let answer = submit(&live.mux, request, deadline)?;
        self.epoch = Some(live.epoch);
        Ok(answer)
    }

    /// Makes a result of the answer.
    fn settle<R: Request>(mut self, request: &R, answer: Answer) -> Result<R::Reply> {
        let epoch = self.epoch.take_if(|_| !answer.as_ref().is_err_and(Lost::is_owed));
        let reply = request.reply(answer?)?;
        if let Some(epoch) = epoch {
            self.link.inspect(epoch, R::errors(&reply));
        }
        Ok(reply)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let Link { budget, current, .. } = self.link;
        let Some(epoch) = self.epoch else { return budget.give_back(self.charge) };
        match &*current.load() {
            Some(live) if live.epoch == epoch => live.debts.add(self.charge, budget),
            // Over, and with it everything owed.
            _ => budget.give_back(self.charge),
        }
    }
}
