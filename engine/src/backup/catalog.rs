//! The catalog in a snapshot of group 0.

use bytes::Bytes;
use quorate_shard::catalog::{CATALOG_END, CATALOG_START, Catalog};
use quorate_storage::kv::KeyValue;

use crate::error::{Error, Result};

/// Group 0's records as they come by: the catalog's, and all others.
#[derive(Debug, Default)]
pub(super) struct CatalogRecords {
    catalog: Vec<KeyValue>,
    /// What else is in group 0. Whoever put it there gets it back.
    pub(super) others: Vec<KeyValue>,
}

impl CatalogRecords {
    pub(super) fn take(&mut self, key: &[u8], value: &[u8]) {
        let record = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        if (CATALOG_START..CATALOG_END).contains(&key) {
            self.catalog.push(record);
        } else {
            self.others.push(record);
        }
    }

    /// # Errors
    /// [`Error::NoCatalog`] if no version of it was written yet; [`Error::Storage`] if it is none of ours.
    pub(super) fn decode(&self) -> Result<Catalog> {
        let catalog = Catalog::decode(&self.catalog)?;
        if catalog.version.is_none() { Err(Error::NoCatalog) } else { Ok(catalog) }
    }
}
