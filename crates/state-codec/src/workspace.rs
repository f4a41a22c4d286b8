//! Buffers and contexts that a thread keeps between values, so that the steady state allocates only
//! its result.
#![cfg_attr(
    not(all(feature = "lz4", feature = "snappy", feature = "zstd")),
    allow(dead_code, unused_variables, unreachable_code, reason = "what only the missing algorithm uses")
)]

use std::cell::RefCell;

#[cfg(feature = "zstd")]
use std::io;

#[cfg(feature = "zstd")]
use zstd::bulk::{Compressor, Decompressor};

#[cfg(feature = "zstd")]
use crate::Dictionary;

/// Runs `work` with this thread's workspace.
pub(crate) fn with<R>(work: impl FnOnce(&mut Workspace) -> R) -> R {
    thread_local! {
        static WORKSPACE: RefCell<Workspace> = RefCell::new(Workspace::default());
    }
    let mut work = Some(work);
    let mut run = |workspace: &mut Workspace| {
        let work = work.take().expect("a workspace is handed out once for each call");
        let result = work(workspace);
        workspace.trim();
        result
    };
    // While a thread ends its locals are gone, and a destructor may still want to write a value.
    WORKSPACE
        .try_with(|workspace| run(&mut workspace.borrow_mut()))
        .unwrap_or_else(|_| run(&mut Workspace::default()))
}

/// A scratch buffer and the libraries' contexts.
#[derive(Default)]
pub(crate) struct Workspace {
    scratch: Vec<u8>,
    contexts: Contexts,
}

#[derive(Default)]
pub(crate) struct Contexts {
    #[cfg(feature = "snappy")]
    snappy: Option<snap::raw::Encoder>,
    #[cfg(feature = "zstd")]
    compressors: Recent<(i32, u128), Compressor<'static>>,
    #[cfg(feature = "zstd")]
    decompressors: Recent<u128, Decompressor<'static>>,
}

impl Workspace {
    /// A scratch buffer of at least `len` bytes with arbitrary content, and the contexts.
    pub(crate) fn split(&mut self, len: usize) -> (&mut [u8], &mut Contexts) {
        if self.scratch.len() < len {
            self.scratch.resize(len, 0);
        }
        (&mut self.scratch, &mut self.contexts)
    }

    /// One large value must not pin its buffer to every thread that ever saw one.
    fn trim(&mut self) {
        if self.scratch.len() > MAX_KEPT_SCRATCH {
            self.scratch = Vec::new();
        }
    }
}

#[cfg(feature = "snappy")]
impl Contexts {
    pub(crate) fn snappy(&mut self) -> &mut snap::raw::Encoder {
        self.snappy.get_or_insert_with(snap::raw::Encoder::new)
    }
}

#[cfg(feature = "zstd")]
impl Contexts {
    pub(crate) fn compressor(
        &mut self,
        level: i32,
        dictionary: Option<&Dictionary>,
    ) -> io::Result<&mut Compressor<'static>> {
        self.compressors.get_or_make((level, digest(dictionary)), || {
            let mut context = Compressor::with_dictionary(level, bytes(dictionary))?;
            // The envelope names the dictionary; the frame need not repeat it.
            context.include_dictid(false)?;
            Ok(context)
        })
    }

    pub(crate) fn decompressor(
        &mut self,
        dictionary: Option<&Dictionary>,
    ) -> io::Result<&mut Decompressor<'static>> {
        self.decompressors
            .get_or_make(digest(dictionary), || Decompressor::with_dictionary(bytes(dictionary)))
    }
}

/// The few contexts that were used last, the very last one in front.
#[cfg(feature = "zstd")]
struct Recent<K, C>(Vec<(K, C)>);

#[cfg(feature = "zstd")]
impl<K: PartialEq, C> Recent<K, C> {
    fn get_or_make(&mut self, key: K, make: impl FnOnce() -> io::Result<C>) -> io::Result<&mut C> {
        match self.0.iter().position(|(known, _)| *known == key) {
            Some(position) => self.0[..=position].rotate_right(1),
            None => {
                let context = make()?;
                self.0.truncate(MAX_KEPT_CONTEXTS - 1);
                self.0.insert(0, (key, context));
            }
        }
        Ok(&mut self.0[0].1)
    }
}

#[cfg(feature = "zstd")]
impl<K, C> Default for Recent<K, C> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

#[cfg(feature = "zstd")]
fn digest(dictionary: Option<&Dictionary>) -> u128 {
    dictionary.map_or(0, Dictionary::digest)
}

#[cfg(feature = "zstd")]
fn bytes(dictionary: Option<&Dictionary>) -> &[u8] {
    dictionary.map_or(&[], Dictionary::as_bytes)
}

const MAX_KEPT_SCRATCH: usize = 4 << 20;
#[cfg(feature = "zstd")]
const MAX_KEPT_CONTEXTS: usize = 4;
