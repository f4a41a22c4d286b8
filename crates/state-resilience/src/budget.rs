//! The retry budget: how much extra load repeats and hedges may make, over all calls together.

use std::fmt;

use tokio::time::Instant;

use crate::error::{Error, Result, check_range};
use crate::sync::{AtomicU64, Ordering, Padded};

/// How large a [`RetryBudget`] is. The shape is that of Finagle: a share of the calls, and a minimum.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct BudgetConfig {
    /// How many repeats each call pays for; 0 to 1,000, in steps of 0.001. Default: 0.2, so that repeats add at most
    /// a fifth to the load.
    pub per_call: f64,
    /// So many repeats a second are allowed however few calls there are; 0 to 100,000. Default: 10.
    pub per_second: u32,
    /// The most that can be saved up, and what there is at the start; 1 to 200,000 repeats. Default: 100.
    pub bank: u32,
}

impl Default for BudgetConfig {
    fn default() -> Self {
        Self { per_call: 0.2, per_second: 10, bank: 100 }
    }
}

impl BudgetConfig {
    /// Sets [`per_call`](Self::per_call).
    #[must_use]
    pub fn with_per_call(mut self, repeats: f64) -> Self {
        self.per_call = repeats;
        self
    }

    /// Sets [`per_second`](Self::per_second).
    #[must_use]
    pub fn with_per_second(mut self, repeats: u32) -> Self {
        self.per_second = repeats;
        self
    }

    /// Sets [`bank`](Self::bank).
    #[must_use]
    pub fn with_bank(mut self, repeats: u32) -> Self {
        self.bank = repeats;
        self
    }

    fn check(&self) -> Result<()> {
        if !(0.0..=1_000.0).contains(&self.per_call) {
            return Err(Error::invalid(format!("per_call must be 0 to 1,000, not {}", self.per_call)));
        }
        check_range("per_second", self.per_second, 0..=100_000)?;
        check_range("bank", self.bank, 1..=200_000)
    }
}

/// A bank of repeats that calls pay into and repeats and hedges draw from.
///
/// Without one, a service in trouble gets up to `max_attempts` times its load just when it can bear it least. Share
/// one among all that call the same endpoint. One atomic word, changed by compare-and-swap: no update is ever lost,
/// so repeats never exceed `bank + per_call * calls + per_second * seconds`.
pub struct RetryBudget {
    config: BudgetConfig,
    epoch: Instant,
    deposit: u64,
    word: Padded<AtomicU64>,
}

/// Thousandths of a repeat, so that shares of one add up without a rounding error.
const REPEAT: u64 = 1_000;

/// `refilled at:36 | balance:28`: milliseconds since the epoch and thousandths of a repeat.
///
/// The time wraps after two years, which can only make a refill of a budget idle for that long too small.
#[derive(Clone, Copy)]
struct Account {
    refilled_ms: u64,
    balance: u64,
}

impl Account {
    const TIME: u64 = (1 << 36) - 1;
    const BALANCE: u64 = (1 << 28) - 1;
    /// A minute: further back, a time is not late but has wrapped.
    const LATE: u64 = 60_000;

    const fn unpack(word: u64) -> Self {
        Self { refilled_ms: word >> 28, balance: word & Self::BALANCE }
    }

    const fn pack(self) -> u64 {
        (self.refilled_ms & Self::TIME) << 28 | self.balance
    }
}

impl RetryBudget {
    /// A full budget. `now` becomes its epoch: later calls must not pass earlier times.
    ///
    /// # Errors
    /// `InvalidConfig` when a setting is out of its range; the context names it.
    pub fn new(config: BudgetConfig, now: Instant) -> Result<Self> {
        config.check()?;
        let full = Account { refilled_ms: 0, balance: u64::from(config.bank) * REPEAT };
        Ok(Self {
            config,
            epoch: now,
            deposit: (config.per_call * REPEAT as f64).round() as u64,
            word: Padded(AtomicU64::new(full.pack())),
        })
    }

    /// A call begins: pays its share in. Needs no time, and writes nothing while the bank is full.
    #[inline]
    pub fn deposit(&self) {
        self.add(self.deposit);
    }

