//! Whether the server serves reads and writes.

use redis::{Pipeline, Value};
use state_core::{ErrorKind, StateResult};

use crate::exec::Task;

/// `false` when the server answers and says that it cannot: it is a replica, still loading, out of memory, or
/// unable to persist.
pub(crate) async fn check(task: &Task<'_>) -> StateResult<bool> {
    let mut questions = Pipeline::new();
    questions.cmd("PING").cmd("ROLE");
    let mut is_healthy = true;
    for answer in task.ask_once(&questions).await? {
        is_healthy &= match answer {
            Ok(Value::Array(role)) => !is_replica(&role),
            Ok(_) => true,
            // The user may not ask for the role; that the server answers is what can be known then.
            Err(error) if error.kind() == ErrorKind::Auth => true,
            Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::ReadOnly) => false,
            Err(error) => return Err(error),
        };
    }
    Ok(is_healthy)
}

/// `ROLE` begins with the word `slave` on a replica.
fn is_replica(role: &[Value]) -> bool {
    match role.first() {
        Some(Value::BulkString(word)) => word == b"slave",
        Some(Value::SimpleString(word)) => word == "slave",
        _ => false,
    }
}
