//! The annotated template, and the table of keys in the operations manual: both made from the schema.

use std::fmt::Write as _;

use super::assign::{Shown, show};
use super::schema::{Bounds, KEYS, Key, Slot};
use super::settings::NodeSettings;

/// Widest line of the template.
const WIDTH: usize = 100;

const HEAD: &str = "\
# Configuration of one node: quorate node --config FILE
#
# Lines that begin with `# ` are prose. Lines that begin with `#` and a key show its default, or an example
# where there is none: take the # away and change the value. What is not said keeps its default.
#
# The environment wins over this file, and flags win over both: raft.tick is QUORATE_RAFT__TICK and
# --set raft.tick=100ms. Unknown keys are refused everywhere. `quorate config check --config FILE` tells
# all that is wrong; `quorate config print --effective --config FILE` what is in force, and why.
#
# Sizes are written with B, KiB, MiB, GiB or TiB, times with ms, s, min or h.
";

const NODES: &str = "\
# The nodes of the cluster, this one included, as they reach each other and as clients reach them: IP
# addresses and ports, never 0.0.0.0. The same on all nodes. The first five vote in group 0, which keeps
# the catalog. Without `resp` or `admin` a node has no such listener.
";

const EXAMPLE_NODES: &str = "\
[[nodes]]
id = 1
peer = \"127.0.0.1:7380\"
resp = \"127.0.0.1:6380\"
admin = \"127.0.0.1:9180\"

[[nodes]]
id = 2
peer = \"127.0.0.1:7381\"
resp = \"127.0.0.1:6381\"
admin = \"127.0.0.1:9181\"

[[nodes]]
id = 3
peer = \"127.0.0.1:7382\"
resp = \"127.0.0.1:6382\"
admin = \"127.0.0.1:9182\"
";

/// A configuration of the first of three nodes on one machine, with every key, its meaning, bounds and default.
pub fn template() -> String {
    let mut text = HEAD.to_owned();
    let mut last_section = "";
    for key in KEYS {
        let (section, name) = key.split();
        if section != last_section {
            if last_section.is_empty() {
                // Writing to a string does not fail.
                let _ = write!(text, "\n{NODES}\n{EXAMPLE_NODES}");
            }
            let _ = write!(text, "\n[{section}]\n");
            last_section = section;
        } else if section.is_empty() {
            text.push('\n');
        }
        wrap(&mut text, &[key.meaning, &values(key)].join(" "));
        let is_required = matches!(key.path, "node" | "data_dir");
        let value = default(key).unwrap_or_else(|| key.example.to_owned());
        let _ = writeln!(text, "{}{name} = {value}", if is_required { "" } else { "#" });
    }
    text
}

/// The keys as a table in Markdown.
pub fn key_table() -> String {
    let mut text = "| key | default | values | meaning |\n|---|---|---|---|\n".to_owned();
    for key in KEYS {
        let default = default(key).map_or_else(|| "–".to_owned(), |value| format!("`{value}`"));
        let _ = writeln!(text, "| `{}` | {default} | {} | {} |", key.path, values(key), key.meaning);
    }
    text
}

fn default(key: &Key) -> Option<String> {
    match show(&NodeSettings::default(), key) {
        Shown::Value(value) => Some(value),
        Shown::Redacted | Shown::Unset => None,
    }
}

/// What may be written, in words.
fn values(key: &Key) -> String {
    match key.bounds {
        Bounds::Count(min, max) => return format!("{min} to {max}."),
        Bounds::Bytes(min, max) => return format!("{min} to {max}."),
        Bounds::Time(min, max) => return format!("{min} to {max}."),
        Bounds::None => {}
    }
    match (key.slot)(&mut NodeSettings::default()) {
        Slot::Text(_) | Slot::Secret(_) => "Text.".to_owned(),
        Slot::Path(_) | Slot::File(_) => "A path.".to_owned(),
        Slot::Address(_) => "An IP address and a port.".to_owned(),
        Slot::Flag(_) => "true or false.".to_owned(),
        Slot::Word(word) => format!("One of {}.", word.words().join(", ")),
        Slot::Count(_) | Slot::OptionalCount(_) => "A number.".to_owned(),
        Slot::Bytes(_) => "A size.".to_owned(),
        Slot::Time(_) => "A time.".to_owned(),
    }
}

fn wrap(text: &mut String, prose: &str) {
    let mut width = WIDTH;
    for word in prose.split(' ') {
        if width + 1 + word.len() > WIDTH {
            text.push_str(if text.ends_with('\n') { "#" } else { "\n#" });
            width = 1;
        }
        text.push(' ');
        text.push_str(word);
        width += 1 + word.len();
    }
    text.push('\n');
}
