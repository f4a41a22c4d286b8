//! Typed values: a record in its first schema, the next release that reads it, and updates that lose nothing.
//!
//! `cargo run -p state-redis --example typed` runs in memory; give it a URL, or set `REDIS_URL`, for a server.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use state_redis::{
    ErrorKind, NoPrevious, ScanOptions, SerializationFormat, StateBackend, StateResult, Typed, Versioned,
    open,
};

/// The record as the first release stored it.
#[derive(Debug, Serialize, Deserialize)]
struct AccountV1 {
    name: String,
    euros: f64,
}

/// The record today: whole cents, and a count of bookings.
#[derive(Debug, Serialize, Deserialize)]
struct Account {
    name: String,
    cents: i64,
    bookings: u64,
}

impl Versioned for AccountV1 {
    const VERSION: u32 = 1;
    type Previous = NoPrevious;
    fn upcast(previous: NoPrevious) -> Self {
        match previous {}
    }
}

impl Versioned for Account {
    const VERSION: u32 = 2;
    type Previous = AccountV1;
    fn upcast(previous: AccountV1) -> Self {
        Self { name: previous.name, cents: (previous.euros * 100.0).round() as i64, bookings: 0 }
    }
}

const FORMAT: SerializationFormat = SerializationFormat::MessagePack;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> StateResult<()> {
    let url = std::env::args().nth(1).or_else(|| std::env::var("REDIS_URL").ok());
    let state: Arc<dyn StateBackend> = open(url.as_deref().unwrap_or("memory:")).await?;
    let before = Typed::<AccountV1, _>::versioned(state.clone(), FORMAT);
    let accounts = Typed::<Account, _>::versioned(state.clone(), FORMAT);

    for (key, name) in [(&b"example:typed:1"[..], "Ada"), (b"example:typed:2", "Grace")] {
        before.put(key, &AccountV1 { name: name.to_owned(), euros: 12.34 }).await?;
    }
    println!("version 1 stored two accounts");
    println!("version 2 reads {:?}", accounts.get(b"example:typed:1").await?);

    let bookings = (0..50).map(|_| {
        let accounts = accounts.clone();
        tokio::spawn(async move { accounts.update(b"example:typed:1", |old| old.map(book)).await })
    });
    for booking in bookings.collect::<Vec<_>>() {
        booking.await.expect("the task ran to its end")?;
    }
    println!("after 50 bookings at a time: {:?}", accounts.get(b"example:typed:1").await?);

    match before.get(b"example:typed:1").await {
        Err(error) if error.kind() == ErrorKind::Unsupported => println!("version 1 now gets: {error}"),
        other => println!("version 1 unexpectedly got {other:?}"),
    }
    let migration = accounts.migrate(b"example:typed:", ScanOptions::default()).await?;
    println!("the rest is brought up to date: {migration:?}");

    for result in accounts.batch_delete(&[b"example:typed:1", b"example:typed:2"]).await {
        result?;
    }
    Ok(())
}

fn book(account: Account) -> Account {
    Account { cents: account.cents + 1, bookings: account.bookings + 1, ..account }
}
