//! A TCP proxy between a client and a server that does harm on request.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{fmt, io};

use parking_lot::Mutex;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// What the proxy does to the bytes of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Passes them on.
    None,
    /// Passes each piece on after a pause.
    Delay(Duration),
    /// Passes them on one at a time, each in a segment of its own.
    ByteByByte,
    /// Reads them and passes nothing on; the connection stays open.
    BlackHole,
    /// Does not read at all, so that the sender's buffers fill up.
    Stuck,
}

/// What the proxy does to a connection, once, at a moment it chooses by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// Closes the connection after so many bytes of the next replies have been passed on.
    CutAfter(usize),
    /// Takes the next reply from the server, which has thus run the command, and closes the connection.
    SwallowReply,
    /// Closes the connection instead of passing the next request on: the server never sees it.
    DropRequest,
}

/// A strike, and whom it is for.
struct Planned {
    strike: Strike,
    target: Target,
}

enum Target {
    /// The connection that meets it first.
    Any,
    /// The connection that brings a request with these bytes in it.
    Request(&'static [u8]),
    /// The connection with this number, which has brought it.
    Connection(u64),
}

/// A proxy on 127.0.0.1 in front of one server. New connections are always accepted; dropping it closes all.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    upstream: String,
    requests: watch::Sender<Fault>,
    replies: watch::Sender<Fault>,
    strikes: Mutex<VecDeque<Planned>>,
    struck: AtomicU64,
    accepted: AtomicU64,
    /// Grows to end the connections there are; the flag says whether with a reset.
    end: watch::Sender<(u64, bool)>,
}

