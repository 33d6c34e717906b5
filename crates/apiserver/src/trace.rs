//! What happened, as values that a test can judge, and as one number that two runs can be compared by.

use std::{
    collections::BTreeMap,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use crate::{
    call::{Call, Verb},
    faults::Fault,
};

/// One request, written down at the moment when the server carried it out, or did not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// Since the server began.
    pub at: Duration,
    pub client: String,
    pub verb: Verb,
    pub resource: String,
    pub namespace: String,
    pub name: String,
    pub subresource: String,
    /// The answer was wanted as metadata only.
    pub metadata_only: bool,
    /// The server's own verdict, none if it came to none. What the client heard of it, see `fault`.
    pub code: Option<u16>,
    /// That of the answer (of a watch: where it begins); nought if it bears none.
    pub resource_version: u64,
    /// The store was another afterwards.
    pub changed: bool,
    pub fault: Option<Fault>,
}

impl Record {
    pub(super) fn new(at: Duration, call: &Call, fault: Option<Fault>) -> Self {
        Self {
            at,
            client: call.client.clone(),
            verb: call.verb,
            resource: call.resource.clone(),
            namespace: call.namespace.clone(),
            name: call.name.clone(),
            subresource: call.subresource.clone(),
            metadata_only: call.metadata_only,
            code: None,
            resource_version: 0,
            changed: false,
            fault,
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, verb, resource, namespace, name, subresource, resource_version, .. } = self;
        write!(f, "{:>10}ms {client} {verb:?} {resource} {namespace}/{name}", self.at.as_millis())?;
        if !subresource.is_empty() {
            write!(f, "/{subresource}")?;
        }
        if self.metadata_only {
            write!(f, " (metadata)")?;
        }
        match self.code {
            Some(code) => write!(f, " {code}")?,
            None => write!(f, " -")?,
        }
        write!(f, " rv={resource_version}")?;
        self.fault.map_or(Ok(()), |fault| write!(f, " {fault:?}"))
    }
}

/// All requests since the last reset.
#[derive(Default)]
pub(super) struct Trace {
    records: Vec<Record>,
    // Its keys are constants, unlike those of a `HashMap`.
    hasher: DefaultHasher,
}

impl Trace {
    pub fn note(&mut self, record: Record) {
        record.hash(&mut self.hasher);
        self.records.push(record);
    }

    pub fn records(&self) -> &[Record] {
        &self.records
    }

    pub fn by_client(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for record in &self.records {
            *counts.entry(record.client.clone()).or_default() += 1;
        }
        counts
    }

    /// Forgets the records; the fingerprint goes on, so that a long run need not keep them all.
    pub fn reset(&mut self) {
        self.records.clear();
    }

    pub fn fingerprint(&self) -> u64 {
        self.hasher.finish()
    }
}
