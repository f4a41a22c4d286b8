//! Without the feature `codec`: values stand on the server as they are.

use std::borrow::Cow;

use state_core::StateResult;

use crate::operation::Operation;

pub(crate) struct Values;

pub(crate) struct Decoder;

#[rustfmt::skip]
impl Values {
    #[allow(clippy::unnecessary_wraps)]
    pub(crate) fn encode<'v>(&self, _: Operation, _: &[u8], value: &'v [u8]) -> StateResult<Cow<'v, [u8]>> { Ok(Cow::Borrowed(value)) }
    pub(crate) async fn decode(&self, _: Operation, _: &[u8], bytes: Vec<u8>) -> StateResult<Vec<u8>> { Ok(bytes) }
    pub(crate) fn decoder(&self) -> Decoder { Decoder }
    #[allow(clippy::unnecessary_wraps)]
    pub(crate) fn envelope(&self, _: Operation, _: &[u8]) -> StateResult<Vec<u8>> { Ok(Vec::new()) }
    pub(crate) fn keeps_numbers(&self) -> bool { true }
}

#[rustfmt::skip]
impl Decoder {
    pub(crate) async fn decode(&mut self, _: Operation, _: &[u8], bytes: Vec<u8>) -> StateResult<Vec<u8>> { Ok(bytes) }
}

pub(crate) fn is_encrypted(_bytes: &[u8]) -> bool {
    false
}
