//! What a command prints, piece by piece, with an eye on silence.

use std::{
    io::{self, PipeReader, Read},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

/// Silence is counted in so many parts. A part that this process was itself stopped in, or a laptop asleep, counts once,
/// however long it was.
const PARTS: u32 = 50;

/// A piece of the output.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A line, and at the end what is left of one.
    Line(String),
    /// Nothing came for as long as there was patience; `begun` is the line that is not complete. It is the last piece.
    Silence {
        /// What has come of the line that is not complete.
        begun: String,
    },
}

/// The output of a command, read by a thread.
pub(crate) struct Output {
    chunks: Receiver<io::Result<Vec<u8>>>,
    patience: Option<Duration>,
    rest: Vec<u8>,
    is_over: bool,
}

impl Output {
    /// The output that comes through `pipe`.
    pub(crate) fn of(mut pipe: PipeReader, patience: Option<Duration>) -> Self {
        let (sender, chunks) = sync_channel(16);
        thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            loop {
                let chunk = match pipe.read(&mut buffer) {
                    Ok(0) => return,
                    Ok(length) => Ok(buffer[..length].to_vec()),
                    Err(error) => Err(error),
                };
                let is_last = chunk.is_err();
                if sender.send(chunk).is_err() || is_last {
                    return;
                }
            }
        });
        Self { chunks, patience, rest: Vec::new(), is_over: false }
    }

    /// The next chunk; `None` after silence.
    fn chunk(&self) -> Result<Option<io::Result<Vec<u8>>>, RecvTimeoutError> {
        let Some(patience) = self.patience else {
            return self.chunks.recv().map(Some).map_err(|_| RecvTimeoutError::Disconnected);
        };
        for _ in 0..PARTS {
            match self.chunks.recv_timeout(patience / PARTS) {
                Err(RecvTimeoutError::Timeout) => {}
                chunk => return chunk.map(Some),
            }
        }
        Ok(None)
    }

    fn line(&mut self) -> Option<String> {
        let end = self.rest.iter().position(|&byte| byte == b'\n')?;
        let line: Vec<u8> = self.rest.drain(..=end).collect();
        Some(String::from_utf8_lossy(&line[..end]).into_owned())
    }

    fn begun(&mut self) -> String {
        self.is_over = true;
        String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned()
    }
}

impl Iterator for Output {
    type Item = io::Result<Piece>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_over {
            if let Some(line) = self.line() {
                return Some(Ok(Piece::Line(line)));
            }
            match self.chunk() {
                Ok(Some(Ok(chunk))) => self.rest.extend(chunk),
                Ok(Some(Err(error))) => return Some(Err(error)),
                Ok(None) => return Some(Ok(Piece::Silence { begun: self.begun() })),
                Err(_) => {
                    return Some(self.begun())
                        .filter(|rest| !rest.is_empty())
                        .map(|rest| Ok(Piece::Line(rest)));
                }
            }
        }
        None
    }
}
