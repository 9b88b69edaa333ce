//! What differs between recovery points, and which of them hold what: told line by line while it is
//! found, the totals last.

use std::io::Read;
use std::sync::Arc;

use custody_ambient::Timestamp;
use custody_entries::{Entry, EntryKind, Flow};
use custody_protection::{Item, SourcePath};
use custody_repository::{
    Aspect, Change, DiffTotals, FindTotals, Found, Lead, PointId, Progress, Repository,
    RepositoryError, Search, Span, Status, Tally,
};
use custody_resources::{Refusal, Request};
use custody_sources::PathPattern;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::look::{self, open, path, resolve, text};
use crate::pipe::{self, Pieces};
use crate::vault_repository::item_guid;
use crate::{Platform, fault, folders};

/// Most points that one request names; without names all are searched.
const POINTS_NAMED_MAX: usize = 1_000;

/// `POST …/diff`: what differs between two points of an item, as lines of JSON.
pub fn diff(
    platform: &Arc<Platform>,
    request: &Request<'_>,
) -> Result<Box<dyn Read + Send>, Refusal> {
    let (item, session, repository) = open(platform, request)?;
    let point = |name: &str| {
        let missing = || Refusal::bad_request(format!("the body names no {name} point"));
        resolve(&repository, &item, text(&request.body, name).ok_or_else(missing)?)
    };
    let (old, new) = (point("old")?, point("new")?);
    let path = path(&request.body)?.unwrap_or_default();
    let is_there = |point| match repository.list(point, &path) {
        Err(RepositoryError::PathNotFound(_)) => Ok(false),
        // What is damaged is told where the walk comes upon it.
        Err(error @ RepositoryError::PointNotFound(_)) => Err(fault::of_repository(&error)),
        _ => Ok(true),
    };
    // Whether there is anything to compare is answered with a status, not with a broken stream.
    if !path.is_empty() && !is_there(old)? && !is_there(new)? {
        let error = RepositoryError::PathNotFound(path.escape_ascii().to_string());
        return Err(fault::of_repository(&error));
    }
    pipe::stream(move |output| {
        let lines = Lines(output.clone());
        let told = repository.diff(old, new, &path, &lines, &mut |path, change| {
            lines.send(&render_change(path, &change))
        });
        drop(session);
        lines.end(told.map(|totals| render_diff_totals(old, new, &totals)))
    })
}

/// What a search asks for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct FindRequest {
    pattern: String,
    /// Only in these; in all, if there are none.
    #[serde(default)]
    points: Vec<String>,
    /// Only the newest version of each path.
    #[serde(default)]
    newest: bool,
    /// Only entries of these kinds; of all, if there are none.
    #[serde(default)]
    kinds: Vec<String>,
}

/// `POST …/find`: which points of an item hold what matches a pattern, as lines of JSON.
pub fn find(
    platform: &Arc<Platform>,
    request: &Request<'_>,
) -> Result<Box<dyn Read + Send>, Refusal> {
    let asked = FindRequest::deserialize(&request.body)
        .map_err(|error| Refusal::bad_request(error.to_string()))?;
    let pattern = PathPattern::parse(&asked.pattern)
        .map_err(|error| Refusal { status: 400, ..folders::source_fault(&error) })?;
    let (item, session, repository) = open(platform, request)?;
    let points = points(&repository, &item, &asked.points)?;
    pipe::stream(move |output| {
        let ids: Vec<PointId> = points.iter().map(|(id, _)| *id).collect();
        let is_wanted = |kind: &EntryKind| {
            let word = look::kind(kind);
            asked.kinds.is_empty() || asked.kinds.iter().any(|kind| kind == word)
        };
        let matches = |path: &[u8], kind: &EntryKind| {
            is_wanted(kind) && pattern.matches(path, *kind == EntryKind::Folder)
        };
        let search = Search { points: &ids, matches: &matches, newest: asked.newest };
        let lines = Lines(output.clone());
        let told = repository
            .find(&search, &lines, &mut |found| lines.send(&render_found(found, &points)));
        drop(session);
        lines.end(told.map(|totals| render_find_totals(points.len(), &totals)))
    })
}

