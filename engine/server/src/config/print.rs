//! Settings as TOML, with secrets redacted.

use std::fmt::Write as _;

use super::assign::{Shown, quoted, show};
use super::load::LoadedConfig;
use super::problem::Origin;
use super::schema::KEYS;

/// Which keys are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Printed {
    /// Those that somebody has set.
    Set,
    /// All.
    Effective,
}

impl LoadedConfig {
    /// The settings as TOML. Behind what somebody has set it says where. A secret is a comment that it is set.
    pub fn to_toml(&self, printed: Printed) -> String {
        let mut text = String::new();
        let mut last_section = "";
        for key in KEYS {
            let (section, name) = key.split();
            let origin = self.origins.get(key.path);
            if origin.is_none() && printed == Printed::Set {
                continue;
            }
            let line = match show(&self.settings, key) {
                Shown::Value(value) => format!("{name} = {value}{}", comment(origin)),
                Shown::Redacted => format!("# {name} is set, redacted{}", comment(origin)),
                Shown::Unset => continue,
            };
            if section != last_section {
                // Writing to a string does not fail.
                let _ = write!(text, "\n[{section}]\n");
                last_section = section;
            }
            text.push_str(&line);
            text.push('\n');
        }
        self.write_nodes(&mut text);
        text
    }

    fn write_nodes(&self, text: &mut String) {
        for node in &self.settings.nodes {
            let origin = Origin::File { line: node.line };
            let _ = write!(text, "\n[[nodes]]{}\nid = {}\n", comment(Some(&origin)), node.id);
            let addresses = [("peer", Some(node.peer)), ("resp", node.resp), ("admin", node.admin)];
            for (name, address) in addresses {
                if let Some(address) = address {
                    let _ = writeln!(text, "{name} = {}", quoted(&address.to_string()));
                }
            }
        }
    }
}

fn comment(origin: Option<&Origin>) -> String {
    origin.map(|origin| format!("  # {origin}")).unwrap_or_default()
}
