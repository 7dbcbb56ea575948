//! The corpus: `tests/corpus/<target>/`, small files. Those named `seed-..` are what the encoders write
//! (`QUORATE_WRITE_CORPUS=1 cargo test -p quorate-tests --test fuzz corpus`), all others were found.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::Target;
use crate::faults::source_root;

/// What the names of files begin with that are made anew.
const SEED_PREFIX: &str = "seed-";

/// One input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its file, or which seed it is.
    pub name: String,
    /// What a target is given.
    pub bytes: Vec<u8>,
}

/// The directory of a target's files.
pub fn directory(target: &Target) -> PathBuf {
    source_root().join("tests/corpus").join(target.name)
}

/// A target's files, by name.
///
/// # Errors
/// There is no such directory, or it cannot be read.
pub fn committed(target: &Target) -> io::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for entry in fs::read_dir(directory(target))? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        samples.push(Sample { name, bytes: fs::read(&path)? });
    }
    samples.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(samples)
}

/// What a target's encoders write now, by the names of their files. Replays take the files: these may differ from run to run
/// where a library puts the time in.
pub fn seeds(target: &Target) -> Vec<Sample> {
    let named = |(at, bytes)| Sample { name: format!("{SEED_PREFIX}{at:02}"), bytes };
    (target.seeds)().into_iter().enumerate().map(named).collect()
}

/// Makes a target's seeds anew.
///
/// # Errors
/// The directory cannot be written.
pub fn write(target: &Target) -> io::Result<()> {
    let directory = directory(target);
    fs::create_dir_all(&directory)?;
    for old in committed(target)?.into_iter().filter(|sample| sample.name.starts_with(SEED_PREFIX)) {
        fs::remove_file(directory.join(old.name))?;
    }
    for seed in seeds(target) {
        fs::write(directory.join(seed.name), seed.bytes)?;
    }
    Ok(())
}
