//! The kinds of sources: what a person writes of each, what it becomes, and the check between.

pub(super) mod open_meteo;
