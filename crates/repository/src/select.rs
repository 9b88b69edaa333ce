//! Which points there are, and which one is meant.

use std::str::FromStr;

use custody_ambient::Timestamp;

use crate::RepositoryError;
use crate::log::ItemGuid;
use crate::point::{Point, PointId};
use crate::repository::Repository;

/// Fewest digits of an id that name a point.
const PREFIX_DIGITS_MIN: usize = 4;

/// How a user names a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PointSelector {
    /// The newest.
    Latest,
    /// The one whose id begins with these hexadecimal digits.
    Prefix(String),
    /// The newest that stood at this time.
    At(Timestamp),
}

impl FromStr for PointSelector {
    type Err = RepositoryError;

    /// `latest`, at least four digits of an id, or an RFC 3339 time.
    fn from_str(text: &str) -> Result<Self, RepositoryError> {
        let digits = text.to_ascii_lowercase();
        let is_prefix = digits.len() >= PREFIX_DIGITS_MIN
            && digits.len() <= 64
            && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        match text.parse() {
            _ if text.eq_ignore_ascii_case("latest") => Ok(Self::Latest),
            _ if is_prefix => Ok(Self::Prefix(digits)),
            Ok(time) => Ok(Self::At(time)),
            Err(_) => Err(RepositoryError::PointNotFound(text.chars().take(100).collect())),
        }
    }
}

/// A point as the log knows it, with what its object says.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedPoint {
    /// Its id.
    pub id: PointId,
    /// The item.
    pub item: ItemGuid,
    /// When it was committed, by the log.
    pub received: Timestamp,
    /// What it says, or why that cannot be read.
    pub point: Result<Point, RepositoryError>,
}

impl Repository {
    /// Every point that stands, oldest first. One that is damaged is listed as such.
    pub fn points(&self) -> Result<Vec<ListedPoint>, RepositoryError> {
        let mut points: Vec<ListedPoint> = Vec::new();
        let history = self.history()?;
        for (name, known) in history.points() {
            let id = PointId(*name);
            let point = match self.point(id) {
                Err(error) if !error.is_local() => return Err(error),
                point => point,
            };
            let received = received(known.received_ms);
            points.push(ListedPoint { id, item: known.item, received, point });
        }
        points.sort_by_key(|point| {
            (point.received, history.points().get(&point.id.0).map(|p| p.number))
        });
        Ok(points)
    }

    /// The point of `item` (of any, without one) that is meant.
    ///
    /// # Errors
    /// [`RepositoryError::PointNotFound`], [`RepositoryError::PointAmbiguous`].
    pub fn resolve(
        &self,
        item: Option<ItemGuid>,
        selector: &PointSelector,
    ) -> Result<PointId, RepositoryError> {
        let history = self.history()?;
        let of_item =
            history.points().iter().filter(|(_, point)| item.is_none_or(|item| point.item == item));
        let order = |point: &crate::log::Point| (point.received_ms, point.number);
        let found = match selector {
            PointSelector::Latest => of_item.max_by_key(|(_, point)| order(point)),
            PointSelector::At(time) => of_item
                .filter(|(_, point)| received(point.received_ms) <= *time)
                .max_by_key(|(_, point)| order(point)),
            PointSelector::Prefix(prefix) => {
                let mut fitting = of_item.filter(|(id, _)| id.to_string().starts_with(prefix));
                let first = fitting.next();
                if fitting.next().is_some() {
                    return Err(RepositoryError::PointAmbiguous(prefix.clone()));
                }
                first
            }
        };
        found.map(|(id, _)| PointId(*id)).ok_or_else(|| {
            RepositoryError::PointNotFound(match selector {
                PointSelector::Latest => "yet".to_owned(),
                PointSelector::At(time) => format!("from before {time}"),
                PointSelector::Prefix(prefix) => prefix.clone(),
            })
        })
    }
}

/// The receipt time of a log entry.
pub(crate) fn received(ms: i64) -> Timestamp {
    let bound = if ms < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_millisecond(ms).unwrap_or(bound)
}
