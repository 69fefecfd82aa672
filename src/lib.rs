//! `tracker`: a durable, resumable job tracker for HeyGen videos.

pub mod render;
pub mod time;
pub mod video;
