//! One voter, no port: write, reopen, scan. Run with `cargo run --example quickstart`.

use quorate::{Builder, ReadLevel, ScanOptions, WriteBatch};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let node = Builder::new(dir.path()).open().await?;
    node.put("fruit/apple", "red").await?;
    node.write(WriteBatch::new().put("fruit/banana", "yellow").put("fruit/lime", "green")).await?;
    node.compare_and_set("fruit/apple", Some("red".into()), Some("green".into())).await?;
    node.shutdown().await?;

    let node = Builder::new(dir.path()).open().await?;
    let fruit = ScanOptions { start: "fruit/".into(), end: Some("fruit0".into()), reverse: false };
    #[expect(clippy::print_stdout, reason = "an example shows what it does")]
    for (key, value) in node.scan(&fruit, 100, ReadLevel::Linearizable).await? {
        println!("{} = {}", String::from_utf8_lossy(&key), String::from_utf8_lossy(&value));
    }
    Ok(node.shutdown().await?)
}