/// The points of an item that are named, or all, oldest first, with the times they were taken.
fn points(
    repository: &Repository,
    item: &Item,
    named: &[String],
) -> Result<Vec<(PointId, Timestamp)>, Refusal> {
    if named.len() > POINTS_NAMED_MAX {
        let text = format!("a search names {POINTS_NAMED_MAX} recovery points at most");
        return Err(Refusal::bad_request(text));
    }
    let mut wanted = Vec::with_capacity(named.len());
    for name in named {
        wanted.push(resolve(repository, item, name)?);
    }
    let history = repository.history().map_err(|error| fault::of_repository(&error))?;
    let own = item_guid(item.status.item_id);
    let mut points: Vec<_> = history
        .points()
        .iter()
        .map(|(id, point)| (PointId(*id), point))
        .filter(|(id, point)| point.item == own && (named.is_empty() || wanted.contains(id)))
        .collect();
    points.sort_by_key(|(_, point)| (point.received_ms, point.number));
    let time = |ms| Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX);
    Ok(points.into_iter().map(|(id, point)| (id, time(point.received_ms))).collect())
}

/// Sends one JSON value a line, and ends a walk when nobody reads any more.
struct Lines(Pieces);

impl Lines {
    fn send(&self, line: &Value) -> Flow {
        let is_read = self.0.send(format!("{line}\n").into_bytes());
        if is_read { Flow::Continue } else { Flow::Stop }
    }

    /// Sends the totals: an answer without them is not whole.
    fn end(&self, told: Result<Value, RepositoryError>) -> Result<(), RepositoryError> {
        self.send(&json!({ "summary": told? }));
        Ok(())
    }
}

impl Progress for Lines {
    fn report(&self, _status: &Status) {}

    fn is_cancelled(&self) -> bool {
        !self.0.send(Vec::new())
    }
}

fn render_change(path: &[u8], change: &Change<'_>) -> Value {
    let mut line = Map::new();
    line.insert("path".into(), json!(SourcePath::new(path)));
    let mut put = |name: &str, value: Value| drop(line.insert(name.to_owned(), value));
    match change {
        Change::Added(new) => {
            put("change", "added".into());
            put("new", entry(new));
        }
        Change::Removed(old) => {
            put("change", "removed".into());
            put("old", entry(old));
        }
        Change::Changed { old, new, aspects } => {
            let of_content = aspects.iter().any(|aspect| aspect.is_of_content());
            put("change", if of_content { "changed" } else { "metadata" }.into());
            put("aspects", words(aspects));
            put("old", entry(old));
            put("new", entry(new));
        }
        Change::Renamed { from, new, aspects } => {
            put("change", "renamed".into());
            put("from", json!(SourcePath::new(from)));
            put("aspects", words(aspects));
            put("new", entry(new));
        }
        Change::Top(aspects) => {
            put("change", "metadata".into());
            put("aspects", words(aspects));
        }
        Change::Unreadable(error) => {
            put("change", "unreadable".into());
            put("error", render_error(error));
        }
    }
    Value::Object(line)
}

fn render_found(found: &Found<'_>, points: &[(PointId, Timestamp)]) -> Value {
    let point = |at: usize| {
        let (id, time) = points.get(at)?;
        Some(json!({ "recoveryPointId": id.to_string(), "recoveryPointTime": time }))
    };
    let span = |span: &Span| {
        json!({
            "oldest": point(span.first),
            "newest": point(span.last),
            "points": span.last - span.first + 1,
        })
    };
    let mut line = match &found.lead {
        Lead::Found(found) => entry(found),
        Lead::Unreadable(error) => json!({ "error": render_error(error) }),
    };
    if let Value::Object(fields) = &mut line {
        fields.insert("path".into(), json!(SourcePath::new(found.path)));
        fields.insert("spans".into(), found.spans.iter().map(span).collect());
    }
    line
}

/// An entry whose name its path tells.
fn entry(entry: &Entry) -> Value {
    let mut shown = look::render(entry);
    if let Value::Object(fields) = &mut shown {
        fields.remove("name");
    }
    shown
}

fn words(aspects: &[Aspect]) -> Value {
    aspects.iter().map(|aspect| aspect.word()).collect()
}

fn render_error(error: &RepositoryError) -> Value {
    json!({ "code": error.code(), "message": error.to_string() })
}

fn render_diff_totals(old: PointId, new: PointId, totals: &DiffTotals) -> Value {
    let tally = |tally: &Tally| json!({ "entries": tally.entries, "bytes": tally.bytes });
    json!({
        "old": old.to_string(),
        "new": new.to_string(),
        "added": tally(&totals.added),
        "removed": tally(&totals.removed),
        "changed": tally(&totals.changed),
        "metadata": tally(&totals.metadata),
        "renamed": tally(&totals.renamed),
        "unreadable": totals.unreadable,
    })
}

fn render_find_totals(points: usize, totals: &FindTotals) -> Value {
    json!({
        "points": points,
        "paths": totals.paths,
        "versions": totals.versions,
        "unreadable": totals.unreadable,
    })
}
