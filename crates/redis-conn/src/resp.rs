//! RESP2 and RESP3 replies from bytes that arrive in pieces.
//!
//! Nothing is looked at twice: what is open stays on a stack, and an unfinished string is kept apart from the input.
//! Kinds of replies that are rare are put together here and read by redis-rs, whose values these are.

use redis::{PushKind, Value};

#[cfg(test)]
mod tests;

/// Replies nested deeper than this are refused; a server's own nest four deep or so.
const MAX_DEPTH: usize = 128;

/// Strings longer than this are refused: eight times what a server lets through by default.
const MAX_LENGTH: u64 = 4 << 30;

/// Room that is made for what a reply announces, before it has arrived.
const MAX_RESERVED: usize = 64 * 1024;

/// The bytes are not RESP, or beyond the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

type Result<T> = std::result::Result<T, Malformed>;

/// Puts replies together.
#[derive(Default)]
pub(crate) struct Decoder {
    /// The aggregates that are open, outermost first.
    open: Vec<Aggregate>,
    partial: Partial,
}

/// The beginning of something whose end has not arrived.
#[derive(Default)]
enum Partial {
    #[default]
    Nothing,
    /// A line, its type first.
    Line(Vec<u8>),
    /// A string of `missing` more bytes, the line end after it included.
    Text { kind: u8, bytes: Vec<u8>, missing: usize },
}

struct Aggregate {
    kind: u8,
    items: Vec<Value>,
    missing: usize,
}

/// What stands at one place of the input.
enum Element {
    Value(Value),
    Open(Aggregate),
}

impl Decoder {
    /// Takes bytes from `input` up to the end of a reply; `None` when it ends before one does.
    pub(crate) fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Value>> {
        loop {
            let value = match self.whole_string(input) {
                Some(text) => Value::BulkString(text.to_vec()),
                None => match self.element(input)? {
                    None => return Ok(None),
                    Some(Element::Value(value)) => value,
                    Some(Element::Open(_)) if self.open.len() == MAX_DEPTH => return Err(Malformed),
                    Some(Element::Open(aggregate)) => {
                        self.open.push(aggregate);
                        continue;
                    }
                },
            };
            if let Some(reply) = self.close(value)? {
                return Ok(Some(reply));
            }
        }
    }

    /// A string that has arrived whole, which is what nearly everything is. What is wrong is left to be found out.
    fn whole_string<'a>(&self, input: &mut &'a [u8]) -> Option<&'a [u8]> {
        let (b'$', rest) = input.split_first().filter(|_| matches!(self.partial, Partial::Nothing))? else {
            return None;
        };
        let (digits, rest) = rest.split_at_checked(rest.iter().position(|byte| *byte == b'\r')?)?;
        let length = usize::try_from(integer(digits).ok()?).ok()?;
        let rest = rest.strip_prefix(b"\r\n")?;
        let (text, rest) = rest.split_at_checked(length)?;
        *input = rest.strip_prefix(b"\r\n")?;
        Some(text)
    }

    /// Puts a value into the innermost aggregate, and that into the next if it is complete by now; returns what
    /// belongs to none.
    fn close(&mut self, mut value: Value) -> Result<Option<Value>> {
        while let Some(innermost) = self.open.last_mut() {
            innermost.items.push(value);
            innermost.missing -= 1;
            if innermost.missing > 0 {
                return Ok(None);
            }
            let complete = self.open.pop().ok_or(Malformed)?;
            value = complete.complete()?;
        }
        Ok(Some(value))
    }

    fn element(&mut self, input: &mut &[u8]) -> Result<Option<Element>> {
        match std::mem::take(&mut self.partial) {
            Partial::Nothing => self.fresh(input),
            Partial::Line(line) => self.continue_line(line, input),
            Partial::Text { kind, bytes, missing } => {
                Ok(self.text(kind, bytes, missing, input)?.map(Element::Value))
            }
        }
    }

    fn fresh(&mut self, input: &mut &[u8]) -> Result<Option<Element>> {
        match take_line(input) {
            Some(line) => self.line(line, input),
            None => {
                if !input.is_empty() {
                    self.partial = Partial::Line(std::mem::take(input).to_vec());
                }
                Ok(None)
            }
        }
    }

    fn continue_line(&mut self, mut line: Vec<u8>, input: &mut &[u8]) -> Result<Option<Element>> {
        let rest = take_line(input);
        line.extend_from_slice(rest.unwrap_or_else(|| std::mem::take(input)));
        if line.len() as u64 > MAX_LENGTH {
            return Err(Malformed);
        }
        match rest {
            Some(_) => self.line(&line, input),
            None => {
                self.partial = Partial::Line(line);
                Ok(None)
            }
        }
    }

    /// `line` with its end.
    fn line(&mut self, line: &[u8], input: &mut &[u8]) -> Result<Option<Element>> {
        let [kind, text @ .., b'\r', b'\n'] = line else { return Err(Malformed) };
        let value = match kind {
            b'$' | b'=' | b'!' => match length(text)? {
                None if *kind == b'$' => Value::Nil,
                None => return Err(Malformed),
                Some(length) if length as u64 > MAX_LENGTH => return Err(Malformed),
                Some(length) => {
                    return Ok(self.text(*kind, Vec::new(), length + 2, input)?.map(Element::Value));
                }
            },
            b'*' | b'~' | b'%' | b'|' | b'>' => return Aggregate::announced(*kind, length(text)?).map(Some),
            b'+' if text == b"OK" => Value::Okay,
            b'+' => Value::SimpleString(String::from_utf8_lossy(text).into_owned()),
            b':' => Value::Int(integer(text)?),
            b'_' => Value::Nil,
            b'-' | b',' | b'#' | b'(' => read_by_redis(line)?,
            _ => return Err(Malformed),
        };
        Ok(Some(Element::Value(value)))
    }

    /// Adds to a string what has arrived of it.
    fn text(
        &mut self,
        kind: u8,
        mut bytes: Vec<u8>,
        missing: usize,
        input: &mut &[u8],
    ) -> Result<Option<Value>> {
        let arrived = missing.min(input.len());
        let (text, rest) = input.split_at(arrived);
        *input = rest;
        let missing = missing - arrived;
        if missing > 0 {
            // At most twice what has arrived, and never more than there will be.
            bytes.reserve_exact(arrived + missing.min(bytes.len().max(MAX_RESERVED)));
            bytes.extend_from_slice(text);
            self.partial = Partial::Text { kind, bytes, missing };
            return Ok(None);
        }
        bytes.extend_from_slice(text);
        if !bytes.ends_with(b"\r\n") {
            return Err(Malformed);
        }
        bytes.truncate(bytes.len() - 2);
        match kind {
            b'$' => Ok(Some(Value::BulkString(bytes))),
            _ => read_text_by_redis(kind, &bytes).map(Some),
        }
    }
}

