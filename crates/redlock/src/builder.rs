//! Making a manager.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use futures_util::StreamExt;

use crate::{
    Error, ErrorKind, Fault, LockConfig, LockManager, LockNode, NodeVerdict, Observer, Operation, Result,
    Subscriber, Verdict, clock::Clock, later::Later, manager::Core, members::Members, observer::Silent,
    wakeups::Wakeups,
};

/// How long nodes have to identify themselves when a manager is made.
const INSPECTION: Duration = Duration::from_secs(1);

/// What a [`LockManager`] is made with.
#[derive(Default)]
pub struct ManagerBuilder {
    config: LockConfig,
    observer: Option<Arc<dyn Observer>>,
    subscriber: Option<Arc<dyn Subscriber>>,
}

impl ManagerBuilder {
    pub(crate) fn new(config: LockConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// Sends what happens to this observer.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Lets waiters of a single authority hear of their turn through this subscriber. Without one they ask, in
    /// the intervals of [`LockConfig::retry`]. A quorum does not use it.
    #[must_use]
    pub fn subscriber(mut self, subscriber: impl Subscriber) -> Self {
        self.subscriber = Some(Arc::new(subscriber));
        self
    }

    /// A manager over one authority: a server, a Sentinel group or a cluster.
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) when a setting is out of range, or the server evicts keys or is
    /// a replica. A server that cannot be reached is not an error yet.
    pub async fn single(self, node: impl LockNode) -> Result<LockManager> {
        self.build(vec![Arc::new(node)]).await
    }

    /// A manager over 3, 5, 7 or 9 independent masters, by the Redlock algorithm with fencing and quarantine.
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) when a setting or the number of nodes is out of range, or a
    /// server is there twice, evicts keys, is a replica, a member of a cluster, or older than Redis 7.0. Servers that
    /// cannot be reached are checked when they can.
    pub async fn quorum<N: LockNode>(self, nodes: impl IntoIterator<Item = N>) -> Result<LockManager> {
        let nodes: Vec<Arc<dyn LockNode>> = nodes.into_iter().map(|node| Arc::new(node) as _).collect();
        if ![3, 5, 7, 9].contains(&nodes.len()) {
            let context = format!("a quorum has 3, 5, 7 or 9 nodes, not {}", nodes.len());
            return Err(Error::new(ErrorKind::InvalidConfig, context));
        }
        self.build(nodes).await
    }

    async fn build(self, nodes: Vec<Arc<dyn LockNode>>) -> Result<LockManager> {
        self.config.validate()?;
        let several = nodes.len() > 1;
        let observer = self.observer.unwrap_or_else(|| Arc::new(Silent));
        let members = Arc::new(Members::new(nodes, observer));
        inspect_all(&members).await?;
        let prefix = &self.config.prefix;
        let subscriber = self.subscriber.filter(|_| !several);
        Ok(LockManager(Arc::new(Core {
            members,
            clock: Arc::new(Clock::new()),
            releaser: Arc::default(),
            later: Later::default(),
            wakeups: subscriber.map(|subscriber| Wakeups::new(prefix, subscriber)),
            epoch_key: format!("{prefix}epoch").into(),
            closed: AtomicBool::new(false),
            config: self.config,
        })))
    }
}

async fn inspect_all(members: &Arc<Members>) -> Result<()> {
    let mut answers = members.ask(
        Operation::Inspect,
        INSPECTION,
        |_| true,
        |index, _| {
            let members = Arc::clone(members);
            async move { members.inspect(index).await }
        },
    );
    let mut unfit = Vec::new();
    while let Some((index, answer)) = answers.next().await {
        if let Err(fault @ Fault::Unfit(_)) = answer {
            unfit.push(NodeVerdict { node: members.label(index).to_owned(), verdict: Verdict::Fault(fault) });
        }
    }
    if unfit.is_empty() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidConfig, "inspect the nodes").with_verdicts(unfit))
}

impl std::fmt::Debug for ManagerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ManagerBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}
