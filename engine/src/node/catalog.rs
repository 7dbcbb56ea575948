//! This node's copy of the catalog: how it is read, waited for and changed.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use quorate_shard::actor::AppliedListener;
use quorate_shard::catalog::{CATALOG_END, CATALOG_GROUP, CATALOG_START, Catalog, CatalogEdit};
use quorate_shard::router::{Changes, Signal, Target};
use quorate_shard::rpc::{self, Reply, Request};
use quorate_storage::Index;
use quorate_storage::kv::{KeyValue, ScanRange};
use quorate_storage::state::StateReader;
use quorate_telemetry::{Clock, Rng};
use quorate_transport::{Lane, Transport};
use tokio::sync::{Notify, watch};

use crate::error::{Error, Result};
use crate::kv::Kv;

/// How long one question to another node's catalog may take.
const ASK_TIMEOUT: Duration = Duration::from_millis(500);
/// Most records of a catalog.
const RECORDS_MAX: usize = 1 << 20;

/// The newest catalog this node knows.
#[derive(Clone, Debug)]
pub(crate) struct CatalogCopy {
    pub(crate) current: Arc<ArcSwap<Catalog>>,
    version: Arc<watch::Sender<Option<u64>>>,
    changes: Arc<Signal>,
    /// Told when somebody found the copy to be old.
    pub(crate) stale: Arc<Notify>,
}

impl CatalogCopy {
    pub(crate) fn new(unread: Catalog) -> Self {
        Self {
            current: Arc::new(ArcSwap::from_pointee(unread)),
            version: Arc::new(watch::Sender::new(None)),
            changes: Arc::default(),
            stale: Arc::new(Notify::new()),
        }
    }

    pub(crate) fn load(&self) -> Arc<Catalog> {
        self.current.load_full()
    }

    /// Follows the installed versions, in an order that a seed decides.
    pub(crate) fn changes(&self) -> Changes {
        self.changes.follow()
    }

    /// Takes a decoded catalog, unless it is older than what is there.
    pub(crate) fn install(&self, catalog: Catalog) {
        let version = catalog.version;
        let is_news = self.version.send_if_modified(|known| {
            let newer = version > *known;
            if newer {
                self.current.store(Arc::new(catalog));
                *known = version;
            }
            newer
        });
        if is_news {
            self.changes.notify();
        }
    }

    /// Waits until `found` says something about the catalog.
    pub(crate) async fn wait_for<T>(
        &self,
        timeout: Duration,
        mut found: impl FnMut(&Catalog) -> Option<T>,
    ) -> Result<T> {
        let mut versions = self.version.subscribe();
        let wait = async {
            loop {
                if let Some(value) = found(&self.current.load()) {
                    return value;
                }
                if versions.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(timeout, wait).await.map_err(|_| quorate_shard::Error::DeadlineExceeded.into())
    }

    /// Asks a node that holds group 0.
    pub(crate) async fn ask(&self, transport: &Transport, rng: &dyn Rng) -> Result<()> {
        let catalog = self.load();
        let Some(record) = catalog.groups.get(&CATALOG_GROUP) else { return Ok(()) };
        let replicas = &record.descriptor.replicas;
        let at = usize::try_from(rng.below(replicas.len() as u64)).expect("drawn below a length");
        let node = replicas[at].node;
        let request = Request::Catalog { have: catalog.version }.encode()?;
        let Ok(body) = transport.request(node, rpc::KIND, request, Lane::Control, ASK_TIMEOUT).await else {
            return Ok(());
        };
        if let Reply::Catalog(pairs) = Reply::decode(&body)?
            && !pairs.is_empty()
        {
            self.install(Catalog::decode(&pairs)?);
        }
        Ok(())
    }
}

/// All records of the catalog, for [`Request::Catalog`] and for this node itself.
pub(crate) fn scan_catalog(state: &dyn StateReader) -> quorate_storage::Result<Vec<KeyValue>> {
    let kv =
        state.as_kv().ok_or(quorate_storage::Error::Malformed { what: "catalog: not a key-value group" })?;
    let range = ScanRange { start: CATALOG_START, end: Some(CATALOG_END), reverse: false };
    kv.scan(range, RECORDS_MAX, usize::MAX)
}

/// Changes the catalog.
#[derive(Clone, Debug)]
pub(crate) struct CatalogWriter {
    pub(crate) copy: CatalogCopy,
    pub(crate) kv: Kv,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
}

impl CatalogWriter {
    /// Like [`CatalogWriter::write`], once there is a first version.
    pub(crate) async fn update<T>(
        &self,
        timeout: Duration,
        change: impl FnMut(&Catalog) -> Result<Option<(CatalogEdit, T)>>,
    ) -> Result<Option<T>> {
        let deadline = self.clock.monotonic() + timeout;
        self.copy.wait_for(timeout, |catalog| catalog.version).await?;
        self.write(deadline.saturating_sub(self.clock.monotonic()), change).await
    }

    /// This node's copy, once it holds everything that was decided before this call. One linearizable read.
    pub(crate) async fn newest(&self, timeout: Duration) -> Result<Arc<Catalog>> {
        let deadline = self.clock.monotonic() + timeout;
        let version = self.kv.catalog_version(timeout).await?;
        self.copy.stale.notify_one();
        let left = deadline.saturating_sub(self.clock.monotonic());
        self.copy.wait_for(left, |catalog| (catalog.version >= version).then_some(())).await?;
        Ok(self.copy.load())
    }

    /// Applies `change` to the newest version, again and again until nobody was faster. `change` answers
    /// `None` if there is nothing to do (any more). On return this node's copy holds the change.
    pub(crate) async fn write<T>(
        &self,
        timeout: Duration,
        mut change: impl FnMut(&Catalog) -> Result<Option<(CatalogEdit, T)>>,
    ) -> Result<Option<T>> {
        let deadline = self.clock.monotonic() + timeout;
        loop {
            let base = self.copy.load();
            let Some((edit, value)) = change(&base)? else { return Ok(None) };
            let left = deadline.saturating_sub(self.clock.monotonic());
            if left.is_zero() {
                return Err(Error::CatalogContended);
            }
            let command = edit.into_command();
            let written = self.kv.command(Target::Group(CATALOG_GROUP), &command, left).await?;
            self.copy.stale.notify_one();
            // Ours or another's: either way there is a newer version than `base` to wait for.
            let base_version = base.version;
            self.copy.wait_for(left, |now| (now.version > base_version).then_some(())).await?;
            if written.is_applied() {
                return Ok(Some(value));
            }
            tokio::time::sleep(Duration::from_micros(500 + self.rng.below(5_000))).await;
        }
    }
}

/// Installs every new version of the catalog as soon as group 0's replica here has applied it.
#[derive(Debug)]
struct CatalogFollower {
    copy: CatalogCopy,
    changed: Arc<Notify>,
}

impl AppliedListener for CatalogFollower {
    fn applied(&self, _through: Index, reader: &dyn StateReader) {
        let before = self.copy.load().version;
        match scan_catalog(reader).and_then(|pairs| Catalog::decode(&pairs)) {
            Ok(catalog) => self.copy.install(catalog),
            Err(error) => tracing::error!(%error, "the catalog cannot be read"),
        }
        if self.copy.load().version != before {
            self.changed.notify_one();
        }
    }
}

/// Follows group 0's log into `copy`, telling `changed` of each new version.
pub(super) fn follower(copy: &CatalogCopy, changed: &Arc<Notify>) -> Arc<dyn AppliedListener> {
    Arc::new(CatalogFollower { copy: copy.clone(), changed: Arc::clone(changed) })
}
