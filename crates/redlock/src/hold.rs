//! What an attempt may have left on the nodes, and how it is taken away again.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt};
use parking_lot::Mutex;
use tokio::{sync::oneshot, time::timeout};

use crate::{
    Claim, Fault, Operation, Standing, Vote,
    manager::Core,
    members::Answers,
    releaser::{Job, Task, release_on},
};

/// How a release went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// A majority held it until now and holds it no more.
    Released,
    /// A majority did not hold it any more, and nobody else does there: it had run out.
    AlreadyExpired,
    /// A majority did not hold it any more, and another holds it on some of them.
    Stolen,
    /// Too few nodes answered. The release is repeated in the background; at the latest the lock ends with its
    /// time to live.
    Unknown,
}

/// What is known of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Nothing: a request is on its way, or its answer was lost.
    Unknown,
    /// The hold or the wait is there.
    Present,
    /// It is not there, and no request is on its way that could put it there.
    Absent,
}

impl Mark {
    pub(crate) fn of(answer: &Result<Vote, Fault>) -> Self {
        match answer {
            Ok(Vote::Granted { .. } | Vote::Waiting { .. }) => Self::Present,
            Ok(_) | Err(Fault::Unfit(_)) => Self::Absent,
            // A script that failed half way keeps what it wrote, so refusals are not proof of absence.
            Err(_) => Self::Unknown,
        }
    }
}

struct Marks {
    marks: Vec<Mark>,
    /// Answers to the acquire that were not waited for.
    stragglers: Option<Answers<Vote>>,
    /// Set by the release: from then on nothing may be put on a node.
    closed: bool,
}

/// The claim of an attempt and what became of it on each node. Dropped, it is released in the background:
/// it exists before the first byte is sent, so an attempt cancelled at any point leaves nothing.
pub(crate) struct Hold {
    pub(crate) core: Arc<Core>,
    pub(crate) claim: Arc<Claim>,
    pub(crate) ballots: Arc<Ballots>,
    armed: bool,
}

/// The release of an attempt that failed, under way in the background.
pub(crate) struct Clearing {
    known: oneshot::Receiver<()>,
    unknown: oneshot::Receiver<()>,
}

impl Clearing {
    /// Waits until nothing of the attempt is in the way of the next one: for the nodes that are known to hold it as
    /// long as `patience`, and for those that have not answered only `moment`, since they may be dead or just late.
    pub(crate) async fn wait(self, patience: Duration, moment: Duration) {
        let (_, _) = tokio::join!(timeout(patience, self.known), timeout(moment, self.unknown));
    }
}

/// What is known of each node.
pub(crate) struct Ballots(Mutex<Marks>);

impl Ballots {
    fn new(nodes: usize) -> Self {
        let marks = vec![Mark::Unknown; nodes];
        Self(Mutex::new(Marks { marks, stragglers: None, closed: false }))
    }

    /// Records an answer. Once the release has begun it is too late to matter.
    pub(crate) fn record(&self, index: usize, mark: Mark) {
        let mut state = self.0.lock();
        if !state.closed {
            state.marks[index] = mark;
        }
    }

    /// Announces a request to `index` that may put the hold there; refused once the release has begun.
    pub(crate) fn announce(&self, index: usize) -> bool {
        let mut state = self.0.lock();
        if !state.closed {
            state.marks[index] = Mark::Unknown;
        }
        !state.closed
    }

    /// Keeps the answers that were not waited for. Those that came in are looked at by the release; should the
    /// lock be held for longer than a moment, its task sees to the rest.
    pub(crate) fn leave_stragglers(&self, answers: Answers<Vote>) {
        if !answers.is_empty() {
            self.0.lock().stragglers = Some(answers);
        }
    }

    /// Waits for those answers, each of which may need a second request.
    pub(crate) async fn await_stragglers(&self) {
        let stragglers = self.0.lock().stragglers.take();
        let Some(mut answers) = stragglers else { return };
        while let Some((index, answer)) = answers.next().await {
            self.record(index, Mark::of(&answer));
        }
    }

    fn close(&self) -> Vec<Mark> {
        let mut state = self.0.lock();
        let stragglers = state.stragglers.take();
        let came = stragglers.into_iter().flat_map(|mut answers| arrived(&mut answers));
        came.for_each(|(index, answer)| state.marks[index] = Mark::of(&answer));
        state.closed = true;
        state.marks.clone()
    }
}

/// The answers that are there already.
pub(crate) fn arrived<T: Unpin>(answers: &mut Answers<T>) -> Vec<(usize, Result<T, Fault>)> {
    std::iter::from_fn(|| answers.next().now_or_never().flatten()).collect()
}

