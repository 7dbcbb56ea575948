//! The configuration file of `quorate node`.

use quorate_server::config::{LoadedConfig, Printed, load_text, template};

use super::Target;

pub(super) const TARGETS: &[Target] =
    &[Target { name: "config_file", what: config_file, seeds: config_seeds }];

/// The engine takes what the server takes, and what is printed means the same.
fn config_file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let loaded = match load_text(text) {
        Ok(loaded) => loaded,
        Err(error) => {
            assert!(!error.problems().is_empty() && !error.to_json().is_empty());
            let _ = error.to_string();
            return;
        }
    };
    loaded.settings.engine().check().expect("the engine takes what the server takes");
    let _ = loaded.settings.resp();
    let printed = loaded.to_toml(Printed::Effective);
    // A secret is not printed.
    if !printed.contains("is set, redacted") {
        let again = load_text(&printed).unwrap_or_else(|error| panic!("{error}\n{printed}"));
        assert_eq!(meaning(&again), meaning(&loaded), "{printed}");
    }
}

fn meaning(loaded: &LoadedConfig) -> String {
    format!("{:?} {:?}", loaded.settings.engine(), loaded.settings.resp())
}

/// As short as it goes, and with everything.
fn config_seeds() -> Vec<Vec<u8>> {
    const SHORT: &str = r#"
cluster = "c"
node = 1
data_dir = "d"
[[nodes]]
id = 1
peer = "127.0.0.1:7380"
resp = "127.0.0.1:6380"
[[nodes]]
id = 2
peer = "127.0.0.1:7381"
[raft]
tick = "10ms"
heartbeat_ticks = 3
election_ticks = 20
[resp]
password = "secret"
"#;
    // Its keys are comments.
    let is_key = |line: &&str| line.contains(" = ") && !line.starts_with("# ");
    let uncommented = |line: &str| line.strip_prefix('#').unwrap_or(line).to_owned();
    let template = template();
    let whole = template.lines().map(|line| if is_key(&line) { uncommented(line) } else { line.to_owned() });
    let whole = whole.filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    vec![SHORT.into(), template.into_bytes(), whole.into_bytes()]
}
