//! The read-only view of other records that a plan may ask.

use std::collections::BTreeMap;

use custody_names::ResourceId;
use serde::{Deserialize, Serialize};

use crate::{Kind, Record, Stop, Stored, Target};

/// Something a plan wants to know. All of it is answered with records.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Query {
    /// One record, by canonical identifier.
    Record(String),
    /// The records of a type directly below a place (canonical identifier, lower-case type).
    Children(String, String),
    /// All records directly below a place, whatever their type (canonical identifier).
    Members(String),
    /// The records of a type anywhere below a place.
    Below(String, String),
    /// All records anywhere below a place, whatever their type (canonical identifier).
    Everything(String),
    /// The records that name a target.
    Referrers(Target),
    /// The record that holds a claimed name.
    Claim(String),
}

/// What has been loaded of the world so far. A store fills it within the transaction in which the
/// plan's writes will be applied, so a plan never decides on stale records.
#[derive(Clone, Debug, Default)]
pub struct World {
    answers: BTreeMap<Query, Vec<Record>>,
}

impl World {
    /// A world of which nothing is loaded.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the answer to a query.
    pub fn learn(&mut self, query: Query, records: Vec<Record>) {
        self.answers.insert(query, records);
    }

    /// The answer to a query.
    pub fn ask(&self, query: Query) -> Result<&[Record], Stop> {
        self.answers.get(&query).map(Vec::as_slice).ok_or(Stop::Needs(query))
    }

    /// One record.
    pub fn record(&self, id: &ResourceId) -> Result<Option<&Record>, Stop> {
        Ok(self.ask(Query::Record(id.canonical()))?.first())
    }

    /// One record, of a known kind.
    pub fn stored<K: Kind>(&self, id: &ResourceId) -> Result<Option<Stored<K>>, Stop> {
        self.record(id)?.map(Stored::read).transpose().map_err(Stop::from)
    }

    /// The records of `kind` directly below `place`.
    pub fn children(&self, place: &ResourceId, kind: &str) -> Result<&[Record], Stop> {
        self.ask(Query::Children(place.canonical(), kind.to_lowercase()))
    }

    /// All records directly below `place`, whatever their kind.
    pub fn members(&self, place: &ResourceId) -> Result<&[Record], Stop> {
        self.ask(Query::Members(place.canonical()))
    }

    /// The records of `kind` anywhere below `place`.
    pub fn below(&self, place: &ResourceId, kind: &str) -> Result<&[Record], Stop> {
        self.ask(Query::Below(place.canonical(), kind.to_lowercase()))
    }

    /// All records anywhere below `place`, whatever their kind.
    pub fn everything(&self, place: &ResourceId) -> Result<&[Record], Stop> {
        self.ask(Query::Everything(place.canonical()))
    }

    /// The record that holds the claimed name `claim` (`KIND:NAME`).
    pub fn claimant(&self, claim: &str) -> Result<Option<&Record>, Stop> {
        Ok(self.ask(Query::Claim(claim.to_owned()))?.first())
    }

    /// The records that name `target`.
    pub fn referrers(&self, target: Target) -> Result<&[Record], Stop> {
        self.ask(Query::Referrers(target))
    }

    /// One record of a known kind that must exist.
    pub fn expect<K: Kind>(&self, id: &ResourceId) -> Result<Stored<K>, Stop> {
        self.stored(id)?.ok_or_else(|| crate::engine::not_found(id).into())
    }
}
