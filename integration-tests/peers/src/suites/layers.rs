//! Soon.
use crate::{Outcome, case::Case, lab::Lab};
pub async fn run(_lab: &Lab) -> Outcome<Vec<Case>> {
    Ok(Vec::new())
}
pub const TASKS: usize = 64;
pub const WITHOUT: &str = "state-redis (no layers)";
