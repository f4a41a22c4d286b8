//! redis-conn on real servers, hurt for real.

mod basics;
mod batches;
mod faults;
mod ledger;
mod notices;
mod pool;
mod replies;
mod seams;
mod sharing;
mod support;
