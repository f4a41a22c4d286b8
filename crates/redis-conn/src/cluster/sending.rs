//! One node, several, or all: how each sort of request is sent.

use futures_util::future::join_all;
use redis::{Cmd, Pipeline, Value};
use tokio::time::Instant;

use super::Cluster;
use crate::errand::{Delivery, Errand, did_not_run};
use crate::error::Result;
use crate::gather::{Parts, join};
use crate::node::Node;
use crate::reader::ReadFrom;
use crate::reply;
use crate::routing::{Gather, Route};
use crate::topology::Replies;
use crate::typed::Get;
use crate::wait::WriteConcern;

impl Cluster {
    /// Sends a command to the node, or the nodes, of its keys.
    pub(super) async fn dispatch(
        &self,
        command: &Cmd,
        delivery: Delivery,
        deadline: Instant,
    ) -> Result<Value> {
        match Route::of(command)? {
            Route::Slot(slot) => self.send_to(Some(slot), command, delivery, deadline).await,
            Route::AnyMaster => self.send_to(None, command, delivery, deadline).await,
            Route::Divided(division) => {
                let parts = Parts::of(command, division.step);
                self.send_parts(parts, division.gather, delivery, deadline).await
            }
            Route::AllMasters(gather) => self.send_to_all(command, gather, delivery, deadline).await,
        }
    }

    /// When a write counts as delivered.
    pub(super) fn delivery_of_writes(&self) -> Delivery {
        match self.shards.setup().config.write_concern {
            WriteConcern::Fast => Delivery::Answered,
            WriteConcern::Wait { .. } => Delivery::Confirmed,
        }
    }

    /// A typed read that found no node to answer it.
    pub(super) async fn find_and_read(
        &self,
        slot: u16,
        key: &[u8],
        deadline: Instant,
    ) -> Result<Option<Vec<u8>>> {
        if self.shards.setup().config.read_from != ReadFrom::Replica {
            let command = Get(key).command();
            return reply::bytes(self.send_to(Some(slot), &command, Delivery::Answered, deadline).await?);
        }
        // The master is not to be asked, so it has to be a replica after all.
        let mut patience = self.patience(deadline);
        loop {
            self.shards.suspect();
            let in_time = patience.pause().await;
            let answer = match self.node_for(Some(slot)) {
                Ok(node) => node.get(key, deadline).await,
                Err(error) => Err(error),
            };
            match answer {
                Err(error) if did_not_run(&error) && in_time => {}
                answer => return answer,
            }
        }
    }

    /// Delivers one command to the master of its slot.
    pub(super) async fn send_to(
        &self,
        slot: Option<u16>,
        command: &Cmd,
        delivery: Delivery,
        deadline: Instant,
    ) -> Result<Value> {
        let mut errand = Errand::one(command, slot, delivery);
        // The usual case, without a pipeline around it: the view is right and the node is there.
        if let Ok(node) = self.node_for(slot) {
            let answer = send_over(&node, command, delivery, deadline).await;
            errand.settle(answer.map(|reply| vec![reply]), &node);
        }
        self.deliver(std::slice::from_mut(&mut errand), deadline).await;
        errand.only_reply()
    }

    /// Sends the parts of a divided command and puts the replies together.
    async fn send_parts(
        &self,
        parts: Parts,
        gather: Gather,
        delivery: Delivery,
        deadline: Instant,
    ) -> Result<Value> {
        let mut errands: Vec<_> =
            parts.commands().map(|(slot, command)| Errand::one(command, Some(slot), delivery)).collect();
        self.deliver(&mut errands, deadline).await;
        let replies = errands.into_iter().map(Errand::only_reply).collect::<Result<_>>()?;
        parts.join(gather, replies)
    }

    /// Sends a command to every master.
    async fn send_to_all(
        &self,
        command: &Cmd,
        gather: Gather,
        delivery: Delivery,
        deadline: Instant,
    ) -> Result<Value> {
        let masters = self.shards.view().masters.clone();
        let replies = join_all(masters.iter().map(|node| send_over(node, command, delivery, deadline))).await;
        join(gather, replies.into_iter().collect::<Result<_>>()?)
    }

    pub(super) async fn send_transaction(&self, pipeline: &Pipeline, deadline: Instant) -> Result<Replies> {
        let slot = Route::of_transaction(pipeline)?;
        let (multi, exec) = (redis::cmd("MULTI"), redis::cmd("EXEC"));
        let commands = std::iter::once(&multi).chain(pipeline.cmd_iter()).chain(std::iter::once(&exec));
        let mut errand = Errand::new(commands.collect(), slot);
        self.deliver(std::slice::from_mut(&mut errand), deadline).await;
        Ok(errand.reply()?.pop().map(Ok).into_iter().collect())
    }

    pub(super) async fn send_members(&self, pipeline: &Pipeline, deadline: Instant) -> Result<Replies> {
        let mut errands = Vec::with_capacity(pipeline.len());
        for command in pipeline.cmd_iter() {
            errands.push(match Route::of(command)? {
                Route::Slot(slot) => Errand::new(vec![command], Some(slot)),
                Route::AnyMaster => Errand::new(vec![command], None),
                // Its replies would have to be put together in the midst of those of the others.
                Route::Divided(_) | Route::AllMasters(_) => Errand::apart(command),
            });
        }
        for errand in errands.iter_mut().filter(|errand| errand.apart) {
            let reply = self.dispatch(errand.commands[0], Delivery::Answered, deadline).await;
            errand.outcome = Some(reply.map(|reply| vec![reply]));
        }
        self.deliver(&mut errands, deadline).await;
        Ok(errands.into_iter().map(Errand::only_reply).collect())
    }
}

async fn send_over(node: &Node, command: &Cmd, delivery: Delivery, deadline: Instant) -> Result<Value> {
    match delivery {
        Delivery::Answered => node.send(command, deadline).await,
        Delivery::Confirmed => node.write(command, deadline).await,
    }
}
