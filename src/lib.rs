//! `tracker`: a durable, resumable job tracker for HeyGen videos.

pub mod locks;
pub mod store;
pub mod time;
pub mod video;
