//! The log over a store in memory.

mod damage;
mod entries;
mod gate;
mod keys;
mod schedule;
mod sessions;
mod world;
