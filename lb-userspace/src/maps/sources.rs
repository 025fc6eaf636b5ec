//! `SOURCES4` and `SOURCES6`: prefixes by Service, and those of the cluster's own pods.

use std::collections::BTreeSet;
use std::net::IpAddr;

use aya::Pod;
use aya::maps::lpm_trie::Key;
use aya::maps::{LpmTrie, MapData, MapError};
use lb_common::{Address, CLUSTER_SOURCES, SOURCE_SERVICE_BITS, SourceKey};

use crate::diff::SourceEntry;
use crate::model::Prefix;

use super::kernel::{ignore_missing, open};
use super::{MapsError, Pins};

/// Both tries. The value of an entry means nothing.
pub(super) struct Sources {
    v4: LpmTrie<MapData, SourceKey<[u8; 4]>, u32>,
    v6: LpmTrie<MapData, SourceKey<[u8; 16]>, u32>,
}

impl Sources {
    /// Opens them; with the number of entries that each may have.
    pub(super) fn open(pins: &Pins) -> Result<(Self, u32), MapsError> {
        let (v4, entries) = open(pins, "SOURCES4", LpmTrie::try_from)?;
        let (v6, _) = open(pins, "SOURCES6", LpmTrie::try_from)?;
        Ok((Self { v4, v6 }, entries))
    }

    pub(super) fn put(&mut self, entry: &SourceEntry) -> Result<(), MapError> {
        match entry.prefix.address() {
            IpAddr::V4(ip) => self.v4.insert(&key(ip.octets(), entry), &1, 0),
            IpAddr::V6(ip) => self.v6.insert(&key(ip.octets(), entry), &1, 0),
        }
    }

    pub(super) fn remove(&mut self, entry: &SourceEntry) -> Result<(), MapError> {
        match entry.prefix.address() {
            IpAddr::V4(ip) => self.v4.remove(&key(ip.octets(), entry)),
            IpAddr::V6(ip) => self.v6.remove(&key(ip.octets(), entry)),
        }
    }

    /// All entries.
    pub(super) fn entries(&self) -> Result<BTreeSet<SourceEntry>, MapsError> {
        let mut entries = BTreeSet::new();
        collect("SOURCES4", &self.v4, &mut entries)?;
        collect("SOURCES6", &self.v6, &mut entries)?;
        Ok(entries)
    }

    /// Adds the prefixes of the cluster that are missing; answers how many.
    pub(super) fn add_cluster(&mut self, prefixes: &BTreeSet<Prefix>) -> Result<usize, MapsError> {
        let known = self.cluster()?;
        let missing: Vec<_> = prefixes.iter().filter(|prefix| !known.contains(prefix)).collect();
        for prefix in &missing {
            self.put(&cluster_entry(**prefix))
                .map_err(|source| MapsError::Write { name: "SOURCES", source })?;
        }
        Ok(missing.len())
    }

    /// Removes all prefixes of the cluster but these; answers how many.
    pub(super) fn keep_cluster(&mut self, prefixes: &BTreeSet<Prefix>) -> Result<usize, MapsError> {
        let mut known = self.cluster()?;
        known.retain(|prefix| !prefixes.contains(prefix));
        for prefix in &known {
            ignore_missing(self.remove(&cluster_entry(*prefix)))
                .map_err(|source| MapsError::Write { name: "SOURCES", source })?;
        }
        Ok(known.len())
    }

    fn cluster(&self) -> Result<BTreeSet<Prefix>, MapsError> {
        let entries = self.entries()?.into_iter().filter(|entry| entry.service == CLUSTER_SOURCES);
        Ok(entries.map(|entry| entry.prefix).collect())
    }
}

const fn cluster_entry(prefix: Prefix) -> SourceEntry {
    SourceEntry { service: CLUSTER_SOURCES, prefix }
}

fn key<A: Address>(address: A, entry: &SourceEntry) -> Key<SourceKey<A>>
where
    SourceKey<A>: Pod,
{
    let length = SOURCE_SERVICE_BITS + u32::from(entry.prefix.length());
    Key::new(length, SourceKey { service: entry.service, address })
}

fn collect<A: Address + Into<IpAddr>>(
    name: &'static str,
    map: &LpmTrie<MapData, SourceKey<A>, u32>,
    entries: &mut BTreeSet<SourceEntry>,
) -> Result<(), MapsError>
where
    SourceKey<A>: Pod,
{
    for key in map.keys() {
        let key = key.map_err(|source| MapsError::Read { name, source })?;
        let length =
            key.prefix_len().checked_sub(SOURCE_SERVICE_BITS).and_then(|length| length.try_into().ok());
        let SourceKey { service, address } = key.data();
        // A prefix that does not take the whole service id in is not one that weir wrote.
        if let Some(prefix) = length.and_then(|length| Prefix::new(address.into(), length)) {
            entries.insert(SourceEntry { service, prefix });
        }
    }
    Ok(())
}
