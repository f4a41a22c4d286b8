//! redis-conn on real clusters: routing, slots that move, masters that die.

mod moves;
mod outages;
mod replies;
mod routing;
mod scan;
mod support;
