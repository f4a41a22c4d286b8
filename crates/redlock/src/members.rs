//! The nodes of a manager, asked in parallel, with a deadline.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{FutureExt, Stream, future::BoxFuture};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::{Fault, LockNode, Observer, Operation, Verdict, quorum::Quorum};

type Answer<T> = (usize, Result<T, Fault>);

/// Answers as they come in: the node's index and what it said. All have one deadline; whoever has not answered by
/// then counts as timed out.
///
/// Not a `FuturesUnordered`: with this few, that one wakes its task once more for nothing, which costs a thread.
pub(crate) struct Answers<T> {
    members: Arc<Members>,
    operation: Operation,
    begun: Instant,
    deadline: Pin<Box<Sleep>>,
    open: Vec<(usize, BoxFuture<'static, Result<T, Fault>>)>,
    came: VecDeque<Answer<T>>,
}

impl<T> Answers<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.came.is_empty()
    }

    /// Polls every node, so that all requests are sent before the first answer is looked at.
    fn poll_open(&mut self, context: &mut Context<'_>) {
        let mut i = 0;
        while let Some((index, question)) = self.open.get_mut(i) {
            let index = *index;
            match question.poll_unpin(context) {
                Poll::Ready(answer) => {
                    drop(self.open.remove(i));
                    self.note(index, answer);
                }
                Poll::Pending => i += 1,
            }
        }
        if !self.open.is_empty() && self.deadline.as_mut().poll(context).is_ready() {
            let late: Vec<_> = self.open.drain(..).map(|(index, _)| index).collect();
            late.into_iter().for_each(|index| self.note(index, Err(Fault::Timeout)));
        }
    }

    fn note(&mut self, index: usize, answer: Result<T, Fault>) {
        self.members.report(index, self.operation, self.begun, &answer);
        self.came.push_back((index, answer));
    }
}

impl<T: Unpin> Stream for Answers<T> {
    type Item = Answer<T>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Answer<T>>> {
        if self.came.is_empty() {
            self.poll_open(context);
        }
        match self.came.pop_front() {
            None if !self.open.is_empty() => Poll::Pending,
            answer => Poll::Ready(answer),
        }
    }
}

pub(crate) struct Members {
    nodes: Vec<Arc<dyn LockNode>>,
    pub(crate) quorum: Quorum,
    pub(crate) observer: Arc<dyn Observer>,
    /// Run ids of the nodes that were inspected, by which one node under two addresses is noticed.
    inspected: Mutex<HashMap<usize, String>>,
}

impl Members {
    pub(crate) fn new(nodes: Vec<Arc<dyn LockNode>>, observer: Arc<dyn Observer>) -> Self {
        let quorum = Quorum::of(nodes.len());
        Self { nodes, quorum, observer, inspected: Mutex::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn label(&self, index: usize) -> &str {
        self.nodes[index].label()
    }

    /// Puts one question to the nodes that `which` selects.
    pub(crate) fn ask<T, F>(
        self: &Arc<Self>,
        operation: Operation,
        deadline: Duration,
        which: impl Fn(usize) -> bool,
        question: impl Fn(usize, Arc<dyn LockNode>) -> F,
    ) -> Answers<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Fault>> + Send + 'static,
    {
        let ask = |index| (index, question(index, Arc::clone(&self.nodes[index])).boxed());
        Answers {
            members: Arc::clone(self),
            operation,
            begun: Instant::now(),
            deadline: Box::pin(sleep(deadline)),
            open: (0..self.len()).filter(|index| which(*index)).map(ask).collect(),
            came: VecDeque::new(),
        }
    }

    /// The node of a single authority.
    pub(crate) fn only(&self) -> &dyn LockNode {
        &*self.nodes[0]
    }

    /// Waits for the answer of the only node, without the machinery for several.
    pub(crate) async fn ask_only<T>(
        &self,
        operation: Operation,
        deadline: Duration,
        question: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let begun = Instant::now();
        let answer = timeout(deadline, question).await.unwrap_or(Err(Fault::Timeout));
        self.report(0, operation, begun, &answer);
        answer
    }

    fn report<T>(&self, index: usize, operation: Operation, begun: Instant, answer: &Result<T, Fault>) {
        let fault = answer.as_ref().err().map(|fault| Verdict::Fault(fault.clone()));
        self.observer.node_answered(self.label(index), operation, begun.elapsed(), fault.as_ref());
    }

    /// Asks a node who it is before it votes for the first time, and refuses it when it does not fit.
    pub(crate) async fn admit(&self, index: usize) -> Result<(), Fault> {
        if self.inspected.lock().contains_key(&index) {
            return Ok(());
        }
        self.inspect(index).await
    }

    pub(crate) async fn inspect(&self, index: usize) -> Result<(), Fault> {
        let info = self.nodes[index].inspect().await?;
        let several = self.len() > 1;
        let unfit =
            info.unfit.into_iter().chain(info.unfit_for_quorum.into_iter().filter(|_| several)).next();
        if let Some(why) = unfit {
            return Err(Fault::Unfit(why));
        }
        let mut inspected = self.inspected.lock();
        if inspected.iter().any(|(other, run_id)| *other != index && *run_id == info.run_id) {
            return Err(Fault::Unfit("the server is in the quorum twice"));
        }
        inspected.insert(index, info.run_id);
        Ok(())
    }
}
