//! krammerti
pub mod artifact;
pub mod data;
pub mod eval;
pub mod event;
pub mod fs;
pub mod model;
pub mod params;
pub mod physics;
pub mod pipeline;
pub mod time;
