//! Without the feature `locks`: there are no such settings.

use state_core::StateResult;

use super::Setting;
use crate::config::RedisConfig;

#[derive(Default)]
pub(super) struct Parts {}

impl Parts {
    #[allow(clippy::unused_self, clippy::unnecessary_wraps)]
    pub(super) fn join(self, _config: &mut RedisConfig) -> StateResult<()> {
        Ok(())
    }
}

pub(super) const LOCKS: &[Setting] = &[];
