//! tmp
#[tokio::main]
async fn main() {
    tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(std::io::stderr).init();
    let dir = tempfile::tempdir().unwrap();
    let mut c = quorate::Config::new(dir.path());
    c.ready_timeout = std::time::Duration::from_secs(3);
    let node = quorate::Builder::from_config(c).start().await.unwrap();
    let r = node.ready(std::time::Duration::from_secs(3)).await;
    eprintln!("{r:?} {:?} {:#?}", node.readiness(), node.local_groups());
}