impl Proxy {
    /// Starts a proxy in front of `upstream` (`host:port`).
    ///
    /// # Panics
    /// When no port can be bound.
    pub async fn start(upstream: impl Into<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind a free port");
        let address = listener.local_addr().expect("address");
        let shared = Arc::new(Shared {
            upstream: upstream.into(),
            requests: watch::Sender::new(Fault::None),
            replies: watch::Sender::new(Fault::None),
            strikes: Mutex::default(),
            struck: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            end: watch::Sender::new((0, false)),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, accepting }
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The proxy's port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// `redis://127.0.0.1:port/`.
    pub fn url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    /// Sets the fault of both directions, for connections old and new.
    pub fn set(&self, fault: Fault) {
        self.set_requests(fault);
        self.set_replies(fault);
    }

    /// Sets the fault of what clients send.
    pub fn set_requests(&self, fault: Fault) {
        self.shared.requests.send_replace(fault);
    }

    /// Sets the fault of what the server sends.
    pub fn set_replies(&self, fault: Fault) {
        self.shared.replies.send_replace(fault);
    }

    /// Puts a strike at the end of the list; each is carried out once, by the connection that meets it first.
    pub fn strike(&self, strike: Strike) {
        self.plan(strike, Target::Any);
    }

    /// The same for the connection that next brings `request` in one piece, and for nothing before that: a client may
    /// ask on its own account meanwhile, as after each new connection.
    pub fn strike_at(&self, request: &'static str, strike: Strike) {
        self.plan(strike, Target::Request(request.as_bytes()));
    }

    fn plan(&self, strike: Strike, target: Target) {
        self.shared.strikes.lock().push_back(Planned { strike, target });
    }

    /// How many strikes were carried out.
    pub fn struck(&self) -> u64 {
        self.shared.struck.load(Ordering::SeqCst)
    }

    /// How many connections were accepted.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Closes the present connections.
    pub fn cut(&self) {
        self.shared.end.send_modify(|end| *end = (end.0 + 1, false));
    }

    /// Resets the present connections (RST).
    pub fn reset(&self) {
        self.shared.end.send_modify(|end| *end = (end.0 + 1, true));
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("address", &self.address)
            .field("upstream", &self.shared.upstream)
            .finish()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
        connections.spawn(serve(client, number, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

/// Carries one connection until a side closes it, a strike hits it, or all are ended.
async fn serve(mut client: TcpStream, number: u64, shared: Arc<Shared>) -> io::Result<()> {
    let mut end = shared.end.subscribe();
    let mut server = TcpStream::connect(&shared.upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let reset = {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        tokio::select! {
            _ = carry_requests(client_read, server_write, number, &shared) => false,
            _ = carry_replies(server_read, client_write, number, &shared) => false,
            Ok(()) = end.changed() => end.borrow().1,
        }
    };
    if reset {
        // Closing a socket that lingers for no time sends a reset.
        SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
        SockRef::from(&server).set_linger(Some(Duration::ZERO))?;
    }
    Ok(())
}

async fn carry_requests(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    number: u64,
    shared: &Shared,
) -> io::Result<()> {
    let mut fault = shared.requests.subscribe();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let piece = next_piece(&mut from, &mut buffer, &mut fault).await?;
        shared.aim(number, piece);
        if shared.take(number, |strike| matches!(strike, Strike::DropRequest)).is_some() {
            return Ok(());
        }
        pass(piece, &mut to, &mut fault).await?;
    }
}

async fn carry_replies(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    number: u64,
    shared: &Shared,
) -> io::Result<()> {
    let mut fault = shared.replies.subscribe();
    let mut buffer = vec![0; 64 * 1024];
    let mut left = None;
    loop {
        let mut piece = next_piece(&mut from, &mut buffer, &mut fault).await?;
        match shared.take(number, |strike| !matches!(strike, Strike::DropRequest)) {
            Some(Strike::CutAfter(bytes)) => left = Some(bytes),
            Some(_) => return Ok(()),
            None => {}
        }
        if let Some(left) = &mut left {
            piece = &piece[..piece.len().min(*left)];
            *left -= piece.len();
        }
        pass(piece, &mut to, &mut fault).await?;
        if left == Some(0) {
            return Ok(());
        }
    }
}

/// Reads what comes next; not while the direction is stuck.
async fn next_piece<'b>(
    from: &mut ReadHalf<'_>,
    buffer: &'b mut [u8],
    fault: &mut watch::Receiver<Fault>,
) -> io::Result<&'b [u8]> {
    let unstuck = fault.wait_for(|fault| *fault != Fault::Stuck).await;
    unstuck.map_err(|_| io::ErrorKind::ConnectionAborted)?;
    match from.read(buffer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        length => Ok(&buffer[..length]),
    }
}

async fn pass(piece: &[u8], to: &mut WriteHalf<'_>, fault: &mut watch::Receiver<Fault>) -> io::Result<()> {
    // What was read just before the direction got stuck waits here.
    let unstuck = fault.wait_for(|fault| *fault != Fault::Stuck).await;
    let fault = *unstuck.map_err(|_| io::ErrorKind::ConnectionAborted)?;
    match fault {
        Fault::None | Fault::Stuck => to.write_all(piece).await,
        Fault::BlackHole => Ok(()),
        Fault::Delay(pause) => {
            sleep(pause).await;
            to.write_all(piece).await
        }
        Fault::ByteByByte => {
            for byte in piece {
                to.write_all(std::slice::from_ref(byte)).await?;
                tokio::task::yield_now().await;
            }
            Ok(())
        }
    }
}

impl Shared {
    /// Aims the first strike on the list at a connection, if this is the request it waits for.
    fn aim(&self, number: u64, piece: &[u8]) {
        if let Some(Planned { target, .. }) = self.strikes.lock().front_mut()
            && let Target::Request(request) = *target
            && piece.windows(request.len()).any(|part| part == request)
        {
            *target = Target::Connection(number);
        }
    }

    /// The first strike on the list, if it is of the wanted sort and for this connection.
    fn take(&self, number: u64, wanted: impl FnOnce(&Strike) -> bool) -> Option<Strike> {
        let mut strikes = self.strikes.lock();
        let is_due = |planned: &Planned| match planned.target {
            Target::Any => true,
            Target::Request(_) => false,
            Target::Connection(aimed) => aimed == number,
        };
        strikes.front().filter(|planned| is_due(planned) && wanted(&planned.strike))?;
        self.struck.fetch_add(1, Ordering::SeqCst);
        strikes.pop_front().map(|planned| planned.strike)
    }
}
