//! What requests meet.

use std::time::Duration;

use custody_blob_store::StoreError;

/// How likely what is, and for how long the past is seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Of a hundred requests so many are answered 500 or 503, without any effect.
    pub unavailable_percent: u32,
    /// So many 429 or 503 with Retry-After.
    pub throttled_percent: u32,
    /// And of so many the connection ends after their effect, or in the middle of the body.
    pub reset_percent: u32,
    /// For so long a list shows what was: new names are missing, deleted ones are there.
    pub list_lag: Duration,
    /// For so long who made an object is told once that there is none.
    pub read_lag: Duration,
    /// Whether a replacement may be delivered once more later on, over a newer one.
    pub delays_replacements: bool,
}

impl Weather {
    /// A tenth of all requests goes wrong in one way or another, and everything lags.
    pub fn foul() -> Self {
        Self {
            unavailable_percent: 4,
            throttled_percent: 3,
            reset_percent: 3,
            list_lag: Duration::from_secs(20),
            read_lag: Duration::from_secs(2),
            delays_replacements: true,
        }
    }

    pub(super) fn strike(&self, dice: &mut Dice) -> Trouble {
        let throw = dice.below(100);
        let (unavailable, throttled) =
            (self.unavailable_percent, self.unavailable_percent + self.throttled_percent);
        if throw < unavailable {
            Trouble::Unavailable
        } else if throw < throttled {
            Trouble::Throttled(Duration::from_secs(u64::from(dice.below(5)) + 1))
        } else if throw < throttled + self.reset_percent {
            Trouble::Reset
        } else {
            Trouble::None
        }
    }
}

/// What is wrong with one request.
pub(super) enum Trouble {
    None,
    Unavailable,
    Throttled(Duration),
    Reset,
}

impl Trouble {
    /// What is told instead of doing it.
    pub(super) fn before(&self) -> Result<(), StoreError> {
        match self {
            Self::Unavailable => Err(StoreError::Unavailable("503 Service Unavailable".to_owned())),
            Self::Throttled(after) => Err(StoreError::Throttled {
                what: "429 Too Many Requests".to_owned(),
                after: *after,
            }),
            Self::None | Self::Reset => Ok(()),
        }
    }

    /// What is told although it was done.
    pub(super) fn after(&self) -> Result<(), StoreError> {
        match self {
            Self::Reset => Err(StoreError::Unavailable("the connection was reset".to_owned())),
            Self::None | Self::Unavailable | Self::Throttled(_) => Ok(()),
        }
    }
}

/// Numbers from a seed (SplitMix64).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        u32::try_from((z ^ (z >> 31)) % u64::from(end)).unwrap_or(0)
    }

    pub(super) fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }
}
