use super::assign::{Shown, show};
use super::schema::KEYS;
use super::*;
use std::path::Path;

/// What a first node of three needs to say, and nothing else.
const THREE_NODES: &str = r#"
cluster = "c"
node = 1
data_dir = "d"
[[nodes]]
id = 1
peer = "127.0.0.1:7380"
resp = "127.0.0.1:6380"
admin = "127.0.0.1:9180"
[[nodes]]
id = 2
peer = "127.0.0.1:7381"
[[nodes]]
id = 3
peer = "127.0.0.1:7382"
"#;

fn load_with(
    text: &str,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<LoadedConfig, String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("q.toml");
    std::fs::write(&file, text).unwrap();
    let flags = flags.iter().map(|(path, value)| FlagValue {
        flag: format!("--set {path}"),
        path: (*path).to_owned(),
        value: (*value).to_owned(),
    });
    let environment = environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let loaded = load(&Sources { file: file.clone(), environment, flags: flags.collect() });
    let short = |text: String| text.replace(&file.display().to_string(), "q.toml");
    loaded.map_err(|error| short(error.to_string()))
}

fn load_text(text: &str) -> Result<LoadedConfig, String> {
    load_with(text, &[], &[])
}

fn refused(text: &str) -> String {
    load_text(text).unwrap_err()
}

#[test]
fn what_is_not_said_keeps_the_engines_default() {
    let settings = load_text(THREE_NODES).unwrap().settings;
    let (engine, default) = (settings.engine(), quorate::Config::new("d"));
    assert_eq!(engine.data_dir, default.data_dir);
    assert_eq!(format!("{:?}", engine.raft), format!("{:?}", default.raft));
    assert_eq!(format!("{:?}", engine.snapshots), format!("{:?}", default.snapshots));
    assert_eq!(engine.disk, default.disk);
    assert_eq!((engine.memtable_bytes, engine.cache_bytes), (default.memtable_bytes, default.cache_bytes));
    assert_eq!((engine.log_writers, engine.appliers), (default.log_writers, default.appliers));
    assert_eq!((engine.deadline, engine.bootstrap.replication), (default.deadline, 3));
    assert_eq!(format!("{:?}", settings.resp().limits), format!("{:?}", crate::resp::Limits::default()));
    assert_eq!(engine.bootstrap.ranges.len(), 8);
    assert_eq!(engine.listen, Some("127.0.0.1:7380".parse().unwrap()));
    engine.check().unwrap();
}

/// Each at a bound of its own, which the engine takes too.
#[test]
fn room_and_snapshot_keys_reach_the_engine() {
    let text = format!(
        "{THREE_NODES}
[snapshots]
age_max = \"1s\"
trailing_bytes = \"0B\"
follower_grace = \"0ms\"
kept = 2
bytes_per_second = \"1KiB\"
publishing_max = 1
transfers_max = 64
[disk]
reserve = \"0B\"
low = \"1TiB\"
"
    );
    let engine = load_text(&text).unwrap().settings.engine();
    let snapshots = &engine.snapshots;
    assert_eq!((snapshots.age_max.as_secs(), snapshots.follower_grace.as_secs()), (1, 0));
    assert_eq!((snapshots.trailing_bytes, snapshots.bytes_per_second), (0, 1 << 10));
    assert_eq!((snapshots.kept, snapshots.publishing_max, snapshots.transfers_max), (2, 1, 64));
    assert_eq!((engine.disk.reserve_bytes, engine.disk.low_bytes), (0, 1 << 40));
    engine.check().unwrap();
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let text = format!("{THREE_NODES}\n[raft]\ntick = \"10ms\"\nheartbeat_ticks = 3\nelection_ticks = 20\n");
    let environment =
        [("QUORATE_RAFT__HEARTBEAT_TICKS", "4"), ("QUORATE_RAFT__ELECTION_TICKS", "30"), ("OTHER", "x")];
    let loaded = load_with(&text, &environment, &[("raft.election_ticks", "40")]).unwrap();
    let raft = &loaded.settings.raft;
    assert_eq!((raft.tick.to_string().as_str(), raft.heartbeat_ticks, raft.election_ticks), ("10ms", 4, 40));
    let printed = loaded.to_toml(Printed::Set);
    let expected = "\n[raft]\ntick = \"10ms\"  # line 18\nheartbeat_ticks = 4  # QUORATE_RAFT__HEARTBEAT_TICKS\n\
                    election_ticks = 40  # --set raft.election_ticks\n";
    assert!(printed.contains(expected), "{printed}");
    assert!(!printed.contains("[memory]") && loaded.to_toml(Printed::Effective).contains("[memory]"));
}

