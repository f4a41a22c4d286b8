//! The server dies under the demo, comes back, and the demo goes on.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use integration_tests::{READY_WITHIN, Server, eventually};
use state_core::StateBackend;
use tokio::time::sleep;

use crate::{Result, explain, files::File, screen::Screen, table::time, transfer::read_in_batches};

const KEY: &[u8] = b"demo:through the outage";

/// Kills the server with SIGKILL while a task increments a counter, starts it again, waits until calls
/// succeed, and verifies: nothing acknowledged is lost, nothing is counted twice, and every byte of every
/// file is still there.
pub(crate) async fn survive(
    screen: &Screen,
    state: &Arc<dyn StateBackend>,
    server: &Server,
    files: &[File],
) -> Result {
    let ledger = Arc::new(Ledger::default());
    let writer = tokio::spawn(Arc::clone(&ledger).write(Arc::clone(state)));
    let acknowledged = async |more: i64| {
        let goal = ledger.acknowledged.load(Relaxed) + more;
        eventually("increments succeed", Duration::from_secs(30), async || {
            let now = ledger.acknowledged.load(Relaxed);
            if now >= goal { Ok(()) } else { Err(format!("{now} of {goal}")) }
        })
        .await;
    };
    acknowledged(50).await;

    server.kill();
    let since = Instant::now();
    let refused = state.get(KEY).await.err().ok_or("a call to a killed server succeeded")?;
    let refused_after = since.elapsed();
    sleep(Duration::from_millis(300)).await;

    server.launch();
    server.wait_ready(READY_WITHIN).await;
    let since = Instant::now();
    acknowledged(50).await;
    let back_after = since.elapsed();

    ledger.stop.store(true, Relaxed);
    let failures = writer.await.map_err(|error| error.to_string())?;
    let (sure, unsure) = (ledger.acknowledged.load(Relaxed), ledger.ambiguous.load(Relaxed));
    let counted = state.increment(KEY, 0).await.map_err(explain)?;
    state.delete(KEY).await.map_err(explain)?;
    if counted < sure || counted > sure + unsure {
        return Err(format!("{sure} increments acknowledged, {unsure} unsure, {counted} counted"));
    }
    read_in_batches(screen, state.as_ref(), files).await?;
    let (kind, refused_after, back_after) = (refused.kind(), time(refused_after), time(back_after));
    screen.say("outage: server killed and restarted, every byte of every file the same");
    screen.say(&format!("  a call while it was down failed after {refused_after}: {kind:?}"));
    screen.say(&format!("  50 increments were done {back_after} after it answered again"));
    screen.say(&format!(
        "  increments: {sure} acknowledged, {unsure} unsure, {counted} counted; failed: {failures:?}"
    ));
    Ok(())
}

/// What the writer was told.
#[derive(Default)]
struct Ledger {
    acknowledged: AtomicI64,
    ambiguous: AtomicI64,
    stop: AtomicBool,
}

impl Ledger {
    /// Increments until told to stop. Returns how many failures of each kind there were.
    async fn write(self: Arc<Self>, state: Arc<dyn StateBackend>) -> BTreeMap<String, u64> {
        let mut failures: BTreeMap<String, u64> = BTreeMap::new();
        while !self.stop.load(Relaxed) {
            let Err(error) = state.increment(KEY, 1).await else {
                self.acknowledged.fetch_add(1, Relaxed);
                continue;
            };
            self.ambiguous.fetch_add(i64::from(error.is_ambiguous()), Relaxed);
            *failures.entry(format!("{:?}", error.kind())).or_default() += 1;
            // While the server is down calls fail at once; nobody is served by trying as fast as that.
            sleep(Duration::from_millis(5)).await;
        }
        failures
    }
}
