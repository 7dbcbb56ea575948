//! The TOML file.

use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;

use toml::de::{DeArray, DeTable, DeValue};

use super::assign::Scalar;
use super::load::{Loader, unknown};
use super::problem::{Origin, Problem};
use super::schema::{self, KEYS};
use super::settings::NodeEntry;

/// No configuration is longer.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Keys of a `[[nodes]]` entry.
const NODE_KEYS: [&str; 4] = ["id", "peer", "resp", "admin"];

/// The file's text.
pub(super) fn read(path: &Path) -> Result<String, Problem> {
    let problem = |text: String| Problem { origin: Origin::Default, key: String::new(), text };
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
    match read {
        Ok(bytes) if bytes as u64 <= FILE_BYTES_MAX => Ok(text),
        Ok(_) => Err(problem(format!("is longer than {FILE_BYTES_MAX} bytes"))),
        Err(error) => Err(problem(format!("cannot be read: {error}"))),
    }
}

/// Takes every key of `text`.
pub(super) fn parse(loader: &mut Loader, text: &str) {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let at = error.span().map_or(text.len(), |span| span.start);
        loader.refuse(line(text, at), "", error.message());
    }
    if errors.is_empty() {
        Walk { loader, text }.table("", table.get_ref());
    }
}

struct Walk<'a> {
    loader: &'a mut Loader,
    text: &'a str,
}

impl Walk<'_> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let path = if prefix.is_empty() {
                name.get_ref().to_string()
            } else {
                format!("{prefix}.{}", name.get_ref())
            };
            let origin = line(self.text, name.span().start);
            let is_section = || KEYS.iter().any(|key| key.split().0 == path);
            match value.get_ref() {
                DeValue::Array(entries) if path == "nodes" => self.nodes(entries),
                other if path == "nodes" => {
                    let text = format!("expected [[nodes]] entries, found {}", other.type_str());
                    self.loader.refuse(origin, path, text);
                }
                DeValue::Table(section) if is_section() => self.table(&path, section),
                _ if is_section() => self.loader.refuse(origin, path, "expected a section"),
                leaf if schema::find(&path).is_some() => self.loader.set(&path, origin, scalar(leaf)),
                DeValue::Table(_) => self.loader.refuse(origin, path, "unknown section"),
                _ => self.loader.refuse(origin, path.clone(), unknown(&path)),
            }
        }
    }

    fn nodes(&mut self, entries: &DeArray<'_>) {
        for (at, entry) in entries.iter().enumerate() {
            let path = format!("nodes[{}]", at + 1);
            let origin = line(self.text, entry.span().start);
            match entry.get_ref() {
                DeValue::Table(table) => self.node(&path, &origin, table),
                other => {
                    let text = format!("expected a table, found {}", other.type_str());
                    self.loader.refuse(origin, path, text);
                }
            }
        }
    }

    fn node(&mut self, path: &str, origin: &Origin, table: &DeTable<'_>) {
        for name in table.keys().filter(|name| !NODE_KEYS.contains(&name.get_ref().as_ref())) {
            let text = format!("unknown key; [[nodes]] knows {}", NODE_KEYS.join(", "));
            let origin = line(self.text, name.span().start);
            self.loader.refuse(origin, format!("{path}.{}", name.get_ref()), text);
        }
        for name in NODE_KEYS[..2].iter().filter(|name| !table.contains_key(**name)) {
            self.loader.refuse(origin.clone(), format!("{path}.{name}"), "is missing");
        }
        let id = self.field(path, table, "id", |value| match value.count()? {
            0 => Err("0 is not a node id".to_owned()),
            id => Ok(id),
        });
        let peer = self.address(path, table, "peer");
        let (resp, admin) = (self.address(path, table, "resp"), self.address(path, table, "admin"));
        if let (Some(id), Some(peer), &Origin::File { line }) = (id, peer, origin) {
            self.loader.settings.nodes.push(NodeEntry { id, peer, resp, admin, line });
        }
    }

    fn address(&mut self, path: &str, table: &DeTable<'_>, name: &str) -> Option<SocketAddr> {
        self.field(path, table, name, |value| {
            let address = value.address()?;
            if address.ip().is_unspecified() {
                return Err(format!("nobody can connect to {}; [listen] takes it", address.ip()));
            }
            if address.port() == 0 { Err("needs a port".to_owned()) } else { Ok(address) }
        })
    }

    fn field<T>(
        &mut self,
        path: &str,
        table: &DeTable<'_>,
        name: &str,
        take: impl FnOnce(Scalar<'_>) -> Result<T, String>,
    ) -> Option<T> {
        let value = table.get(name)?;
        let refuse = |text| {
            self.loader.refuse(line(self.text, value.span().start), format!("{path}.{name}"), text);
        };
        take(scalar(value.get_ref())).map_err(refuse).ok()
    }
}

fn scalar<'a>(value: &'a DeValue<'_>) -> Scalar<'a> {
    match value {
        DeValue::String(text) => Scalar::Text(text),
        DeValue::Integer(number) => {
            Scalar::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok())
        }
        DeValue::Boolean(flag) => Scalar::Flag(*flag),
        DeValue::Float(_) => Scalar::Other("a float"),
        DeValue::Datetime(_) => Scalar::Other("a date"),
        DeValue::Array(_) => Scalar::Other("an array"),
        DeValue::Table(_) => Scalar::Other("a table"),
    }
}

fn line(text: &str, at: usize) -> Origin {
    let before = text.as_bytes().iter().take(at);
    Origin::File { line: 1 + before.filter(|&&byte| byte == b'\n').count() }
}