/// Every kind of mistake, each told with its line and key, all at once.
#[test]
fn every_problem_is_told_with_file_line_and_key() {
    let text = r#"
cluster = 7
nod = 1
data_dir = "d"
store = "rocks"
[listen]
peer = "localhost:7380"
[[nodes]]
id = 0
peer = "127.0.0.1:7380"
[[nodes]]
id = 2
port = 1
[bootstrap]
groups = 0
[raft]
tick = 50
heartbeat_ticks = 3.5
election_ticks = "10"
[snapshots]
log_bytes_min = "1KiB"
entries = -1
[memory]
cache = "32MB"
[resp]
plaintext = "yes"
password = 12345
[stuff]
a = 1
"#;
    let expected = "\
q.toml: node: is missing
q.toml:2: cluster: expected a string, found an integer
q.toml:3: nod: unknown key; outside of sections there are cluster, node, data_dir, store, routing
q.toml:5: store: expected one of lsm, sled, memory
q.toml:7: listen.peer: expected an IP address and a port such as \"127.0.0.1:7380\"
q.toml:9: nodes[1].id: 0 is not a node id
q.toml:11: nodes[2].peer: is missing
q.toml:13: nodes[2].port: unknown key; [[nodes]] knows id, peer, resp, admin
q.toml:15: bootstrap.groups: 0 is not within 1 to 4096
q.toml:17: raft.tick: expected a time such as \"50ms\", found an integer
q.toml:18: raft.heartbeat_ticks: expected an integer, found a float
q.toml:19: raft.election_ticks: expected an integer, found a string
q.toml:21: snapshots.log_bytes_min: 1KiB is not within 64KiB to 1TiB
q.toml:22: snapshots.entries: must be a whole number of 0 or more
q.toml:24: memory.cache: expected a size such as \"64MiB\" (units B, KiB, MiB, GiB, TiB)
q.toml:26: resp.plaintext: expected true or false, found a string
q.toml:27: resp.password: expected a string, found an integer
q.toml:28: stuff: unknown section";
    assert_eq!(refused(text), expected);
}

#[test]
fn what_is_no_toml_is_told_alone() {
    assert_eq!(refused("cluster = \"c\"\nnode 1\n"), "q.toml:2: key with no value, expected `=`");
    let missing = load(&Sources { file: "/nowhere/q.toml".into(), ..Default::default() }).unwrap_err();
    assert!(missing.to_string().starts_with("/nowhere/q.toml: cannot be read: "), "{missing}");
}

#[test]
fn contradictions_are_refused_where_they_were_said() {
    let cases = [
        (
            "[bootstrap]\nreplication = 4",
            "q.toml:17: bootstrap.replication: 4 replicas need as many nodes; [[nodes]] has 3",
        ),
        (
            "[listen]\nresp = \"127.0.0.1:1\"",
            "q.toml:17: listen.resp: port 1, but [[nodes]] says 127.0.0.1:6380 (line 5)",
        ),
        (
            "[[nodes]]\nid = 2\npeer = \"127.0.0.1:8000\"",
            "q.toml:16: nodes[4].id: 2 is the id of the entry in line 10 too",
        ),
        (
            "[[nodes]]\nid = 4\npeer = \"127.0.0.1:6380\"",
            "q.toml:16: nodes[4].peer: 127.0.0.1:6380 is nodes[1].resp too",
        ),
        (
            "[[nodes]]\nid = 4\npeer = \"0.0.0.0:1\"",
            "q.toml:18: nodes[4].peer: nobody can connect to 0.0.0.0; [listen] takes it",
        ),
        (
            "[raft]\nheartbeat_ticks = 10",
            "q.toml:17: raft.heartbeat_ticks: election_ticks (10) must be more than heartbeat_ticks (10)",
        ),
        (
            "[resp]\npassword = \"a\"\npassword_file = \"b\"",
            "q.toml:18: resp.password_file: resp.password is set too: only one of them may be",
        ),
        (
            "[log]\nlevel = \"a=b=c\"",
            "q.toml:17: log.level: error parsing level filter: expected one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\", or a number 0-5",
        ),
    ];
    for (addition, expected) in cases {
        assert_eq!(refused(&format!("{THREE_NODES}{addition}\n")), expected);
    }
    let other = THREE_NODES.replacen("node = 1", "node = 9", 1);
    assert_eq!(refused(&other), "q.toml:3: node: 9 is not in [[nodes]], which has 1, 2, 3");
}

#[test]
fn what_others_can_reach_needs_a_secret_and_consent() {
    let text = THREE_NODES.replacen("127.0.0.1:6380", "192.0.2.1:6380", 1);
    let expected = "\
q.toml:5: listen.resp: other machines can reach 192.0.2.1:6380: [resp] needs a password
q.toml:5: listen.resp: other machines can reach 192.0.2.1:6380: [resp] needs plaintext = true, there is no TLS yet";
    assert_eq!(refused(&text), expected);
    load_text(&format!("{text}[resp]\npassword = \"p\"\nplaintext = true\n")).unwrap();
    load_text(&format!("{text}[listen]\nresp = \"127.0.0.1:6380\"\n")).unwrap();
    let peers = THREE_NODES.replacen("127.0.0.1:7380", "192.0.2.1:7380", 1);
    assert!(refused(&peers).contains("[peer] needs plaintext = true"));
    load_text(&format!("{peers}[peer]\nplaintext = true\n")).unwrap();
}

