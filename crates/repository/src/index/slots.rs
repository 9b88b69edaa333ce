//! What was read last, in a number of places that does not grow.

use std::sync::{Arc, Mutex};

use crate::read::locked;

/// Values by number. Each has one place, which it shares with others: the last one stays. As long as
/// there are as many places as numbers, all stay.
pub(super) struct Slots<T: ?Sized>(Vec<Place<T>>);

/// The value that stays, and its number.
type Place<T> = Mutex<Option<(u64, Arc<T>)>>;

impl<T: ?Sized> Slots<T> {
    /// So many places; without one nothing is kept.
    pub(super) fn new(places: usize) -> Self {
        Self((0..places).map(|_| Mutex::default()).collect())
    }

    /// How many values are kept at most.
    pub(super) fn places(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, number: u64) -> Option<Arc<T>> {
        let place = locked(self.place(number)?);
        place.as_ref().filter(|(kept, _)| *kept == number).map(|(_, value)| Arc::clone(value))
    }

    /// What `look` sees in a value. Others that want the same one wait meanwhile.
    pub(super) fn look<R>(&self, number: u64, look: &dyn Fn(&T) -> R) -> Option<R> {
        let place = locked(self.place(number)?);
        place.as_ref().filter(|(kept, _)| *kept == number).map(|(_, value)| look(value))
    }

    /// Keeps a value until another comes to its place.
    pub(super) fn put(&self, number: u64, value: Arc<T>) {
        if let Some(place) = self.place(number) {
            *locked(place) = Some((number, value));
        }
    }

    fn place(&self, number: u64) -> Option<&Place<T>> {
        let place = number.checked_rem(self.0.len() as u64)?;
        self.0.get(usize::try_from(place).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_stay_as_there_are_places() {
        // (places, numbers) -> those that stay
        for (places, numbers, expected) in [
            (0, vec![0, 1], vec![]),
            (1, vec![0, 1], vec![1]),
            (3, vec![0, 1, 2], vec![0, 1, 2]),
            (3, vec![0, 1, 2, 4, u64::MAX], vec![2, 4, u64::MAX]),
        ] {
            let slots = Slots::new(places);
            for number in &numbers {
                slots.put(*number, Arc::new(*number));
            }
            let mut kept = numbers;
            kept.retain(|number| slots.get(*number).is_some_and(|value| *value == *number));
            assert_eq!(kept, expected, "{places} places");
            for number in &expected {
                assert_eq!(slots.look(*number, &|value| value / 2), Some(number / 2));
            }
            assert_eq!(slots.places(), places);
        }
    }
}