impl Hold {
    pub(crate) fn new(core: &Arc<Core>, claim: Claim) -> Self {
        let ballots = Arc::new(Ballots::new(core.members.len()));
        core.releaser.ensure(&core.members);
        Self { core: Arc::clone(core), claim: Arc::new(claim), ballots, armed: true }
    }

    /// Gives up without releasing: the hold now belongs to someone else, or to its time to live.
    pub(crate) fn forget(mut self) {
        self.armed = false;
    }

    /// Releases in the background, and says when that is done.
    pub(crate) fn abandon(mut self) -> Clearing {
        self.armed = false;
        let tasks = self.tasks();
        let clear = |wanted: Task| {
            let (done, heard) = oneshot::channel();
            let only = |task: &Task| if *task == wanted { *task } else { Task::Skip };
            self.core.releaser.push(self.job(tasks.iter().map(only).collect(), Some(done)));
            heard
        };
        Clearing { known: clear(Task::Release), unknown: clear(Task::Bury) }
    }

    /// Releases and returns as soon as a majority has answered; the rest goes on in the background. `was_valid` says
    /// whether it was surely held until now.
    pub(crate) async fn release(mut self, was_valid: bool) -> Outcome {
        let tasks = self.tasks();
        let answers = Some(self.ask(&tasks));
        let mut rest = Rest { hold: &mut self, was_valid, tasks, answers, lost: Vec::new() };
        let outcome = rest.count().await;
        drop(rest);
        outcome
    }

    fn ask(&self, tasks: &[Task]) -> Answers<Standing> {
        let timeout = self.core.request_timeout(self.claim.ttl);
        let question = release_on(Arc::clone(&self.claim), tasks.to_vec());
        self.core.members.ask(Operation::Release, timeout, |index| tasks[index] != Task::Skip, question)
    }

    fn tasks(&self) -> Vec<Task> {
        self.ballots.close().into_iter().map(Task::for_mark).collect()
    }

    fn enqueue(&mut self) {
        if std::mem::take(&mut self.armed) {
            self.core.releaser.push(self.job(self.tasks(), None));
        }
    }

    fn job(&self, tasks: Vec<Task>, done: Option<oneshot::Sender<()>>) -> Job {
        let timeout = self.core.request_timeout(self.claim.ttl);
        Job { claim: Arc::clone(&self.claim), tasks, timeout, under_way: None, done }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.enqueue();
    }
}

/// A release under way. Dropped, complete or not, what is open goes on in the background, so that a cancelled
/// release is still carried out.
struct Rest<'a> {
    hold: &'a mut Hold,
    was_valid: bool,
    tasks: Vec<Task>,
    answers: Option<Answers<Standing>>,
    /// Nodes whose answer was lost, and perhaps only the answer.
    lost: Vec<usize>,
}

impl Rest<'_> {
    async fn count(&mut self) -> Outcome {
        let majority = self.hold.core.members.quorum.majority();
        let mut missing = self.tasks.iter().filter(|task| **task == Task::Skip).count();
        let (mut released, mut stolen) = (0, 0);
        let mut asked_again = false;
        while released < majority && missing + stolen < majority {
            let answer = match &mut self.answers {
                Some(answers) => answers.next().await,
                None => None,
            };
            let Some((index, answer)) = answer else {
                if std::mem::replace(&mut asked_again, true) {
                    return Outcome::Unknown;
                }
                // Once more: a connection may have been found dead by the first request.
                self.answers = Some(self.hold.ask(&self.tasks));
                continue;
            };
            let standing = match answer {
                Ok(standing) => standing,
                Err(Fault::Timeout | Fault::Io(_)) => {
                    self.lost.push(index);
                    continue;
                }
                Err(_) => continue,
            };
            let was_there = self.was_valid && self.tasks[index] == Task::Release;
            self.tasks[index] = Task::Skip;
            match standing {
                Standing::Held => released += 1,
                // Gone since the first request: that has released it.
                Standing::Missing if was_there && self.lost.contains(&index) => released += 1,
                Standing::Missing => missing += 1,
                Standing::Stolen => stolen += 1,
            }
        }
        match (released >= majority, stolen) {
            (true, _) => Outcome::Released,
            (false, 0) => Outcome::AlreadyExpired,
            (false, _) => Outcome::Stolen,
        }
    }
}

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        self.hold.armed = false;
        let tasks = std::mem::take(&mut self.tasks);
        let mut job = self.hold.job(tasks, None);
        job.under_way = self.answers.take();
        job.settle();
        if job.is_done() {
            return;
        }
        let releaser = Arc::clone(&self.hold.core.releaser);
        // Mostly the last answers are there in a moment.
        self.hold.core.later.put_off(move || {
            job.settle();
            releaser.push(job);
        });
    }
}