#[test]
fn variables_and_flags_that_name_nothing_are_refused() {
    let variables = [("QUORATE_RAFT_TICK", "1s"), ("QUORATE_node", "2"), ("QUORATE_CONFIG", "x")];
    let error = load_with(THREE_NODES, &variables, &[("raft.tock", "1"), ("raft.tick", "1"), ("nodes", "")]);
    let expected = "\
QUORATE_RAFT_TICK: no setting has this name
QUORATE_node: no setting has this name
--set nodes: nodes: nodes are set in the file only
--set raft.tick: raft.tick: expected a time such as \"50ms\" (units ms, s, min, h)
--set raft.tock: raft.tock: unknown key; [raft] knows tick, heartbeat_ticks, election_ticks";
    assert_eq!(error.unwrap_err(), expected);
}

#[test]
fn secrets_come_from_files_and_are_shown_nowhere() {
    use secrecy::ExposeSecret as _;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "tiger\n").unwrap();
    let token_file = format!("[admin]\ntoken_file = \"{}\"\n", file.display());
    let text = format!("{THREE_NODES}{token_file}");
    let loaded = load_with(&text, &[("QUORATE_RESP__PASSWORD", "panther")], &[]).unwrap();
    assert_eq!(loaded.settings.admin.token.as_ref().unwrap().expose_secret(), "tiger");
    assert_eq!(loaded.settings.resp.password.as_ref().unwrap().expose_secret(), "panther");
    let shown = format!("{loaded:?}{}{:?}", loaded.to_toml(Printed::Effective), loaded.settings.resp());
    assert!(!shown.contains("tiger") && !shown.contains("panther"), "{shown}");
    assert!(shown.contains("# password is set, redacted  # QUORATE_RESP__PASSWORD\n"), "{shown}");
    let refused = load_with(THREE_NODES, &[], &[("resp.password", "panther")]).unwrap_err();
    assert!(refused.contains("command line") && !refused.contains("panther"), "{refused}");
    std::fs::write(&file, "\n").unwrap();
    assert!(load_text(&text).unwrap_err().contains("admin.token_file: "));
}

#[test]
fn what_is_printed_loads_to_the_same() {
    let text = format!(
        "{THREE_NODES}[raft]\ntick = \"20ms\"\n[snapshots]\nentries = 9\n[log]\nformat = \"json\"\n[resp]\nwrite_stall = \"90s\"\n"
    );
    let first = load_text(&text).unwrap();
    let second = load_text(&first.to_toml(Printed::Effective)).unwrap();
    for key in KEYS {
        assert_eq!(show(&first.settings, key), show(&second.settings, key), "{}", key.path);
    }
    let without_lines = |nodes: &[NodeEntry]| {
        nodes.iter().map(|node| NodeEntry { line: 0, ..node.clone() }).collect::<Vec<_>>()
    };
    assert_eq!(without_lines(&first.settings.nodes), without_lines(&second.settings.nodes));
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_template_in_the_repository_is_the_one_of_the_schema() {
    let path = package().join("quorate.toml");
    let there = std::fs::read_to_string(&path).unwrap();
    assert!(there == template(), "{} is old: quorate config template > {0}", path.display());
}

#[test]
fn the_operations_manual_has_every_key() {
    let path = package().join("../../docs/OPERATIONS.md");
    let there = std::fs::read_to_string(&path).unwrap();
    assert!(
        there.contains(&key_table()),
        "the table of keys in {} is old; it must be\n{}",
        path.display(),
        key_table()
    );
}

#[test]
fn the_template_loads_and_shows_the_defaults() {
    let as_it_is = load_text(&template()).unwrap();
    assert_eq!(as_it_is.settings.nodes.len(), 3);
    let is_required = |path| matches!(path, "node" | "data_dir");
    let default = NodeSettings::default();
    for key in KEYS {
        // Take the # away in front of one key at a time: what it shows must be its default, or at least a value.
        let (section, name) = key.split();
        let mut at = "";
        let lines = template();
        let lines = lines.lines().map(|line| {
            at = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')).unwrap_or(at);
            let setting = line.strip_prefix('#').filter(|setting| setting.starts_with(&format!("{name} = ")));
            setting.filter(|_| at == section).unwrap_or(line)
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        // Paths of secrets lead nowhere; everything else must load.
        let Ok(loaded) = load_text(&text) else {
            assert!(key.path.ends_with("_file"), "{}: {}", key.path, refused(&text));
            continue;
        };
        assert!(loaded.origins.contains_key(key.path), "{} is not in the template", key.path);
        let shown = show(&default, key);
        if shown != Shown::Unset && !is_required(key.path) {
            assert_eq!(show(&loaded.settings, key), shown, "{}", key.path);
        }
    }
}
