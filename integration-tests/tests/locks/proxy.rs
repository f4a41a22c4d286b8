//! A TCP proxy that hurts what passes through it.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use redlock::{Reconnecting, RedisNode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
};

use crate::support::*;

/// What happens to bytes and connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fault {
    Pass,
    /// Nothing passes either way; connections stay open, and what was sent arrives when the way is open again, as with
    /// TCP.
    Blackhole,
    /// The same for replies only.
    NoReplies,
    /// Requests wait for 2 seconds.
    Slow,
    /// Connections are closed, new ones too.
    Reset,
}

impl Fault {
    fn of(number: u8) -> Self {
        [Self::Pass, Self::Blackhole, Self::NoReplies, Self::Slow, Self::Reset][usize::from(number)]
    }
}

pub(crate) struct Proxy {
    url: String,
    fault: Arc<AtomicU8>,
    listener: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(server: &integration_tests::Server) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("redis://{}", socket.local_addr().expect("bound"));
        let fault = Arc::new(AtomicU8::new(0));
        let listener = tokio::spawn(listen(socket, server.address(), Arc::clone(&fault)));
        Self { url, fault, listener }
    }

    pub(crate) fn node(&self) -> RedisNode<Reconnecting> {
        RedisNode::open(&self.url).expect("a proxy's URL")
    }

    pub(crate) fn port(&self) -> &str {
        self.url.rsplit_once(':').expect("a URL with a port").1
    }

    pub(crate) fn set(&self, fault: Fault) {
        self.fault.store(fault as u8, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn listen(socket: TcpListener, server: String, fault: Arc<AtomicU8>) {
    while let Ok((client, _)) = socket.accept().await {
        if Fault::of(fault.load(Ordering::SeqCst)) == Fault::Reset {
            continue;
        }
        let Ok(upstream) = TcpStream::connect(&server).await else { continue };
        let ((from_client, to_client), (from_server, to_server)) =
            (client.into_split(), upstream.into_split());
        tokio::spawn(pump(from_client, to_server, Arc::clone(&fault), false));
        tokio::spawn(pump(from_server, to_client, Arc::clone(&fault), true));
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, fault: Arc<AtomicU8>, replies: bool) {
    let mut bytes = vec![0; 65_536];
    loop {
        // A reset closes a connection on which nothing is said, too.
        let read = tokio::time::timeout(ms(20), from.read(&mut bytes)).await;
        let current = || Fault::of(fault.load(Ordering::SeqCst));
        let count = match read {
            _ if current() == Fault::Reset => return,
            Err(_) => continue,
            Ok(Ok(count)) if count > 0 => count,
            Ok(_) => return,
        };
        if current() == Fault::Slow && !replies {
            tokio::time::sleep(2 * SECOND).await;
        }
        while current() == Fault::Blackhole || (replies && current() == Fault::NoReplies) {
            tokio::time::sleep(ms(5)).await;
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