    /// Draws one repeat, or says that there is none to be had.
    ///
    /// The repeat goes back into the bank unless [`Withdrawal::spend`] is called, so that a call that is cancelled
    /// before it repeats costs nothing.
    #[must_use]
    pub fn withdraw(&self, now: Instant) -> Option<Withdrawal<'_>> {
        let now_ms = self.elapsed_ms(now);
        let mut seen = self.word.0.load(Ordering::Relaxed);
        loop {
            let mut account = self.refilled(Account::unpack(seen), now_ms);
            account.balance = account.balance.checked_sub(REPEAT)?;
            match self.word.0.compare_exchange_weak(seen, account.pack(), Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return Some(Withdrawal { budget: self }),
                Err(current) => seen = current,
            }
        }
    }

    /// How many whole repeats could be drawn.
    #[must_use]
    pub fn available(&self, now: Instant) -> u32 {
        let account = Account::unpack(self.word.0.load(Ordering::Relaxed));
        (self.refilled(account, self.elapsed_ms(now)).balance / REPEAT) as u32
    }

    /// The settings it was made with.
    #[must_use]
    pub fn config(&self) -> &BudgetConfig {
        &self.config
    }

    #[inline]
    fn add(&self, thousandths: u64) {
        let full = self.full();
        let mut seen = self.word.0.load(Ordering::Relaxed);
        loop {
            let account = Account::unpack(seen);
            let balance = (account.balance + thousandths).min(full);
            if balance == account.balance {
                return;
            }
            let next = Account { balance, ..account }.pack();
            match self.word.0.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return,
                Err(current) => seen = current,
            }
        }
    }

    /// Adds what has accrued by time: `per_second` repeats a second are as many thousandths a millisecond.
    fn refilled(&self, account: Account, now_ms: u64) -> Account {
        let passed = now_ms.wrapping_sub(account.refilled_ms) & Account::TIME;
        // A time a little before the last refill, seen by a thread that was slower: nothing has accrued.
        if passed > Account::TIME - Account::LATE {
            return account;
        }
        let accrued = passed.saturating_mul(u64::from(self.config.per_second));
        Account { refilled_ms: now_ms, balance: account.balance.saturating_add(accrued).min(self.full()) }
    }

    fn full(&self) -> u64 {
        u64::from(self.config.bank) * REPEAT
    }

    fn elapsed_ms(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_millis() as u64 & Account::TIME
    }
}

impl fmt::Debug for RetryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let balance = Account::unpack(self.word.0.load(Ordering::Relaxed)).balance;
        f.debug_struct("RetryBudget")
            .field("config", &self.config)
            .field("balance", &(balance as f64 / REPEAT as f64))
            .finish_non_exhaustive()
    }
}

/// One repeat drawn from a [`RetryBudget`]; goes back when dropped without [`spend`](Self::spend).
#[derive(Debug)]
#[must_use = "a dropped withdrawal goes back into the budget"]
pub struct Withdrawal<'a> {
    budget: &'a RetryBudget,
}

impl Withdrawal<'_> {
    /// The repeat has begun: it is paid for.
    pub fn spend(self) {
        std::mem::forget(self);
    }
}

impl Drop for Withdrawal<'_> {
    fn drop(&mut self) {
        self.budget.add(REPEAT);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64 as Count, Ordering::SeqCst};
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Call,
        Repeat,
        Cancelled,
        Advance(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => Just(Step::Call),
            4 => Just(Step::Repeat),
            1 => Just(Step::Cancelled),
            1 => (0..3_000_u64).prop_map(Step::Advance),
        ];
        proptest::collection::vec(step, 1..500)
    }

    proptest! {
        #[test]
        fn repeats_never_exceed_what_was_paid_for_and_are_there_when_it_was(
            steps in steps(),
            share in 0..2_000_u64,
            per_second in 0..20_u32,
            bank in 1..50_u32,
        ) {
            let config = BudgetConfig { per_call: share as f64 / 1_000.0, per_second, bank };
            let start = Instant::now();
            let budget = RetryBudget::new(config, start).unwrap();
            // In thousandths; exact, because everything is a whole number of them.
            let (mut balance, mut now_ms) = (u64::from(bank) * 1_000, 0);
            let full = balance;
            for step in steps {
                let now = start + Duration::from_millis(now_ms);
                match step {
                    Step::Call => {
                        budget.deposit();
                        balance = (balance + share).min(full);
                    }
                    Step::Repeat => {
                        let drawn = budget.withdraw(now).map(Withdrawal::spend).is_some();
                        prop_assert_eq!(drawn, balance >= 1_000, "balance {}", balance);
                        balance -= if drawn { 1_000 } else { 0 };
                    }
                    Step::Cancelled => drop(budget.withdraw(now)),
                    Step::Advance(by) => {
                        // Drawn and given back, so that the refill so far is booked as the model books it.
                        drop(budget.withdraw(now));
                        now_ms += by;
                        balance = (balance + by * u64::from(per_second)).min(full);
                    }
                }
                let seen = budget.available(start + Duration::from_millis(now_ms));
                prop_assert_eq!(u64::from(seen), balance / 1_000);
            }
        }
    }

    #[test]
    fn threads_lose_no_deposit_and_draw_no_repeat_twice() {
        let now = Instant::now();
        let config = BudgetConfig::default().with_bank(100_000).with_per_call(0.5).with_per_second(0);
        let budget = RetryBudget::new(config, now).unwrap();
        while let Some(repeat) = budget.withdraw(now) {
            repeat.spend();
        }
        let drawn = Count::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        budget.deposit();
                        if budget.withdraw(now).map(Withdrawal::spend).is_some() {
                            drawn.fetch_add(1, SeqCst);
                        }
                    }
                });
            }
        });
        assert_eq!(drawn.load(SeqCst) + u64::from(budget.available(now)), 20_000);
    }

    #[test]
    fn a_time_that_is_a_little_late_is_not_a_refill() {
        let start = Instant::now();
        let budget =
            RetryBudget::new(BudgetConfig::default().with_bank(1).with_per_second(1), start).unwrap();
        let now = start + Duration::from_secs(10);
        budget.withdraw(now).unwrap().spend();
        assert!(budget.withdraw(now - Duration::from_secs(1)).is_none());
        assert!(budget.withdraw(now + Duration::from_secs(1)).is_some());
    }
}
