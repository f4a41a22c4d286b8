//! Writes the golden files that are missing, and never touches one that exists:
//! `cargo run -p state-codec --all-features --example write_golden`.

use std::{error::Error, fs, io, path::Path};

use state_codec::{Codec, Dictionary};

#[path = "../tests/it/golden_set.rs"]
#[allow(dead_code, reason = "the tests use the other half")]
mod golden_set;
#[path = "../tests/it/support.rs"]
#[allow(dead_code, reason = "the tests use the other half")]
mod support;

use golden_set::{Golden, Manifest, envelopes, folder, records, secret, values};
use support::document;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = folder();
    fs::create_dir_all(&folder)?;
    let values = values(document);
    for (name, value) in &values {
        write_once(&folder.join(format!("value-{name}.bin")), || Ok(value.clone()))?;
    }
    for (name, bytes) in records() {
        write_once(&folder.join(name), || Ok(bytes))?;
    }
    let dictionary = write_once(&folder.join("dictionary.bin"), || {
        let samples: Vec<_> = (0..1_000).map(document).collect();
        Ok(Dictionary::train(&samples, 8 << 10)?.as_bytes().to_vec())
    })?;
    let dictionary = Dictionary::from_bytes(dictionary)?;
    let mut manifest = Manifest::default();
    for id in [1, 2] {
        manifest.secrets.insert(id, secret(id).iter().map(|byte| format!("{byte:02x}")).collect());
    }
    for (name, value_name, config) in envelopes(&dictionary) {
        let key = format!("golden:{name}");
        let (_, value) = values.iter().find(|(name, _)| *name == value_name).ok_or("no such value")?;
        write_once(&folder.join(format!("{name}.bin")), || {
            Ok(Codec::new(config)?.encode(key.as_bytes(), value)?.into_owned())
        })?;
        let (stored, value) = (format!("{name}.bin"), format!("value-{value_name}.bin"));
        manifest.envelopes.push(Golden { stored, value, key });
    }
    fs::write(folder.join("golden.json"), serde_json::to_vec_pretty(&manifest)?)?;
    Ok(())
}

/// The file's content, made and written only when there is no such file.
fn write_once(
    path: &Path,
    make: impl FnOnce() -> Result<Vec<u8>, Box<dyn Error>>,
) -> Result<Vec<u8>, Box<dyn Error>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let content = make()?;
            fs::write(path, &content)?;
            Ok(content)
        }
        content => Ok(content?),
    }
}