impl Aggregate {
    /// What a header announces; `None` is the old null.
    fn announced(kind: u8, length: Option<usize>) -> Result<Element> {
        let missing = match (kind, length) {
            (_, None) if kind != b'*' => return Err(Malformed),
            (_, None) => return Ok(Element::Value(Value::Nil)),
            (b'%', Some(length)) => length.checked_mul(2),
            // Attributes stand before the value that they belong to.
            (b'|', Some(length)) => length.checked_mul(2).and_then(|length| length.checked_add(1)),
            (_, length) => length,
        };
        let missing = missing.ok_or(Malformed)?;
        let reserved = missing.min(MAX_RESERVED / size_of::<Value>());
        let aggregate = Self { kind, items: Vec::with_capacity(reserved), missing };
        if missing == 0 { aggregate.complete().map(Element::Value) } else { Ok(Element::Open(aggregate)) }
    }

    fn complete(mut self) -> Result<Value> {
        Ok(match self.kind {
            b'*' => Value::Array(self.items),
            b'~' => Value::Set(self.items),
            b'%' => Value::Map(pairs(self.items)),
            b'|' => {
                let data = Box::new(self.items.pop().ok_or(Malformed)?);
                Value::Attribute { data, attributes: pairs(self.items) }
            }
            // Nobody is told what is pushed to a connection that does not subscribe.
            _ => Value::Push { kind: PushKind::Other(String::new()), data: self.items },
        })
    }
}

fn pairs(items: Vec<Value>) -> Vec<(Value, Value)> {
    let mut items = items.into_iter();
    std::iter::from_fn(|| items.next().zip(items.next())).collect()
}

/// A line with its end; `None` when that has not arrived.
fn take_line<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = input.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = input.split_at(end + 1);
    *input = rest;
    Some(line)
}

/// `None` is -1.
fn length(text: &[u8]) -> Result<Option<usize>> {
    match integer(text)? {
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| Malformed),
    }
}

fn integer(text: &[u8]) -> Result<i64> {
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    // Below zero there is room for one more.
    let add = |sum: i64, digit: &u8| {
        let digit = digit.is_ascii_digit().then(|| i64::from(digit - b'0'))?;
        sum.checked_mul(10)?.checked_sub(digit)
    };
    let negated = digits.iter().try_fold(0, add).filter(|_| !digits.is_empty()).ok_or(Malformed)?;
    if is_negative { Ok(negated) } else { negated.checked_neg().ok_or(Malformed) }
}

fn read_text_by_redis(kind: u8, text: &[u8]) -> Result<Value> {
    let text = String::from_utf8_lossy(text);
    let mut whole = vec![kind];
    whole.extend_from_slice(format!("{}\r\n{text}\r\n", text.len()).as_bytes());
    read_by_redis(&whole)
}

/// An error quotes what it was given, which need not be UTF-8.
fn read_by_redis(reply: &[u8]) -> Result<Value> {
    redis::parse_redis_value(String::from_utf8_lossy(reply).as_bytes()).map_err(|_| Malformed)
}
