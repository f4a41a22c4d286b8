//! A lock in a form that can be handed to another process.

use std::fmt::Write;

use crate::{Claim, Error, ErrorKind, Mode, Result, claim::Resource};

/// A lock that was detached from its guard. Whoever has it can resume the lock, so it is a secret: `Debug` does not
/// show it, [`encode`](Self::encode) does.
#[derive(Clone, PartialEq, Eq)]
pub struct LockToken {
    id: String,
    resources: Vec<Resource>,
    token: u64,
}

impl LockToken {
    pub(crate) fn new(claim: &Claim, token: u64) -> Self {
        Self { id: claim.id.to_string(), resources: claim.resources.to_vec(), token }
    }

    /// The fencing token of the lock.
    pub fn token(&self) -> u64 {
        self.token
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn resources(&self) -> &[Resource] {
        &self.resources
    }

    /// A text of ASCII letters, digits, `.` and `-`, to be read by [`decode`](Self::decode).
    pub fn encode(&self) -> String {
        let mut text = format!("1.{}.{}", self.token, hex(self.id.as_bytes()));
        for resource in &self.resources {
            write!(text, ".{}.{}", resource.mode().limit(), hex(resource.body().as_bytes()))
                .expect("writing to a string cannot fail");
        }
        text
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) when the text is something else.
    pub fn decode(text: &str) -> Result<Self> {
        read(text).ok_or_else(|| Error::new(ErrorKind::InvalidInput, "not an encoded lock token"))
    }
}

fn read(text: &str) -> Option<LockToken> {
    let mut parts = text.split('.');
    if parts.next()? != "1" {
        return None;
    }
    let (token, id) = (parts.next()?.parse().ok()?, unhex(parts.next()?)?);
    let mut resources = Vec::new();
    while let Some(limit) = parts.next() {
        let mode = match limit.parse().ok()? {
            0 => Mode::Exclusive,
            -1 => Mode::Shared,
            permits => Mode::Permit(u32::try_from(permits).ok()?),
        };
        resources.push(Resource::from_body(unhex(parts.next()?)?, mode));
    }
    (!resources.is_empty()).then_some(LockToken { id, resources, token })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<String> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    String::from_utf8(pairs.map(byte).collect::<Option<_>>()?).ok()
}

impl std::fmt::Debug for LockToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LockToken").field("token", &self.token).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> LockToken {
        let resource = |name, mode| Resource::new("p:", "l", name, mode).unwrap();
        LockToken {
            id: "me/1".into(),
            resources: vec![resource("a.b", Mode::Shared), resource("{ü}", Mode::Permit(7))],
            token: u64::MAX,
        }
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        assert_eq!(LockToken::decode(&token().encode()).unwrap(), token());
    }

    #[test]
    fn other_texts_are_refused() {
        let whole = token().encode();
        for text in ["", "1", "1.2", "2.1.00.0.00", "1.1.6d.0", "1.1.zz.0.00", &whole[..whole.len() - 1]] {
            assert_eq!(LockToken::decode(text).unwrap_err().kind(), ErrorKind::InvalidInput, "{text}");
        }
    }

    #[test]
    fn debug_hides_the_secret() {
        assert!(!format!("{:?}", token()).contains("me"));
    }
}
