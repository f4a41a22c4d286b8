//! The task that releases what nobody waits for: dropped guards, cancelled and failed attempts.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use futures_util::StreamExt;
use parking_lot::Mutex;
use rand::RngExt;
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use crate::{
    Claim, Fault, LockNode, Operation, Standing,
    hold::{Mark, arrived},
    members::{Answers, Members},
};

/// How often a release is tried on a node that does not answer; then the time to live has to do.
const TRIES: u32 = 4;
/// The pause before the second try, doubled from try to try.
const PAUSE: Duration = Duration::from_millis(50);
/// How many releases run at once.
const PARALLEL: usize = 256;

/// What is to be done on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Skip,
    Release,
    /// Release, and refuse the claim if it arrives only then.
    Bury,
}

impl Task {
    pub(crate) fn for_mark(mark: Mark) -> Self {
        match mark {
            Mark::Unknown => Self::Bury,
            Mark::Present => Self::Release,
            Mark::Absent => Self::Skip,
        }
    }
}

/// One claim to be released.
pub(crate) struct Job {
    pub(crate) claim: Arc<Claim>,
    pub(crate) tasks: Vec<Task>,
    pub(crate) timeout: Duration,
    /// Requests that were sent already and are not waited for elsewhere.
    pub(crate) under_way: Option<Answers<Standing>>,
    pub(crate) done: Option<oneshot::Sender<()>>,
}

enum Message {
    Release(Job),
    Drain(oneshot::Sender<()>),
}

/// The way to the task. Sending never blocks and never fails for the sender: without a task (no runtime any
/// more) a lock ends with its time to live.
#[derive(Default)]
pub(crate) struct Releaser(Mutex<Option<mpsc::UnboundedSender<Message>>>);

impl Releaser {
    /// Starts the task on the current runtime unless it runs already, on this one or another.
    pub(crate) fn ensure(&self, members: &Arc<Members>) {
        let mut sender = self.0.lock();
        if sender.as_ref().is_some_and(|sender| !sender.is_closed()) {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            let (tx, rx) = mpsc::unbounded_channel();
            runtime.spawn(run(Arc::clone(members), rx));
            *sender = Some(tx);
        }
    }

    pub(crate) fn push(&self, job: Job) {
        if !job.is_done() {
            self.send(Message::Release(job));
        }
    }

    /// Waits until everything pushed before is carried out or given up.
    pub(crate) async fn drain(&self) {
        let (done, heard) = oneshot::channel();
        self.send(Message::Drain(done));
        // The sender is dropped without a word when there is no task: then there is nothing to wait for.
        let _ = heard.await;
    }

    fn send(&self, message: Message) {
        if let Some(sender) = &*self.0.lock() {
            let _ = sender.send(message);
        }
    }
}

async fn run(members: Arc<Members>, mut inbox: mpsc::UnboundedReceiver<Message>) {
    let mut running = JoinSet::new();
    while let Some(message) = inbox.recv().await {
        match message {
            Message::Release(job) => {
                while running.len() >= PARALLEL || running.try_join_next().is_some() {
                    if running.len() >= PARALLEL {
                        running.join_next().await;
                    }
                }
                running.spawn(carry_out(Arc::clone(&members), job));
            }
            Message::Drain(done) => {
                while running.join_next().await.is_some() {}
                let _ = done.send(());
            }
        }
    }
    while running.join_next().await.is_some() {}
}

async fn carry_out(members: Arc<Members>, mut job: Job) {
    for attempt in 1..=TRIES {
        if let Some(mut answers) = job.under_way.take() {
            while let Some((index, answer)) = answers.next().await {
                job.note(index, &answer);
            }
        }
        if job.is_done() || attempt == TRIES {
            break;
        }
        if attempt > 1 {
            let longest = PAUSE * 2_u32.pow(attempt);
            let pause = rand::rng().random_range(longest / 2..longest);
            tokio::time::sleep(pause).await;
        }
        let question = release_on(Arc::clone(&job.claim), job.tasks.clone());
        let open = |index: usize| job.tasks[index] != Task::Skip;
        job.under_way = Some(members.ask(Operation::Release, job.timeout, open, question));
    }
    if let Some(done) = job.done {
        let _ = done.send(());
    }
}

impl Job {
    /// Takes in the answers that are there already.
    pub(crate) fn settle(&mut self) {
        let came = self.under_way.as_mut().map(arrived);
        came.into_iter().flatten().for_each(|(index, answer)| self.note(index, &answer));
    }

    fn note(&mut self, index: usize, answer: &Result<Standing, Fault>) {
        if answer.is_ok() {
            self.tasks[index] = Task::Skip;
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.tasks.iter().all(|task| *task == Task::Skip)
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Standing, Fault>> + Send>>;

/// The question that carries out each node's task.
pub(crate) fn release_on(claim: Arc<Claim>, tasks: Vec<Task>) -> impl Fn(usize, Arc<dyn LockNode>) -> Answer {
    move |index, node| {
        let claim = Arc::clone(&claim);
        let burial = (tasks[index] == Task::Bury).then_some(claim.ttl);
        Box::pin(async move { node.release(&claim, burial).await })
    }
}
