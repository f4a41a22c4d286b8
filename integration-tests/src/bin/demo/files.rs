//! The real input: every file of a repository.

use std::{fs, io, os::unix::ffi::OsStrExt, path::Path};

/// A file, as a key and a value.
pub(crate) struct File {
    /// The path below the root.
    pub(crate) key: Vec<u8>,
    /// What is in the file.
    pub(crate) content: Vec<u8>,
}

impl File {
    pub(crate) fn size(&self) -> u64 {
        self.content.len() as u64
    }

    pub(crate) fn name(&self) -> String {
        String::from_utf8_lossy(&self.key).into_owned()
    }
}

/// Every file below `root` in the order of the paths, without what git keeps for itself and what cargo
/// builds.
pub(crate) fn read(root: &Path) -> io::Result<Vec<File>> {
    let mut files = Vec::new();
    collect(root, root, &mut files)?;
    files.sort_by(|a, b| a.key.cmp(&b.key));
    if files.is_empty() {
        return Err(io::Error::other("there are no files"));
    }
    Ok(files)
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<File>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if entry.file_name() == ".git" || entry.file_name() == "target" {
            continue;
        }
        if kind.is_dir() {
            collect(root, &path, files)?;
        } else if kind.is_file() {
            let key = path.strip_prefix(root).unwrap_or(&path).as_os_str().as_bytes().to_owned();
            files.push(File { key, content: fs::read(&path)? });
        }
    }
    Ok(())
}
