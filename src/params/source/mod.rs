//! The parameters of sources: for each kind what a person wrote, and what holds after a check.

pub(super) mod file;
pub(super) mod http;
pub(super) mod noaa_co2;
pub(super) mod open_meteo;
pub(super) mod requests;
pub(super) mod times;
