//! The nodes of a manager, asked in parallel, each with its own deadline.

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use crate::{Fault, LockNode, Observer, Operation, Verdict, quorum::Quorum};

/// Answers as they come in: the node's index and what it said.
pub(crate) type Answers<T> = FuturesUnordered<BoxFuture<'static, (usize, Result<T, Fault>)>>;

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
        let asked = (0..self.len()).filter(|index| which(*index)).map(|index| {
            let question = question(index, Arc::clone(&self.nodes[index]));
            let members = Arc::clone(self);
            async move { (index, members.timed(index, operation, deadline, question).await) }.boxed()
        });
        asked.collect()
    }

    async fn timed<T>(
        &self,
        index: usize,
        operation: Operation,
        deadline: Duration,
        question: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let begun = Instant::now();
        let answer = timeout(deadline, question).await.unwrap_or(Err(Fault::Timeout));
        let fault = answer.as_ref().err().map(|fault| Verdict::Fault(fault.clone()));
        self.observer.node_answered(self.label(index), operation, begun.elapsed(), fault.as_ref());
        answer
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
