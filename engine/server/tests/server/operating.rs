//! `quorate admin` and `quorate repair` against a node of the binary itself, and the admin listener's commands.

use std::path::Path;
use std::process::{Child, Command, Output};
use std::sync::Arc;
use std::time::Duration;

use quorate_server::admin::Settings;
use quorate_server::client::{AdminClient, ClientError};
use quorate_server::operator::{
    Consistency, NodeStatus, Operator, OperatorCode, OperatorError, RepairPlan, Repaired, SnapshotTaken,
};
use quorate_server::{AdminServer, BoxFuture};
use rustix::process::Signal;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::gated::GatedBackend;
use crate::process::{dev, send, wait_until_ready};

/// A node, and where its admin pages are.
struct Running {
    child: Child,
    admin: String,
}

impl Running {
    fn start(temporary: &Path) -> Self {
        let mut child = dev(temporary).spawn().unwrap();
        let lines = wait_until_ready(&mut child);
        let line = lines.iter().find(|line| line.starts_with("node ")).unwrap();
        let admin = line.split(' ').find_map(|part| part.strip_prefix("admin=")).unwrap().to_owned();
        Self { child, admin }
    }

    fn ask(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        command.args(args).args(["--node", &self.admin]).env_remove("RUST_LOG").output().unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.ask(&[args, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn stop(mut self) {
        send(&self.child, Signal::TERM);
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_node_tells_its_status_and_publishes_a_snapshot_when_it_is_told_to() {
    let temporary = tempfile::tempdir().unwrap();
    let node = Running::start(temporary.path());
    let status = node.json(&["admin", "status"]);
    assert_eq!((status["node"].as_u64(), status["groups_led"].as_u64()), (Some(1), Some(2)));
    assert_eq!(status["out_of_service"].as_array().map(Vec::len), Some(0));
    let states: Vec<_> = status["groups"].as_array().unwrap().iter().map(|group| &group["state"]).collect();
    assert_eq!(states, ["leader", "leader"]);
    let people = text(&node.ask(&["admin", "status"]).stdout);
    assert!(people.contains("groups: 2, 2 led here, 0 out of service"), "{people}");

    let taken = node.json(&["admin", "snapshot", "1"]);
    let applied = status["groups"][1]["applied_index"].as_u64();
    assert!(taken["index"].as_u64() >= applied && taken["bytes"].as_u64() > Some(0), "{taken} {status}");
    assert_eq!(node.json(&["admin", "snapshot", "1"]), taken, "nothing was applied since");
    node.stop();
}

#[test]
fn states_are_compared_for_one_group_or_for_all_of_a_node() {
    let temporary = tempfile::tempdir().unwrap();
    let node = Running::start(temporary.path());
    let one = node.json(&["admin", "consistency", "1"]);
    assert_eq!((one["group"].as_u64(), one["verdict"].as_str()), (Some(1), Some("unverified")), "{one}");
    let own = &one["replicas"][0];
    assert_eq!((own["answer"].as_str(), own["is_voter"].as_bool()), (Some("digest"), Some(true)), "{one}");
    assert_eq!(own["digest"].as_str().map(str::len), Some(32));
    let all = node.json(&["admin", "consistency"]);
    let groups: Vec<_> = all["groups"].as_array().unwrap().iter().map(|one| one["group"].as_u64()).collect();
    assert_eq!(groups, [Some(0), Some(1)]);
    let people = node.ask(&["admin", "consistency", "1"]);
    assert_eq!(people.status.code(), Some(0));
    assert!(text(&people.stdout).starts_with("group 1: unverified at "), "{people:?}");
    let unknown = node.ask(&["admin", "consistency", "7"]);
    assert_eq!((unknown.status.code(), text(&unknown.stdout).as_str()), (Some(1), ""), "{unknown:?}");
    node.stop();
}

#[test]
fn what_a_node_refuses_is_told_by_its_reason_and_fails_the_command() {
    let temporary = tempfile::tempdir().unwrap();
    let node = Running::start(temporary.path());
    for (args, said) in [
        (["repair", "1"].as_slice(), "the replica here is in service"),
        (&["admin", "repair", "1", "--yes"], "the replica here is in service"),
        (&["admin", "snapshot", "7"], "no replica of group 7 here"),
    ] {
        let output = node.ask(args);
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""), "{args:?}");
        assert!(text(&output.stderr).contains(said), "{args:?}: {output:?}");
    }
    node.stop();
}

#[test]
fn a_node_that_cannot_be_asked_is_named() {
    let ask = |url: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        let output = command.args(["admin", "status", "--node", url]).output().unwrap();
        (output.status.code(), text(&output.stderr))
    };
    let (code, said) = ask("http://127.0.0.1:1");
    assert!(code == Some(1) && said.contains("http://127.0.0.1:1 does not answer"), "{said}");
    let (code, said) = ask("https://localhost");
    assert!(code == Some(3) && said.contains("--node: https://localhost"), "{said}");
}

/// Whose snapshot is not there in time.
const SLOW_GROUP: u64 = 5;

/// Answers what the test wants to see on the way to the client.
#[derive(Debug)]
struct Refusing;

impl Refusing {
    fn with(code: OperatorCode) -> OperatorError {
        OperatorError {
            code,
            at_least: None,
            source: Arc::new(std::io::Error::other("as the test wants it")),
        }
    }
}

impl Operator for Refusing {
    fn status(&self) -> NodeStatus {
        NodeStatus { node: 9, ..NodeStatus::default() }
    }

    fn publish_snapshot(
        &self,
        group: u64,
        at_least: Option<u64>,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<SnapshotTaken, OperatorError>> {
        // Of this one it takes longer than a request, and the node goes on writing.
        if group == SLOW_GROUP && at_least.is_none() {
            let late = OperatorError { at_least: Some(77), ..Self::with(OperatorCode::Deadline) };
            return Box::pin(std::future::ready(Err(late)));
        }
        if let Some(index) = at_least {
            let taken = SnapshotTaken { group, index, term: 1, bytes: 2, crc: 3 };
            return Box::pin(std::future::ready(Ok(taken)));
        }
        let (index, term, crc) = (timeout.as_millis().try_into().unwrap(), 1, 3);
        Box::pin(std::future::ready(Ok(SnapshotTaken { group, index, term, bytes: 2, crc })))
    }

    fn check_consistency(
        &self,
        _group: u64,
        _timeout: Duration,
    ) -> BoxFuture<'_, Result<Consistency, OperatorError>> {
        Box::pin(std::future::ready(Err(Self::with(OperatorCode::Busy))))
    }

    fn plan_repair(&self, _group: u64) -> Result<RepairPlan, OperatorError> {
        Err(Self::with(OperatorCode::OnlyReplica))
    }

    fn repair(&self, _group: u64, _timeout: Duration) -> BoxFuture<'_, Result<Repaired, OperatorError>> {
        Box::pin(std::future::ready(Err(Self::with(OperatorCode::Deadline))))
    }
}

async fn serve(token: Option<&str>) -> (String, CancellationToken) {
    let backend = GatedBackend { operator: Some(Box::new(Refusing)), ..GatedBackend::closed() };
    let settings = Settings { token: token.map(Into::into), ..Settings::default() };
    let bound = AdminServer::bind("127.0.0.1:0".parse().unwrap(), Arc::new(backend), settings).await.unwrap();
    let node = format!("http://{}", bound.local_addr());
    let stop = CancellationToken::new();
    tokio::spawn(bound.serve(CancellationToken::new(), stop.clone()));
    (node, stop)
}

/// Runs what blocks.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test]
async fn commands_answer_json_with_a_code_and_a_status_that_fits() {
    let (node, _stop) = serve(None).await;
    blocking(move || {
        let client = AdminClient::new(&node, None).unwrap();
        assert_eq!(client.get("/status").unwrap()["node"], 9);
        let taken = client.post("/groups/4/snapshot", Duration::from_millis(1_500)).unwrap();
        assert_eq!((taken["group"].as_u64(), taken["index"].as_u64()), (Some(4), Some(1_500)));
        let late = client.post("/groups/5/snapshot", Duration::from_secs(1)).unwrap_err();
        assert!(late.is(OperatorCode::Deadline) && late.at_least() == Some(77), "{late}");
        let taken = client.post("/groups/5/snapshot?at_least=77", Duration::from_secs(1)).unwrap();
        assert_eq!(taken["index"], 77);
        let refused = |error: ClientError| match error {
            ClientError::Refused { status, code, .. } => (status, code.unwrap_or_default()),
            other => panic!("{other}"),
        };
        assert_eq!(refused(client.get("/groups/4/repair").unwrap_err()), (409, "only_replica".into()));
        let late = client.post("/groups/4/repair", Duration::from_secs(1)).unwrap_err();
        assert!(late.is(OperatorCode::Deadline));
        assert_eq!(refused(late), (504, "deadline".into()));
        let no_number = client.post("/groups/x/snapshot", Duration::from_secs(1)).unwrap_err();
        assert_eq!(refused(no_number), (400, "bad_request".into()));
        let no_number = client.post("/groups/4/snapshot?at_least=x", Duration::from_secs(1)).unwrap_err();
        assert_eq!(refused(no_number), (400, "bad_request".into()));
        let too_long = client.post("/groups/4/snapshot", Duration::from_secs(601)).unwrap_err();
        assert_eq!(refused(too_long), (400, "bad_request".into()));
    })
    .await;
}

#[tokio::test]
async fn commands_ask_for_the_token_like_every_page() {
    let (node, _stop) = serve(Some("tiger")).await;
    blocking(move || {
        let stranger = AdminClient::new(&node, None).unwrap();
        for error in [
            stranger.get("/status").unwrap_err(),
            stranger.post("/groups/1/snapshot", Duration::from_secs(1)).unwrap_err(),
            stranger.post("/groups/1/repair", Duration::from_secs(1)).unwrap_err(),
        ] {
            assert!(matches!(error, ClientError::Refused { status: 401, .. }), "{error}");
        }
        let known = AdminClient::new(&node, Some("tiger".into())).unwrap();
        assert_eq!(known.get("/status").unwrap()["node"], 9);
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        command.args(["admin", "status", "--json", "--node", &node]).env("QUORATE_ADMIN_TOKEN", "tiger");
        assert_eq!(command.output().unwrap().status.code(), Some(0));
        command.env("QUORATE_ADMIN_TOKEN", "lion");
        assert_eq!(command.output().unwrap().status.code(), Some(1));
    })
    .await;
}
