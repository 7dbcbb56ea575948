//! Collects settings from the file, the environment and the command line, with every problem on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::assign::{self, Scalar};
use super::problem::{ConfigError, Origin, Problem};
use super::schema::{self, Key, Slot};
use super::settings::NodeSettings;
use super::{check, file, secrets};

/// What begins the name of every environment variable of ours.
pub const VARIABLE_PREFIX: &str = "QUORATE_";

/// Variables with that prefix that are no keys. A subcommand that reads one of its own adds it here.
const OTHER_VARIABLES: &[&str] = &["QUORATE_CONFIG", "QUORATE_ADMIN_TOKEN"];

/// Where settings are looked for. Later ones win.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The TOML file.
    pub file: PathBuf,
    /// Environment variables; those without [`VARIABLE_PREFIX`] are passed over.
    pub environment: Vec<(OsString, OsString)>,
    /// Keys from the command line, in their order.
    pub flags: Vec<FlagValue>,
}

/// A key set on the command line.
#[derive(Clone)]
pub struct FlagValue {
    /// The flag as it is written there: `--node`, `--set raft.tick`.
    pub flag: String,
    /// The key: `raft.tick`.
    pub path: String,
    /// Its value.
    pub value: String,
}

impl fmt::Debug for FlagValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlagValue").field("flag", &self.flag).finish_non_exhaustive()
    }
}

/// Settings that fit together, and where each comes from.
#[derive(Clone, Debug)]
pub struct LoadedConfig {
    /// The settings.
    pub settings: NodeSettings,
    /// The file they were read from.
    pub file: PathBuf,
    /// Keys that somebody has set.
    pub(super) origins: BTreeMap<&'static str, Origin>,
}

/// Reads and checks all sources. Opens the secrets' files, and nothing else.
///
/// # Errors
/// Every problem that was found; what depends on a value that is refused already is not looked at.
pub fn load(sources: &Sources) -> Result<LoadedConfig, ConfigError> {
    let mut loader = Loader::default();
    match file::read(&sources.file) {
        Ok(text) => file::parse(&mut loader, &text),
        Err(problem) => loader.problems.push(problem),
    }
    if loader.problems.iter().any(|problem| problem.key.is_empty()) {
        // No file, or not TOML: whatever else would be said follows from that.
        return Err(ConfigError::new(&sources.file, loader.problems));
    }
    loader.read_environment(&sources.environment);
    for FlagValue { flag, path, value } in &sources.flags {
        loader.read_flag(flag, path, value);
    }
    check::check(&mut loader);
    secrets::read_files(&mut loader);
    loader.finish(&sources.file)
}

/// The settings of a file of this text alone: as [`load`], but no file of a secret is opened. For fuzzing.
///
/// # Errors
/// As [`load`].
#[doc(hidden)]
pub fn load_text(text: &str) -> Result<LoadedConfig, ConfigError> {
    let mut loader = Loader::default();
    file::parse(&mut loader, text);
    check::check(&mut loader);
    loader.finish(Path::new("text"))
}

/// Settings while they are collected.
#[derive(Debug, Default)]
pub(super) struct Loader {
    pub(super) settings: NodeSettings,
    origins: BTreeMap<&'static str, Origin>,
    problems: Vec<Problem>,
    refused: BTreeSet<String>,
}

impl Loader {
    /// Takes a value for the key at `path`, or notes what is wrong with it.
    pub(super) fn set(&mut self, path: &str, origin: Origin, value: Scalar<'_>) {
        let Some(key) = schema::find(path) else {
            let text = unknown(path);
            return self.refuse(origin, path, text);
        };
        match assign::assign(&mut self.settings, key, value) {
            Ok(()) => {
                self.origins.insert(key.path, origin);
            }
            Err(text) => self.refuse(origin, path, text),
        }
    }

    /// Notes a problem of the key at `path`.
    pub(super) fn refuse(&mut self, origin: Origin, path: impl Into<String>, text: impl Into<String>) {
        let key = path.into();
        // `nodes[2].peer` is about `nodes`.
        self.refused.insert(key.split('[').next().unwrap_or_default().to_owned());
        self.problems.push(Problem { origin, key, text: text.into() });
    }

    /// Notes that the value of `path`, wherever it is from, does not fit to others.
    pub(super) fn contradict(&mut self, path: &str, text: impl Into<String>) {
        self.refuse(self.origin(path), path, text);
    }

    /// Where the value of the key comes from.
    pub(super) fn origin(&self, path: &str) -> Origin {
        self.origins.get(path).cloned().unwrap_or(Origin::Default)
    }

    /// Whether somebody has set the key.
    pub(super) fn is_set(&self, path: &str) -> bool {
        self.origins.contains_key(path)
    }

    /// Whether none of these keys has a problem already.
    pub(super) fn are_sound(&self, paths: &[&str]) -> bool {
        paths.iter().all(|path| !self.refused.contains(*path))
    }

    fn read_environment(&mut self, variables: &[(OsString, OsString)]) {
        let mut ours: Vec<(String, &OsString)> = variables
            .iter()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
            .filter(|(name, _)| {
                name.starts_with(VARIABLE_PREFIX) && !OTHER_VARIABLES.contains(&name.as_str())
            })
            .collect();
        ours.sort_unstable();
        for (name, value) in ours {
            let path = name[VARIABLE_PREFIX.len()..].to_ascii_lowercase().replace("__", ".");
            let is_exact = schema::find(&path).is_some_and(|key| key.variable() == name);
            let origin = Origin::Variable(name);
            match value.to_str() {
                _ if !is_exact => self.refuse(origin, "", "no setting has this name"),
                Some(value) => self.set(&path, origin, Scalar::Untyped(value)),
                None => self.refuse(origin, path, "is not UTF-8"),
            }
        }
    }

    fn read_flag(&mut self, flag: &str, path: &str, value: &str) {
        let origin = Origin::Flag(flag.to_owned());
        let is_secret = |key: &Key| matches!((key.slot)(&mut NodeSettings::default()), Slot::Secret(_));
        if schema::find(path).is_some_and(is_secret) {
            let text =
                "other users of this machine can read the command line: use the file or the environment";
            return self.refuse(origin, path, text);
        }
        self.set(path, origin, Scalar::Untyped(value));
    }

    fn finish(self, file: &Path) -> Result<LoadedConfig, ConfigError> {
        if self.problems.is_empty() {
            let Self { settings, origins, .. } = self;
            return Ok(LoadedConfig { settings, file: file.to_path_buf(), origins });
        }
        Err(ConfigError::new(file, self.problems))
    }
}

/// What to say of a key that is not known.
pub(super) fn unknown(path: &str) -> String {
    if path.starts_with("nodes") {
        return "nodes are set in the file only".to_owned();
    }
    let (section, _) = path.rsplit_once('.').unwrap_or(("", path));
    match schema::names_in(section).join(", ") {
        names if names.is_empty() => "unknown section".to_owned(),
        names if section.is_empty() => format!("unknown key; outside of sections there are {names}"),
        names => format!("unknown key; [{section}] knows {names}"),
    }
}
